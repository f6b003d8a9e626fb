"""Models of a command -> whether it runs their ONNX exports, decided before torch would be loaded.

An export answers the same and starts in a third of the time; torch is loaded for what an export cannot do.
The environment variable WORDSIGHT_WITHOUT_TORCH decides where it is set: 1 the export, 0 torch.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wordsight import aliases
from wordsight.errors import WordsightError
from wordsight.registry.names import REGISTRY

WITHOUT_TORCH = "WORDSIGHT_WITHOUT_TORCH"
NUMPY_THREADS = "OPENBLAS_NUM_THREADS"  # read by numpy when it is loaded
LOADED = ("torch", "wordsight.tensors")  # after which nothing is left to choose
NO_TRAINING = ("reader", "tokenizer", "similarity")  # parts that run beside an export
NAMES = {name for parts in REGISTRY.values() for name in parts}
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of NVIDIA's driver, of Windows' in WSL, of AMD's


def choose_export(
    indexes: Sequence[Any],
    model: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    reads_pictures: bool = True,
) -> None:
    """Run the exports of models for the rest of this process, where they suffice.

    ``indexes``: those in folders, or folders of pictures, which may have one already. ``model``: the one that
    is named, if any. ``reads_pictures``: whether pictures that are in no index may be encoded.
    """
    if os.environ.get(WITHOUT_TORCH) is not None or any(name in sys.modules for name in LOADED):
        return
    if engine not in REGISTRY["engine"] or not all(isinstance(index, Path) for index in indexes):
        return
    homes = [home for index in indexes for home in _homes(index, model)]
    reads_pictures = reads_pictures or not all(map(_is_index, indexes))
    if homes and all(export_suffices(home, reads_pictures) for home in homes) and _is_for_processor(device):
        os.environ[WITHOUT_TORCH] = "1"
        os.environ.setdefault(NUMPY_THREADS, "1")  # products of few words wait for memory, not for threads


def silence_exporter() -> None:
    """Leave out remarks of torch's exporter that tell a user nothing; torch reads this when it is loaded."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _is_index(path: Path) -> bool:
    from wordsight.files.index_folder import META

    return (path / META).is_file()


def _homes(index: Path, model: str | None) -> Iterator[Path]:
    """Folders of the models that the command will open."""
    from wordsight.files.index_folder import MODEL
    from wordsight.files.model_folder import BEST, CONFIG
    from wordsight.files.user_cache import cached_indexes

    if model is not None:
        named = Path(model).expanduser()
        yield named if (named / CONFIG).is_file() else named / BEST
    if _is_index(index):
        yield index / MODEL
    elif model is None:
        yield from (path / MODEL for path in cached_indexes(index)[-1:])


def _is_for_processor(device: str) -> bool:
    """Whether this device is the processor, as far as can be known without torch."""
    if device != "auto":
        return device == "cpu"
    try:
        if "+cpu" in version("torch"):
            return True
    except PackageNotFoundError:
        return True
    return not any(map(os.path.exists, GPU_FILES)) and shutil.which("nvidia-smi") is None


def export_suffices(home: Path, reads_pictures: bool) -> bool:
    """Whether a saved model has an export that does what the command needs."""
    from wordsight.exported import has_export, read_export

    if not has_export(home):
        return False
    try:
        export = read_export(home)
    except (WordsightError, OSError):
        return False  # torch opens the model, or says what is wrong with it
    can_read = export.reader is not None and "image" in export.inputs
    return (can_read or not reads_pictures) and has_own_parts(home)


def has_own_parts(home: Path) -> bool:
    """Whether all parts of a saved model that run beside an export are wordsight's."""
    from wordsight.files import plain_json
    from wordsight.files.model_folder import CONFIG

    try:
        parts = plain_json.read(home / CONFIG)["parts"]
        return all(_is_own(name) for kind in NO_TRAINING for name in _names_in(parts[kind]))
    except (WordsightError, OSError, LookupError, TypeError):
        return False


def _names_in(table: Any) -> Iterator[Any]:
    """Names of a part and of the parts in it: values of "name", and of settings that a name can stand for."""
    if isinstance(table, Mapping):
        for key, value in table.items():
            if key in ("name", "pooling", "similarity", "words", "regions") and isinstance(value, str):
                yield value
            yield from _names_in(value)


def _is_own(name: str) -> bool:
    """Whether a part is one of wordsight's, which all compute with numpy too."""
    return name in NAMES or any(name in renamed for renamed in aliases.PARTS.values())
