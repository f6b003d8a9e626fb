"""PresenceModel <-> presence.safetensors in the folder of a model: tensors, and a table as their metadata.

One file, so that a reader sees the old one or the new one. It is read as data of others.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.files.atomic import atomic_file
from wordsight.files.contained import inside
from wordsight.presence.model import CommonRule, MatchRule, PictureRule, PresenceModel, WordRules
from wordsight.sets import EmbeddingSet
from wordsight.tensors import IS_TORCH, Tensor, torch

_log = logging.getLogger(__name__)
FILE = "presence.safetensors"
TABLE = "presence"  # the metadata's entry that holds the table, as JSON
FORMAT = 2
HINT = "fit it again: wordsight calibrate MODEL, with --index for an index"
RULES: dict[str, Any] = {"common": CommonRule, "match": MatchRule, "pictures": PictureRule}
Rule = TypeVar("Rule", CommonRule, MatchRule, PictureRule)


def save_presence(model: PresenceModel, folder: Path) -> None:
    from safetensors.torch import save

    tensors = {name: tensor.half() for name, tensor in vars(model.rules).items()}
    tensors["offsets"] = model.rules.offsets
    tensors |= {"reference": model.reference.vectors.half(), "reference_mask": model.reference.mask}
    table = {
        "format": FORMAT,
        "words": list(model.words),
        **{name: asdict(getattr(model, name)) for name in RULES},
        "facts": dict(model.facts),
    }
    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        {TABLE: json.dumps(table, ensure_ascii=False)},
    )
    with atomic_file(folder / FILE) as file:
        file.write(content)


def load_presence(folder: Path) -> PresenceModel | None:
    """The presence model of a saved matcher; None if it has none, and with a warning if its format is older.

    Raises InputError for a damaged one.
    """
    path = inside(folder, FILE)
    if not path.is_file():
        return None
    tensors, text = _read(path)
    table = plain_json.parse(text, str(path), finite=True)
    if not isinstance(table, dict) or type(table.get("format")) is not int:
        raise InputError(f"{path} does not describe a presence model", HINT)
    if table["format"] > FORMAT:
        newer = f"{path} has format {table['format']}, newer than {FORMAT}, the newest known here"
        raise InputError(newer, "update wordsight")
    if table["format"] < FORMAT:
        _log.warning("%s is of an older version and is not used: matches have no probability; %s", path, HINT)
        return None
    words, facts = table.get("words"), table.get("facts")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{path} has no list of words", HINT)
    rules = {name: _rule(kind, table.get(name), f"{path}: {name}") for name, kind in RULES.items()}
    _check(path, tensors, len(words))
    reference = EmbeddingSet(tensors.pop("reference"), tensors.pop("reference_mask"))
    facts = facts if isinstance(facts, dict) else {}
    return PresenceModel(tuple(words), WordRules(**tensors), reference=reference, facts=facts, **rules)


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors, those of numbers in float32; and the table."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt" if IS_TORCH else "np") as file:
            tensors = {name: torch.as_tensor(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            text = (file.metadata() or {}).get(TABLE, "null")
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error})", HINT) from error
    return {name: one if one.dtype == torch.bool else one.float() for name, one in tensors.items()}, text


def _rule(kind: type[Rule], table: Any, place: str) -> Rule:
    names = [field.name for field in fields(kind)]
    if not isinstance(table, Mapping) or sorted(table) != sorted(names):
        raise InputError(f"{place} should have the numbers {', '.join(names)}", HINT)
    for name, value in table.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InputError(f"{place}: {name} = {str(value)[:40]}; expected a number", HINT)
    return kind(**{name: float(value) for name, value in table.items()})


def _check(path: Path, tensors: Mapping[str, Tensor], words: int) -> None:
    """Raises InputError unless every tensor has the shape of so many words, and finite numbers."""
    reference = tensors.get("reference")
    count, items, dim = reference.shape if reference is not None and reference.ndim == 3 else (0, 0, 0)
    shapes: dict[str, tuple[int, ...]] = {"directions": (words, dim), "heads": (words, dim)}
    shapes |= dict.fromkeys(("slopes", "offsets", "unmentioned"), (words,))
    shapes |= {"reference": (count, items, dim), "reference_mask": (count, items)}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != shapes or not all(map(all, shapes.values())):
        raise InputError(f"{path} has tensors {found}; expected {shapes}, none of them empty", HINT)
    for name, tensor in tensors.items():
        is_mask = name.endswith("_mask")
        if is_mask != (tensor.dtype == torch.bool) or (is_mask and not tensor.any(1).all()):
            raise InputError(
                f"{path}: {name} should be {'a mask of something' if is_mask else 'numbers'}", HINT
            )
        if not tensor.isfinite().all():
            raise InputError(f"{path}: some numbers of {name} are not finite", HINT)
