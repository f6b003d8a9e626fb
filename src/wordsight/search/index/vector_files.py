"""Files of vectors and boxes, which only grow, and their memory maps.

A segment is up to five files of raw numbers, little-endian, one row after the other::

    vectors-000001.bin   float16, or int8 with a scale each: one row of ``dim`` numbers per vector
    scales-000001.bin    float32: the vector is scale x int8
    boxes-000001.bin     float16: left, top, right, bottom; fractions of the picture
    labels-000001.bin    int16: the number of the phrase that found the vector's region, from 1; 0: none did
    pooled-000001.bin    float16: one row per content, the mean of its unit vectors

The database says how many rows count, never the length of a file: rows beyond are from a process that died,
and the next writer cuts them off.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Int

from wordsight.errors import InputError
from wordsight.files.append import AppendFile
from wordsight.files.row_map import RowMap
from wordsight.sets import EmbeddingSet
from wordsight.tensors import F, Tensor, torch

PRECISIONS = ("float16", "int8")
KINDS = ("vectors", "scales", "boxes", "labels", "pooled")
SEGMENT_BYTES = 1 << 29  # of vectors; after that a new segment begins
MUCH_BYTES = 1 << 32  # of vectors: an index of more is not counted on to stay in memory


@dataclass(frozen=True)
class Layout:
    """Type and size of a row in each file."""

    dim: int
    precision: str

    def row(self, kind: str) -> tuple[str, int]:
        """Number type and count."""
        rows = {
            "vectors": ("<f2" if self.precision == "float16" else "i1", self.dim),
            "scales": ("<f4", 1),
            "boxes": ("<f2", 4),
            "labels": ("<i2", 1),
            "pooled": ("<f2", self.dim),
        }
        return rows[kind]

    def row_bytes(self, kind: str) -> int:
        dtype, width = self.row(kind)
        return np.dtype(dtype).itemsize * width

    def kinds(self, placed: int) -> tuple[str, ...]:
        """The files of a segment; ``placed`` as in Extent."""
        absent = {"scales"} if self.precision != "int8" else set()
        absent |= {"boxes", "labels"} if not placed else {"labels"} if placed == 1 else set()
        return tuple(kind for kind in KINDS if kind not in absent)


@dataclass(frozen=True, eq=False)
class Packed:
    """Contents as stored in the files, without padding: ``rows`` by kind, and vectors per content."""

    rows: dict[str, np.ndarray]
    counts: Sequence[int]

    @property
    def boxes(self) -> bool:
        return "boxes" in self.rows

    @property
    def placed(self) -> int:
        """As in Extent."""
        return self.boxes + ("labels" in self.rows)

    def bytes_of(self, content: int, start: int) -> bytes:
        """All bytes of one content, in the order of the kinds."""
        stop = start + self.counts[content]
        cuts = {kind: (content, content + 1) if kind == "pooled" else (start, stop) for kind in self.rows}
        return b"".join(self.rows[kind][slice(*cuts[kind])].tobytes() for kind in KINDS if kind in self.rows)

    def checksums(self) -> list[int]:
        starts = np.concatenate([[0], np.cumsum(self.counts)]).tolist()
        return [zlib.crc32(self.bytes_of(i, starts[i])) for i in range(len(self.counts))]


@dataclass(frozen=True)
class Place:
    """Position of a content."""

    segment: int
    place: int  # of its pooled vector
    start: int  # of its vectors
    count: int


@dataclass(frozen=True)
class Extent:
    """Committed size of a segment: a row of the database."""

    number: int
    vectors: int = 0
    contents: int = 0
    placed: int = 0  # 1: every vector has a box; 2: and the number of its phrase

    def rows(self, kind: str) -> int:
        return self.contents if kind == "pooled" else self.vectors


def is_much_of(layout: Layout, extents: Iterable[Extent]) -> bool:
    """Whether these segments are not counted on to stay in memory."""
    return layout.row_bytes("vectors") * sum(extent.vectors for extent in extents) > MUCH_BYTES


def pack(embeddings: EmbeddingSet, layout: Layout, unit: bool) -> Packed:
    """Pack the real vectors in the precision of the layout; ``unit``: with length 1."""
    vectors, mask = embeddings.vectors.detach().cpu().float(), embeddings.mask.cpu()
    units = F.normalize(vectors, dim=-1)
    counts = mask.sum(1)
    rows = _stored(units[mask] if unit else vectors[mask], layout)
    if embeddings.boxes is not None:
        rows["boxes"] = embeddings.boxes.detach().cpu()[mask].numpy().astype("<f2")
        if embeddings.labels is not None:
            rows["labels"] = embeddings.labels.cpu()[mask].numpy().astype("<i2")[:, None]
    means = (units * mask[..., None]).sum(1) / counts.clamp(min=1)[:, None]
    rows["pooled"] = means.numpy().astype("<f2")
    return Packed(rows, counts.tolist())


def _stored(vectors: Float[Tensor, "item dim"], layout: Layout) -> dict[str, np.ndarray]:
    if layout.precision == "float16":
        return {"vectors": vectors.numpy().astype("<f2")}
    scales = vectors.abs().amax(1, keepdim=True) / 127
    steps = (vectors / scales.clamp(min=torch.finfo(torch.float32).tiny)).round()
    return {"vectors": steps.to(torch.int8).numpy(), "scales": scales.numpy().astype("<f4")}


def is_finite(embeddings: EmbeddingSet, unit: bool) -> list[bool]:
    """Whether the vectors of each content can be stored: finite, and within float16 if not ``unit``."""
    largest = (embeddings.vectors.detach().abs() * embeddings.mask[..., None]).flatten(1).amax(1)
    limit = torch.finfo(torch.float32 if unit else torch.float16).max
    return (largest <= limit).tolist()


def file_of(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:06d}.bin"


def numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    """Every existing segment file with its number."""
    for kind in KINDS:
        for path in folder.glob(f"{kind}-*.bin"):
            number = path.stem.removeprefix(f"{kind}-")
            if number.isdigit():
                yield int(number), path


class SegmentWriter:
    """Appends to one segment; additions are committed (``keep``) or dropped."""

    def __init__(self, folder: Path, layout: Layout, extent: Extent) -> None:
        self.folder, self.layout = folder, layout
        self.committed = self.extent = extent
        self._tails: dict[str, AppendFile] = {}
        try:
            for kind in layout.kinds(extent.placed):
                self._tails[kind] = self._tail(kind)
        except BaseException:
            self.close()
            raise

    def _tail(self, kind: str) -> AppendFile:
        path = file_of(self.folder, kind, self.extent.number)
        end = self.extent.rows(kind) * self.layout.row_bytes(kind)
        there = path.stat().st_size if path.is_file() else 0
        if there < end:
            raise InputError(_short(path, there, end))
        return AppendFile(path, end)

    @property
    def full(self) -> bool:
        return self.extent.vectors * self.layout.row_bytes("vectors") >= SEGMENT_BYTES

    def add(self, packed: Packed) -> list[Place]:
        """Write to disk; rows count from the commit in the database."""
        before = self.extent
        for kind, tail in self._tails.items():
            tail.add(packed.rows[kind].tobytes())
        starts = before.vectors + np.concatenate([[0], np.cumsum(packed.counts)])
        self.extent = Extent(
            before.number, int(starts[-1]), before.contents + len(packed.counts), before.placed
        )
        return [
            Place(before.number, before.contents + i, int(starts[i]), count)
            for i, count in enumerate(packed.counts)
        ]

    def keep(self) -> None:
        self.committed = self.extent
        for tail in self._tails.values():
            tail.keep()

    def drop(self) -> None:
        self.extent = self.committed
        for tail in self._tails.values():
            tail.drop()

    def close(self) -> None:
        for tail in self._tails.values():
            tail.file.close()


class Segment:
    """Memory maps of a segment's committed rows, which never change.

    ``is_part_of_much``  the index is not counted on to stay in memory: of rows that are not adjacent only
                         their pages are read
    """

    def __init__(self, folder: Path, layout: Layout, extent: Extent, is_part_of_much: bool = False) -> None:
        self.layout, self.extent = layout, extent
        self._files, self._scattered = {}, {}
        for kind in layout.kinds(extent.placed):
            path, rows = file_of(folder, kind, extent.number), extent.rows(kind)
            self._files[kind] = _mapped(path, layout, kind, rows)
            if is_part_of_much and rows:
                self._scattered[kind] = RowMap(path, layout.row(kind)[0], self._files[kind].shape)

    @property
    def boxes(self) -> np.ndarray | None:
        return self._files.get("boxes")

    def pooled(self, places: slice | np.ndarray) -> Float16[np.ndarray, "n dim"]:
        """Means of contents, as stored."""
        return self._rows("pooled", places)

    def vectors(self, rows: slice | np.ndarray) -> Float[Tensor, "*n dim"]:
        """Vectors in float32."""
        stored = torch.from_numpy(self._rows("vectors", rows)).float()
        if self.layout.precision == "float16":
            return stored
        return stored * torch.from_numpy(self._rows("scales", rows))

    def fill(self, rows: slice | np.ndarray, out: Float[Tensor, "n dim"]) -> None:
        """Write vectors in float32."""
        out.copy_(torch.from_numpy(self._rows("vectors", rows)))
        if self.layout.precision != "float16":
            out.mul_(torch.from_numpy(self._rows("scales", rows)))

    def boxes_at(self, rows: slice | np.ndarray) -> Float[Tensor, "*n 4"]:
        return torch.from_numpy(self._rows("boxes", rows)).float()

    @property
    def has_labels(self) -> bool:
        return "labels" in self._files

    def labels_at(self, rows: slice | np.ndarray) -> Int[Tensor, " n"]:
        return torch.from_numpy(self._rows("labels", rows)[:, 0]).long()

    def _rows(self, kind: str, rows: slice | np.ndarray) -> np.ndarray:
        if not isinstance(rows, slice) and kind in self._scattered:
            return self._scattered[kind][rows]
        return np.asarray(self._files[kind][rows])

    def content(self, place: Place) -> Packed:
        """One content as stored."""
        cut = slice(place.start, place.start + place.count)
        rows = {
            kind: file[place.place : place.place + 1] if kind == "pooled" else file[cut]
            for kind, file in self._files.items()
        }
        return Packed(rows, [place.count])


def _mapped(path: Path, layout: Layout, kind: str, rows: int) -> np.ndarray:
    dtype, width = layout.row(kind)
    if rows == 0:  # an empty file cannot be mapped
        return np.zeros((0, width), dtype)
    there, needed = path.stat().st_size, rows * layout.row_bytes(kind)
    if there < needed:
        raise InputError(_short(path, there, needed))
    # "c" is writable in memory only: torch requires it, nobody writes
    return np.memmap(path, dtype=dtype, mode="c", shape=(rows, width))


def _short(path: Path, there: int, needed: int) -> str:
    return (
        f"{path} has {there} bytes; {needed} are needed. The index was copied in part, or is damaged: "
        "copy it again, or move it away and index again"
    )
