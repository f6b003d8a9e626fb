"""A matcher and its pairs -> Recalls by a named protocol, and the score matrix as a file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.evaluation.encode import encode_images, encode_texts
from wordsight.evaluation.evaluate_matrix import rank_all_matches, rank_matrix
from wordsight.evaluation.protocols import Protocol, find_protocol
from wordsight.evaluation.recall import FoldRanks, Recalls
from wordsight.evaluation.score_matrix import ComputedScores, as_scores, check_finite
from wordsight.evaluation.write_scores import write_scores
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet
from wordsight.registry.limits import Count
from wordsight.runtime.device import find_device
from wordsight.runtime.progress import Progress, silent
from wordsight.similarity.ranking.count import Ties
from wordsight.similarity.ranking.exact import Precision, rank_matches
from wordsight.tensors import torch


@dataclass(frozen=True)
class EvaluationOptions:
    """How ``evaluate`` measures, whatever the matcher and the pairs are."""

    batch_size: Count = 64  # images, and texts, that are encoded together
    precision: Precision = "auto"
    ties: Ties = "pessimistic"
    strict: bool = True  # pairs that are not the protocol's are an error; False says so in the result
    intervals: bool = True  # confidence intervals, by bootstrap
    average_precision: bool | None = None
    """Add mAP, mINP, R-precision and mAP@R, from float32 scores, computed once for each way of asking; None:
    where the protocol is one of person search."""
    split: str | None = None  # its name in the result; None: the source of the pairs
    device: str | None = None  # the matcher is moved there first; None: where it is


def evaluate(
    matcher: Matcher,
    pairs: PairSet,
    protocol: str | Protocol = "all",
    *,
    save_scores: str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Recalls:
    """Encode every image and text once, then count ranks in blocks; no score matrix is held.

    ``save_scores`` writes the matrix [image, text] as float32 .npy, block after block, and ranks what it
    wrote. ``progress`` is called with ("images" | "texts" | "scores", done, of how many). ``options`` are the
    fields of ``EvaluationOptions``: ``evaluate(matcher, pairs, "f30k", batch_size=128, intervals=False)``.

    Raises ProtocolMismatchError when the counts are not the protocol's, ValueError on scores that are not
    finite.
    """
    chosen, how = find_protocol(protocol), EvaluationOptions(**options)
    texts_of = torch.bincount(pairs.image_of, minlength=len(pairs.images))
    deviation = chosen.check(texts_of, how.strict, identities=len(set(pairs.identities.tolist())))
    if how.average_precision is None:
        how = replace(how, average_precision=chosen.persons)
    if how.average_precision and how.precision == "int8":
        raise InputError(
            'precision = "int8" certifies the rank of the best match only, and average precision needs the '
            'ranks of all; use "auto" or "float32"'
        )
    if how.device is not None:
        matcher.to(find_device(how.device))
    with inference(matcher):
        if save_scores is None:
            folds = [
                _rank_fold(matcher, _fold(pairs, rows), how, progress)
                for rows in chosen.rows(len(pairs.images))
            ]
        else:
            write_scores(matcher, pairs, Path(save_scores), how.batch_size, progress)
            folds = _rank_saved(Path(save_scores), pairs, chosen, how)
    return Recalls.from_folds(
        chosen.name,
        folds,
        ties=how.ties,
        split=pairs.source if how.split is None else how.split,
        deviation=deviation,
        intervals=how.intervals,
    )


def _rank_saved(path: Path, pairs: PairSet, protocol: Protocol, how: EvaluationOptions) -> list[FoldRanks]:
    scores = as_scores(path)
    check_finite(scores)
    identities = pairs.identities.numpy(), pairs.text_identities.numpy()
    return rank_matrix(scores, *identities, protocol, how.ties, bool(how.average_precision))


def _rank_fold(matcher: Matcher, pairs: PairSet, how: EvaluationOptions, progress: Progress) -> FoldRanks:
    """Ranks within one gallery, whose images and texts stay encoded in memory; their scores do not."""
    images = encode_images(matcher, pairs, how.batch_size, progress)
    texts = encode_texts(matcher, pairs, how.batch_size, progress)

    def report(done: int, total: int) -> None:
        progress("scores", done, total)

    if how.average_precision:
        scores = ComputedScores(matcher.similarity, images, texts)
        identities = pairs.identities.numpy(), pairs.text_identities.numpy()
        return rank_all_matches(scores, *identities, how.ties, report)
    ranks = rank_matches(
        matcher.similarity, images, texts, pairs.identities, pairs.text_identities, how.precision, how.ties,
        report,
    )  # fmt: skip
    by_image, by_text = (side.numpy() for side in ranks)
    return FoldRanks(by_image, by_text, pairs.identities.numpy(), pairs.text_identities.numpy())


def _fold(pairs: PairSet, rows: range) -> PairSet:
    return pairs if len(rows) == len(pairs.images) else pairs.subset(rows)
