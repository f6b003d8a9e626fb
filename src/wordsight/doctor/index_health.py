"""An index -> what is in it, and whether it can be searched: quick checks, no checksums."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.doctor.facts import Fact, State
from wordsight.doctor.storage import shown
from wordsight.errors import WordsightError, user_message

if TYPE_CHECKING:
    from wordsight.search.index.interface import SearchableIndex
    from wordsight.search.places import Place

FEW = 1000  # items whose files are looked for


def index_health(place: "Place") -> Iterator[Fact]:
    yield Fact("folder", shown(place)) if isinstance(place, Path) else Fact("address", str(place))
    try:
        yield from _facts(place)
    except (WordsightError, OSError) as error:
        yield Fact(
            "cannot be opened",
            user_message(error) or str(error),
            State.problem,
            "restore a copy, or index again" if isinstance(place, Path) else "",
        )


def _facts(place: "Place") -> Iterator[Fact]:
    from wordsight.search.index.picture_roots import remembered
    from wordsight.search.places import open_index

    index = open_index(place)
    name = shown(place) if isinstance(place, Path) else f"'{place}'"
    stats = index.stats()
    yield Fact(
        "holds",
        f"{stats.items:,} {stats.kind}, {stats.contents:,} different, {stats.captioned:,} with a text",
    )
    yield Fact("vectors", f"{stats.vectors:,} of {stats.dim} in {stats.precision}, format {stats.format}")
    yield Fact("size", f"{sum(stats.bytes.values()) / 1e6:,.1f} MB, the model in it included")
    yield _compaction(name, stats.unneeded)
    yield Fact("model", f"{stats.model}, {_similarity(index)}")
    yield _probabilities(index, name)
    if isinstance(place, Path):
        yield Fact("last written", _age(place))
    for what, value in index.health():
        yield Fact(what, value)
    if stats.kind == "images":
        yield from _pictures(index)
        roots = remembered(index.folder)
        without = "the server shows no picture until you name the folder: wordsight serve --root FOLDER"
        yield Fact(
            "folders that may be shown",
            len(roots),
            State.ok if roots else State.note,
            "" if roots else without,
        )
    yield Fact("checksums", "not read", advice=f"wordsight index --out {name} --verify reads every byte")


def _age(folder: Path) -> str:
    from wordsight.search.index.database import FACTS

    files = (folder / FACTS, folder / f"{FACTS}-wal")  # not the -shm, which a reader changes too
    written = max(one.stat().st_mtime for one in files if one.exists() and one.stat().st_size)
    hours = max(0.0, time.time() - written) / 3600
    return f"{hours / 24:.1f} days ago" if hours > 48 else f"{hours:.1f} hours ago"


def _compaction(name: str, unneeded: int) -> Fact:
    if not unneeded:
        return Fact("contents to compact", 0)
    return Fact("contents to compact", unneeded, State.note, f"wordsight index --out {name} --compact")


def _similarity(index: "SearchableIndex") -> str:
    from wordsight import checkpoint

    return str(checkpoint.read_config(index.model_folder)["parts"]["similarity"]["name"])


def _probabilities(index: "SearchableIndex", name: str) -> Fact:
    from wordsight.presence.saved import load_presence

    presence = load_presence(index.model_folder)
    if presence is None:
        advice = f"fit them: wordsight calibrate MODEL --index {name}"
        return Fact("probabilities", "none: answers use a threshold of scores", State.note, advice)
    if not presence.is_calibrated:
        return Fact(
            "probabilities",
            f"{len(presence.words):,} words, uncalibrated",
            State.note,
            "give more validation pictures",
        )
    return Fact("probabilities", f"{len(presence.words):,} words")


def _pictures(index: "SearchableIndex") -> Iterator[Fact]:
    """Whether the files of some items, evenly spread, are where the index says."""
    from wordsight.search.relevance.null_scores import spread_rows

    with index.snapshot() as snapshot:
        count = len(snapshot)
        if not count:
            yield Fact("files", "none indexed", State.note, "index a folder")
            return
        is_remote = hasattr(snapshot, "sampled_rows")  # its rows are no numbers from 0
        rows = snapshot.sampled_rows(FEW) if is_remote else spread_rows(count, FEW)
        gone = [item.path for item in snapshot.items(rows) if not os.path.exists(item.path)]
    if gone:
        advice = "run wordsight index on their folder again, or bring the disk back"
        yield Fact("files", f"{len(gone):,} of {len(rows):,} are not there", State.note, advice)
    else:
        yield Fact("files", f"all of {len(rows):,} are there")
