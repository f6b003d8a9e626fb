"""Damaged files for every reader -> each is read or refused in one sentence, or the case is told by number.

    python benchmarks/fuzz_readers.py [--cases 100000] [--seed 0] [--reader NAME] [--only NUMBER]

A case takes a small whole file of one format and changes it: bits, bytes, numbers, lines, parts doubled
or cut off, and pieces that readers trip over. The reader must return, or raise a WordsightError or an OSError
of one line. It must not run anything, connect anywhere, write beside its folder, take a gigabyte, or take
longer than ``SECONDS``. A case depends on its seed and number alone, so that ``--only`` repeats it.
"""

import argparse
import io
import json
import pickle
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from wordsight.errors import WordsightError

SECONDS = 5.0
MEMORY = 1 << 30  # bytes that one case may take
RUNS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
    "socket.connect",
)
PIECES = [
    b"\x00", b"\xff", b"\n", b"\r\n", b"\t", b'"', b",", b"{", b"[", b"}" * 50, b"[" * 5000, b"{\"a\":" * 3000,
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-1", b"0", b"null", b"true", b"\\u0000", b"\\ud800",
    b"\xed\xa0\x80", b"../../x", b"/etc/passwd", b"os:system", b"%n%s", b"\xef\xbb\xbf", b"\xff\xfe",
    (2**31 - 1).to_bytes(4, "little"), (2**63 - 1).to_bytes(8, "little"), b"\xff" * 8, b"\x80\x04",
    b"cos\nsystem\n(S'touch pwned'\ntR.", b"<!ENTITY a \"b\">", b"SQLite format 3\x00",
]  # fmt: skip
Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Target:
    """A reader, the name under which it gets its file, and whole files to change."""

    read: Read
    file: str
    wholes: list[bytes]
    around: Path | None = None  # files that lie beside it


class TooLongError(BaseException):
    """A reader that has not come to an end; nothing that it catches."""


def changed(whole: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four changes."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        near = min(len(data), draw.choice((64, 512, len(data) or 1)))  # headers matter most
        at = draw.randrange(near + 1)
        size = draw.choice((1, 1, 4, 16, 200))
        way = draw.randrange(8)
        if way == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif way == 1:
            data[at : at + size] = draw.randbytes(size)
        elif way == 2:
            del data[at : at + size]
        elif way == 3:
            del data[at:]
        elif way == 4:
            data[at:at] = data[at : at + size * 5]
        elif way == 5:
            data[at:at] = draw.choice(PIECES)
        elif way == 6:
            piece = draw.choice(PIECES)
            data[at : at + len(piece)] = piece
        else:
            _change_number(data, draw)
    return bytes(data)


def _change_number(data: bytearray, draw: random.Random) -> None:
    """Another number, or something else, in place of one that is written in digits."""
    places = [place for place, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if places:
        at = draw.choice(places)
        odd = (
            b"-1",
            b"0",
            b"99999999999999999999",
            b"1e9",
            b"1.5",
            b'"x"',
            b"null",
            b"[1]",
            b"NaN",
            b"4294967296",
        )
        data[at : at + 1] = draw.choice(odd)


class Guard:
    """What readers must not do, noted while one of them is at work."""

    def __init__(self, home: Path) -> None:
        self.home, self.active, self.seen = str(home), False, ""
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in RUNS:
            self.seen = event
        if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[1], str):
            writes = any(letter in arguments[1] for letter in "wax+")
            if writes and not arguments[0].startswith((self.home, tempfile.gettempdir(), "/dev/")):
                self.seen = f"writes {arguments[0]}"


def run(target: Target, data: bytes, folder: Path, guard: Guard) -> str | None:
    """What went wrong in a case, in one line; None if nothing did."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if target.around is not None:
        shutil.copytree(target.around, folder, dirs_exist_ok=True)
    path = folder / target.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    guard.active, guard.seen = True, ""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(path)
    except TooLongError as error:
        return f"takes more than {SECONDS:.0f} s at {place_of(error)}"
    except WordsightError as error:
        if "\n" in str(error).strip() or len(str(error)) > 2000:
            return f"says more than a sentence: {type(error).__name__} at {place_of(error)}"
    except OSError:
        pass
    except BaseException as error:
        return f"raises {type(error).__name__} at {place_of(error)}: {str(error)[:120]!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        guard.active = False
    return f"does {guard.seen}" if guard.seen else None


def place_of(error: BaseException) -> str:
    """File and line of the last place in wordsight."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "/wordsight/" in frame.filename]
    return f"{places[-1].filename.split('/wordsight/')[-1]}:{places[-1].lineno}" if places else "outside"


def targets(home: Path) -> dict[str, Target]:
    """Every reader with files that our own writers, and those of others, make."""
    return {**texts(home), **binaries(home), **models(home)}


def texts(home: Path) -> dict[str, Target]:
    """Readers of lines, tables, JSON, TOML and XML."""
    from wordsight.config import Config
    from wordsight.read.annotations.flickr30k_entities import read_chains, read_sentences
    from wordsight.read.datasets.detect_format import open_dataset
    from wordsight.read.text.label_vocabulary import Labels
    from wordsight.read.text.vocabulary import Vocabulary
    from wordsight.read.text.word_vectors import load_vectors

    pictures = home / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(pictures / name)
    words = Vocabulary.learn(["a red dog runs"], min_count=1)
    words.save(home / "words.json")
    said = [
        {"file_name": name, "split": "train", "sentences": [{"raw": "a dog"}]} for name in ("a.png", "b.png")
    ]
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "id": 1, "caption": "a dog"}],
    }
    listed = [{"image": "a.png", "caption": "a dog", "split": "train"}, {"image": "b.png", "caption": ["x"]}]
    table = b'image,caption,split\na.png,a dog,train\nb.png,"a ""cat""",val\n'

    def dataset(path: Path) -> None:
        opened = open_dataset(path)
        opened.texts()
        opened.items()
        for split in opened.splits() or [None]:
            opened.read(split)

    box = "<xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax>"
    thing = f"<object><name>1</name><bndbox>{box}</bndbox></object>"
    size = "<size><width>9</width><height>9</height></size>"
    xml = f"<annotation>{size}{thing}</annotation>".encode()
    labels = json.dumps({"word2idx": {"dog": 0, "cat": 1}, "idx2word": {"0": "dog", "1": "cat"}, "idx": 2})
    return {
        "csv": Target(dataset, "x.csv", [table], pictures),
        "tsv": Target(dataset, "x.tsv", [table.replace(b",", b"\t")], pictures),
        "token": Target(dataset, "x.token.txt", [b"a.png#0\ta dog\nb.png#0\ta cat\n"], pictures),
        "jsonl": Target(dataset, "x.jsonl", ["\n".join(map(json.dumps, listed)).encode()], pictures),
        "json": Target(dataset, "x.json", [_json({"images": said}), _json(coco), _json(listed)], pictures),
        "vocabulary": Target(Vocabulary.load, "v.json", [(home / "words.json").read_bytes()]),
        "labels": Target(Labels.load, "l.json", [labels.encode()]),
        "vectors": Target(
            lambda path: load_vectors(path, words), "v.txt", [b"a 1 2 3\nred 0.5 1 2\ndog 1e-3 2 3\n"]
        ),
        "entities": Target(
            read_sentences, "1.txt", [b"[/EN#1/people A man] runs with [/EN#2/animals a dog] .\n"]
        ),
        "chains": Target(read_chains, "1.xml", [xml]),
        "toml": Target(
            lambda path: Config.load(path).complete(),
            "c.toml",
            [(Path(__file__).parents[1] / "configs" / "demo.toml").read_bytes()],
        ),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def binaries(home: Path) -> dict[str, Target]:
    """Readers of arrays, shards, checkpoints, pickles and pictures."""
    from wordsight import checkpoint
    from wordsight.evaluation.score_matrix import open_matrix
    from wordsight.files.npy import open_floats
    from wordsight.importers.checkpoint_reader import read_published
    from wordsight.importers.vocabulary_reader import read_vocabulary
    from wordsight.read.datasets.tfrecords import Records
    from wordsight.read.datasets.webdataset import WebDataset
    from wordsight.read.export.tfrecords import RecordSettings, write_records
    from wordsight.read.export.webdataset import write_webdataset
    from wordsight.read.pictures.pixel_reader import PixelReader

    pairs = _pairs(home)
    write_records(home / "records", {"train": pairs}, RecordSettings(seed=None))
    write_webdataset(home / "tar", {"train": pairs}, seed=None)
    checkpoint.save_weights(home / "w.safetensors", {"a": torch.zeros(2, 3), "b": torch.ones(4)})
    shard, tar = next((home / "records").glob("train-*")), next((home / "tar").glob("*.tar"))

    def records(path: Path) -> None:
        for verify in (True, False):
            for sample in Records(path.parent, verify).scan(path, 0):
                Records(path.parent, verify).pick(path, sample)

    def archive(path: Path) -> None:
        for sample in WebDataset(path.parent).scan(path, 0):
            WebDataset(path.parent).pick(path, sample)

    pixels = PixelReader(8)
    state = {"model": [{"fc.weight": torch.zeros(2, 2)}, {"rnn.bias": torch.zeros(2)}], "epoch": 1}
    return {
        "safetensors": Target(
            checkpoint.read_weights, "w.safetensors", [(home / "w.safetensors").read_bytes()]
        ),
        "npy": Target(
            lambda path: open_floats(path, "row feature").sum(),
            "x.npy",
            [_npy("<f4"), _npy("<f2"), _npy(">f8")],
        ),
        "scores": Target(open_matrix, "s.npy", [_npy("<f4"), _pickled_scores()]),
        "pth": Target(read_published, "m.pth", [_torch(state, True), _torch(state, False)]),
        "pickle": Target(
            read_vocabulary, "v.pkl", [pickle.dumps({"a": 1}, protocol) for protocol in (0, 2, 4)]
        ),
        "tfrecord": Target(records, shard.name, [shard.read_bytes()]),
        "tar": Target(archive, tar.name, [tar.read_bytes()]),
        "picture": Target(
            pixels.prepare, "p.png", [_picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]
        ),
    }


def _pairs(home: Path) -> Any:
    from wordsight.pairs import PairSet, PictureFiles

    paths = [home / f"{name}.jpg" for name in "ab"]
    for path in paths:
        Image.new("RGB", (6, 5), "red").save(path)
    texts, image_of = ["a man", "a red dog"], torch.tensor([0, 1])
    return PairSet(PictureFiles(paths), ["a.jpg", "b.jpg"], texts, image_of, torch.tensor([1, 2]))


def _npy(kind: str) -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(12).reshape(3, 4).astype(kind))
    return file.getvalue()


def _pickled_scores() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array({"sims": np.arange(6.0).reshape(2, 3)}, dtype=object), allow_pickle=True)
    return file.getvalue()


def _torch(state: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((9, 7)).convert("RGB").save(file, kind)
    return file.getvalue()


def models(home: Path) -> dict[str, Target]:
    """Readers of a saved model, of a published one's preprocessing, of an index and of a feature store."""
    from made_index import make_index

    from wordsight.matcher import Matcher
    from wordsight.read.features.store import FeatureStore
    from wordsight.read.features.store_writer import Seen, StoreWriter
    from wordsight.read.pictures.preprocessor_config import pixel_reader
    from wordsight.search.index.index import Filters, Index
    from wordsight.sets import Regions

    index = make_index(home / "index", 6, regions=2, dim=8).folder
    connection = sqlite3.connect(index / "facts.sqlite")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    regions = Regions(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    with StoreWriter(home / "store", "identity", {"model": "x"}) as writer:
        writer.append(regions, [Seen(Path("/a.png"), (1, 2), "hash", (4, 4))], 1)

    def snapshot(path: Path) -> None:
        with Index.open(path.parent).snapshot() as moment:
            rows = range(len(moment))
            moment.items(rows)
            moment.gather(np.arange(len(moment)))
            moment.modified()
            moment.rows_where(Filters(text="dog", after=1.0, folder="x"))

    def features(path: Path) -> None:
        FeatureStore.open(path.parent).source([Path("/a.png")]).read([0])

    published = {
        "size": {"height": 8, "width": 8},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 2,
    }
    cropped = {"size": {"shortest_edge": 9}, "crop_size": 8, "do_center_crop": True, "do_normalize": False}
    return {
        "model": Target(
            lambda path: Matcher.from_pretrained(path.parent),
            "config.json",
            [(index / "model" / "config.json").read_bytes()],
            index / "model",
        ),
        "preprocessing": Target(
            lambda path: pixel_reader(path.parent, "published", None),
            "preprocessor_config.json",
            [_json(published), _json(cropped)],
        ),
        "index": Target(Index.open, "index.json", [(index / "index.json").read_bytes()], index),
        "sqlite": Target(snapshot, "facts.sqlite", [(index / "facts.sqlite").read_bytes()], index),
        "store": Target(features, "meta.json", [(home / "store" / "meta.json").read_bytes()], home / "store"),
        "store lines": Target(
            features, "pictures.jsonl", [(home / "store" / "pictures.jsonl").read_bytes()], home / "store"
        ),
    }


def fuzz(
    home: Path, cases: range, seed: int = 0, reader: str | None = None, limit_memory: bool = True
) -> tuple[Counter[str], dict[str, str]]:
    """Cases by reader, and the first case of each way in which one went wrong."""
    (home / "wholes").mkdir()
    known = targets(home / "wholes")
    names = sorted(known) if reader is None else [reader]
    guard, counts, wrong = Guard(home), Counter[str](), dict[str, str]()
    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGALRM, _too_long)
    try:
        if limit_memory:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, before[1]))
        for number in cases:
            name = names[number % len(names)]
            draw = random.Random(f"{seed} {number}")
            target = known[name]
            problem = run(target, changed(draw.choice(target.wholes), draw), home / "case", guard)
            counts[name] += 1
            if problem is not None:
                wrong.setdefault(f"{name}: {problem}", f"--seed {seed} --only {number}")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, old)
    return counts, wrong


def _too_long(*_: object) -> None:
    raise TooLongError


def _address_space() -> int:
    """Bytes of address space that this process has."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader")
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    cases = range(given.cases) if given.only is None else range(given.only, given.only + 1)
    with tempfile.TemporaryDirectory() as folder:
        counts, wrong = fuzz(Path(folder), cases, given.seed, given.reader)
    for problem, repeat in sorted(wrong.items()):
        print(f"{problem}\n    {repeat}")
    spent = time.process_time() - started
    print(
        f"{sum(counts.values()):,} cases of {len(counts)} readers, {len(wrong)} ways to fail, {spent:.0f} s"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
