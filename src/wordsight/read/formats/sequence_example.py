"""TensorFlow's SequenceExample <-> bytes, by the protobuf wire format, without protobuf.

``SequenceExample`` has ``context`` (1), a table of features, and ``feature_lists`` (2), a table of lists of
features. A table is a repeated entry of name (1) and value (2). A feature holds bytes (1), floats (2) or
64-bit integers (3), and each of the three is a list (1). Names are written in order: equal examples are
equal bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from wordsight.errors import InputError

Value: TypeAlias = bytes | int
Span: TypeAlias = tuple[int, int]  # where a part of the record begins and ends

VARINT, EIGHT, MANY, FOUR = 0, 1, 2, 5  # wire types: how the bytes of a field are delimited
BYTES, INTEGERS = 1, 3  # the kinds of a feature
LONGEST = 10  # bytes of a varint of 64 bits


@dataclass(frozen=True)
class SequenceExample:
    """One record: named values, and named lists of values. Floats are left out: none are needed."""

    context: Mapping[str, Sequence[Value]]
    lists: Mapping[str, Sequence[Value]]


def to_bytes(context: Mapping[str, Value], lists: Mapping[str, Sequence[Value]]) -> bytes:
    """One value of each name in the context; of each list, every value as a feature of its own."""
    values = {name: _feature(value) for name, value in context.items()}
    many = {name: b"".join(_field(1, _feature(value)) for value in list_) for name, list_ in lists.items()}
    return _field(1, _table(values)) + _field(2, _table(many))


def from_bytes(data: bytes) -> SequenceExample:
    """Raises ValueError, which says at which byte, where the bytes are not of this format."""
    lists = {
        name: [value for feature in _parts(data, list_, 1) for value in _values(data, feature)]
        for name, list_ in _entries(data, (0, len(data)), 2)
    }
    return SequenceExample(context_of(data), lists)


def context_of(data: bytes) -> dict[str, list[Value]]:
    """The named values alone: the lists are skipped."""
    return {name: _values(data, value) for name, value in _entries(data, (0, len(data)), 1)}


def _table(values: Mapping[str, bytes]) -> bytes:
    entries = (_field(1, name.encode()) + _field(2, values[name]) for name in sorted(values))
    return b"".join(_field(1, entry) for entry in entries)


def _feature(value: Value) -> bytes:
    if isinstance(value, int):
        return _field(INTEGERS, _field(1, _varint(value & 0xFFFF_FFFF_FFFF_FFFF)))
    return _field(BYTES, _field(1, value))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | MANY) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the highest bit says that more follow."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _entries(data: bytes, message: Span, number: int) -> Iterator[tuple[str, Span]]:
    """Names and values of the table that is field ``number`` of the message."""
    for table in _parts(data, message, number):
        for entry in _parts(data, table, 1):
            names, values = list(_parts(data, entry, 1)), list(_parts(data, entry, 2))
            name = data[slice(*names[-1])].decode(errors="replace") if names else ""
            yield name, values[-1] if values else (entry[1], entry[1])


def _values(data: bytes, feature: Span) -> list[Value]:
    """The values of a feature; integers stand side by side in one field, or each in its own."""
    values: list[Value] = []
    for list_ in _parts(data, feature, BYTES):
        values += [data[start:end] for start, end in _parts(data, list_, 1)]
    for list_ in _parts(data, feature, INTEGERS):
        for number, kind, span in _fields(data, list_):
            if number == 1 and kind in (MANY, VARINT):
                values += _integers(data, span)
    return values


def _integers(data: bytes, span: Span) -> Iterator[int]:
    at, end = span
    while at < end:
        value, at = _read_varint(data, at, end)
        yield value - (1 << 64) if value >> 63 else value


def _parts(data: bytes, message: Span, number: int) -> Iterator[Span]:
    """The contents of all fields of this number that have a length."""
    for found, kind, span in _fields(data, message):
        if found == number and kind == MANY:
            yield span


def _fields(data: bytes, message: Span) -> Iterator[tuple[int, int, Span]]:
    """Number, wire type and place of every field."""
    at, end = message
    while at < end:
        begin = at
        tag, at = _read_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == MANY:
            size, at = _read_varint(data, at, end)
        elif kind == VARINT:
            size = _read_varint(data, at, end)[1] - at
        elif kind in (EIGHT, FOUR):
            size = 8 if kind == EIGHT else 4
        else:
            raise InputError(f"has at its byte {begin} a field of type {kind}, which protobuf does not have")
        if at + size > end:
            raise InputError(f"has at its byte {begin} a field of {size} bytes, but only {end - at} are left")
        yield number, kind, (at, at + size)
        at += size


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number, and where the next thing begins."""
    if at < end and data[at] < 0x80:  # most numbers are small
        return data[at], at + 1
    value = 0
    for place, byte in enumerate(data[at : min(at + LONGEST, end)]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise InputError(f"has at its byte {at} a number that does not end")
