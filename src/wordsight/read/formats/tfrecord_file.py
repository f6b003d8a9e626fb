"""Records <-> a TFRecord file: for each its length, a CRC of the length, the record, a CRC of the record.

An error about a cut or damaged file names the number of the record and its byte in the file.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wordsight.errors import InputError
from wordsight.read.formats.crc32c import masked_crc32c

LENGTH, CRC = struct.Struct("<Q"), struct.Struct("<I")
HEAD = LENGTH.size + CRC.size
AGAIN = "fetch or write this file again"


@dataclass(frozen=True)
class Frame:
    """One record and where it stands."""

    number: int  # in its file, from 0
    start: int  # byte of the file where its length stands
    data: bytes


def framed(data: bytes) -> bytes:
    """A record as it stands in a file."""
    length = LENGTH.pack(len(data))
    return b"".join((length, CRC.pack(masked_crc32c(length)), data, CRC.pack(masked_crc32c(data))))


def read_frames(path: Path, verify: bool = True) -> Iterator[Frame]:
    """Every record in order. Raises ValueError for one that is cut short, or whose CRC is not its own.

    A file that was cut where a record ends cannot be told from a whole one, unless nothing is left of it.
    """
    with path.open("rb") as file:
        start, number = 0, 0
        if not file.peek(1):
            raise InputError(f"{path} is empty, and holds a record at least when it is whole; {AGAIN}")
        while file.peek(1):
            data = _read(file, path, number, start, verify)
            yield Frame(number, start, data)
            start, number = start + HEAD + len(data) + CRC.size, number + 1


def read_frame(path: Path, number: int, start: int, verify: bool = True) -> bytes:
    """The record that begins at a byte of the file."""
    with path.open("rb") as file:
        file.seek(start)
        return _read(file, path, number, start, verify)


def _read(file: BinaryIO, path: Path, number: int, start: int, verify: bool) -> bytes:
    where = f"{path}: record {number}, which begins at byte {start:,},"
    head = _exactly(file, HEAD, where, "its length")
    length, crc = head[: LENGTH.size], head[LENGTH.size :]
    if _differs(length, crc):  # always checked: a wrong length leads astray
        whole = f"{path} is not a TFRecord file, or damaged at its beginning" if number == 0 else where
        raise InputError(f"{whole}: {_mismatch('its length', length, crc)}; {AGAIN}")
    (size,) = LENGTH.unpack(length)
    data = _exactly(file, size, where, "the record")
    crc = _exactly(file, CRC.size, where, "its CRC")
    if verify and _differs(data, crc):
        raise InputError(f"{where} is damaged: {_mismatch('the record', data, crc)}; {AGAIN}")
    return data


def _exactly(file: BinaryIO, size: int, where: str, what: str) -> bytes:
    left = os.fstat(file.fileno()).st_size - file.tell()
    if left < size:
        raise InputError(f"{where} is cut short: {left:,} bytes are left for {what} of {size:,}; {AGAIN}")
    return file.read(size)


def _differs(data: bytes, crc: bytes) -> bool:
    return CRC.pack(masked_crc32c(data)) != crc


def _mismatch(what: str, data: bytes, crc: bytes) -> str:
    return f"the CRC of {what} is {masked_crc32c(data):08x}, and {CRC.unpack(crc)[0]:08x} is written there"
