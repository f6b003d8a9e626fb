"""A matcher and its pairs -> their embeddings, batch by batch, without gradients and in evaluation mode."""

from collections.abc import Iterator

from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.runtime.progress import Progress, silent
from wordsight.sets import EmbeddingSet


def encode_images(
    matcher: Matcher, pairs: PairSet, batch_size: int = 64, progress: Progress = silent
) -> EmbeddingSet:
    parts = []
    progress("images", 0, len(pairs.images))
    for rows in batches(len(pairs.images), batch_size):
        parts.append(encode_rows(matcher, pairs, rows))
        progress("images", rows.stop, len(pairs.images))
    return EmbeddingSet.join(parts)


def encode_rows(matcher: Matcher, pairs: PairSet, rows: range) -> EmbeddingSet:
    return matcher.encode_images(matcher.read_images(pairs.images.read(list(rows))))


def encode_texts(
    matcher: Matcher, pairs: PairSet, batch_size: int = 64, progress: Progress = silent
) -> EmbeddingSet:
    parts = []
    progress("texts", 0, len(pairs.texts))
    for rows in batches(len(pairs.texts), batch_size):
        parts.append(matcher.encode_texts([pairs.texts[row] for row in rows]))
        progress("texts", rows.stop, len(pairs.texts))
    return EmbeddingSet.join(parts)


def batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
