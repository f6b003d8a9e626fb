"""The menu: every name that a config may use -> "module:Class". Text only, so that nothing heavy loads here.

A name with a colon that is not on the menu is taken as it stands: ``name = "my_lab.losses:Focal"``.
"""

import difflib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from wordsight import aliases
from wordsight.errors import InputError

REGISTRY: dict[str, dict[str, str]] = {
    "data": {  # in the order in which a path is recognized
        "precomp": "wordsight.read.datasets.precomputed:Precomp",
        "person-search": "wordsight.read.datasets.person_search:PersonSearch",
        "records": "wordsight.read.datasets.tfrecords:Records",
        "webdataset": "wordsight.read.datasets.webdataset:WebDataset",
        "karpathy": "wordsight.read.datasets.karpathy:Karpathy",
        "coco-captions": "wordsight.read.datasets.coco:Coco",
        "table": "wordsight.read.datasets.table:Table",
        "folder": "wordsight.read.datasets.folder:Folder",
        "world": "wordsight.read.synthetic.dataset:World",
    },
    "reader": {
        "precomputed": "wordsight.read.features.precomputed_reader:Precomputed",
        "pixels": "wordsight.read.pictures.pixel_reader:PixelReader",
        "model-pixels": "wordsight.read.pictures.preprocessor_config:model_pixels",
        "backbone": "wordsight.read.pictures.backbone_reader:BackboneReader",
    },
    "tokenizer": {
        "words": "wordsight.read.text.word_tokenizer:Words",
        "wordpieces": "wordsight.read.text.wordpiece_tokenizer:WordPieces",
        "dual": "wordsight.read.text.clip_tokenizer:DualTokenizer",
    },
    "image_encoder": {
        "regions": "wordsight.encode.regions:RegionEncoder",
        "grid-cnn": "wordsight.encode.cnn:GridCNN",
        "backbone": "wordsight.encode.backbone:BackboneEncoder",
        "dual": "wordsight.encode.dual:DualImageEncoder",
    },
    "text_encoder": {
        "recurrent": "wordsight.encode.recurrent:RecurrentEncoder",
        "bert": "wordsight.encode.bert:BertEncoder",
        "dual": "wordsight.encode.dual:DualTextEncoder",
    },
    "pool": {
        "mean": "wordsight.encode.pool:MeanPool",
        "max": "wordsight.encode.pool:MaxPool",
        "last": "wordsight.encode.pool:LastPool",
        "gpo": "wordsight.encode.pool:GPO",
    },
    "similarity": {
        "max-sim": "wordsight.similarity.max_sim:MaxSim",
        "cross-attention": "wordsight.similarity.cross_attention:CrossAttention",
        "bidirectional": "wordsight.similarity.bidirectional:BothWays",
        "label-agreement": "wordsight.similarity.label_agreement:Semantic",
        "cosine": "wordsight.similarity.cosine:Cosine",
        "order": "wordsight.similarity.order_embedding:Order",
        "dual": "wordsight.similarity.dual_encoder:Dual",
    },
    "pooling": {
        "mean": "wordsight.similarity.pooling:Mean",
        "max": "wordsight.similarity.pooling:Max",
        "sum": "wordsight.similarity.pooling:Sum",
        "softmax": "wordsight.similarity.pooling:Softmax",
        "log-sum-exp": "wordsight.similarity.pooling:LogSumExp",
    },
    "loss": {
        "triplet": "wordsight.learn.triplet:Triplet",
        "info-nce": "wordsight.learn.contrastive:InfoNCE",
        "consistency": "wordsight.learn.consistency:Consistency",
        "projection": "wordsight.learn.projection:Projection",
    },
}


GROUPS = {"data": "wordsight.dataset"}  # of entry points: parts that installed packages add


def names_of(kind: str) -> dict[str, str]:
    """The parts of a kind by name: those of installed packages, then our own, which nobody replaces."""
    group = GROUPS.get(kind)
    added = {} if group is None else {point.name: point.value for point in entry_points(group=group)}
    return {name: value for name, value in added.items() if name not in REGISTRY[kind]} | REGISTRY[kind]


def find(kind: str, name: str) -> Any:
    """The class behind a name; an unknown one is an error that lists the known."""
    name, names = aliases.current_part(kind, name), names_of(kind)
    address = name if ":" in name else names.get(name)
    if address is None:
        raise InputError(f'unknown {kind} "{name}"{nearest(name, names)}; known: {_listed(names)}')
    module, _, attribute = address.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f'{kind} "{name}": {address} cannot be imported ({error})') from error


def build(kind: str, table: Mapping[str, Any], **given: Any) -> Any:
    """Build a part from its table; ``given`` offers values to the settings that its signature names."""
    name, settings = _named(kind, table)
    return instantiate(find(kind, name), f"[{kind}]", settings, **given)


def instantiate(part: Callable[..., Any], where: str, settings: Mapping[str, Any], **given: Any) -> Any:
    """Call ``part`` with its settings; one that is unknown, of another type or missing is an error."""
    known = _settings_of(part)
    settings = aliases.current_settings(settings, known)
    _must_be_known(part, where, settings)
    offered = {key: value for key, value in given.items() if key in known and key not in settings}
    missing = [
        key
        for key, setting in known.items()
        if setting.default is setting.empty and key not in settings and key not in offered
    ]
    if missing:
        raise InputError(f"{where} {part.__name__} needs {', '.join(missing)}")
    return part(**settings, **offered)


def _must_be_known(part: Callable[..., Any], where: str, settings: Mapping[str, Any]) -> None:
    known = _settings_of(part)
    for key, value in settings.items():
        if key not in known:
            raise InputError(
                f"{where} {key} is not a setting of {part.__name__}{nearest(key, known)}; "
                f"known: {_listed(known)}"
            )
        if not _fits(value, known[key].annotation):
            raise InputError(f"{where} {key} = {value!r}; expected {_in_words(known[key].annotation)}")
        if part.__module__.startswith("wordsight."):  # in the parts of others a name may mean something else
            _must_make_sense(where, key, value, known[key].default)


_LIMITS: dict[str, tuple[float, float, str]] = {  # least, most; a name means the same in every part
    **dict.fromkeys(
        (
            "captions_per_image", "count", "detections", "dim", "feature_dim", "grid", "heads", "hidden",
            "high_res_grid", "high_res_size", "images", "labels", "layers", "max_length", "position_dim",
            "projection", "short_side", "size", "vocabulary_size", "width", "word_dim",
        ),
        (1, math.inf, "at least 1"),
    ),
    **dict.fromkeys(
        (
            "classes", "depth", "every", "min_count", "overlaps", "pad_id", "positive_weights", "ramp_epochs",
            "warmup_epochs",
        ),
        (0, math.inf, "0 or more"),
    ),
    **dict.fromkeys(
        ("dropout", "input_dropout", "label_smoothing", "momentum", "output_dropout"), (0, 1, "0 to 1")
    ),
    **dict.fromkeys(("memory_mb", "std", "temperature"), (sys.float_info.min, math.inf, "more than 0")),
}  # fmt: skip


def _must_make_sense(where: str, key: str, value: Any, default: Any) -> None:
    """Numbers, alone or in a list, are within the limits of their name; a default always is.

    A list of layers is none of how many, but of which ones.
    """
    several = value if isinstance(value, list | tuple) and key != "layers" else [value]
    numbers = [one for one in several if _fits(one, float)]
    least, most, words = _LIMITS.get(key, (-math.inf, math.inf, ""))
    if key in _LIMITS and value != default and not all(least <= number <= most for number in numbers):
        default_note = f"; left out it is {default}" if _fits(default, float) else ""
        raise InputError(f"{where} {key} = {value!r}; expected {words}{default_note}")


_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path",
    Sequence: "a list", Mapping: "a table",
}  # fmt: skip


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; types that no TOML value has, such as parts, fit always."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(one, get_args(kind)[1]) for one in value.values())
    if origin in (int, float):
        return isinstance(value, int if origin is int else int | float) and not isinstance(value, bool)
    if origin is Path:
        return isinstance(value, str | Path)
    return isinstance(value, origin) if origin in (bool, str, NoneType) else True


def _in_words(kind: Any) -> str:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        words = [_in_words(one) for one in inner if one is not NoneType]
        return " or ".join(dict.fromkeys(words))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else f'"{inner[0]}"'
    items = (
        f", each item {_in_words(inner[-1])}"
        if origin in (Sequence, Mapping) and inner[-1] is not Any
        else ""
    )
    return _WORDS.get(origin, str(origin)) + items


def complete(kind: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the default of every setting that it leaves out."""
    name, settings = _named(kind, table)
    part = find(kind, name)
    settings = aliases.current_settings(settings, _settings_of(part))
    _must_be_known(part, f"[{kind}]", settings)
    return {"name": aliases.current_part(kind, name)} | _defaults(part) | settings


def _named(kind: str, table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    settings = dict(table)
    if "name" not in settings:
        raise InputError(f"[{kind}] has no name; known: {_listed(names_of(kind))}")
    return settings.pop("name"), settings


def _settings_of(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {
        key: setting
        for key, setting in inspect.signature(part).parameters.items()
        if setting.kind in (setting.POSITIONAL_OR_KEYWORD, setting.KEYWORD_ONLY)
    }


def _defaults(part: Callable[..., Any]) -> dict[str, Any]:
    return {
        key: setting.default
        for key, setting in _settings_of(part).items()
        if setting.default is not setting.empty
    }


def describe(part: Any) -> dict[str, Any]:
    """The table that would build this part again, read from its attributes.

    Every setting of a part's ``__init__`` is kept as an attribute of its name; nested parts are tables too.
    """
    table: dict[str, Any] = {"name": _name_of(type(part))}
    for key in _settings_of(type(part)):
        value = getattr(part, key)
        nested = hasattr(value, "forward")  # a part of a part, such as a pooling
        table[key] = describe(value) if nested else value
    return table


def _name_of(part: type) -> str:
    address = f"{part.__module__}:{part.__qualname__}"
    names = [name for menu in REGISTRY.values() for name, place in menu.items() if place == address]
    return names[0] if names else address


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
