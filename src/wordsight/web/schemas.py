"""The words of the REST interface: what a request may hold, and what an answer holds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_QUERY_CHARACTERS = 1000  # characters of a query; search/query.py has the same limit
MAX_HITS = 200  # hits of one answer
MAX_OFFSET = 100_000  # the offset of a page
MAX_INTEGER = 2**53 - 1  # of whole numbers that every reader of JSON holds exactly

QUERY = (
    "A sentence. `+word` must be found in the picture, `-word` must not be, `word^2` counts twice, "
    '"several words" in quotes belong together.'
)
Id = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="Of an item; it never changes.")]
Text = Annotated[
    str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS, description=QUERY, examples=["a dog +running"])
]
Count = Annotated[int, Field(ge=1, le=MAX_HITS, description="How many hits.")]
Offset = Annotated[
    int, Field(ge=0, le=MAX_OFFSET, description="How many hits are left out before the first.")
]
Engine = Annotated[
    Literal["auto", "exact", "shortlist"],
    Field(
        description="`exact` scores all; `shortlist` scores candidates; `auto` is exact unless that is slow."
    ),
]
Sort = Annotated[
    Literal["score", "date"],
    Field(description="`date`: hits that reach the relevance threshold, from the newest to the oldest."),
]
Words = Annotated[
    str | None,
    Field(max_length=MAX_QUERY_CHARACTERS, description="Words that the item's path or captions must hold."),
]
Folder = Annotated[
    str | None,
    Field(max_length=4096, description="Below this folder: a whole path, or the name of one anywhere."),
]
Seconds = Annotated[float | None, Field(ge=-1e11, le=1e11, description="When changed: seconds since 1970.")]
Bytes = Annotated[int | None, Field(ge=0, le=MAX_INTEGER, description="The least size of the file.")]
Weight = Annotated[
    float, Field(ge=0, le=1, description="With a query: its share of the score; the picture has the rest.")
]


class Filtered(BaseModel):
    """The items to search."""

    model_config = ConfigDict(extra="forbid")

    folder: Folder = None
    after: Seconds = None
    before: Seconds = None
    min_bytes: Bytes = None
    text: Words = None


class Paged(Filtered):
    """The wanted part of the hits."""

    k: Count = 20
    offset: Offset = 0


class Search(Paged):
    """A sentence, and which of its hits are wanted."""

    query: Text
    engine: Engine = "auto"
    sort: Sort = "score"


class SearchBody(Search):
    """A search as JSON, with strict types: `"20"` and `true` are no numbers."""

    model_config = ConfigDict(strict=True)


class SimilarTo(Paged):
    """An item of the index, perhaps words, and which hits are wanted."""

    id: Id
    query: Annotated[str | None, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS, description=QUERY)] = (
        None
    )
    weight: Weight = 0.5
    engine: Engine = "auto"
    sort: Sort = "score"


class CaptionsOf(Paged):
    """An item of the index of pictures, for which sentences are wanted."""

    id: Id


class Explain(BaseModel):
    """A sentence and an item whose score is to be explained."""

    model_config = ConfigDict(extra="forbid")

    query: Text
    id: Id


class ExplainBody(Explain):
    """An explanation request as JSON, with strict types."""

    model_config = ConfigDict(strict=True)


class Listing(Filtered):
    """The items to list."""

    k: Count = 50
    offset: Offset = 0


Evidence = Annotated[
    Literal["region", "cell", "hint", "whole"],
    Field(
        description="What a word's box is: `region`, a region of its own; `cell`, a cell of a grid; `hint`, "
        "the nearest patch, by a model that was never trained to say where words are; `whole`, no place: the "
        "picture was compared as a whole."
    ),
]
Box = tuple[float, float, float, float]


class Word(BaseModel):
    """One word of a text, and how well it is found in one picture."""

    word: str
    found: float = Field(description="How well, in the model's own unit.")
    level: float | None = Field(description="From here on it counts as found.")
    is_found: bool
    judged: bool = Field(description="False for words that name nothing to be seen; they cannot be missing.")
    known: bool = Field(description="False for a word that the model has never learnt.")
    required: bool = Field(description="Whether it carries a `+`.")
    weight: int
    box: Box | None = Field(
        description="Of the region that it looks at most: left, top, right, bottom; fractions of the picture."
    )


class Item(BaseModel):
    """One picture or text of an index."""

    id: int
    name: str = Field(description="The name of its file.")
    path: str = Field(description="As it was indexed; bytes that are no text are replaced.")
    text: str = Field(description="Of a picture: its captions, a line each. Of an index of texts: the text.")
    width: int
    height: int
    bytes: int
    modified: float = Field(description="When the file was changed: seconds since 1970.")
    taken: float | None = Field(description="When the picture was taken, by its EXIF: seconds since 1970.")
    thumbnail: str | None = Field(
        description="Where a small version is, as a path from the top of the server's address, below its "
        "--root-path; it may be kept for ever."
    )


class Hit(BaseModel):
    """One item, its score and its reasons."""

    item: Item
    score: float = Field(description="Higher is better; comparable within one model only.")
    percentile: float = Field(description="Percent of the searched items that score lower.")
    relevant: bool = Field(description="Whether the score reaches the relevance threshold.")
    missing: int = Field(description="How many words are not found.")
    evidence: Evidence | None = Field(description="null: a picture alone was searched by.")
    words: list[Word]


class Suggestion(BaseModel):
    """A word of the query that the model does not know, and the one that was probably meant."""

    word: str
    instead: str


class Answer(BaseModel):
    """One page of hits, the best first."""

    sentence: str | None = Field(description="What was scored, without operators. null: a picture alone.")
    excluded: list[str] = Field(description="What must not be in the picture.")
    unread: str = Field(description="The end of the query, if that is more than the model reads.")
    suggestions: list[Suggestion]
    total: int = Field(description="Items that pass the filters and the operators.")
    relevant: int = Field(description="How many of them reach the relevance threshold.")
    threshold: float | None = Field(description="The relevance threshold: the least score of a match.")
    old_threshold: float | None = Field(
        serialization_alias="line", description="The old name of threshold.", deprecated=True
    )
    exact: bool = Field(description="False: a shortlist was scored, not all.")
    offset: int
    hits: list[Hit]


class ExplainedWord(Word):
    """A word, and where it looks."""

    shares: list[float] = Field(description="Of its look, over the regions.")


class Part(BaseModel):
    """The share of one attention direction in the score."""

    direction: str = Field(description="Which side attends to the other: word, region or label.")
    old_direction: str = Field(
        serialization_alias="seeker", description="The old name of direction.", deprecated=True
    )
    score: float


class Explanation(BaseModel):
    """Why a picture and a text have their score."""

    kind: Evidence
    sentence: str = Field(description="What evidence this is, plainly.")
    text: str
    unread: str = Field(description="The end of the text, if that is more than the model reads.")
    score: float = Field(description="The sum of the parts.")
    parts: list[Part]
    regions: list[Box] = Field(description="What the shares are over; empty where boxes are unknown.")
    words: list[ExplainedWord]


class Items(BaseModel):
    """One page of items."""

    total: int = Field(description="Items that pass the filters.")
    offset: int
    items: list[Item]


class NamedFolder(BaseModel):
    """A folder of the index."""

    path: str = Field(description="What the filter `folder` takes.")
    name: str = Field(description="The same, below the root.")
    items: int = Field(description="How many lie below it, at any depth.")


class Folders(BaseModel):
    """Folders of the index, those with the most items first."""

    root: str = Field(description="The folder that holds all items.")
    total: int = Field(description="Folders below the root.")
    folders: list[NamedFolder]


class About(BaseModel):
    """Facts about the served indexes."""

    version: str
    images: int | None = Field(description="Pictures that can be searched; null: no index of pictures.")
    texts: int | None = Field(description="Sentences that can be found; null: no index of texts.")
    opens_pictures: bool = Field(
        description="False: the server's owner indexed and named no folder of pictures: none is shown."
    )
    originals: bool = Field(description="Whether whole files are handed out, not only small versions.")
    longest_query: int
    most_hits: int
    most_bytes: int = Field(description="Of a picture that is sent.")
    most_pixels: int


class Health(BaseModel):
    """Whether questions can be answered."""

    status: Literal["ok"]
