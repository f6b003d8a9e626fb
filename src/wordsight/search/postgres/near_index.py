"""The approximate index over the regions of an index on PostgreSQL: IVFFlat, built from the stored vectors.

A query of late interaction wants thousands of regions per word. IVFFlat returns all of a list at once, HNSW
visits them one by one, and takes many times as long to build. The lists are clusters of the vectors that were
there at the build, so it is built anew when the index has grown.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wordsight.search.postgres import notes
from wordsight.search.postgres.server import Server

if TYPE_CHECKING:
    from psycopg import Connection

NAME = "region_by_vector"
NOTE = "near"
MIN_REGIONS = 10_000  # a smaller index is scanned as quickly
REBUILD_GROWTH = 2.0
REGIONS_PER_LIST = 1000
MIN_PROBES = 4
SAMPLED_PER_LIST = 50  # vectors that pgvector clusters
MIN_SAMPLED = 10_000
MAX_LISTS = 32_768  # pgvector accepts no more
MAX_MB = 2048  # for its k-means, unless the server allows more


@dataclass(frozen=True)
class NearIndex:
    """How the index was built."""

    lists: int
    regions: int  # there at the build

    def probes(self, share: float) -> int:
        """Lists that a word reads: a multiple of the square root of all."""
        return min(self.lists, max(MIN_PROBES, round(share * math.sqrt(self.lists))))


def read(server: Server) -> NearIndex | None:
    note = notes.read(server, NOTE)
    return None if note is None else NearIndex(**note.value)


def lists_for(regions: int, megabytes: int = MAX_MB) -> int:
    """Number of lists, as pgvector recommends: one per thousand, and the square root above a million.

    There are fewer where their k-means would need more memory than ``megabytes``.
    """
    wanted = max(16, regions // REGIONS_PER_LIST if regions <= 1_000_000 else math.isqrt(regions))
    return min(wanted, math.isqrt((megabytes << 20) // (5 * SAMPLED_PER_LIST)), MAX_LISTS)


def build_megabytes(lists: int, dim: int, regions: int) -> int:
    """Memory that pgvector needs to build so many lists: a bound for each sampled vector and list."""
    sampled = min(regions, max(MIN_SAMPLED, SAMPLED_PER_LIST * lists))
    numbers = sampled * lists + lists * lists + (sampled + 3 * lists) * (dim + 4)
    return 64 + 4 * numbers // 2**20


def is_due(server: Server, regions: int) -> bool:
    """Whether the index should be built, or built anew."""
    before = read(server)
    return regions >= MIN_REGIONS and (before is None or regions >= REBUILD_GROWTH * before.regions)


def build(server: Server, regions: int, dim: int) -> NearIndex:
    """Build the index beside an older one, which serves searches until the new one takes its place."""
    allowed = "SELECT setting::bigint / 1024 FROM pg_settings WHERE name = 'maintenance_work_mem'"
    made = NearIndex(lists_for(regions, max(MAX_MB, int(server.value(allowed)))), regions)
    megabytes = build_megabytes(made.lists, dim, regions)
    with server.connection() as connection:
        connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", (f"{megabytes}MB",))
        connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}_new")
        connection.execute(
            f"CREATE INDEX CONCURRENTLY {NAME}_new ON region USING ivfflat (vector halfvec_ip_ops) "
            f"WITH (lists = {made.lists:d})"
        )
        with connection.transaction():
            connection.execute(f"DROP INDEX IF EXISTS {NAME}")
            connection.execute(f"ALTER INDEX {NAME}_new RENAME TO {NAME}")
        connection.execute("ANALYZE region")
        connection.execute("RESET maintenance_work_mem")
    notes.write(server, NOTE, 0, regions, asdict(made))
    return made


def set_probes(connection: "Connection[Any]", near: NearIndex | None, share: float = 1.0) -> None:
    """Set for this transaction how much of the index is read: more where filters drop candidates."""
    if near is not None:
        connection.execute(
            "SELECT set_config('ivfflat.probes', %s, true), "
            "set_config('ivfflat.iterative_scan', 'relaxed_order', true), "
            "set_config('ivfflat.max_probes', %s, true)",
            (str(near.probes(share)), str(near.lists)),
        )
