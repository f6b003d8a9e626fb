"""Match pictures and sentences word by word: learn it, measure it, search with it, see why."""

import importlib
from typing import Any

_HOME = {
    "CaptionDataset": "read.datasets.dataset",
    "Captioned": "read.datasets.records",
    "Dataset": "read.datasets.dataset",
    "EmbeddingSet": "sets",
    "Matcher": "matcher",
    "PairSet": "pairs",
    "Pixels": "sets",
    "Regions": "sets",
    "Tokens": "sets",
}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Public names load when first used, so that ``import wordsight`` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'wordsight' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"wordsight.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
