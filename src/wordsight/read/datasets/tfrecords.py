"""CMPL's TFRecords -> PairSet of pictures inside them, without TensorFlow; identities are their labels.

One record is one pair: a SequenceExample whose context has the JPEG, the label (of the picture, or of the
person), the file name and the split, and whose lists have the words and their ids, ``<START>`` and ``<END>``
included. The pairs of one picture (of one file name and label) are folded, as they are in every other data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from wordsight.errors import InputError
from wordsight.files.undecodable import from_exact
from wordsight.read.datasets.shard_samples import Sample
from wordsight.read.datasets.shards import ShardDataset
from wordsight.read.export.resumable_shards import pairs_written
from wordsight.read.formats.sequence_example import SequenceExample, Value, context_of, from_bytes
from wordsight.read.formats.tfrecord_file import Frame, read_frame, read_frames

DATA, LABEL, FILENAME, SPLIT = "image/data", "image/label", "image/filename", "image/split"  # in the context
CAPTION, CAPTION_IDS = "image/caption", "image/caption_ids"  # in the lists
START, END = "<START>", "<END>"


class Records(ShardDataset):
    """``SPLIT-00000-of-00001`` and so on in a folder; pictures are read when they are needed.

    A text is its words, joined by spaces: cut it with the rule that the records were made with ("cmpl", or
    "karpathy" for CMPL's Flickr30k and COCO) and the words are the same. ``verify`` False passes over CRCs of
    records, which are checked when the index is made and again when a picture is read.
    """

    kind = "TFRecords in CMPL's layout"
    without_splits = "name the shards by their split: train-00000-of-00001"

    def __init__(self, path: str | Path, verify: bool = True) -> None:
        self.path, self.verify = path, verify
        self.verified = verify

    def scan(self, shard: Path, number: int) -> Iterator[Sample]:
        return scan(shard, number, self.verify)

    def pick(self, shard: Path, sample: Sample) -> bytes:
        return pick(shard, sample, self.verify)

    def not_all(self, folder: Path, split: str | None, shards: Sequence[Path], found: int) -> str:
        written = pairs_written(folder, split, shards) if split else None
        if written in (None, found):
            return ""
        return (
            f"{found:,} records of {split} are there, and {written:,} were written: a shard was cut where a "
            "record ends, or is of another conversion"
        )


def scan(shard: Path, number: int, verify: bool = True) -> Iterator[Sample]:
    """Scan the records of a shard."""
    for frame in read_frames(shard, verify):
        yield _understood(frame, shard, number)


def pick(shard: Path, sample: Sample, verify: bool = True) -> bytes:
    frame = Frame(sample.number, sample.start, read_frame(shard, sample.number, sample.start, verify))
    with _with_place(frame, shard):
        return _bytes(_only(context_of(frame.data), DATA), DATA)


def _understood(frame: Frame, shard: Path, number: int) -> Sample:
    with _with_place(frame, shard):
        example = from_bytes(frame.data)
        _bytes(_only(example.context, DATA), DATA)
        return Sample(
            shard=number,
            number=frame.number,
            start=frame.start,
            size=len(frame.data),
            name=from_exact(_bytes(_only(example.context, FILENAME), FILENAME)),
            identity=_integer(_only(example.context, LABEL), LABEL),
            texts=[_joined([_text(word, CAPTION) for word in _words(example)])],
        )


@contextmanager
def _with_place(frame: Frame, shard: Path) -> Iterator[None]:
    """Add the place to errors inside a record."""
    try:
        yield
    except ValueError as error:
        raise InputError(
            f"{shard}: record {frame.number}, which begins at byte {frame.start:,}, {error}; "
            "expected CMPL's layout, as wordsight data records writes it"
        ) from error


def _only(context: Mapping[str, Sequence[Value]], name: str) -> Value:
    values = context.get(name, ())
    if len(values) != 1:
        raise InputError(f"has {len(values) or 'no'} values of {name}, but of {_listed(context)}")
    return values[0]


def _words(example: SequenceExample) -> Sequence[Value]:
    words = example.lists.get(CAPTION, ())
    if not set(words) - {START.encode(), END.encode()}:
        raise InputError(f"has no words in {CAPTION}, but {_listed(example.lists)}")
    return words


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing at all"


def _bytes(value: Value, name: str) -> bytes:
    if isinstance(value, int):
        raise InputError(f"has a number for {name}; expected bytes")
    return value


def _text(value: Value, name: str) -> str:
    try:
        return _bytes(value, name).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"has {name} = {value!r:.60}; expected text in UTF-8") from error


def _integer(value: Value, name: str) -> int:
    if not isinstance(value, int):
        raise InputError(f"has bytes for {name}; expected a number")
    return value


def _joined(words: list[str]) -> str:
    first, last = words[:1] == [START], words[-1:] == [END]
    return " ".join(words[int(first) : len(words) - int(last)])
