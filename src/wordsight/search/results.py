"""Results of a search: hits with their words, and how many of all are above the threshold."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from wordsight.search.index.database import Item
from wordsight.search.query.parser import Query
from wordsight.search.query.spelling import Suggestion

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; fractions of the picture
Evidence: TypeAlias = Literal["region", "cell", "hint", "whole"]  # explain.evidence says what each means


@dataclass(frozen=True)
class WordFound:
    """One word of a text, and how well it is found in one picture."""

    word: str  # as typed
    found: float
    level: float  # from here on the word counts as found
    is_found: bool
    box: Box | None = None  # of its best region; None if unknown
    judged: bool = True  # False for "a", "of" and the like, which cannot be missing
    known: bool = True  # False for a word outside the model's vocabulary
    required: bool = False
    weight: int = 1

    @property
    def is_missing(self) -> bool:
        return self.judged and not self.is_found


@dataclass(frozen=True)
class Hit:
    """One item of the index."""

    item: Item
    row: int
    score: float
    percentile: float  # percent of the searched items with a lower score
    words: tuple[WordFound, ...]
    relevant: bool  # reaches the threshold
    evidence: Evidence | None = None  # kind of the words' boxes; None for a query without words

    @property
    def missing(self) -> int:
        """Number of words that are not found."""
        return sum(word.is_missing for word in self.words)


@dataclass(frozen=True)
class Hits:
    """One page of a search."""

    hits: tuple[Hit, ...]
    relevant: int  # number of scored items that reach the threshold
    total: int  # number of items that pass the filters and operators
    exact: bool  # False: only a shortlist was scored
    query: Query | None  # None for a query by picture alone
    threshold: float  # relevance threshold: the least score of a match
    offset: int = 0
    unread: str = ""  # end of the sentence beyond the model's limit
    suggestions: tuple[Suggestion, ...] = ()  # for unknown words of the sentence

    @property
    def nothing_matches(self) -> bool:
        return self.relevant == 0


@dataclass(frozen=True)
class ExplainedWord:
    """A word and its attention over the regions."""

    word: WordFound
    shares: tuple[float, ...]  # over the regions; of an attending word they add up to 1


@dataclass(frozen=True)
class Part:
    """The share of one attention direction in the score."""

    direction: Literal["word", "region", "label"]
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a picture and a text have their score."""

    kind: Evidence
    sentence: str  # the kind of evidence in words
    words: tuple[ExplainedWord, ...]
    regions: tuple[Box, ...]  # of the shares; empty if boxes are unknown
    parts: tuple[Part, ...]  # their scores add up to the score
    score: float
    text: str  # the explained text
    unread: str = ""  # end of the text beyond the model's limit
