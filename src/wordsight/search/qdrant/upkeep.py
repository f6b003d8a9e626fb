"""Check, repair and measure an index on Qdrant."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index.stats import Stats
from wordsight.search.qdrant.points import vectors_of
from wordsight.search.qdrant.store import GENERATION
from wordsight.search.remote import saved_model
from wordsight.search.remote.batch_rows import checksum
from wordsight.search.remote.session import RECALL

if TYPE_CHECKING:
    from wordsight.search.qdrant.index import QdrantIndex

MAX_NAMED = 10


def problems(index: "QdrantIndex", progress: Progress) -> Iterator[str]:
    """One sentence per problem; writing in between is allowed."""
    try:
        saved_model.check(index.store, index.meta.model)
    except InputError as error:
        yield str(error)
    places: Counter[tuple[str, str]] = Counter()
    for point in index.store.points(None, payload=["shown", "part"]):
        payload = point.payload or {}
        places[payload["shown"], payload["part"]] += 1
    for (path, _), count in places.items():
        if count > 1:
            yield f"{path} is there {count} times; index its folder again"
    found = list(damaged(index, progress))
    for _, path in found[:MAX_NAMED]:
        yield f"the vectors of {path} are damaged"
    if len(found) > MAX_NAMED:
        yield f"and those of {len(found) - MAX_NAMED} more"


def damaged(index: "QdrantIndex", progress: Progress) -> Iterator[tuple[int, str]]:
    """Id and path of items whose vectors are missing or have a wrong checksum."""
    with index.store.client() as client:
        total = client.count(index.store.items, exact=True).count
    facts = ["shown", "slots", "checksum", "boxes"]
    for done, point in enumerate(index.store.points(None, payload=facts, vectors=True), 1):
        payload: dict[str, Any] = point.payload or {}
        vectors, boxes = vectors_of(point.vector or [], payload["boxes"])
        if len(vectors) != payload["slots"] or checksum(vectors, boxes) != payload["checksum"]:
            yield int(point.id), payload["shown"]
        progress("checking", done, total)


def repair(index: "QdrantIndex") -> int:
    """Delete items with damaged vectors, so that the next update encodes them again; returns how many."""
    from qdrant_client import models

    bad = [id_ for id_, _ in damaged(index, silent)]
    if bad:
        with index.store.client() as client:
            client.delete(index.store.items, models.PointIdsList(points=list(bad)), wait=True)
        index.store.write_note(GENERATION, random.getrandbits(53))
    return len(bad)


@dataclass(frozen=True)
class QdrantStats(Stats):
    """Statistics of an index on Qdrant."""

    recall: float = 0.0  # of the candidates; 0: not measured

    def to_text(self) -> str:
        measured = f"{100 * self.recall:.0f} % of the ten best" if self.recall else "not measured"
        return f"{super().to_text()}\nrecall of the candidates: {measured}"


def stats(index: "QdrantIndex") -> QdrantStats:
    contents, items, vectors, captioned = set(), 0, 0, 0
    for point in index.store.points(None, payload=["content", "slots", "caption", "sidecar"]):
        payload = point.payload or {}
        contents.add(payload["content"])
        items, vectors = items + 1, vectors + payload["slots"]
        captioned += bool(payload["caption"] or payload["sidecar"])
    recall = index.store.note(RECALL)
    return QdrantStats(
        kind=index.kind,
        items=items,
        contents=len(contents),
        unneeded=0,
        captioned=captioned,
        vectors=vectors,
        dim=index.meta.dim,
        precision=index.meta.precision,
        segments=0,
        bytes={"vectors (computed)": 2 * index.meta.dim * vectors},
        model=index.meta.model,
        format=index.meta.format,
        recall=0.0 if recall is None else recall["value"]["recall"],
    )


def health(index: "QdrantIndex") -> list[tuple[str, str]]:
    """Facts about the server for ``wordsight doctor``."""
    where = "a folder, open in one process at a time"
    if not index.store.url.is_file:
        with index.store.client() as client:
            where = f"Qdrant {client.info().version}"
    return [("server", where)]
