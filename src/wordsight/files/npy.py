""".npy file -> memory map with its header checked; rows -> .npy file, written in any order."""

import errno
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from wordsight.errors import InputError, MissingFileError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
FLOATS = (np.float16, np.float32, np.float64)


def open_array(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file as a read-only memory map: nothing is read but the header.

    Raises FileNotFoundError, and ValueError for files that are empty, cut short, not .npy or that hold
    pickled objects.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist")
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, path)
        start = file.tell()
    _check_size(path, start + math.prod(shape) * dtype.itemsize, shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape, order="F" if fortran else "C")


def open_floats(path: Path, *layouts: str) -> np.ndarray:
    """Open an array of floats whose axes are one of the layouts: ``"row region feature"``."""
    array = open_array(path)
    if array.dtype.type not in FLOATS:
        raise InputError(
            f"{path.name} holds {array.dtype}; expected float32 (float16 and float64 are read too)"
        )
    if array.ndim not in [len(layout.split()) for layout in layouts]:
        raise InputError(
            f"{path.name} has shape {array.shape}; expected "
            f"{' or '.join(f'[{layout}]' for layout in layouts)}"
        )
    return array


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    start = file.read(24)
    if not start:
        raise InputError(f"{path.name} is empty (0 bytes); fetch or make it again")
    file.seek(0)
    try:
        shape, fortran, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError) as error:
        raise InputError(
            f"{path.name} is not a .npy file, or its header is damaged: it starts with {start!r}; fetch it "
            "again"
        ) from error
    if dtype.hasobject:
        raise InputError(
            f"{path.name} holds pickled Python objects, which are not opened because they can run code; "
            "save it as a plain array of numbers"
        )
    if not shape or min(shape) < 1:
        raise InputError(f"{path.name} has shape {shape}: there is nothing in it; make it again")
    return shape, fortran, dtype


def _check_size(path: Path, promised: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    size = path.stat().st_size
    if size < promised:
        raise InputError(
            f"{path.name} is cut short: its header promises {dtype} {shape}, {promised:,} bytes with the "
            f"header, but the file has {size:,} bytes; fetch it again"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk, told with the file that they hit; by themselves they do not name it."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror} while writing {path.name}; make room on the disk and run it again"
        raise OSError(error.errno, reason, str(path.parent)) from error


class ArrayFile:
    """A ``.npy`` file of known shape whose rows are written in any order.

    Rows go through ordinary writes and not through a memory map, because a full disk is then an OSError
    and not a killed process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, resume: bool = False) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        if resume and path.is_file():
            found = open_array(path)
            if (found.shape, found.dtype) != (shape, self.dtype):
                raise InputError(
                    f"{path} was begun as {found.dtype} {found.shape}, now it is to be {self.dtype} "
                    f"{shape}; delete it to begin again"
                )
            self._file = path.open("r+b")
            _header(self._file, path)
            self._start = self._file.tell()
        else:
            self._begin()

    def _begin(self) -> None:
        need, free = self._row_bytes * self.shape[0], shutil.disk_usage(self.path.parent).free
        if need > free:
            raise OSError(
                errno.ENOSPC,
                f"{self.path.name} needs {need:,} bytes, but the disk has {free:,} left; make room",
                str(self.path.parent),
            )
        self._file = self.path.open("w+b")
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": self.shape}
        with writing(self.path):
            np.lib.format.write_array_header_1_0(self._file, header)
            self._start = self._file.tell()
            self._file.truncate(self._start + need)

    def write(self, row: int, values: np.ndarray) -> None:
        """Fill one row."""
        if values.shape != self.shape[1:]:
            raise InputError(f"row {row} has shape {values.shape}, but the first had {self.shape[1:]}")
        with writing(self.path):
            self._file.seek(self._start + row * self._row_bytes)
            self._file.write(np.ascontiguousarray(values, dtype=self.dtype).tobytes())

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let the file go; what ``sync`` has not confirmed may be lost."""
        with suppress(OSError):  # a full disk, which the failed write has already told
            self._file.close()

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
