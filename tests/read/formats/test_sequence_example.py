"""Records are TensorFlow's to the byte: protobuf's own runtime and tensorboard's reader agree with ours."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sequence_example_protobuf import SequenceExample

from wordsight.read.formats import sequence_example
from wordsight.read.formats.crc32c import crc32c, masked_crc32c
from wordsight.read.formats.tfrecord_file import framed, read_frame, read_frames

# CRC-32C

VECTORS = {  # RFC 3720 (iSCSI) appendix B.4, and the check value of the catalogues
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    b"": 0,
}


def crc_by_bit(data: bytes) -> int:
    """Bit by bit, as the polynomial says."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0x82F63B78 * (register & 1)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "value"), VECTORS.items(), ids=lambda part: str(part)[:20])
def test_known_checksums(data: bytes, value: int) -> None:
    assert crc32c(data) == value


@pytest.mark.parametrize("size", [*range(60, 70), 127, 128, 129, 191, 192, 1000, 4096, 12_345])
def test_checksums_by_block_equal_those_by_bit(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    assert crc32c(data) == crc32c(memoryview(data)) == crc_by_bit(data)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**16))
def test_one_changed_bit_changes_the_checksum(data: bytes, place: int) -> None:
    changed = bytearray(data or b"x")
    changed[place % len(changed)] ^= 1 << place % 8
    assert crc32c(data or b"x") != crc32c(bytes(changed))


# The wire format, against protobuf's own runtime on the published schema


def by_protobuf(context: dict[str, bytes | int], lists: dict[str, list[bytes] | list[int]]) -> Any:
    example = SequenceExample()
    for name, value in context.items():
        _put(example.context.feature[name], value)
    for name, values in lists.items():
        for value in values:
            _put(example.feature_lists.feature_list[name].feature.add(), value)
        if not values:
            example.feature_lists.feature_list[name].SetInParent()
    example.context.SetInParent()  # both are there when they are empty, as where TensorFlow is given both
    example.feature_lists.SetInParent()
    return example


def _put(feature: Any, value: bytes | int) -> None:
    (feature.int64_list if isinstance(value, int) else feature.bytes_list).value.append(value)


names = st.text(max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)
contexts = st.dictionaries(names, st.binary(max_size=200) | integers, max_size=4)
lists = st.dictionaries(
    names, st.lists(st.binary(max_size=9), max_size=4) | st.lists(integers, max_size=4), max_size=3
)


@settings(max_examples=150, deadline=None)
@given(contexts, lists)
def test_protobuf_reads_what_is_written(context: dict[str, Any], many: dict[str, Any]) -> None:
    message, ours = by_protobuf(context, many), sequence_example.to_bytes(context, many)
    assert SequenceExample.FromString(ours) == message
    assert len(ours) == message.ByteSize()


@pytest.mark.parametrize("value", [b"", b"jpeg" * 99, 0, 7, -1, 2**63 - 1, -(2**63)])
def test_bytes_equal_protobufs_own(value: bytes | int) -> None:  # which orders the names of a table at will
    context, many = {"image/data": value}, {"image/caption": [value, value]}
    assert sequence_example.to_bytes(context, many) == by_protobuf(context, many).SerializeToString()
    order = {"b": 1, "a": 2}, {"d": [3], "c": [4]}
    assert sequence_example.to_bytes(*order) == sequence_example.to_bytes(
        *(dict(sorted(table.items())) for table in order)
    )


@settings(max_examples=150, deadline=None)
@given(contexts, lists)
def test_what_protobuf_writes_is_read(context: dict[str, Any], many: dict[str, Any]) -> None:
    read = sequence_example.from_bytes(by_protobuf(context, many).SerializeToString())
    assert read.context == {name: [value] for name, value in context.items()}
    assert read.lists == many


def test_many_values_unpacked_values_and_strange_fields_are_read() -> None:
    example = SequenceExample()
    example.context.feature["many"].int64_list.value.extend([3, -1, 2**40])
    example.context.feature["scores"].float_list.value.extend([1.5, 2.5])
    known = example.SerializeToString()
    unpacked = bytes.fromhex("0a0f0a0d") + b"\x0a\x03one\x12\x06\x1a\x04\x08\x05\x08\x07"
    strange = b"\x18\x96\x01" + b"\x21" + bytes(8) + b"\x2d" + bytes(4) + b"\x32\x02hi"
    read = sequence_example.from_bytes(strange + known + unpacked)
    assert read.context == {"many": [3, -1, 2**40], "scores": [], "one": [5, 7]}
    assert SequenceExample.FromString(unpacked).context.feature["one"].int64_list.value == [5, 7]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\x05abc", r"byte 0 a field of 5 bytes, but only 3 are left"),
        (b"\x18\x01\x0b", r"byte 2 a field of type 3, which protobuf does not have"),
        (b"\x18\x01\x0a" + b"\xff" * 11, r"byte 3 a number that does not end"),
        (b"\x0a\x80", r"byte 1 a number that does not end"),
        (b"\x0a\x03\x0a\x02\x0a", r"byte 2 a field of 2 bytes, but only 1 are left"),
    ],
)
def test_bytes_of_another_format_are_told_by_place(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sequence_example.from_bytes(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        read = sequence_example.from_bytes(data)
        assert all(isinstance(name, str) for name in (*read.context, *read.lists))


# Framing


def records(count: int = 3) -> list[bytes]:
    return [bytes([n]) * (50 * n) for n in range(count)]


def test_framing_is_that_of_the_format() -> None:
    data = b"a record"
    crc = crc_by_bit(data)
    turned = (crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF
    assert framed(data)[12:] == data + struct.pack("<I", turned)
    assert framed(data)[:8] == struct.pack("<Q", 8)
    assert struct.unpack("<I", framed(data)[8:12])[0] == masked_crc32c(struct.pack("<Q", 8))


def test_tensorboards_reader_reads_what_is_written(tmp_path: Path) -> None:
    from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow

    path = tmp_path / "train-00000-of-00001"
    path.write_bytes(b"".join(map(framed, records())))
    reader = pywrap_tensorflow.PyRecordReader_New(str(path))  # it verifies both CRCs
    for record in records():
        reader.GetNext()
        assert reader.record() == record
    with pytest.raises(errors.OutOfRangeError):
        reader.GetNext()


def test_what_tensorboard_writes_is_read(tmp_path: Path) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with (tmp_path / "written").open("wb") as file:
        writer = RecordWriter(file)
        for record in records():
            writer.write(record)
        writer.flush()
        assert (tmp_path / "written").read_bytes() == b"".join(map(framed, records()))


def test_records_by_order_and_by_place(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"".join(map(framed, records())))
    frames = list(read_frames(path))
    assert [(frame.number, frame.start) for frame in frames] == [(0, 0), (1, 16), (2, 82)]
    assert [read_frame(path, frame.number, frame.start) for frame in frames] == records()


def test_every_cut_is_told_with_record_and_byte(tmp_path: Path) -> None:
    whole = b"".join(map(framed, records()))
    path = tmp_path / "f"
    for size in set(range(len(whole))) - {0, 16, 82}:
        path.write_bytes(whole[:size])
        number, start = (0, 0) if size < 16 else (1, 16) if size < 82 else (2, 82)
        with pytest.raises(
            ValueError, match=rf"f: record {number}, which begins at byte {start}, is cut .*again"
        ):
            list(read_frames(path))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="f is empty, and holds a record at least when it is whole"):
        list(read_frames(path))
    for number, size in enumerate((16, 82), 1):  # between records only a list of shards or a count can tell
        path.write_bytes(whole[:size])
        assert len(list(read_frames(path))) == number


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    whole = b"".join(map(framed, records()))
    path = tmp_path / "f"
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"the CRC of .* written there; fetch or write this file again"):
            list(read_frames(path))


def test_damage_may_be_passed_over_but_never_a_wrong_length(tmp_path: Path) -> None:
    whole = bytearray(b"".join(map(framed, records())))
    path = tmp_path / "f"
    whole[40] ^= 1
    path.write_bytes(whole)
    with pytest.raises(
        ValueError, match=r"record 1, which begins at byte 16, is damaged: the CRC of the rec"
    ):
        list(read_frames(path))
    assert len(list(read_frames(path, verify=False))) == 3
    whole[17] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"record 1, .*: the CRC of its length is"):
        list(read_frames(path, verify=False))


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x89PNG\r\n\x1a\n and more than twelve bytes")
    with pytest.raises(ValueError, match=r"f is not a TFRecord file, or damaged at its beginning: the CRC"):
        list(read_frames(tmp_path / "f"))
