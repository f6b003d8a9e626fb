"""Check, repair, compact and measure an index on PostgreSQL."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from wordsight.errors import InputError
from wordsight.runtime.progress import Progress
from wordsight.search.index.compact import Compaction
from wordsight.search.index.stats import Stats
from wordsight.search.postgres import near_index, notes
from wordsight.search.postgres.facts import PostgresFiles
from wordsight.search.postgres.halfvec import places_and_vectors
from wordsight.search.postgres.server import Server, copied
from wordsight.search.remote import saved_model
from wordsight.search.remote.batch_rows import checksum
from wordsight.search.remote.session import RECALL

if TYPE_CHECKING:
    from wordsight.search.postgres.index import PostgresIndex

PICTURES_PER_PAGE = 1000
MAX_NAMED = 10
TABLES = ("region", "item", "picture", "file")
_PAGE = "SELECT picture, slots, checksum FROM picture WHERE picture > %s::uuid ORDER BY picture LIMIT %s"
_VECTORS = """COPY (
  SELECT array_position(%s::uuid[], r.picture)::bigint, r.vector, coalesce(r.box, '[-1,-1,-1,-1]'::halfvec)
  FROM region r WHERE r.picture = ANY(%s::uuid[]) ORDER BY 1, r.slot
) TO STDOUT (FORMAT BINARY)"""
_TWICE = "SELECT min(shown) FROM item GROUP BY path, part HAVING count(*) > 1 LIMIT %s"
_LOST = "FROM picture p WHERE NOT EXISTS (SELECT 1 FROM item i WHERE i.picture = p.picture)"


def problems(index: "PostgresIndex", progress: Progress) -> Iterator[str]:
    """One sentence per problem; writing in between is allowed."""
    try:
        saved_model.check(PostgresFiles(index.server), index.meta.model)
    except InputError as error:
        yield str(error)
    for (path,) in index.server.rows(_TWICE, (MAX_NAMED,)):
        yield f"{path} is there twice; index its folder again"
    found = list(damaged(index, progress))
    for picture in found[:MAX_NAMED]:
        query = "SELECT shown FROM item WHERE picture = %s::uuid ORDER BY id LIMIT 1"
        yield f"the vectors of {index.server.value(query, (picture,)) or picture} are damaged"
    if len(found) > MAX_NAMED:
        yield f"and those of {len(found) - MAX_NAMED} more"


def damaged(index: "PostgresIndex", progress: Progress) -> Iterator[str]:
    """Hashes of contents whose vectors are missing or have a wrong checksum."""
    last, done, total = UUID(int=0), 0, int(index.server.value("SELECT count(*) FROM picture"))
    while page := index.server.rows(_PAGE, (last, PICTURES_PER_PAGE)):
        vectors = _vectors(index.server, [picture for picture, _, _ in page], index.meta.dim)
        for number, (picture, slots, expected) in enumerate(page, 1):
            its, boxes = vectors.get(number, (np.zeros((0, index.meta.dim)), np.zeros((0, 4))))
            if len(its) != slots or checksum(its, boxes) != expected:
                yield str(picture)
        last, done = page[-1][0], done + len(page)
        progress("checking", done, total)


def _vectors(server: Server, pictures: list[UUID], dim: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Vectors and boxes of pictures, by their place in the list, from 1."""
    with server.connection() as connection, connection.cursor() as cursor:
        places, vectors, boxes = places_and_vectors(copied(cursor, _VECTORS, (pictures, pictures)), dim)
    starts = np.flatnonzero(np.diff(places, prepend=0)).tolist()
    ends = zip(starts, [*starts[1:], len(places)], strict=True)
    return {int(places[start]): (vectors[start:stop], boxes[start:stop]) for start, stop in ends}


def repair(index: "PostgresIndex", progress: Progress) -> int:
    """Delete items with damaged vectors, so that the next update encodes them again; returns how many."""
    bad = list(damaged(index, progress))
    with index.server.transaction() as connection:
        connection.execute("UPDATE state SET generation = generation + 1")
        dropped = connection.execute("DELETE FROM item WHERE picture = ANY(%s::uuid[])", (bad,)).rowcount
        for table in ("region", "picture"):
            connection.execute(f"DELETE FROM {table} WHERE picture = ANY(%s::uuid[])", (bad,))
    return dropped


def compact(index: "PostgresIndex") -> Compaction:
    """Delete contents without an item, build the approximate index anew, and return space to the tables."""
    server, before = index.server, sum(_bytes(index.server).values())
    with server.transaction() as connection:
        connection.execute("UPDATE state SET generation = generation + 1")
        dropped = connection.execute(f"DELETE {_LOST}").rowcount
    regions = int(server.value("SELECT coalesce(sum(slots), 0) FROM picture"))
    if regions >= near_index.MIN_REGIONS:
        near_index.build(server, regions, index.meta.dim)
        notes.drop(server, RECALL)
    with server.connection() as connection:
        connection.execute("VACUUM (ANALYZE) region, item, picture")
    return Compaction(dropped, max(0, before - sum(_bytes(server).values())))


@dataclass(frozen=True)
class ServerStats(Stats):
    """Statistics of an index on a server."""

    near_lists: int = 0  # of the approximate index; 0: none
    nearest: int = 0  # regions that each word retrieves; 0: not measured
    recall: float = 0.0  # of the candidates

    def to_text(self) -> str:
        near = f"approximate index of {self.near_lists} lists" if self.near_lists else "no approximate index"
        if self.nearest:
            near += f"; {self.nearest} regions per word hold {100 * self.recall:.0f} % of the ten best"
        return f"{super().to_text()}\n{near}"


def stats(index: "PostgresIndex") -> ServerStats:
    server = index.server
    recall, near = notes.read(server, RECALL), near_index.read(server)
    return ServerStats(
        kind=index.kind,
        items=int(server.value("SELECT count(*) FROM item")),
        contents=int(server.value("SELECT count(*) FROM picture")),
        unneeded=int(server.value(f"SELECT count(*) {_LOST}")),
        captioned=int(server.value("SELECT count(*) FROM item WHERE caption != '' OR sidecar != ''")),
        vectors=int(server.value("SELECT coalesce(sum(slots), 0) FROM picture")),
        dim=index.meta.dim,
        precision=index.meta.precision,
        segments=0,
        bytes=_bytes(server),
        model=index.meta.model,
        format=index.meta.format,
        near_lists=0 if near is None else near.lists,
        **({} if recall is None else {key: recall.value[key] for key in ("nearest", "recall")}),
    )


def health(index: "PostgresIndex") -> list[tuple[str, str]]:
    """Facts about the server that decide on speed and on what a failure can lose."""
    version, commits, clients = index.server.rows(
        "SELECT current_setting('server_version'), current_setting('synchronous_commit'), "
        "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wordsight')"
    )[0]
    vector = index.server.value("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    found, near = stats(index), near_index.read(index.server)
    candidates = "none yet: every search scores all items"
    if near is not None:
        grown = f", {found.vectors / max(near.regions, 1):.1f} times as many regions since"
        candidates = f"{near.lists} lists{grown if near_index.is_due(index.server, found.vectors) else ''}"
    recall = "not measured" if not found.nearest else f"{100 * found.recall:.0f} % of the ten best"
    return [
        ("server", f"PostgreSQL {version}, pgvector {vector}"),
        ("a commit waits for the disk", "no" if commits == "off" else "yes"),
        ("clients of wordsight", str(clients)),
        ("approximate index", candidates),
        ("recall of its candidates", recall),
    ]


def _bytes(server: Server) -> dict[str, int]:
    """Bytes of each table with its indexes; the approximate index by itself."""
    sizes: dict[str, Any] = {}
    size = "citus_total_relation_size" if is_distributed(server) else "pg_total_relation_size"
    for table in TABLES:
        function = size if table in ("region", "item", "picture") else "pg_total_relation_size"
        sizes["model" if table == "file" else table] = int(
            server.value(f"SELECT {function}(%s::regclass)", (table,))
        )
    near = server.value("SELECT pg_relation_size(to_regclass(%s))", (near_index.NAME,))
    if near:
        sizes |= {"region": sizes["region"] - int(near), "approximate index": int(near)}
    return sizes


def is_distributed(server: Server) -> bool:
    """Whether the tables are spread over Citus workers."""
    with suppress(InputError):
        query = "SELECT to_regclass('pg_dist_partition') IS NOT NULL"
        if not server.value(query):
            return False
        return bool(server.value("SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'region'::regclass"))
    return False
