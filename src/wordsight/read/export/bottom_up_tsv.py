"""Bottom-up-attention TSV -> a precomputed folder with boxes and picture sizes; streamed, resumable."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file
from wordsight.files.documents import read_lines
from wordsight.read.datasets.precomputed_layout import PrecompSplit
from wordsight.read.export.precomputed import FeatureType, PrecompWriter
from wordsight.read.formats.detection_tsv import Detection, DetectionLine, read_bottom_up
from wordsight.runtime.progress import Progress, silent

MOST_DAMAGED = 20  # lines, before any whole one: then the file is of another format
SAVE_EVERY = 512  # images between two notes of how far we are


@dataclass(eq=False)
class Converted:
    """How far a conversion is, and in the end what it did."""

    order: str = ""  # fingerprint of the ids and the number type: what a resumed conversion must share
    regions: int = 0
    feature_dim: int = 0
    done: list[bool] = field(default_factory=list)  # one per distinct id
    positions: dict[str, list[int]] = field(default_factory=dict)  # file -> byte, lines read
    counted: dict[str, int] = field(default_factory=dict)  # file -> lines that are in the counts below
    repeated: int = 0  # lines whose id came before; the first whole one is kept
    unused: int = 0  # lines whose id is not wanted
    damaged: int = 0  # lines that cannot be read, of images that came whole elsewhere

    def __str__(self) -> str:
        return (
            f"{sum(self.done):,} images of {self.regions} regions x {self.feature_dim:,}; lines left out: "
            f"{self.repeated:,} of an image that came before, {self.unused:,} of images not wanted, "
            f"{self.damaged:,} damaged, whose image came whole in another"
        )

    def save(self, path: Path) -> None:
        packed = base64.b64encode(np.packbits(self.done).tobytes()).decode()
        with atomic_file(path) as file:
            file.write(json.dumps(asdict(self) | {"done": packed, "ids": len(self.done)}).encode())

    @classmethod
    def load(cls, path: Path) -> "Converted":
        values = json.loads(path.read_text(encoding="utf-8"))
        bits = np.unpackbits(np.frombuffer(base64.b64decode(values.pop("done")), dtype=np.uint8))
        return cls(done=bits[: values.pop("ids")].astype(bool).tolist(), **values)


def convert_bottom_up(
    tsv: str | Path | Sequence[str | Path],
    folder: str | Path,
    split: str,
    ids: str | Path | None = None,
    dtype: FeatureType = "float32",
    progress: Progress = silent,
) -> Converted:
    """Write ``{split}_ims.npy``, ``_boxes.npy`` and ``_img_sizes.npy`` in the order of an ids file.

    ``ids`` defaults to ``{split}_ids.txt`` of the folder; an id that stands there several times gets as
    many rows. Without such a file the order is that of the TSV, and the ids file is written. ``tsv`` may be
    several shards. After an interruption or an error
    the same call goes on where it was, from ``{split}.partial/`` in the folder.
    Raises ValueError that names file and line of what is wrong, FileNotFoundError, FileExistsError, OSError.
    """
    paths = [Path(path) for path in ([tsv] if isinstance(tsv, str | Path) else tsv)]
    files = PrecompSplit(Path(folder), split)
    id_file = Path(ids) if ids is not None else files.ids if files.ids.is_file() else None
    order = read_lines(id_file) if id_file else _ids_of(paths)
    conversion = _Conversion(paths, files, order, dtype, progress)
    conversion.run()
    conversion.finish({} if id_file == files.ids else {"ids": order})
    return conversion.state


def _ids_of(paths: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(line.image_id for path in paths for line in read_bottom_up(path)))


@dataclass(frozen=True)
class Damaged:
    """A line that could not be read, where it begins, and why."""

    path: str
    start: int  # byte
    number: int
    reason: str


class _Conversion:
    """The lines of the TSV, each put in its rows; knows how far it is."""

    def __init__(
        self,
        paths: Sequence[Path],
        files: PrecompSplit,
        order: list[str],
        dtype: FeatureType,
        progress: Progress,
    ) -> None:
        self.paths, self.files, self.dtype, self.progress = paths, files, dtype, progress
        self.rows: dict[str, list[int]] = {}
        for row, name in enumerate(order):
            self.rows.setdefault(name, []).append(row)
        self.numbers = {name: n for n, name in enumerate(self.rows)}
        self.count = len(order)
        self.note = files.folder / f"{files.split}.partial" / "progress.json"
        fingerprint = hashlib.sha256("\n".join([dtype, *order]).encode()).hexdigest()
        self.state = Converted(order=fingerprint, done=[False] * len(self.rows))
        self.writer: PrecompWriter | None = None
        self.damaged: dict[int, Damaged] = {}  # images of which no line was whole so far
        if self.note.is_file():
            self._resume(fingerprint)

    def _resume(self, fingerprint: str) -> None:
        state = Converted.load(self.note)
        if state.order != fingerprint:
            raise InputError(
                f"{self.note.parent} was begun with other ids or another number type; delete it to begin "
                "again"
            )
        self.state = state
        self.writer = self._writer((state.regions, state.feature_dim), resume=True)

    def _writer(self, shape: tuple[int, int], resume: bool) -> PrecompWriter:
        folder, split = self.files.folder, self.files.split
        return PrecompWriter(folder, split, self.count, shape, True, True, self.dtype, resume)

    def run(self) -> None:
        """Read every file to its end; whatever happens, what was done is noted."""
        self.progress("images", sum(self.state.done), len(self.rows))
        try:
            for path in self.paths:
                self._read(path)
        finally:
            if self.writer is not None:
                self._save()

    def _read(self, path: Path) -> None:
        name = str(path)
        byte, number = self.state.positions.get(name, (0, 0))
        for line in read_bottom_up(path, byte, number):
            self._take(line, name)
            if line.complete:
                self.state.positions[name] = [line.end, line.number]
                self.state.counted[name] = max(line.number, self.state.counted.get(name, 0))
            if line.number % SAVE_EVERY == 0 and self.writer is not None:
                self._save()
                self.progress("images", sum(self.state.done), len(self.rows))

    def _take(self, line: DetectionLine, path: str) -> None:
        number = self.numbers.get(line.image_id)
        new = line.number > self.state.counted.get(path, 0)
        if number is None:
            self.state.unused += new
        elif self.state.done[number]:
            self.state.repeated += new
        else:
            self._try(line, number, path, new)

    def _try(self, line: DetectionLine, number: int, path: str, new: bool) -> None:
        """A line that cannot be read may come again, whole; what is left of such is an error in the end."""
        try:
            found = line.decode()
        except InputError as error:
            self.state.damaged += new
            self.damaged.setdefault(number, Damaged(path, line.start, line.number, str(error)))
            if self.writer is None and len(self.damaged) > MOST_DAMAGED:  # no file of this format
                raise
            return
        self._write(line, found)
        self.state.done[number] = True
        self.damaged.pop(number, None)

    def _write(self, line: DetectionLine, found: Detection) -> None:
        state = self.state
        if self.writer is None:
            state.regions, state.feature_dim = found.features.shape
            self.writer = self._writer((state.regions, state.feature_dim), resume=False)
        if found.features.shape != (state.regions, state.feature_dim):
            raise InputError(
                f"{line.where}: image {line.image_id} has {found.features.shape[0]} boxes of "
                f"{found.features.shape[1]} numbers, but the first had {state.regions} of "
                f"{state.feature_dim}; the format needs the same for all: extract with a fixed number of "
                "boxes (36 as published)"
            )
        for row in self.rows[line.image_id]:
            self.writer.write(row, (found.features, found.boxes, found.size))

    def _begin_at_damaged(self) -> str:
        """Say which lines no other line makes up for; the next run reads on from the first of them."""
        left = sorted(self.damaged.values(), key=lambda one: (one.path, one.start))
        self.state.damaged -= len(left)  # they are read again
        for one in reversed(left):
            self.state.positions[one.path] = [one.start, one.number - 1]
        if self.writer is not None:
            self._save()
        count = f"damaged lines: {len(left)}, the first " if len(left) > 1 else ""
        return count + left[0].reason

    def _save(self) -> None:
        assert self.writer is not None
        self.writer.sync()
        self.state.save(self.note)

    def finish(self, texts: dict[str, Sequence[str]]) -> None:
        """Put the files in their place; images that no TSV holds are an error."""
        missing = [name for name, number in self.numbers.items() if not self.state.done[number]]
        files = ", ".join(path.name for path in self.paths)
        if self.damaged:
            raise InputError(self._begin_at_damaged())
        if missing or self.writer is None:
            raise InputError(
                f"{len(missing)} of {len(self.rows)} images are in none of {files}, "
                f"the first {missing[0]}; give all shards of the TSV, or the ids file that belongs to it. "
                f"What was read is kept in {self.note.parent}"
            )
        self.note.unlink()
        self.writer.finish(texts)
        self.progress("images", len(self.rows), len(self.rows))
