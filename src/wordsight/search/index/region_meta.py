"""Description of a region index: the files of its build, the segments they cover, the measured recall.

The files, in the folder of the index::

    regions.json                  names the three others, the covered segments, and the measured recall
    regions-000001.safetensors    centroids of the lists, their groups, the quantizers, the size of each list
    regions-000001.lists          for each list: 4-bit codes of residuals, then the content of each (int64)
    regions-000001.means          4-bit codes of the mean vector of each content, by number; of contents with
                                  one vector that counts there are none

All of it can be made again from the vectors. ``regions.json`` is replaced last, so a reader sees a whole
region index or the one before. A segment's number is never used again and its committed rows never change: an
entry stays right after any commit, and a deleted or moved content is an entry without a row.
"""

import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from wordsight import checkpoint
from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.files.atomic import remove_unless_open
from wordsight.files.contained import inside
from wordsight.search.index.vector_files import file_of

FORMAT = 2  # 1 had no means
META = "regions.json"
FINGERPRINT_BYTES = 4096  # of the beginning of a segment's vectors
REMEDY = "make it again: wordsight index --out INDEX --engine regions"
_FIELDS: dict[str, plain_json.Kind] = {
    "number": int,
    "segments": list,
    "dim": int,
    "contents": int,
    "vectors": int,
    "first_only": bool,
    "trained_on": int,
    "checksums": list,
}
_SETTINGS: dict[str, plain_json.Kind] = {
    "probes": int,
    "nearest": int,
    "candidates": int,
    "recall": float,
    "queries": int,
}


@dataclass(frozen=True)
class Covered:
    """A segment whose first contents are in the lists, as number ``first`` + place each.

    A segment that has grown is named again; the numbers of its earlier contents stay.
    """

    segment: int
    contents: int
    vectors: int
    first: int
    fingerprint: int  # of the segment's first bytes


@dataclass(frozen=True)
class SearchSettings:
    """Effort of a search, and the recall that it was measured to have."""

    probes: int = 64  # lists per word
    nearest: int = 1024  # regions per word
    candidates: int = 800  # pictures that are scored exactly
    recall: float = 0.0  # share of the ten best pictures that are among the candidates
    queries: int = 0  # that the recall was measured on; 0: not measured


@dataclass(frozen=True)
class RegionMeta:
    """Content of ``regions.json``."""

    number: int
    segments: tuple[Covered, ...]
    dim: int
    contents: int  # in the lists
    vectors: int
    first_only: bool  # only the first vector of each content is there: the similarity compares no others
    trained_on: int  # vectors of the index when the lists were trained
    checksums: tuple[int, ...]  # of the tables, the lists and the means
    settings: SearchSettings = SearchSettings()

    @property
    def numbers(self) -> int:
        """Every content in the lists has a number below this one."""
        return max((one.first + one.contents for one in self.segments), default=0)

    def numbers_of(
        self, segment: Int[np.ndarray, " row"], place: Int[np.ndarray, " row"]
    ) -> Int[np.ndarray, " row"]:
        """Number of the content at each place; -1 for one that is not in the lists."""
        numbers = np.full(len(segment), -1, np.int64)
        for one in self.segments:
            inside_it = (segment == one.segment) & (place < one.contents) & (numbers < 0)
            numbers[inside_it] = one.first + place[inside_it]
        return numbers


def tables_file(folder: Path, number: int) -> Path:
    return folder / f"regions-{number:06d}.safetensors"


def lists_file(folder: Path, number: int) -> Path:
    return folder / f"regions-{number:06d}.lists"


def means_file(folder: Path, number: int) -> Path:
    return folder / f"regions-{number:06d}.means"


def files_of(folder: Path, number: int) -> tuple[Path, ...]:
    """The files of a build, in the order of their checksums."""
    return tables_file(folder, number), lists_file(folder, number), means_file(folder, number)


def read_meta(folder: Path) -> RegionMeta | None:
    """The region index of this folder; None without one. Raises InputError for a damaged description."""
    path = inside(folder, META)
    if not path.is_file():
        return None
    table = plain_json.table_of(plain_json.read(path, finite=True), {"format": int}, str(path))
    if table["format"] != FORMAT:
        raise InputError(f"{path} has format {table['format']}, and format {FORMAT} is read here", REMEDY)
    fields = plain_json.table_of(table, _FIELDS, str(path))
    settings = plain_json.table_of(table.get("settings"), _SETTINGS, f"settings in {path}")
    try:
        covered = tuple(Covered(*map(int, one)) for one in fields["segments"])
        checksums = tuple(map(int, fields["checksums"]))
        if len(checksums) != len(files_of(folder, 0)):
            raise ValueError("a checksum for each file")
        total = sum(one.contents for one in covered)
        if any(min(one.contents, one.first) < 0 or one.first + one.contents > total for one in covered):
            raise ValueError("numbers beyond the contents")
    except (TypeError, ValueError, IndexError):
        raise InputError(f"{path} is damaged: its list of segments cannot be read", REMEDY) from None
    known = {
        name: fields[name] for name in ("number", "dim", "contents", "vectors", "first_only", "trained_on")
    }
    chosen = SearchSettings(**{name: settings[name] for name in _SETTINGS})
    if min(chosen.probes, chosen.nearest, chosen.candidates) < 1:
        raise InputError(f"{path} is damaged: its settings are not above 0", REMEDY)
    return RegionMeta(segments=covered, checksums=checksums, settings=chosen, **known)


def write_meta(folder: Path, meta: RegionMeta) -> None:
    table = asdict(meta) | {"format": FORMAT, "segments": [list(asdict(s).values()) for s in meta.segments]}
    checkpoint.write_json(folder / META, table)


def store_settings(folder: Path, number: int, settings: SearchSettings) -> None:
    """Store the measured settings, unless another build took the place of this one."""
    meta = read_meta(folder)
    if meta is not None and meta.number == number:
        write_meta(folder, replace(meta, settings=settings))


def remove_unnamed(folder: Path, number: int | None) -> None:
    """Remove the files of all builds but this one."""
    named = set() if number is None else set(files_of(folder, number))
    for path in folder.glob("regions-*.*"):
        if path not in named:
            remove_unless_open(path)


def fingerprint_of(folder: Path, segment: int, row_bytes: int, vectors: int) -> int:
    """Checksum of the first bytes of a segment, from its first so many vectors."""
    with inside(folder, file_of(folder, "vectors", segment).name).open("rb") as file:
        return zlib.crc32(file.read(min(FINGERPRINT_BYTES, row_bytes * vectors)))


def checksum_of(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            total = int(zlib.crc32(block, total))
    return total


def next_number(folder: Path) -> int:
    """A number that no build has, also none that was interrupted."""
    taken = [0]
    for path in folder.glob("regions-*.*"):
        digits = path.name.removeprefix("regions-").split(".")[0]
        taken += [int(digits)] if digits.isdigit() else []
    return max(taken) + 1
