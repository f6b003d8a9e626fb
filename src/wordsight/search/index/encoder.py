"""New contents of an update -> their embeddings: the seam between indexing and the processes that encode."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wordsight.matcher import Matcher
from wordsight.read.features.extract import RegionReader
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.search.index.candidate import Candidate, Made
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch


class Refusal(NamedTuple):
    """Why a content has no embedding."""

    reason: str
    is_unreadable: bool  # the content itself; an older item of the file is deleted


@dataclass(frozen=True, eq=False)
class Encoded:
    """Embeddings of the contents of a batch that could be read, in their order."""

    embeddings: EmbeddingSet | None  # None if there is none
    sizes: Sequence[tuple[int, int]]  # of the pictures; of a text 0 and 0
    refused: Mapping[int, Refusal] = field(default_factory=dict)  # by place in the batch


class Encoder(ABC):
    """Reads and encodes new contents; ``ahead``: batches that are encoded while others are committed."""

    ahead = 0

    @abstractmethod
    def prepare(self, path: Path) -> Made:
        """Make a picture ready for ``submit``; called from threads. Raises UnreadablePicture, OSError."""

    @abstractmethod
    def submit(self, batch: Sequence[Candidate]) -> Callable[[], Encoded]:
        """Begin to encode a batch; the function that it returns waits for the embeddings."""


@dataclass(frozen=True, eq=False)
class Batch:
    """New contents that are being encoded, and the files that wait for them."""

    new: Sequence[Candidate]
    contents: set[str]
    waiting: list[Candidate]
    encoded: Callable[[], Encoded]


class LocalEncoder(Encoder):
    """Encodes in this process, one batch after the other."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def prepare(self, path: Path) -> Made:
        prepared: PreparedPicture = self.matcher.reader.prepare(path)
        return prepared

    def submit(self, batch: Sequence[Candidate]) -> Callable[[], Encoded]:
        return lambda: encode(self.matcher, [candidate.made for candidate in batch])


@torch.no_grad()
def encode(matcher: Matcher, made: Sequence[Any], refused: Mapping[int, Refusal] | None = None) -> Encoded:
    """Embeddings of texts or of prepared pictures."""
    texts = [one for one in made if isinstance(one, str)]
    frames = [one for one in made if isinstance(one, PreparedPicture)]
    if texts:
        return Encoded(matcher.encode_texts(texts), [(0, 0)] * len(texts), refused or {})
    if not frames:
        return Encoded(None, [], refused or {})
    reader = matcher.reader
    read = reader.read(frames) if isinstance(reader, RegionReader) else reader.stack(frames)
    return Encoded(matcher.encode_images(read), [frame.size for frame in frames], refused or {})
