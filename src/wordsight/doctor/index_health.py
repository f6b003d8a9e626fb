"""An index folder -> what is in it, and whether it can be searched: quick checks, no checksums."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.doctor.facts import Fact, State
from wordsight.doctor.storage import shown
from wordsight.errors import WordsightError, user_message

if TYPE_CHECKING:
    from wordsight.search.index.index import Index

FEW = 1000  # items whose files are looked for


def index_health(folder: Path) -> Iterator[Fact]:
    yield Fact("folder", shown(folder))
    try:
        yield from _facts(folder)
    except (WordsightError, OSError) as error:
        yield Fact(
            "cannot be opened",
            user_message(error) or str(error),
            State.problem,
            "restore a copy, or index again",
        )


def _facts(folder: Path) -> Iterator[Fact]:
    from wordsight.search.index.index import Index
    from wordsight.search.index.picture_roots import remembered

    index = Index.open(folder)
    stats = index.stats()
    yield Fact(
        "holds",
        f"{stats.items:,} {stats.kind}, {stats.contents:,} different, {stats.captioned:,} with a text",
    )
    yield Fact("vectors", f"{stats.vectors:,} of {stats.dim} in {stats.precision}, format {stats.format}")
    yield Fact("size", f"{sum(stats.bytes.values()) / 1e6:,.1f} MB, the model in it included")
    yield _compaction(folder, stats.unneeded)
    yield Fact("model", f"{stats.model}, {_similarity(index)}")
    yield _probabilities(folder)
    yield Fact("last written", _age(folder))
    if stats.kind == "images":
        yield from _pictures(index)
        roots = remembered(folder)
        without = "the server shows no picture until you name the folder: wordsight serve --root FOLDER"
        yield Fact(
            "folders that may be shown",
            len(roots),
            State.ok if roots else State.note,
            "" if roots else without,
        )
    yield Fact(
        "checksums", "not read", advice=f"wordsight index --out {shown(folder)} --verify reads every byte"
    )


def _age(folder: Path) -> str:
    from wordsight.search.index.database import FACTS

    files = (folder / FACTS, folder / f"{FACTS}-wal")  # not the -shm, which a reader changes too
    written = max(one.stat().st_mtime for one in files if one.exists() and one.stat().st_size)
    hours = max(0.0, time.time() - written) / 3600
    return f"{hours / 24:.1f} days ago" if hours > 48 else f"{hours:.1f} hours ago"


def _compaction(folder: Path, unneeded: int) -> Fact:
    if not unneeded:
        return Fact("contents to compact", 0)
    return Fact(
        "contents to compact", unneeded, State.note, f"wordsight index --out {shown(folder)} --compact"
    )


def _similarity(index: "Index") -> str:
    from wordsight import checkpoint
    from wordsight.search.index.manifest import MODEL

    return str(checkpoint.read_config(index.folder / MODEL)["parts"]["similarity"]["name"])


def _probabilities(folder: Path) -> Fact:
    from wordsight.presence.saved import load_presence
    from wordsight.search.index.manifest import MODEL

    presence = load_presence(folder / MODEL)
    if presence is None:
        advice = f"fit them: wordsight calibrate MODEL --index {shown(folder)}"
        return Fact("probabilities", "none: answers use a threshold of scores", State.note, advice)
    if not presence.is_calibrated:
        return Fact(
            "probabilities",
            f"{len(presence.words):,} words, uncalibrated",
            State.note,
            "give more validation pictures",
        )
    return Fact("probabilities", f"{len(presence.words):,} words")


def _pictures(index: "Index") -> Iterator[Fact]:
    """Whether the files of some items, evenly spread, are where the index says."""
    with index.snapshot() as snapshot:
        count = len(snapshot)
        if not count:
            yield Fact("files", "none indexed", State.note, "index a folder")
            return
        rows = (
            sorted({round(n * (count - 1) / (FEW - 1)) for n in range(FEW)}) if count > FEW else range(count)
        )
        gone = [item.path for item in snapshot.items(rows) if not os.path.exists(item.path)]
    if gone:
        advice = "run wordsight index on their folder again, or bring the disk back"
        yield Fact("files", f"{len(gone):,} of {len(rows):,} are not there", State.note, advice)
    else:
        yield Fact("files", f"all of {len(rows):,} are there")
