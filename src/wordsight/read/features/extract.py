"""Picture files -> a feature store: decoded ahead in threads, resumable, the unreadable listed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from wordsight.errors import InputError
from wordsight.files.atomic import removed_on_failure
from wordsight.files.fingerprint import Stamp, content_of, stamp_of
from wordsight.pairs import Picture
from wordsight.read.features.store_writer import Seen, StoreWriter
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.read.pictures.pixel_reader import FrameReader, PreparedPicture
from wordsight.read.pictures.walk import WalkNotes, WalkRules, pictures_below
from wordsight.runtime.prefetch import prefetch
from wordsight.runtime.progress import Progress, silent
from wordsight.sets import Regions


@runtime_checkable
class RegionReader(Protocol):
    """The reader that an extraction needs."""

    identity: str
    feature_dim: int
    settings: dict[str, Any]

    def prepare(self, picture: Picture) -> PreparedPicture: ...
    def read(self, frames: Sequence[PreparedPicture]) -> Regions: ...


def find_pictures(
    folder: str | Path, rules: WalkRules | None = None, notes: WalkNotes | None = None
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The picture files in a folder and below, sorted; and folders and files that cannot be read, and why."""
    notes = notes or WalkNotes()
    found = sorted(pictures_below(folder, rules, notes))
    return found, [(Path(path), reason) for path, reason in (*notes.closed, *notes.skipped)]


@dataclass
class Extraction:
    """Result of an extraction: pictures newly stored, those already there, unreadable ones with reasons."""

    done: int = 0
    reused: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Candidate:
    """A file that a thread has read: stored before (no frame), decoded, or unreadable (a reason)."""

    path: Path
    stamp: Stamp = (0, 0)
    content: str = ""
    frame: PreparedPicture | None = None
    reason: str = ""


def extract(
    reader: RegionReader | FrameReader,
    paths: Iterable[str | Path],
    folder: str | Path,
    batch_size: int = 32,
    progress: Progress = silent,
    workers: int = 4,
    dtype: str = "float16",
) -> Extraction:
    """Store the regions of every picture that the folder does not have yet; safe to kill and to run again.

    ``dtype``: "float16" or "float32" on disk.
    Raises ValueError if the folder belongs to another reader, StoreInUse if another process writes there,
    StoreFull when the disk is full (what was stored stays), ValueError for features that are not finite.
    """
    if not isinstance(reader, RegionReader):
        raise InputError(
            f"{type(reader).__name__} gives pixels and no regions to store; take a backbone reader"
        )
    result = Extraction()
    files = [Path(path).absolute() for path in paths]
    with (
        removed_on_failure(Path(folder), keep=lambda: True),
        StoreWriter(Path(folder), reader.identity, reader.settings, dtype) as writer,
    ):
        progress("pictures", 0, len(files))
        look = partial(_look, reader, writer)
        batch: list[_Candidate] = []
        for seen, candidate in enumerate(prefetch(look, files, workers, 2 * batch_size), 1):
            if candidate.reason:
                result.skipped.append((candidate.path, candidate.reason))
            elif writer.has(candidate.content) or any(other.content == candidate.content for other in batch):
                result.reused += 1
                writer.saw(candidate.path, candidate.stamp, candidate.content)
            else:
                batch.append(candidate)
            if len(batch) == batch_size:
                result.done += _store(reader, writer, batch, len(batch) + len(files) - seen)
                batch = []
            progress("pictures", seen, len(files))
        result.done += _store(reader, writer, batch, len(batch))
    return result


def _look(reader: RegionReader, writer: StoreWriter, path: Path) -> _Candidate:
    try:
        stamp = stamp_of(path)
        content = writer.known(path, stamp) or content_of(path)
        frame = None if writer.has(content) else reader.prepare(path)
    except UnreadablePicture as error:
        return _Candidate(path, reason=error.reason)
    except OSError as error:
        return _Candidate(path, reason=(error.strerror or str(error)).lower())
    return _Candidate(path, stamp, content, frame)


def _store(reader: RegionReader, writer: StoreWriter, batch: Sequence[_Candidate], left: int) -> int:
    frames = [candidate.frame for candidate in batch if candidate.frame is not None]
    if frames:
        seen = [
            Seen(candidate.path, candidate.stamp, candidate.content, frame.size)
            for candidate, frame in zip(batch, frames, strict=True)
        ]
        writer.append(reader.read(frames), seen, left)
    return len(frames)
