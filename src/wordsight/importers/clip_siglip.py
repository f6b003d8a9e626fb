"""A published dual encoder, a folder or a hub name, in; the folder of a saved matcher out."""

import hashlib
import json
from pathlib import Path
from typing import Any

from wordsight import checkpoint
from wordsight.errors import AlreadyExistsError, InputError
from wordsight.files import plain_json
from wordsight.files.atomic import atomic_folder
from wordsight.files.user_cache import cache_folder
from wordsight.matcher import Matcher, model_folder
from wordsight.pretrained.dual_encoders import (
    FAMILIES,
    FILES,
    SUPPORTED,
    Side,
    family_of,
    find_dual,
    hub_config,
    model_type,
    unused_weights,
)
from wordsight.pretrained.models import weight_files
from wordsight.pretrained.multi_vector import find_multi_vector

REPORT = "import.json"
LAYOUT = 1  # of what is kept; another number makes it anew


def import_dual(
    name: str | Path, out: str | Path, family: str | None = None, regions: str = "whole"
) -> dict[str, Any]:
    """Write the model folder ``out``, with import.json in it, which is returned: what was read, and how."""
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlreadyExistsError(f"{out} is there already and not empty; give a new folder with --out")
    folder = find_dual(str(name))
    found = family_of(folder).name
    if family is not None and found != family:
        raise InputError(f"{name} is of the family {found}; give --from {found}")
    matcher = Matcher.from_published(folder, regions)
    similarity = matcher.similarity
    sides: dict[Side, Any] = {"vision": matcher.image_encoder, "text": matcher.text_encoder}
    facts = {
        "system": found,
        "checkpoint": str(name),
        "regions": regions,
        "scale": similarity.scale,
        "bias": similarity.bias,
        "weights": {side: _count(encoder) for side, encoder in sides.items()},
        "unused": unused_weights(folder, {side: encoder.tower for side, encoder in sides.items()}),
    }
    with atomic_folder(out) as fresh:
        matcher.save_pretrained(fresh, {"imported from": f"{name}, a published {found}"})
        checkpoint.write_json(fresh / REPORT, facts)
    return facts


def _count(encoder: Any) -> int:
    return sum(weight.numel() for weight in encoder.parameters())


def opened_folder(name: str) -> Path:
    """The folder of a saved matcher: given, from the hub, or made of a published dual encoder and kept.

    What is made is kept in ``cache_folder()``, so that it is made once. Raises MissingModel or
    FileNotFoundError, which say what to fetch, if the model is neither here nor to be had.
    """
    home = Path(name).expanduser()
    config = home / checkpoint.CONFIG if home.is_dir() else hub_config(name)
    if config is None:
        return model_folder(name)
    folder = find_multi_vector(name) or (find_dual(name) if _is_dual(config) else None)
    if folder is None:
        _check_known(config.parent)
        return model_folder(name)
    converted = cache_folder() / f"{Path(name).name}-{_stamp(folder)}"
    if not (converted / checkpoint.CONFIG).is_file():
        with atomic_folder(converted) as fresh:
            Matcher.from_published(folder).save_pretrained(fresh, {"imported from": name})
    return converted


def _is_dual(config: Path) -> bool:
    """Whether it describes a published model of two towers; one of an unknown family is an error."""
    kind = model_type(config.parent)
    if kind is None or not (kind in FAMILIES or "text_config" in plain_json.read(config)):
        return False
    return bool(family_of(config.parent))


def _check_known(home: Path) -> None:
    """Raises InputError for a published model of a kind that opens as no matcher."""
    kind = model_type(home)
    if kind is not None:
        raise InputError(
            f'{home} is a published model of the family "{kind}", which opens as no matcher',
            f"known: {SUPPORTED}, ColPali (model_type colpali), ColQwen2 (model_type colqwen2)",
        )


def _stamp(folder: Path) -> str:
    """Hash of the names, sizes and times of the files that a matcher is made of."""
    files = {path for pattern in ("config.json", *FILES) for path in folder.glob(pattern)}
    facts_of_files: list[Any] = [LAYOUT]
    for path in sorted(files | set(weight_files(folder))):
        facts = path.stat()
        facts_of_files.append([path.name, facts.st_size, facts.st_mtime_ns])
    return hashlib.blake2b(json.dumps(facts_of_files).encode(), digest_size=6).hexdigest()
