"""Results of a search: hits with their words, and how many of all match."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from wordsight.search.index.database import Item
from wordsight.search.query.parser import Query
from wordsight.search.query.spelling import Suggestion

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; fractions of the picture
HeatMap: TypeAlias = tuple[tuple[float, ...], ...]  # rows from the top, in [0, 1]; empty: no place to show
WordState: TypeAlias = Literal["found", "weak", "not found", "unknown"]
Evidence: TypeAlias = Literal["region", "cell", "hint", "whole"]  # explain.evidence says what each means


@dataclass(frozen=True)
class WordFound:
    """One word of a text, and how well it is found in one picture."""

    word: str  # as it was written
    found: float
    level: float  # from here on it counts as found, where the model has no probabilities
    is_found: bool
    box: Box | None = None  # of the region it points at; None where that is unknown
    judged: bool = True  # False for "a", "of" and the like: they name nothing, so they cannot be missing
    known: bool = True  # False for a word that the model never learnt, so that it finds nothing
    required: bool = False
    weight: int = 1
    probability: float | None = (
        None  # that the picture shows it; None: not judged, not known, or no such model
    )
    is_weak: bool = False  # not found, but not far from it
    phrase: str = ""  # by which a detector found that region; "" for one of a grid

    @property
    def is_missing(self) -> bool:
        return self.judged and not self.is_found

    @property
    def state(self) -> WordState | None:
        """None for a word that names nothing."""
        if not self.judged:
            return None
        if not self.known:
            return "unknown"
        return "found" if self.is_found else "weak" if self.is_weak else "not found"


@dataclass(frozen=True)
class Hit:
    """One item of the index."""

    item: Item
    row: int
    score: float
    percentile: float  # percent of the searched items that score lower
    words: tuple[WordFound, ...]
    relevant: bool  # it matches
    evidence: Evidence | None = None  # what the boxes of the words are; None where no words were asked
    probability: float | None = None  # that it matches; None: the model has no probabilities

    @property
    def missing(self) -> int:
        """How many words are not found."""
        return sum(word.is_missing for word in self.words)


@dataclass(frozen=True)
class Hits:
    """One page of a search."""

    hits: tuple[Hit, ...]
    relevant: int  # of all that were scored, how many match
    total: int  # that pass the filters and the operators
    exact: bool  # False: a shortlist was scored, not all
    query: Query | None  # None: a picture alone was searched by
    threshold: float  # the least score of a match; nan where a probability decides
    offset: int = 0
    unread: str = ""  # the end of the sentence, if that is more than the model reads
    suggestions: tuple[Suggestion, ...] = ()  # for words of the sentence that the model never learnt
    min_probability: float | None = None  # of a match; None: the model has no probabilities
    engine: str = "exact"  # name of the engine that scored
    fallback: str = ""  # why it is another one than was chosen; empty: it is the chosen one, or "auto" chose
    itself: int = 0  # files of the index that are the very picture that was searched by: they are no hits

    @property
    def nothing_matches(self) -> bool:
        return self.relevant == 0

    @property
    def last_match(self) -> int:
        """The number of the last hit that matches, from 1: matches come first."""
        return self.relevant


@dataclass(frozen=True)
class ExplainedWord:
    """A word, and where it looks."""

    word: WordFound
    shares: tuple[float, ...]  # over the regions; of a word that looks they add up to 1
    heat: HeatMap = ()  # where the picture shows the word, whether it is found or not


@dataclass(frozen=True)
class Part:
    """The share of one attention direction in the score."""

    direction: Literal["word", "region", "label"]
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a picture and a text have their score."""

    kind: Evidence
    sentence: str  # what evidence this is, plainly
    words: tuple[ExplainedWord, ...]
    regions: tuple[Box, ...]  # what the shares are over; empty where boxes are unknown
    parts: tuple[Part, ...]  # their scores add up to the score
    score: float
    text: str  # what was explained
    probability: float | None = None  # of a match; None: the model has no probabilities
    unread: str = ""  # the end of the text, if that is more than the model reads
    heat: HeatMap = ()  # where the picture shows the text
    phrases: tuple[str, ...] = ()  # by which a detector found each of the regions; empty where none did
