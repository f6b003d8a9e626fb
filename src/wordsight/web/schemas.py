"""Schemas of the REST interface: requests and answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from wordsight.search.index.near import PATTERN
from wordsight.web.engine_field import Engine as Engine

MAX_QUERY_CHARACTERS = 1000  # characters; query/parser.py has the same limit
MAX_HITS = 200  # of one answer
MAX_OFFSET = 100_000
MAX_INTEGER = 2**53 - 1  # the largest that every JSON reader has exactly

QUERY = (
    "A sentence. `+word` must be found in the picture, `-word` must not, `word^2` counts twice, "
    '"several words" in quotes belong together.'
)
Id = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="Id of an item; it never changes.")]
Text = Annotated[
    str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS, description=QUERY, examples=["a dog +running"])
]
Count = Annotated[int, Field(ge=1, le=MAX_HITS, description="Number of hits.")]
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET, description="Number of hits to skip.")]
Sort = Annotated[
    Literal["score", "date"],
    Field(description="`date`: hits that reach the relevance threshold, from the newest to the oldest."),
]
Words = Annotated[
    str | None,
    Field(max_length=MAX_QUERY_CHARACTERS, description="Words that the item's path or captions must have."),
]
Folder = Annotated[
    str | None,
    Field(
        max_length=4096,
        description="A folder: its absolute path, or the last names of it. Replacement characters stand for "
        "bytes that are not UTF-8, as in every path here.",
    ),
]
Seconds = Annotated[float | None, Field(ge=-1e11, le=1e11, description="Date: seconds since 1970.")]
Bytes = Annotated[int | None, Field(ge=0, le=MAX_INTEGER, description="Minimum size of the file.")]
Camera = Annotated[
    str | None,
    Field(max_length=200, description="Words, or parts of words, of the camera's maker and model (EXIF)."),
]
Place = Annotated[
    str | None,
    Field(
        pattern=PATTERN,
        description="Where pictures were taken (EXIF): `latitude,longitude,kilometres` in degrees, such as "
        "`52.52,13.405,5`. A server that sends no originals refuses it (403).",
    ),
]
Weight = Annotated[
    float, Field(ge=0, le=1, description="Share of the query in the score; the picture has the rest.")
]


class Filtered(BaseModel):
    """The items to search."""

    model_config = ConfigDict(extra="forbid")

    folder: Folder = None
    after: Seconds = None
    before: Seconds = None
    min_bytes: Bytes = None
    text: Words = None
    camera: Camera = None
    near: Place = None


class Paged(Filtered):
    """Position and size of a page of hits."""

    k: Count = 20
    offset: Offset = 0


class Search(Paged):
    """Search by a sentence."""

    query: Text
    engine: Engine = "auto"
    sort: Sort = "score"


class SearchBody(Search):
    """Search as JSON, with strict types: `"20"` and `true` are not numbers."""

    model_config = ConfigDict(strict=True)


class SimilarTo(Paged):
    """Search by an item of the index, optionally with words."""

    id: Id
    query: Annotated[str | None, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS, description=QUERY)] = (
        None
    )
    weight: Weight = 0.5
    engine: Engine = "auto"
    sort: Sort = "score"


class CaptionsOf(Paged):
    """Search for sentences that match an item of the index of pictures."""

    id: Id


class Explain(BaseModel):
    """A sentence, and the item whose score to explain."""

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


WordState = Literal["found", "weak", "not found", "unknown"]
Probability = Annotated[
    float | None, Field(description="Of a match; null if the model is not calibrated: then scores decide.")
]
Evidence = Annotated[
    Literal["region", "cell", "hint", "whole"],
    Field(
        description="Kind of a word's box: `region`, a region; `cell`, a cell of a grid; `hint`, the nearest "
        "patch, from a model that was not trained to locate words; `whole`, no place: the picture was "
        "compared as a whole."
    ),
]
Box = tuple[float, float, float, float]
HeatMap = list[list[float]]  # rows from the top, in [0, 1]


class Word(BaseModel):
    """One word of a text, and how well it is found in one picture."""

    word: str
    found: float = Field(description="Strength of the word, in the model's own unit.")
    level: float | None = Field(description="Least strength that counts as found.")
    is_found: bool
    state: WordState | None = Field(description="null for a function word.")
    probability: float | None = Field(
        description="That the picture shows it; null if not judged, unknown, or the model is not calibrated."
    )
    judged: bool = Field(description="False for function words, which cannot be missing.")
    known: bool = Field(description="False for a word outside the model's vocabulary.")
    required: bool = Field(description="Whether the word has a `+`.")
    weight: int
    box: Box | None = Field(description="Best region: left, top, right, bottom; fractions of the picture.")
    phrase: str = Field(description="Phrase by which a detector found that region; empty if none did.")


class Coordinates(BaseModel):
    """A place on the earth, in degrees."""

    latitude: float
    longitude: float


class Item(BaseModel):
    """One picture or text of an index."""

    id: int
    name: str = Field(description="Name of the file.")
    path: str = Field(description="Path of the file; invalid UTF-8 is replaced.")
    text: str = Field(description="Captions of a picture, one per line; or the text of an index of texts.")
    width: int
    height: int
    bytes: int
    modified: float = Field(description="Time of the last change of the file: seconds since 1970.")
    taken: float | None = Field(description="When the picture was taken, by its EXIF: seconds since 1970.")
    camera: str = Field(description="Maker and model of the camera, by its EXIF; empty: it does not say.")
    place: Coordinates | None = Field(
        description="Where it was taken, by its EXIF. null: unknown, or this server sends no originals."
    )
    thumbnail: str | None = Field(
        description="Path of the thumbnail on this server, with its --root-path; it may be cached for ever."
    )


class Hit(BaseModel):
    """One item, its score and its words."""

    item: Item
    score: float = Field(description="Higher is better; comparable within one model only.")
    percentile: float = Field(description="Percent of the searched items with a lower score.")
    relevant: bool = Field(description="Whether it matches.")
    probability: Probability
    missing: int = Field(description="Number of words that are not found.")
    evidence: Evidence | None = Field(description="null for a search by picture alone.")
    words: list[Word]


class Suggestion(BaseModel):
    """An unknown word of the query, and the closest known word."""

    word: str
    instead: str


class Answer(BaseModel):
    """One page of hits: those that match come first, the best first."""

    sentence: str | None = Field(description="The scored text, without operators; null for a picture alone.")
    excluded: list[str] = Field(description="Words that must not be found.")
    unread: str = Field(description="End of the query beyond the model's limit.")
    suggestions: list[Suggestion]
    total: int = Field(description="Number of items that pass the filters and operators.")
    relevant: int = Field(description="Number of them that match.")
    verdict: str = Field(description="The same in a sentence; *words* that the closest are missing.")
    itself: int = Field(description="Files of the index that are the picture itself; they are no hits.")
    min_probability: float | None = Field(description="Least probability of a match.")
    threshold: float | None = Field(description="Least score of a match; null where a probability decides.")
    old_threshold: float | None = Field(
        serialization_alias="line", description="The old name of threshold.", deprecated=True
    )
    exact: bool = Field(description="False: only a shortlist was scored.")
    engine: str = Field(description="Name of the engine that scored; of `auto`, the one that it chose.")
    fallback: str | None = Field(
        description="Why another engine than the requested one scored; null where that one did."
    )
    offset: int
    hits: list[Hit]


class ExplainedWord(Word):
    """A word and its attention over the regions."""

    shares: list[float] = Field(description="Attention over the regions.")
    heat: HeatMap = Field(description="Where the picture shows the word; empty without places.")


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
    sentence: str = Field(description="The kind of evidence in words.")
    text: str
    unread: str = Field(description="End of the text beyond the model's limit.")
    probability: Probability
    score: float = Field(description="The sum of the parts.")
    parts: list[Part]
    regions: list[Box] = Field(description="Regions of the shares; empty if boxes are unknown.")
    phrases: list[str] = Field(
        description="Phrases by which a detector found the regions; empty without any."
    )
    heat: HeatMap = Field(description="Where the picture shows the text; empty without places.")
    words: list[ExplainedWord]


class Items(BaseModel):
    """One page of items."""

    total: int = Field(description="Number of items that pass the filters.")
    offset: int
    items: list[Item]


class NamedFolder(BaseModel):
    """A folder of the index."""

    path: str = Field(description="Value for the filter `folder`.")
    name: str = Field(description="Path below the root.")
    items: int = Field(description="Number of items below it, at any depth.")


class Folders(BaseModel):
    """Folders of the index, those with the most items first."""

    root: str = Field(description="Common folder of all items.")
    total: int = Field(description="Number of folders below the root.")
    folders: list[NamedFolder]
