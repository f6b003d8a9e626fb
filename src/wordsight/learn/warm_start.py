"""A trained model and the tables of a configuration -> a matcher with its weights, to be trained further."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight import checkpoint
from wordsight.checkpoint import BEST, WEIGHTS
from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.learn.resume import LAST, PROGRESS
from wordsight.matcher import PARTS, Matcher, model_folder, with_paths

BROUGHT = ("vocabulary", "vectors", "model", "pretrained")  # settings that a trained model brings with it
IMPORTED = "import.json"  # beside the weights of an imported model: where they are from


def start_from(model: str, configured: Mapping[str, Mapping[str, Any]]) -> Matcher:
    """The model as the configuration wants it: its weights and words, the configuration's other settings.

    The reader is the configuration's, since it belongs to the data. Raises InputError if the weights do not
    fit, with the settings that differ.
    """
    home = model_folder(model)
    saved = checkpoint.read_config(home)["parts"]
    tables = {"reader": configured.get("reader") or with_paths(saved["reader"], home)}
    for kind in PARTS[1:]:
        own = {key: value for key, value in configured.get(kind, {}).items() if key not in BROUGHT}
        _must_be_one_part(kind, own, saved[kind], model)
        tables[kind] = with_paths(saved[kind], home) | own
    try:
        matcher = Matcher.build(tables)
        checkpoint.load_weights(matcher, home / WEIGHTS)
    except ValueError as error:
        hint = _the_models_own(configured, saved)
        raise InputError(f"a run cannot start from {model}: {error}", hint) from error
    return matcher


def _the_models_own(configured: Mapping[str, Mapping[str, Any]], saved: Mapping[str, Any]) -> str:
    """The changes that bring a configuration's sizes and choices to those of the model."""
    changes = [
        f"--set {kind}.{key}={saved[kind][key]}"
        for kind in PARTS[1:]
        for key, value in configured.get(kind, {}).items()
        if isinstance(saved[kind].get(key), int | str) and key not in BROUGHT and value != saved[kind][key]
    ]
    return f"take the model's own: {' '.join(changes)}" if changes else ""


def label_names(model: str) -> tuple[str, ...] | None:
    """The names of the semantic labels that a model predicts; None if it has none, or only their number."""
    labels = checkpoint.read_config(model_folder(model))["parts"].get("similarity", {}).get("labels")
    return tuple(labels) if isinstance(labels, list) else None


def epochs_trained(model: str) -> int:
    """For how many epochs the weights of a model were trained, as its run or its checkpoint says."""
    home = model_folder(model)
    if (home / IMPORTED).is_file():
        epoch = plain_json.read(home / IMPORTED).get("epoch")
    else:
        epoch = _best_epoch(home)
    if not isinstance(epoch, int) or epoch < 0:
        raise InputError(
            f"{model} does not say for how many epochs it was trained",
            "leave --keep-epoch out, or say it: --set training.first_epoch=15",
        )
    return epoch


def _best_epoch(home: Path) -> int | None:
    """Counted from 1, of the best model of a run; the folder of the model is inside that of the run."""
    progress = home.parent / LAST / PROGRESS
    if home.name != BEST or not progress.is_file():
        return None
    best = plain_json.read(progress).get("best_epoch")
    return best + 1 if isinstance(best, int) else None


def _must_be_one_part(kind: str, own: Mapping[str, Any], saved: Mapping[str, Any], model: str) -> None:
    wanted = own.get("name", saved["name"])
    if wanted != saved["name"]:
        raise InputError(
            f'a run cannot start from {model}: its {kind} is "{saved["name"]}", the configuration has '
            f'"{wanted}"',
            f"choose a configuration of the same system, or --set {kind}.name={saved['name']}",
        )
