"""A hub name or a folder -> a published model's files, and the vision model in them."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.pretrained.published_config import published_config
from wordsight.pretrained.published_files import built_from, check_published

SAFE = ("model*.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")  # read with weights_only, never unpickled


LOCAL = {"local_files_only": True, "trust_remote_code": False}  # of every call that reads a folder


class MissingModel(MissingFileError):  # noqa: N818
    """Pretrained weights that are neither here nor to be had from here."""


def import_transformers() -> ModuleType:
    """transformers, even when an installed torchvision of another build would fail its imports."""
    if "transformers" not in sys.modules and importlib.util.find_spec("torchvision") is not None:
        try:
            importlib.import_module("torchvision")
        except Exception:  # a mismatched build fails in many ways: missing operators, missing libraries
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            sys.modules["torchvision"] = None  # type: ignore[assignment]  # from now on: not installed
    return importlib.import_module("transformers")


def find_model(name: str, revision: str | None = None, files: tuple[str, ...] = ()) -> Path:
    """The folder that holds config.json and the weights, fetched from the hub if need be.

    ``files``: further file patterns to fetch. Raises MissingModel: what to fetch and where to put it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() or not weight_files(folder):
            raise MissingModel(
                f"{folder} is not a published model: it needs config.json and model.safetensors; "
                f"found {', '.join(sorted(path.name for path in folder.iterdir())) or 'nothing'}"
            )
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise MissingModel(
            f"there is no folder {folder}; give a folder with config.json and model.safetensors"
        )
    return _fetch(name, revision, files)


def _fetch(name: str, revision: str | None, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    def fetched(weights: tuple[str, ...]) -> Path:
        patterns = ["config.json", *files, *weights]
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))

    try:
        folder = fetched(SAFE)
        folder = folder if weight_files(folder) else fetched(PICKLED)
    except Exception as error:  # no network, no such repository, no permission: the way out is the same
        raise MissingModel(_what_to_fetch(name, revision, files, _first_line(error))) from error
    if not weight_files(folder) or not (folder / "config.json").is_file():
        raise MissingModel(
            _what_to_fetch(name, revision, files, "it holds no config.json with model weights")
        )
    return folder


def _what_to_fetch(name: str, revision: str | None, files: tuple[str, ...], why: str) -> str:
    wanted = ", ".join(("config.json", "model.safetensors", *files))
    at = f" --revision {revision}" if revision else ""
    return (
        f'model "{name}" is neither a folder nor in the local cache, and could not be fetched ({why}). '
        f"On a machine with a network run: hf download {name}{at} --local-dir {Path(name).name} "
        f"(files: {wanted}); copy that folder here and give its path as the model"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".") or type(error).__name__


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, safetensors before pickled ones; empty if there are none."""
    for patterns in (SAFE, PICKLED):
        found = sorted(path for pattern in patterns for path in folder.glob(pattern))
        if any(path.suffix != ".json" for path in found):
            return found
    return []


def model_files(folder: Path, files: tuple[str, ...] = ()) -> list[Path]:
    """All that makes up a published model: its config, its weights, and those of the further files it has."""
    further = [folder / name for name in files if (folder / name).is_file()]
    return [folder / "config.json", *further, *weight_files(folder)]


def load_vision(folder: Path) -> Any:
    """The vision backbone in a folder, frozen: the whole model, or the picture side if it also reads text.

    Raises ValueError if the weights do not fill the model, which transformers would make up at random.
    """
    transformers = import_transformers()
    check_published(folder)
    with quiet(transformers), built_from(folder):
        config = published_config(transformers, folder, **LOCAL)
        model, loading = transformers.AutoModel.from_pretrained(
            folder, config=config, dtype="float32", output_loading_info=True, **LOCAL
        )
    whole = not hasattr(model, "vision_model")
    # the pooler summarizes what we read in parts; many published files leave it out
    absent = sorted(
        key for key in loading["missing_keys"] if "pooler" not in key and (whole or "vision" in key)
    )
    _complete(folder, absent)
    return (model if whole else model.vision_model).eval().requires_grad_(False)


def load_detector(folder: Path) -> Any:
    """The detector in a folder, frozen. Raises ValueError if it is another model, or weights are missing."""
    transformers = import_transformers()
    check_published(folder)
    try:
        with quiet(transformers):
            model, loading = transformers.AutoModelForObjectDetection.from_pretrained(
                folder, dtype="float32", output_loading_info=True, **LOCAL
            )
    except ValueError as error:
        if "AutoModelForObjectDetection" not in str(error):
            raise
        raise InputError(
            f"{folder} is no detector that transformers loads; take RT-DETR, D-FINE, YOLOS or another of its "
            "models for object detection"
        ) from error
    _complete(folder, sorted(loading["missing_keys"]))
    return model.eval().requires_grad_(False)


def _complete(folder: Path, absent: list[str]) -> None:
    if absent:
        raise InputError(
            f"the weights in {folder} do not fit its config.json: {len(absent)} missing, {absent[0]} first; "
            "fetch both files from the same place"
        )


def random_vision(name: str, revision: str | None = None) -> Any:
    """The backbone with random weights, for which config.json is enough. Raises MissingModel."""
    transformers = import_transformers()
    check_published(Path(name))
    try:
        config = published_config(transformers, name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise MissingModel(_what_to_fetch(name, revision, (), _first_line(error))) from error
    with built_from(name):
        config = getattr(config, "vision_config", config)
        network = transformers.AutoModel.from_config(config, trust_remote_code=False).float()
    if getattr(config, "unpadded_pooling", False):
        _pool_without_padding(network)
    return network


def _pool_without_padding(network: Any) -> None:
    """The first pooling of a ResNet as Caffe (and VSE-infinity) has it: no padding, sizes rounded up."""
    from torch.nn import MaxPool2d

    network.embedder.pooler = MaxPool2d(3, stride=2, ceil_mode=True)


def patches(config: Any, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches that a model of this config cuts a picture (in pixels) into."""
    patch = getattr(config, "patch_size", None) or 1
    high, wide = (patch, patch) if isinstance(patch, int) else patch
    return height // high, width // wide


@contextmanager
def quiet(transformers: ModuleType) -> Iterator[None]:
    """No report on the weights of a classifier head that is not wanted here, and no bar for loading."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
