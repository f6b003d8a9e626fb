"""An index and the wanted engine -> its region index made, extended, or removed."""

import logging
from pathlib import Path

from wordsight.errors import InputError, MissingPackageError
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import region_lists, region_meta
from wordsight.search.index.decompose import Decomposition, decomposition
from wordsight.search.index.region_build import RegionBuild
from wordsight.search.index.region_lists import RegionLists
from wordsight.search.index.region_meta import RegionMeta
from wordsight.search.index.snapshot import Snapshot
from wordsight.similarity.base import Similarity

ENGINES = ("auto", "regions", "exact")
AUTO_NUMBERS = 200_000_000  # numbers in the vectors of an index from which an exact search takes 0.1 s
_log = logging.getLogger("wordsight.search")


def update_regions(
    snapshot: Snapshot, similarity: Similarity, engine: str, progress: Progress = silent
) -> RegionMeta | None:
    """Bring the region index of a snapshot into step; the caller holds the write lock.

    ``engine``  "regions" makes one, "exact" removes it, "auto" keeps the one that is there in step and makes
                one where an exact search is slow
    Raises InputError for a similarity that it cannot serve, MissingPackageError without faiss.
    """
    if engine == "exact":
        remove(snapshot.folder)
        return None
    parts = decomposition(similarity)
    if engine == "regions":
        region_lists.import_faiss()
        parts = required(similarity)
    there = opened(snapshot.folder)
    is_named = (snapshot.folder / region_meta.META).is_file()  # also one that an older version made
    if parts is None or not (engine == "regions" or is_named or _is_large(snapshot, parts)):
        return None
    if there is None and not len(snapshot):
        return None
    try:
        build = RegionBuild(snapshot, there, parts.first_only)
        if build.is_needed:
            return build.run(progress)
    except MissingPackageError as error:
        if engine == "regions":
            raise
        _log.info("%s; until then searches take longer", error)
    return None if there is None else there.meta


def required(similarity: Similarity) -> Decomposition:
    """The decomposition of a similarity. Raises InputError, with the reason, if it has none."""
    parts = decomposition(similarity)
    if parts is None:
        raise InputError(
            f"scores of {type(similarity).__name__} do not follow from the best region of each word, so no "
            "index of regions can serve them",
            "leave --engine out: all pictures are scored",
        )
    return parts


def opened(folder: Path) -> RegionLists | None:
    """The region index of a folder; None also for one that cannot be read, which the log says."""
    try:
        return RegionLists.open(folder)
    except (OSError, ValueError) as error:
        _log.warning("the index of regions is not used: %s", error)
        return None


def remove(folder: Path) -> None:
    """Remove the region index, its description first."""
    (folder / region_meta.META).unlink(missing_ok=True)
    region_meta.remove_unnamed(folder, None)


def _is_large(snapshot: Snapshot, parts: Decomposition) -> bool:
    vectors = len(snapshot) if parts.first_only else int(snapshot.lengths.sum())
    return vectors * snapshot.layout.dim >= AUTO_NUMBERS
