"""A matcher and its pairs -> Recalls by a named protocol, and the score matrix as a file when asked."""

from pathlib import Path

import torch

from wordsight.errors import InputError
from wordsight.evaluation.encode import encode_images, encode_texts, inference
from wordsight.evaluation.evaluate_matrix import rank_all_matches, rank_matrix
from wordsight.evaluation.protocols import Protocol, find_protocol
from wordsight.evaluation.recall import FoldRanks, Recalls
from wordsight.evaluation.score_matrix import ComputedScores, as_scores, check_finite
from wordsight.evaluation.write_scores import write_scores
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.runtime.progress import Progress, silent
from wordsight.similarity.ranking.count import Ties
from wordsight.similarity.ranking.exact import Precision, rank_matches


def evaluate(
    matcher: Matcher,
    pairs: PairSet,
    protocol: str | Protocol = "all",
    *,
    batch_size: int = 64,
    precision: Precision = "auto",
    ties: Ties = "pessimistic",
    strict: bool = True,
    intervals: bool = True,
    average_precision: bool | None = None,
    split: str | None = None,
    save_scores: str | Path | None = None,
    progress: Progress = silent,
) -> Recalls:
    """Encode every image and text once, then count ranks in blocks; no score matrix is held.

    ``save_scores`` writes the matrix [image, text] as float32 .npy, block after block, and ranks what it
    wrote. ``strict=False`` measures pairs that are not the protocol's and says so in the result.
    ``average_precision`` adds mAP, mINP, R-precision and mAP@R, from float32 scores, computed once for each
    way of asking; by default where the protocol is one of person search.
    ``progress`` is called with ("images" | "texts" | "scores", done, of how many).

    Raises ProtocolMismatchError when the counts are not the protocol's, ValueError on scores that are not
    finite.
    """
    chosen = find_protocol(protocol)
    texts_of = torch.bincount(pairs.image_of, minlength=len(pairs.images))
    deviation = chosen.check(texts_of, strict, identities=len(set(pairs.identities.tolist())))
    every = chosen.persons if average_precision is None else average_precision
    if every and precision == "int8":
        raise InputError(
            'precision = "int8" certifies the rank of the best match only, and average precision needs the '
            'ranks of all; use "auto" or "float32"'
        )
    with inference(matcher):
        if save_scores is None:
            folds = [
                _rank_fold(matcher, _fold(pairs, rows), batch_size, precision, ties, every, progress)
                for rows in chosen.rows(len(pairs.images))
            ]
        else:
            write_scores(matcher, pairs, Path(save_scores), batch_size, progress)
            folds = _rank_saved(Path(save_scores), pairs, chosen, ties, every)
    return Recalls.from_folds(
        chosen.name,
        folds,
        ties=ties,
        split=pairs.source if split is None else split,
        deviation=deviation,
        intervals=intervals,
    )


def _rank_saved(
    path: Path, pairs: PairSet, protocol: Protocol, ties: Ties, average_precision: bool
) -> list[FoldRanks]:
    scores = as_scores(path)
    check_finite(scores)
    identities = pairs.identities.numpy(), pairs.text_identities.numpy()
    return rank_matrix(scores, *identities, protocol, ties, average_precision)


def _rank_fold(
    matcher: Matcher,
    pairs: PairSet,
    batch_size: int,
    precision: Precision,
    ties: Ties,
    average_precision: bool,
    progress: Progress,
) -> FoldRanks:
    """Images and texts of one gallery are held encoded; their scores are not."""
    images = encode_images(matcher, pairs, batch_size, progress)
    texts = encode_texts(matcher, pairs, batch_size, progress)

    def shown(done: int, total: int) -> None:
        progress("scores", done, total)

    if average_precision:
        scores = ComputedScores(matcher.similarity, images, texts)
        identities = pairs.identities.numpy(), pairs.text_identities.numpy()
        return rank_all_matches(scores, *identities, ties, shown)
    ranks = rank_matches(
        matcher.similarity, images, texts, pairs.identities, pairs.text_identities, precision, ties,
        shown,
    )  # fmt: skip
    by_image, by_text = (side.numpy() for side in ranks)
    return FoldRanks(by_image, by_text, pairs.identities.numpy(), pairs.text_identities.numpy())


def _fold(pairs: PairSet, rows: range) -> PairSet:
    return pairs if len(rows) == len(pairs.images) else pairs.subset(rows)
