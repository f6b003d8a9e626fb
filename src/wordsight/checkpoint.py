"""A folder of JSON and safetensors on disk: written whole or not at all, read strictly."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``folder`` when the block ends without an error.

    At every moment one whole folder exists: the old one is moved aside before the new one takes its name,
    and ``recover`` puts it back if the process died in between.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover(folder)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield fresh
        _to_disk(fresh)
        fresh.chmod(0o755)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    old = _aside(folder)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Undo a replacement that a dying process left half done, and clear its unfinished copies."""
    old = _aside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    for unfinished in folder.parent.glob(f".{folder.name}.????????"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.previous"


def _to_disk(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write a file whole: to a temporary name, then under its own."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}); write it again or restore a copy") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The description of a saved model; anything else in its place is named for what it is."""
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CONFIG}: it is not a saved model; give the folder that has one"
        )
    config = read_json(folder / CONFIG)
    version = config.get("format") if isinstance(config, dict) else None
    if version is None or "parts" not in config:
        raise ValueError(f"{folder / CONFIG} does not describe a wordsight model (no format and parts in it)")
    if version > FORMAT:
        raise ValueError(
            f"{folder} has format {version}, newer than {FORMAT}, the newest known here; update wordsight"
        )
    return dict(config)


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Tensors by name; shared storage is written once per name."""
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; the model folder is incomplete, copy it again") from None
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}); copy it again or restore an older checkpoint"
        ) from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Strict: every weight of the file finds its place and every place its weight, or nothing is loaded."""
    saved, expected = read_weights(path), module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in saved]
    problems += [f"{name} has no place" for name in saved if name not in expected]
    problems += [
        f"{name} is {_shape(saved[name])} in the file and {_shape(expected[name])} here"
        for name in expected
        if name in saved and saved[name].shape != expected[name].shape
    ]
    if problems:
        some = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(f"{path} belongs to another configuration: {some}")
    module.load_state_dict(saved)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
