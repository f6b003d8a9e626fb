"""The nouns: what encoders read (Regions, Pixels, Tokens) and what they return (EmbeddingSet).

Axis vocabulary, used in every signature of the package:

``image``, ``text``     items being matched
``pair``                row-aligned image-text pairs
``region``, ``word``    parts of an image, of a text; ``item`` where it may be either
``feature``, ``dim``    sizes before and after encoding
``context``, ``query``  what is attended to, and what attends
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.tensors import F, Tensor, torch

Rows = TypeVar("Rows", bound="_Rows")  # not Self, which the run-time check of shapes cannot resolve


class _Rows:
    """Base of all sets: every tensor field has the items as its first axis."""

    def _tensors(self) -> dict[str, Tensor]:
        named = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        return {name: value for name, value in named if value is not None}

    def _map(self: Rows, change: Any) -> Rows:
        return replace(self, **{name: change(tensor) for name, tensor in self._tensors().items()})  # type: ignore[type-var]

    def __len__(self) -> int:
        return len(next(iter(self._tensors().values())))

    def __getitem__(self: Rows, rows: slice | Sequence[int] | Int[Tensor, " n"]) -> Rows:
        """The named rows, in that order."""
        index = rows if isinstance(rows, slice | Tensor) else torch.as_tensor(rows, dtype=torch.long)
        return self._map(lambda tensor: tensor[index])

    @property
    def device(self) -> torch.device:
        return next(iter(self._tensors().values())).device

    def to(self: Rows, device: torch.device | str) -> Rows:
        """All tensors there; the processor waits, except for CUDA, which keeps the order of copies itself."""
        ahead = torch.device(device).type == "cuda"
        return self._map(lambda tensor: tensor.to(device, non_blocking=ahead))

    def detach(self: Rows) -> Rows:
        return self._map(lambda tensor: tensor.detach())

    @classmethod
    def join(cls: type[Rows], parts: Sequence[Rows]) -> Rows:
        """One after another; the item axis is padded to the longest part (mask False there)."""
        together: dict[str, Tensor | None] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            tensors = [getattr(part, field.name) for part in parts]
            present = [tensor for tensor in tensors if tensor is not None]
            if len(present) != len(tensors) and present:
                raise InputError(
                    f"some of the {len(parts)} parts to join have {field.name} and some have none"
                )
            together[field.name] = torch.cat(_widened(present)) if present else None
        return cls(**together)


def _widened(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Zero-pad axis 1 to the widest; tensors of one axis, and pictures of equal size, pass unchanged."""
    if tensors[0].ndim == 1:
        return list(tensors)
    widest = max(tensor.shape[1] for tensor in tensors)
    return [_pad_items(tensor, widest) for tensor in tensors]


def _pad_items(tensor: Tensor, width: int) -> Tensor:
    return F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, width - tensor.shape[1]))


@dataclass(frozen=True, eq=False)
class Regions(_Rows):
    """Input of an image encoder for a picture that is cut into regions."""

    features: Float[Tensor, "image region feature"]
    boxes: Float[Tensor, "image region 4"] | None  # left, top, right, bottom; fractions of the picture
    mask: Bool[Tensor, "image region"]  # False where a region only pads the batch
    labels: Int[Tensor, "image region"] | None = None  # the phrase that found it, from 1; 0: none did


@dataclass(frozen=True, eq=False)
class Pixels(_Rows):
    """Input of an image encoder that reads whole pictures."""

    values: Float[Tensor, "image 3 height width"]  # RGB, normalized as the encoder expects
    # height and width in pixels of each picture, in the top left of its values; None: pictures fill them
    sizes: Int[Tensor, "image 2"] | None = None

    @classmethod
    def join(cls, parts: Sequence["Pixels"]) -> "Pixels":
        """One after another; pictures of several sizes are padded to the largest height and width."""
        if any(part.sizes is None for part in parts):
            return super().join(parts)
        height, width = (max(part.values.shape[axis] for part in parts) for axis in (2, 3))
        return super().join([part.padded_to(height, width) for part in parts])

    def padded_to(self, height: int, width: int) -> "Pixels":
        """Zeros on the right and below."""
        missing = (0, width - self.values.shape[3], 0, height - self.values.shape[2])
        return replace(self, values=F.pad(self.values, missing))


@dataclass(frozen=True, eq=False)
class Tokens(_Rows):
    """Input of a text encoder: token ids and their mask."""

    ids: Int[Tensor, "text word"]
    mask: Bool[Tensor, "text word"]  # False where a token only pads the batch

    @property
    def lengths(self) -> Int[Tensor, " text"]:
        return self.mask.sum(1)


@dataclass(frozen=True, eq=False)
class EmbeddingSet(_Rows):
    """Output of every encoder: n images or n texts, each a set of vectors."""

    vectors: Float[Tensor, "n item dim"]  # not normalized: similarities normalize, and CMPM needs the lengths
    mask: Bool[Tensor, "n item"]
    boxes: Float[Tensor, "n item 4"] | None = None  # where each item is in its picture; None for texts
    labels: Int[Tensor, "n item"] | None = None  # as those of Regions

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        return self.mask.sum(1)

    @property
    def dim(self) -> int:
        return self.vectors.shape[-1]


class UnitSet(EmbeddingSet):
    """Vectors ready to be compared, in float32: of length 1, unless lengths count; nothing scales them."""

    @cached_property
    def means(self) -> Float[Tensor, "n dim"]:
        """Mean of the vectors of each item, computed once."""
        real = self.vectors if self.mask.all() else self.vectors.masked_fill(~self.mask[..., None], 0)
        return real.sum(1) / self.lengths[:, None]
