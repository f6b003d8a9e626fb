"""A .pth or .pth.tar file in, plain data and tensors out; nothing of it is ever run."""

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wordsight.errors import InputError, MissingFileError

KNOWN = ("argparse.Namespace", "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "_codecs.encode")
MOVED = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # before and since numpy 2


def read_torch_file(path: str | Path) -> Any:
    """Read a file of ``torch.save``: zipped, or not as before PyTorch 1.6; from Python 2 or 3.

    Only tensors, containers, numbers, texts, numpy scalars and ``argparse.Namespace`` (as a dict) are read;
    a file that asks for anything else is refused with the name of what it asks for.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingFileError(f"there is no checkpoint {path}; give the .pth or .pth.tar file itself")
    try:
        with torch.serialization.safe_globals(_allowed()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on protocols and storages of older versions
            # Python 2 wrote raw bytes as text; its names are ASCII, so any one-byte encoding reads them.
            return plain(torch.load(path, map_location="cpu", weights_only=True, encoding="latin1"))
    except pickle.UnpicklingError as error:
        raise InputError(_refused(path, str(error))) from error
    except PermissionError:
        raise
    except Exception as error:  # a damaged file fails in many ways, most of them without naming it
        raise InputError(
            f"{path} cannot be read as a PyTorch checkpoint ({_first_line(error)}); it may be cut short: "
            "compare its size with the original's and copy it again"
        ) from error


def plain(value: Any) -> Any:
    """Namespaces and mappings as dicts, numpy scalars as Python's numbers; tensors as they are."""
    if isinstance(value, argparse.Namespace):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value.detach() if isinstance(value, torch.Tensor) else value


def _allowed() -> list[Any]:
    """Types allowed next to tensors: the options of a command line, and numpy's numbers."""
    scalar = np.float64(0).__reduce__()[0]
    numbers = [type(np.dtype(name)) for name in ("f8", "f4", "i8", "i4", "?")]
    return [argparse.Namespace, np.dtype, *numbers, *((scalar, name) for name in MOVED)]


def _why(message: str) -> str:
    """PyTorch's own reason, without its advice to read the file with less care."""
    reason = re.split(r"Weights only load failed|In PyTorch 2\.6", message.splitlines()[0])[0].strip(" .")
    return f" ({reason})" if reason else ""


def _refused(path: Path, message: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|class[\w ]*'([\w.]+)'|function <\w+ ([\w.]+)", message)
    what = next((name for name in (named.groups() if named else ()) if name), "")
    if any(name.startswith(what) for name in (*KNOWN, *MOVED)):  # no name, or one where the file was cut
        return (
            f"{path} is not a PyTorch checkpoint, or it is damaged{_why(message)}; copy it again, or "
            "give the .pth or .pth.tar file itself"
        )
    return (
        f"{path} holds an object of {what}, which is not among what is read from a checkpoint (tensors, "
        "containers, numbers, texts, argparse.Namespace): reading it could run code of the file's author. "
        "Where it was made, save its state_dict and its options alone"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
