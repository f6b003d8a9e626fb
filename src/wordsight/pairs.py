"""A picture and its text, before and after encoding: PairSet, PairBatch, EncodedPairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from wordsight.errors import InputError
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens
from wordsight.tensors import Tensor, torch

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = Union[
    str, Path, np.ndarray, "Image"
]  # a file, uint8 [height width 3], or an opened picture
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; fractions of the picture


@runtime_checkable
class ImageSource(Protocol):
    """Images by row, read when asked and never held whole.

    What ``read`` returns is either ready for an encoder (Regions, Pixels) or still pictures,
    which the matcher's reader turns into one of the two.
    """

    def __len__(self) -> int: ...
    def read(self, rows: Sequence[int]) -> "Regions | Pixels | list[Picture]": ...


def read_plain(images: ImageSource, rows: Sequence[int]) -> "Regions | Pixels | list[Picture]":
    """These images as they are, where ``read`` takes the mean of both ways in which they were stored."""
    read = getattr(images, "read_plain", images.read)
    regions: Regions | Pixels | list[Picture] = read(rows)
    return regions


def read_mirrored(images: ImageSource, rows: Sequence[int]) -> "Regions":
    """Stored features of these images mirrored left to right.

    Raises InputError for images without such features.
    """
    read = getattr(images, "read_mirrored", None)
    if read is None:
        raise InputError(
            "flip_pictures mirrors pictures, and these images are features that were not stored mirrored",
            "store them: wordsight features extract DATA --out STORE --mirrored; or leave flip_pictures out",
        )
    regions: Regions = read(rows)
    return regions


@dataclass(frozen=True)
class PictureFiles:
    """Pictures by path: the image source of every caption file."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, rows: Sequence[int]) -> "list[Picture]":
        return [self.paths[row] for row in rows]


@dataclass(frozen=True)
class WordBox:
    """The known place of what one word names; only generated or annotated data has it."""

    word: int | None  # position among the words by the rule "treebank", from 0; None: not in this text
    box: Box
    others: tuple[Box, ...] = ()  # where else it is: any of its boxes is right


@dataclass(frozen=True, eq=False)
class PairSet:
    """One split of a data set: images, texts, and which text tells of which image.

    Any number of texts per image. Relevance is equality of identities: of a picture in Flickr30k
    and COCO (the default: every image its own), of a person in CUHK-PEDES.
    """

    images: ImageSource
    names: Sequence[str]  # one per image: its file or id, for people to read
    texts: Sequence[str]
    image_of: Int[Tensor, " text"]  # row of the image that each text tells of
    identities: Int[Tensor, " image"]
    objects: Sequence[Sequence[WordBox]] | None = None  # one sequence per text
    labels: Float[Tensor, "image label"] | None = None  # CASC's semantic labels, 0 or 1
    label_names: Sequence[str] | None = None
    source: str = ""  # where it was read from, for messages

    def __post_init__(self) -> None:
        n = len(self.images)
        where = f"{self.source}: " if self.source else ""
        if not (len(self.names) == len(self.identities) == n):
            raise InputError(
                f"{where}{n} images but {len(self.names)} names and {len(self.identities)} identities; "
                "expected one of each per image"
            )
        if self.labels is not None and len(self.labels) != n:
            raise InputError(
                f"{where}{n} images but labels for {len(self.labels)}; expected one row per image"
            )
        if len(self.texts) != len(self.image_of):
            raise InputError(f"{where}{len(self.texts)} texts but {len(self.image_of)} image rows for them")
        if len(self.image_of) and not (int(self.image_of.min()) >= 0 and int(self.image_of.max()) < n):
            raise InputError(
                f"{where}a text names image row {int(self.image_of.max())}, but there are {n} images"
            )

    def __len__(self) -> int:
        """The number of pairs, which is the number of texts."""
        return len(self.texts)

    @property
    def text_identities(self) -> Int[Tensor, " text"]:
        return self.identities[self.image_of]

    def texts_by_image(self) -> list[list[int]]:
        """The rows of each image's texts."""
        texts: list[list[int]] = [[] for _ in self.names]
        for text, image in enumerate(self.image_of.tolist()):
            texts[image].append(text)
        return texts

    def with_images(self, images: ImageSource) -> "PairSet":
        """Replace the source of the images, for example by a feature store."""
        return replace(self, images=images)

    def numbered(self) -> "PairSet":
        """Number the identities 0, 1, 2, ... in their order: the classes of a classifier."""
        return replace(self, identities=torch.unique(self.identities, return_inverse=True)[1])

    def subset(self, rows: Sequence[int]) -> "PairSet":
        """Only these images, in this order, with all their texts."""
        keep = torch.as_tensor(rows, dtype=torch.long)
        new_row = torch.full((len(self.images),), -1)
        new_row[keep] = torch.arange(len(keep))
        texts = (new_row[self.image_of] >= 0).nonzero().flatten().tolist()
        return replace(
            self,
            images=_Subset(self.images, keep.tolist()),
            names=[self.names[row] for row in keep.tolist()],
            texts=[self.texts[t] for t in texts],
            image_of=new_row[self.image_of[texts]],
            identities=self.identities[keep],
            objects=None if self.objects is None else [self.objects[t] for t in texts],
            labels=None if self.labels is None else self.labels[keep],
        )


def one_identity_per_image(count: int) -> Int[Tensor, " image"]:
    return torch.arange(count)


@dataclass(frozen=True)
class _Subset:
    """Chosen rows of another source."""

    source: ImageSource
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def feature_dim(self) -> int | None:
        """Size of stored features; None for pictures."""
        size: int | None = getattr(self.source, "feature_dim", None)
        return size

    def read(self, rows: Sequence[int]) -> "Regions | Pixels | list[Picture]":
        return self.source.read([self.rows[row] for row in rows])

    def read_plain(self, rows: Sequence[int]) -> "Regions | Pixels | list[Picture]":
        return read_plain(self.source, [self.rows[row] for row in rows])

    def read_mirrored(self, rows: Sequence[int]) -> "Regions":
        return read_mirrored(self.source, [self.rows[row] for row in rows])


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Pairs on their way into the encoders: row i of the images goes with row i of the texts.

    With ``image_of``, row ``image_of[i]`` does: an image of several pairs is there once.
    """

    images: Regions | Pixels
    texts: Tokens
    identities: Int[Tensor, " pair"]
    labels: Float[Tensor, "pair label"] | None = None  # of the image
    image_of: Int[Tensor, " pair"] | None = None
    negative_texts: Tokens | None = None  # further texts, which describe no image of the batch

    def __len__(self) -> int:
        return len(self.identities)

    def to(self, device: torch.device | str) -> "PairBatch":
        return replace(
            self,
            images=self.images.to(device),
            texts=self.texts.to(device),
            identities=self.identities.to(device),
            labels=None if self.labels is None else self.labels.to(device),
            image_of=None if self.image_of is None else self.image_of.to(device),
            negative_texts=None if self.negative_texts is None else self.negative_texts.to(device),
        )


@dataclass(frozen=True, eq=False)
class EncodedPairs:
    """All that a loss may look at."""

    images: EmbeddingSet
    texts: EmbeddingSet
    scores: Float[Tensor, "image text"]  # square; the diagonal holds the pairs
    identities: Int[Tensor, " pair"]  # equal = belong together: same picture, same person
    labels: Float[Tensor, "pair label"] | None = None
    label_logits: Float[Tensor, "pair 2 label"] | None = None  # 0: of the image, 1: of the text
    negative_scores: Float[Tensor, "image negative"] | None = None  # with texts that describe no image
