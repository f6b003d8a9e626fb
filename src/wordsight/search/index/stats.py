"""Statistics of an index: items, vectors, bytes on disk and per item, contents to compact."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wordsight.files.index_folder import MODEL
from wordsight.search.index import database
from wordsight.search.index.manifest import Meta
from wordsight.search.index.region_upkeep import opened
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.index.vector_files import KINDS

_DEAD = "SELECT count(*) FROM contents c WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.content = c.key)"


@dataclass(frozen=True)
class Stats:
    """Statistics of one state of an index."""

    kind: str  # images or texts
    items: int
    contents: int  # different ones; files of equal bytes share their vectors
    unneeded: int  # contents without an item, which a compaction drops
    captioned: int  # items with a text
    vectors: int
    dim: int
    precision: str
    segments: int
    bytes: dict[str, int]  # on disk: vectors, scales, boxes, pooled, regions, facts, model
    model: str  # identity
    format: int
    regions: dict[str, Any] | None = None  # the index of regions; None without one

    @property
    def bytes_per_item(self) -> float:
        """Bytes per item, without the model."""
        return sum(size for name, size in self.bytes.items() if name != "model") / max(self.items, 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"bytes_per_item": round(self.bytes_per_item, 1)}

    def to_text(self) -> str:
        sizes = ", ".join(f"{name} {size / 1e6:,.1f}" for name, size in self.bytes.items())
        return (
            f"{self.items} {self.kind}, {self.contents} different, {self.captioned} with a text\n"
            f"{self.vectors} vectors of {self.dim} in {self.precision}, {self.segments} segments; "
            f"{self.unneeded} contents to compact\n"
            f"MB: {sizes}; {self.bytes_per_item:,.0f} bytes per item without the model\n"
            f"model {self.model}, format {self.format}"
            + ("" if self.regions is None else "\n" + _regions_text(self.regions))
        )


def measured(folder: Path, meta: Meta, snapshot: Snapshot) -> Stats:
    def count(query: str) -> int:
        return int(database.value(snapshot.connection, query) or 0)

    return Stats(
        kind=meta.kind,
        items=len(snapshot),
        contents=count("SELECT count(*) FROM contents"),
        unneeded=count(_DEAD),
        captioned=count("SELECT count(*) FROM items WHERE told != '' OR beside != ''"),
        vectors=count("SELECT sum(vectors) FROM segments"),
        dim=meta.dim,
        precision=meta.precision,
        segments=count("SELECT count(*) FROM segments"),
        bytes=_bytes(folder),
        model=meta.model,
        format=meta.format,
        regions=_regions(folder, snapshot),
    )


def _regions(folder: Path, snapshot: Snapshot) -> dict[str, Any] | None:
    lists = opened(folder)
    if lists is None:
        return None
    outside = int((lists.meta.numbers_of(*snapshot.content_places()) < 0).sum())
    sizes = {"lists": len(lists.tables.sizes), "vectors": lists.meta.vectors, "outside": outside}
    return sizes | asdict(lists.meta.settings)


def _regions_text(regions: dict[str, Any]) -> str:
    recall = "recall not measured yet"
    if regions["queries"]:
        recall = (
            f"recall@10 {regions['recall']:.3f} on {regions['queries']} queries of this index "
            f"({regions['probes']} lists and {regions['nearest']} regions per word, "
            f"{regions['candidates']} pictures scored)"
        )
    return (
        f"index of regions: {regions['vectors']} vectors in {regions['lists']} lists, "
        f"{regions['outside']} {'item' if regions['outside'] == 1 else 'items'} outside; {recall}"
    )


def _bytes(folder: Path) -> dict[str, int]:
    names = {kind: f"{kind}-*.bin" for kind in KINDS} | {
        "regions": "regions*",
        "facts": f"{database.FACTS}*",
        "model": f"{MODEL}/**/*",
    }
    sizes = {
        name: sum(p.stat().st_size for p in folder.glob(glob) if p.is_file()) for name, glob in names.items()
    }
    return {name: size for name, size in sizes.items() if size}
