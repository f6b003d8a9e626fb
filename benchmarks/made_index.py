"""Numbers -> an index on disk without pictures: sets of vectors around the words of made-up captions.

An untrained model reads the captions; each region of a picture is one of its caption's words, moved by noise,
so that sentences find pictures as they do in an index of photographs. The files are written by the package's
own writer.
"""

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.nn import functional as F

from wordsight.matcher import Matcher
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index import manifest
from wordsight.search.index.index import Index
from wordsight.search.index.vector_files import Packed, pack
from wordsight.search.index.writer import Writer
from wordsight.search.query.stop_words import EVERYDAY_WORDS
from wordsight.sets import EmbeddingSet

NOISE = 1.0  # length of what is added to a region's unit vector
LOUD = 10.0  # times as large as untrained word vectors are, so that words differ as trained ones do
BATCH = 250
TEMPLATE = "a {} {} with a {} and a {} near a {} {} on a {}"


def make_index(
    folder: Path, pictures: int, regions: int = 5, dim: int = 256, similarity: str = "max-sim"
) -> Index:
    """Raises FileExistsError if the folder holds anything."""
    with tempfile.TemporaryDirectory() as model:
        build(dim, similarity).save_pretrained(Path(model) / "model")
        index = Index.create(folder, Path(model) / "model")
    with manifest.writing(folder):
        writer = Writer(folder, index.meta)
        try:
            texts = captions(pictures)
            for first in range(0, pictures, BATCH):
                _write(writer, index, first, texts[first : first + BATCH], regions)
        finally:
            writer.close()
    return index


def build(dim: int, similarity: str = "max-sim", pooling: str = "mean") -> Matcher:
    torch.manual_seed(0)
    vocabulary = Vocabulary.learn([" ".join(EVERYDAY_WORDS), "a with and near on"], min_count=1)
    tables = {
        "reader": {"name": "pixels", "size": 32},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "grid-cnn", "dim": dim, "width": 8, "depth": 0},
        "text_encoder": {"name": "recurrent", "word_dim": 64, "bidirectional": True},
        "similarity": {"name": similarity, "pooling": pooling},
    }
    matcher = Matcher.build(tables, vocabulary=vocabulary).eval()
    with torch.no_grad():
        matcher.text_encoder.words.weight.mul_(LOUD)
    return matcher


def captions(count: int, seed: int = 0) -> list[str]:
    draws = random.Random(seed)
    return [TEMPLATE.format(*draws.sample(EVERYDAY_WORDS, TEMPLATE.count("{}"))) for _ in range(count)]


def _write(writer: Writer, index: Index, first: int, texts: Sequence[str], regions: int) -> None:
    packed = pack(_regions_of(index.matcher, texts, regions, seed=first), index.meta.layout, True)
    write_batch(writer, packed, first, texts)


def write_batch(writer: Writer, packed: Packed, first: int, texts: Sequence[str]) -> None:
    """Pictures from number ``first`` on, a second apart, in a hundred folders."""
    rows = range(first, first + len(texts))
    with writer.batch():
        places, checksums = writer.append(packed), packed.checksums()
        key = (writer.facts.execute("SELECT max(key) FROM contents").fetchone()[0] or 0) + 1
        writer.facts.executemany(
            "INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?, 640, 480, ?, NULL, '', NULL, NULL)",
            [
                (key + n, f"{row:032x}", place.segment, place.place, place.start, place.count, checksum)
                for n, (row, place, checksum) in enumerate(zip(rows, places, checksums, strict=True))
            ],
        )
        paths = [f"/made/{row % 100:02}/{row:07}.jpg" for row in rows]
        writer.facts.executemany(
            "INSERT INTO items VALUES (NULL, ?, '', ?, 50000, ?, 0, ?, '', ?)",
            [
                (path.encode(), key + n, 10**18 + row * 10**9, path, text)
                for n, (row, path, text) in enumerate(zip(rows, paths, texts, strict=True))
            ],
        )


@contextmanager
def words_indexed_last(writer: Writer) -> Iterator[None]:
    """Index the words of all items after the block, which takes a tenth of the time of one by one."""
    trigger = writer.facts.execute("SELECT sql FROM sqlite_master WHERE name = 'words_added'").fetchone()[0]
    writer.facts.execute("DROP TRIGGER words_added")
    yield
    with writer.batch():
        writer.facts.execute(trigger)
        writer.facts.execute("INSERT INTO words (words) VALUES ('rebuild')")


@torch.no_grad()
def _regions_of(matcher: Matcher, texts: Sequence[str], regions: int, seed: int) -> EmbeddingSet:
    draw = torch.Generator().manual_seed(seed)
    words = matcher.encode_texts(texts)
    units = F.normalize(words.vectors, dim=-1)
    chosen = torch.rand(len(texts), regions, generator=draw).mul(words.lengths[:, None]).long()
    noise = F.normalize(torch.randn(len(texts), regions, units.shape[2], generator=draw), dim=-1)
    vectors = units.gather(1, chosen[..., None].expand_as(noise)) + NOISE * noise
    mask = torch.ones(len(texts), regions, dtype=torch.bool)
    return EmbeddingSet(vectors, mask, torch.tensor(list(_boxes(regions))).expand(len(texts), -1, -1))


def _boxes(regions: int) -> Iterator[tuple[float, float, float, float]]:
    """Cells of a grid for a square number, otherwise a row of strips."""
    across = round(regions**0.5) if round(regions**0.5) ** 2 == regions else regions
    down = regions // across
    for y in range(down):
        for x in range(across):
            yield x / across, y / down, (x + 1) / across, (y + 1) / down
