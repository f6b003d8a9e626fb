"""A pickled ``results_*.npy`` of the reference implementations -> its matrix, and nothing in it is run.

``np.save`` pickles {"npts": images, "sims": matrix}, and a pickle may have any function called. Here no name
in it is ever looked up: the few by which NumPy rebuilds arrays stand for notes of what was said, read
afterwards as plain numbers; every other name is refused.
"""

import pickle
import re
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from wordsight.errors import InputError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
NUMBERS = re.compile(r"f[248]|[iu][1248]")


def holds_pickle(path: str | Path) -> bool:
    """Whether a .npy file holds Python objects; False for what is no .npy file."""
    with open(path, "rb") as file:
        try:
            return bool(_header(file)[2].hasobject)
        except ValueError:
            return False


def read_pickled(path: str | Path) -> np.ndarray:
    """The matrix under "sims". Raises ValueError for what a score file does not need, which is named."""
    with open(path, "rb") as file:
        _header(file)
        try:
            return _matrix(_Reader(file).load())
        except _NotScoresError:
            raise
        except Exception as error:  # a broken pickle can fail in any way
            raise InputError(f"its pickle is broken ({error}); save or fetch it again") from error


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise InputError(f"format {version} of .npy is not known; known: {', '.join(map(str, HEADERS))}")
    try:
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = HEADERS[version](file)
    except (ValueError, SyntaxError, TypeError, TokenError) as error:
        raise InputError(f"its head is damaged ({str(error)[:80]}); save or fetch it again") from error
    return header


class _NotScoresError(InputError):
    """A whole pickle, of something else."""


class _Note:
    """Stands for a thing that NumPy would make: what it was to be made from, and the state it was to get."""

    made_from: tuple[Any, ...] = ()
    state: Any = ()

    def __init__(self, *made_from: Any) -> None:
        self.made_from = made_from

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Note):
    """_reconstruct(type, shape, kind) and its state: version, shape, kind, Fortran order, content."""


class _Kind(_Note):
    """dtype("f8", ...) and its state: version, "<", ..."""


class _Number(_Note):
    """scalar(kind, bytes)."""


class _Class(_Note):
    """ndarray itself, which is only passed on."""


class _Encoded(_Note):
    """_codecs.encode(text, "latin1"): bytes, as old pickles write them."""


_STANDS_FOR = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _Number,
    "numpy._core.multiarray.scalar": _Number,
    "numpy.ndarray": _Class,
    "numpy.dtype": _Kind,
    "_codecs.encode": _Encoded,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _STANDS_FOR:
            raise _NotScoresError(
                f"its pickle asks for {module}.{name}, which a file of scores does not need; it may do "
                "anything when it is opened by allow_pickle=True. Only NumPy's arrays of numbers, dict, int "
                "and float are read"
            )
        return _STANDS_FOR[f"{module}.{name}"]


def _matrix(note: Any) -> np.ndarray:
    """From np.save's array of one object."""
    content = note.state[4] if isinstance(note, _Array) and len(note.state) == 5 else None
    results = content[0] if isinstance(content, list) and len(content) == 1 else None
    if not isinstance(results, dict) or not isinstance(results.get("sims"), _Array):
        known = ", ".join(map(str, results)) if isinstance(results, dict) else type(results).__name__
        raise _NotScoresError(
            f'it holds {known}; expected a dictionary with "npts" and "sims", the score matrix'
        )
    matrix = _array(results["sims"])
    images = _integer(results.get("npts", matrix.shape[0]))
    if matrix.shape[:1] != (images,):
        raise _NotScoresError(f"it says npts = {images} but its sims have the shape {matrix.shape}")
    return matrix


def _array(note: _Array) -> np.ndarray:
    _, shape, kind, fortran, content = note.state
    number = _number_kind(kind)
    values = np.frombuffer(_bytes(content), number)
    return values.reshape([int(size) for size in shape], order="F" if fortran else "C")


def _number_kind(kind: _Kind) -> np.dtype[Any]:
    name, order = kind.made_from[0], kind.state[1] if kind.state else "="
    if not NUMBERS.fullmatch(name) or order not in ("<", ">", "=", "|"):
        raise _NotScoresError(f"its sims are of kind {order}{name}; expected numbers")
    found: np.dtype[Any] = np.dtype(name).newbyteorder(order)
    return found


def _bytes(content: Any) -> bytes:
    if isinstance(content, _Encoded):
        text, encoding = content.made_from
        content = text.encode(encoding) if encoding == "latin1" else None
    if not isinstance(content, bytes):
        raise _NotScoresError("its sims are not an array of numbers")
    return content


def _integer(value: Any) -> int:
    if isinstance(value, _Number):
        kind, content = value.made_from
        return int(np.frombuffer(_bytes(content), _number_kind(kind))[0])
    return int(value)
