"""Match pictures and sentences word by word: train, measure, search, and see why.

The names of ``__all__`` are the public surface; everything else may change between versions.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wordsight.builder import Builder
    from wordsight.config import Config, load_config
    from wordsight.encode.base import ImageEncoder, TextEncoder
    from wordsight.errors import InputError, WordsightError
    from wordsight.evaluation.evaluate import evaluate
    from wordsight.evaluation.protocols import Protocol
    from wordsight.learn.loss import Loss
    from wordsight.matcher import Matcher
    from wordsight.pairs import EncodedPairs, PairSet
    from wordsight.read.base import Reader
    from wordsight.read.datasets.dataset import CaptionDataset, Dataset
    from wordsight.read.datasets.records import Captioned
    from wordsight.read.text.base import Tokenizer
    from wordsight.runs.training import train
    from wordsight.search.engine.engine import Engine
    from wordsight.search.index.index import Index
    from wordsight.search.searcher import Searcher
    from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens
    from wordsight.similarity.base import Alignment, Similarity
    from wordsight.web.app import create_app
    from wordsight.web.security import AccessPolicy

__all__ = [
    "AccessPolicy",
    "Alignment",
    "Builder",
    "CaptionDataset",
    "Captioned",
    "Config",
    "Dataset",
    "EmbeddingSet",
    "EncodedPairs",
    "Engine",
    "ImageEncoder",
    "Index",
    "InputError",
    "Loss",
    "Matcher",
    "PairSet",
    "Pixels",
    "Protocol",
    "Reader",
    "Regions",
    "Searcher",
    "Similarity",
    "TextEncoder",
    "Tokenizer",
    "Tokens",
    "WordsightError",
    "create_app",
    "evaluate",
    "load_config",
    "train",
]
__version__ = "0.2.0"
_MODULES = {
    "builder": ("Builder",),
    "config": ("Config", "load_config"),
    "encode.base": ("ImageEncoder", "TextEncoder"),
    "errors": ("InputError", "WordsightError"),
    "evaluation": ("Protocol", "evaluate"),
    "learn.loss": ("Loss",),
    "matcher": ("Matcher",),
    "pairs": ("EncodedPairs", "PairSet"),
    "read.base": ("Reader",),
    "read.datasets.dataset": ("CaptionDataset", "Dataset"),
    "read.datasets.records": ("Captioned",),
    "read.text.base": ("Tokenizer",),
    "runs.training": ("train",),
    "search.engine.engine": ("Engine",),
    "search.index.index": ("Index",),
    "search.searcher": ("Searcher",),
    "sets": ("EmbeddingSet", "Pixels", "Regions", "Tokens"),
    "similarity.base": ("Alignment", "Similarity"),
    "web.app": ("create_app",),
    "web.security": ("AccessPolicy",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that ``import wordsight`` costs nothing."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'wordsight' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"wordsight.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
