"""Five tables of a configuration -> the five parts of a matcher, and back."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from wordsight import registry
from wordsight.encode.projection import out_dim
from wordsight.runtime.allocation import TensorBudget

PARTS = ("reader", "tokenizer", "image_encoder", "text_encoder", "similarity")
Tables = Mapping[str, Mapping[str, Any]]


def check_tables(tables: Tables) -> None:
    """Raises TableError for a part that is missing or names untrusted code; nothing is imported or built."""
    for kind in PARTS:
        if kind not in tables:
            raise registry.TableError(f"[{kind}] is missing; a matcher needs the tables {', '.join(PARTS)}")
        registry.check_trusted(kind, tables[kind])


def build_parts(
    kinds: Sequence[str], tables: Tables, sizes: Mapping[str, Any], budget: TensorBudget | None
) -> dict[str, Any]:
    """Build some of the parts in this order; ``sizes`` and those of each part are offered to the next."""
    parts: dict[str, Any] = {}
    offered = dict(sizes)
    for kind in kinds:
        with nullcontext() if budget is None else budget.spent_by(f"[{kind}]"):
            parts[kind] = registry.build(kind, tables[kind], **offered)
        offered |= _sizes(kind, parts[kind])
    return parts


def _sizes(kind: str, part: Any) -> dict[str, Any]:
    """Sizes of a part that the parts after it need."""
    known = {name: getattr(part, name, None) for name in ("feature_dim", "dim", "pad_id")}
    if kind == "text_encoder" and getattr(part, "projection", None) is not None:
        known["dim"] = out_dim(part)  # of the vectors that the similarity compares
    if kind == "tokenizer":
        known["vocabulary_size"] = len(part)
    return {name: size for name, size in known.items() if size is not None}


def describe(part: Any, folder: Path) -> dict[str, Any]:
    """The table of a part; parts that need files of their own write them into the folder."""
    table = registry.describe(part)
    return table | (part.save(folder) if hasattr(part, "save") else {})
