"""A matcher and its pairs -> Recalls by a named protocol, and the score matrix as a file when asked."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import nn

from wordsight.compare.ranks import Ties
from wordsight.matcher import Matcher
from wordsight.measure.matrix import check_finite, rank_matrix
from wordsight.measure.protocols import PROTOCOLS, Protocol, find_protocol
from wordsight.measure.recalls import FoldRanks, Recalls
from wordsight.pairs import PairSet
from wordsight.sets import EmbeddingSet

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


def evaluate(
    matcher: Matcher,
    pairs: PairSet,
    protocol: str | Protocol = "all",
    *,
    batch_size: int = 64,
    precision: str = "auto",
    ties: Ties = "pessimistic",
    strict: bool = True,
    intervals: bool = True,
    split: str | None = None,
    save_scores: str | Path | None = None,
    progress: Progress | None = None,
) -> Recalls:
    """Encode every image and text once, then count ranks in blocks; no score matrix is held.

    ``save_scores`` writes the matrix [image, text] as float32 .npy, block after block, and ranks what it
    wrote. ``strict=False`` measures pairs that are not the protocol's and says so in the result.
    ``progress`` is called with ("images" | "texts" | "scores", done, of how many).

    Raises ProtocolMismatchError when the counts are not the protocol's, ValueError on scores that are not
    finite.
    """
    chosen = find_protocol(protocol)
    deviation = chosen.check(torch.bincount(pairs.image_of, minlength=len(pairs.images)), strict)
    report = progress or _silent
    with inference(matcher):
        if save_scores is None:
            folds = [
                _rank_fold(matcher, _fold(pairs, rows), batch_size, precision, ties, report)
                for rows in chosen.rows(len(pairs.images))
            ]
        else:
            write_scores(matcher, pairs, Path(save_scores), batch_size, report)
            folds = _rank_saved(Path(save_scores), pairs, chosen, ties)
    return Recalls.from_folds(
        chosen.name,
        folds,
        ties=ties,
        split=pairs.source if split is None else split,
        deviation=deviation,
        intervals=intervals,
    )


def write_scores(
    matcher: Matcher, pairs: PairSet, path: Path, batch_size: int = 64, progress: Progress | None = None
) -> None:
    """Scores of every image with every text as float32 .npy: complete, or not there at all.

    Rows are written in order, never through a sparse map: a full disk is then an error that can be caught,
    and not the end of the process.
    """
    report = progress or _silent
    with inference(matcher), _whole_file(path) as file:
        texts = _encode_texts(matcher, pairs, batch_size, report)
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (len(pairs.images), len(texts))}
        )
        for rows in _batches(len(pairs.images), batch_size):
            scores = matcher.similarity(_encode_images(matcher, pairs, rows), texts)
            file.write(scores.float().cpu().numpy().astype("<f4").tobytes())
            report("scores", rows.stop, len(pairs.images))


def _rank_saved(path: Path, pairs: PairSet, protocol: Protocol, ties: Ties) -> list[FoldRanks]:
    scores = np.load(path, mmap_mode="r")
    check_finite(scores, str(path))
    return rank_matrix(scores, pairs.identities.numpy(), pairs.text_identities.numpy(), protocol, ties)


def _rank_fold(
    matcher: Matcher, pairs: PairSet, batch_size: int, precision: str, ties: Ties, report: Progress
) -> FoldRanks:
    images = _encode_images_of(matcher, pairs, batch_size, report)
    texts = _encode_texts(matcher, pairs, batch_size, report)
    scores = matcher.similarity(images, texts).float().cpu().numpy()
    check_finite(scores)
    identities = pairs.identities.numpy(), pairs.text_identities.numpy()
    return rank_matrix(scores, *identities, PROTOCOLS["all"], ties)[0]


def _encode_images_of(matcher: Matcher, pairs: PairSet, batch_size: int, report: Progress) -> EmbeddingSet:
    parts = []
    for rows in _batches(len(pairs.images), batch_size):
        parts.append(_encode_images(matcher, pairs, rows))
        report("images", rows.stop, len(pairs.images))
    return EmbeddingSet.join(parts)


def _encode_images(matcher: Matcher, pairs: PairSet, rows: range) -> EmbeddingSet:
    return matcher.encode_images(matcher.read_images(pairs.images.read(list(rows))))


def _encode_texts(matcher: Matcher, pairs: PairSet, batch_size: int, report: Progress) -> EmbeddingSet:
    parts = []
    for rows in _batches(len(pairs.texts), batch_size):
        parts.append(matcher.encode_texts([pairs.texts[row] for row in rows]))
        report("texts", rows.stop, len(pairs.texts))
    return EmbeddingSet.join(parts)


def _batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _fold(pairs: PairSet, rows: range) -> PairSet:
    return pairs if len(rows) == len(pairs.images) else pairs.subset(rows)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """No gradients and evaluation mode; afterwards every part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends well, and leaves nothing behind otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
