"""A model on disk, JSON and safetensors: read strictly, with a reason for everything that is refused."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from wordsight.errors import InputError, MissingFileError
from wordsight.files import plain_json
from wordsight.files.atomic import atomic_file
from wordsight.files.contained import inside
from wordsight.files.model_folder import BEST as BEST
from wordsight.files.model_folder import CONFIG as CONFIG
from wordsight.files.model_folder import WEIGHTS as WEIGHTS
from wordsight.files.undecodable import json_bytes
from wordsight.tensors import IS_TORCH, Tensor, nn

FORMAT = 1
OF_A_RUN = ("run.json", "config.toml")  # what such a folder holds from its first minute on


def write_json(path: Path, value: Any) -> None:
    with atomic_file(path) as file:
        file.write(json_bytes(value, indent=2) + b"\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The description of a saved model; anything else in its place is named for what it is."""
    if not inside(folder, CONFIG).is_file():
        raise MissingFileError(
            f"{folder} holds no {CONFIG}: it is not a saved model; give the folder that has one"
        )
    config = plain_json.read(folder / CONFIG, finite=True)
    version = config.get("format") if isinstance(config, dict) else None
    if type(version) is not int or not isinstance(config.get("parts"), dict):
        published = isinstance(config, dict) and "model_type" in config
        hint = "; a published dual encoder is opened by Matcher.from_published" if published else ""
        raise InputError(
            f"{folder / CONFIG} does not describe a wordsight model (it needs a number as format and a table "
            f"as parts){hint}"
        )
    if version > FORMAT:
        raise InputError(
            f"{folder} has format {version}, newer than {FORMAT}, the newest known here; update wordsight"
        )
    for name, table in config["parts"].items():
        if not isinstance(table, dict):
            raise InputError(f"{folder / CONFIG} has {str(table)[:60]} as parts.{name}; expected a table")
    return dict(config)


def numbers_in(folder: Path) -> int:
    """More numbers than all weights below a model's folder hold: one for each byte of their files."""
    files = [path for kind in ("safetensors", "bin", "onnx") for path in folder.rglob(f"*.{kind}")]
    return sum(path.stat().st_size for path in files if path.is_file())


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Tensors by name; shared storage is written once per name. Whoever may read the folder may read them."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}, path)
    path.chmod(0o644)


@contextmanager
def _open_weights(path: Path) -> Iterator[Any]:
    """The file of the weights; each tensor is read when it is taken from it."""
    try:
        with safe_open(path, framework="pt" if IS_TORCH else "np") as file:
            yield file
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing; the model folder is incomplete, copy it again") from None
    except SafetensorError as error:
        raise InputError(
            f"{path} is damaged ({error}); copy it again or restore an older checkpoint"
        ) from error


def read_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``; no others are read."""
    with _open_weights(path) as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def check_parts(path: Path, parts: Sequence[str]) -> None:
    """Raises InputError for a weight of another part than these; reads names only."""
    with _open_weights(path) as file:
        unknown = [name for name in file.keys() if name.split(".")[0] not in parts]  # noqa: SIM118
    _must_fit(path, [f"{name} has no place" for name in unknown])


def load_weights(module: nn.Module, path: Path, prefix: str = "") -> None:
    """Strict: every weight of the file finds its place and every place its weight, or nothing is loaded.

    ``prefix``: that of the module's weights in the file; no others are read.
    """
    saved = read_weights(path, prefix)
    expected = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    problems = [f"{name} is missing" for name in expected if name not in saved]
    problems += [f"{name} has no place" for name in saved if name not in expected]
    problems += [
        f"{name} is {_shape(saved[name])} in the file and {_shape(expected[name])} here"
        for name in expected
        if name in saved and saved[name].shape != expected[name].shape
    ]
    _must_fit(path, problems)
    module.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in saved.items()})


def _must_fit(path: Path, problems: Sequence[str]) -> None:
    if problems:
        some = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise InputError(f"{path} belongs to another configuration: {some}")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
