"""The bottom-up-attention TSV -> a precomputed folder with boxes and picture sizes; streamed and resumable.

Every line is ``image_id, image_w, image_h, num_boxes, boxes, features``, separated by tabs; boxes and
features are base64 of little-endian float32, ``num_boxes`` rows of 4 and (usually) 2048 numbers; boxes in
pixels.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wordsight.errors import InputError, MissingFileError
from wordsight.files.atomic import atomic_file
from wordsight.files.documents import read_lines
from wordsight.read.datasets.precomputed_layout import PrecompSplit
from wordsight.read.export.precomputed import FeatureType, PrecompWriter

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
SAVE_EVERY = 512  # images between two notes of how far we are


@dataclass(frozen=True, eq=False)
class Detection:
    """One line of the TSV."""

    size: tuple[float, float]  # width, height in pixels
    boxes: Float[np.ndarray, "region 4"]  # left, top, right, bottom in pixels
    features: Float[np.ndarray, "region feature"]


@dataclass(frozen=True, eq=False)
class Line:
    """One line of the TSV, cut into columns and not yet decoded."""

    where: str  # file and line number
    number: int
    end: int  # byte at which the next line begins
    columns: Sequence[bytes]
    complete: bool  # False where the file ends without a line feed, perhaps because it is still being fetched

    @property
    def image_id(self) -> str:
        return self.columns[0].decode("utf-8", "replace").strip()

    def decode(self) -> Detection:
        """Raises ValueError for a wrong number of columns, no number, no base64, another length."""
        if len(self.columns) != len(COLUMNS):
            raise InputError(
                f"{self.where} has {len(self.columns)} columns, expected {len(COLUMNS)} "
                f"({', '.join(COLUMNS)}); if this is the last line, the file is cut short: fetch it again"
            )
        width, height, count = (self._number(column) for column in (1, 2, 3))
        boxes, features = self._array(4, int(count)), self._array(5, int(count))
        if boxes.shape[1] != 4:
            raise InputError(f"{self.where}: boxes have {boxes.shape[1]} numbers each, expected 4")
        return Detection((width, height), boxes, features)

    def _number(self, column: int) -> float:
        try:
            value = float(self.columns[column])
        except ValueError:
            value = 0.0
        if not value >= 1:
            raise InputError(
                f"{self.where}: {COLUMNS[column]} is {self.columns[column][:40]!r}, expected a number from "
                "1 up"
            )
        return value

    def _array(self, column: int, rows: int) -> np.ndarray:
        name = COLUMNS[column]
        try:
            content = base64.b64decode(self.columns[column].strip(), validate=True)
        except binascii.Error as error:
            raise InputError(f"{self.where}: {name} is not base64 ({error}); fetch the file again") from error
        if not content or len(content) % (4 * rows):
            raise InputError(
                f"{self.where}: {name} holds {len(content)} bytes, which is not float32 for {rows} boxes; "
                "fetch the file again"
            )
        values = np.frombuffer(content, dtype="<f4").reshape(rows, -1)
        if not np.isfinite(values).all():
            raise InputError(f"{self.where}: {name} holds NaN or infinity; extract this image again")
        return values


def read_bottom_up(path: Path, start: int = 0, number: int = 0) -> Iterator[Line]:
    """The lines of the TSV from a byte on, ``number`` being the lines before it."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist")
    with path.open("rb") as file:
        file.seek(start)
        for content in file:
            number, start = number + 1, start + len(content)
            if content.strip():
                columns = content.rstrip(b"\r\n").split(b"\t")
                yield Line(f"{path} line {number}", number, start, columns, content.endswith(b"\n"))


@dataclass(eq=False)
class Converted:
    """How far a conversion is, and in the end what it did."""

    order: str = ""  # fingerprint of the ids and the number type: what a resumed conversion must share
    regions: int = 0
    feature_dim: int = 0
    done: list[bool] = field(default_factory=list)  # one per distinct id
    positions: dict[str, list[int]] = field(default_factory=dict)  # file -> byte, lines read
    repeated: int = 0  # lines whose id came before; the first is kept
    unused: int = 0  # lines whose id is not asked for

    def __str__(self) -> str:
        return (
            f"{sum(self.done):,} images of {self.regions} regions x {self.feature_dim:,}; lines left out: "
            f"{self.repeated:,} of an image that came before, {self.unused:,} of images not asked for"
        )

    def save(self, path: Path) -> None:
        packed = base64.b64encode(np.packbits(self.done).tobytes()).decode()
        with atomic_file(path) as file:
            file.write(json.dumps(asdict(self) | {"done": packed, "ids": len(self.done)}).encode())

    @classmethod
    def load(cls, path: Path) -> "Converted":
        values = json.loads(path.read_text())
        bits = np.unpackbits(np.frombuffer(base64.b64decode(values.pop("done")), dtype=np.uint8))
        return cls(done=bits[: values.pop("ids")].astype(bool).tolist(), **values)


def convert_bottom_up(
    tsv: str | Path | Sequence[str | Path],
    folder: str | Path,
    split: str,
    ids: str | Path | None = None,
    dtype: FeatureType = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write ``{split}_ims.npy``, ``_boxes.npy`` and ``_img_sizes.npy`` in the order of an ids file.

    ``ids`` defaults to ``{split}_ids.txt`` of the folder; an id that stands there several times gets as
    many rows. Without such a file the order is that of the TSV, and the ids file is written. ``tsv`` may be
    several shards. ``progress`` is called with images done and wanted. After an interruption or an error
    the same call goes on where it was, from ``{split}.partial/`` in the folder.
    Raises ValueError that names file and line of what is wrong, FileNotFoundError, FileExistsError, OSError.
    """
    paths = [Path(path) for path in ([tsv] if isinstance(tsv, str | Path) else tsv)]
    files = PrecompSplit(Path(folder), split)
    id_file = Path(ids) if ids is not None else files.ids if files.ids.is_file() else None
    order = read_lines(id_file) if id_file else _ids_of(paths)
    conversion = _Conversion(paths, files, order, dtype, progress or (lambda _done, _wanted: None))
    conversion.run()
    conversion.finish({} if id_file == files.ids else {"ids": order})
    return conversion.state


def _ids_of(paths: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(line.image_id for path in paths for line in read_bottom_up(path)))


class _Conversion:
    """The lines of the TSV, each put in its rows; knows how far it is."""

    def __init__(
        self,
        paths: Sequence[Path],
        files: PrecompSplit,
        order: list[str],
        dtype: FeatureType,
        progress: Callable[[int, int], None],
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
        try:
            for path in self.paths:
                self._read(path)
        finally:
            if self.writer is not None:
                self._save()

    def _read(self, path: Path) -> None:
        byte, number = self.state.positions.get(str(path), (0, 0))
        for line in read_bottom_up(path, byte, number):
            self._take(line)
            if line.complete:
                self.state.positions[str(path)] = [line.end, line.number]
            if line.number % SAVE_EVERY == 0 and self.writer is not None:
                self._save()
                self.progress(sum(self.state.done), len(self.rows))

    def _take(self, line: Line) -> None:
        number = self.numbers.get(line.image_id)
        if number is None:
            self.state.unused += 1
        elif self.state.done[number]:
            self.state.repeated += 1
        else:
            self._write(line)
            self.state.done[number] = True

    def _write(self, line: Line) -> None:
        found = line.decode()
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

    def _save(self) -> None:
        assert self.writer is not None
        self.writer.sync()
        self.state.save(self.note)

    def finish(self, texts: dict[str, Sequence[str]]) -> None:
        """Put the files in their place; images that no TSV holds are an error."""
        missing = [name for name, number in self.numbers.items() if not self.state.done[number]]
        files = ", ".join(path.name for path in self.paths)
        if missing or self.writer is None:
            raise InputError(
                f"{len(missing)} of {len(self.rows)} images are in none of {files}, "
                f"the first {missing[0]}; give all shards of the TSV, or the ids file that belongs to it. "
                f"What was read is kept in {self.note.parent}"
            )
        self.note.unlink()
        self.writer.finish(texts)
        self.progress(len(self.rows), len(self.rows))
