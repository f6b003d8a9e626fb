"""A configuration and a model, or saved scores -> measured numbers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from wordsight.config import Config, Evaluation, Split
from wordsight.errors import InputError
from wordsight.evaluation import (
    ExtendedRecalls,
    Pointing,
    Recalls,
    ensemble_scores,
    evaluate,
    evaluate_relevance,
    evaluate_scores,
    measure_relevance,
    pointing_accuracy,
    read_relevance,
    write_scores,
)
from wordsight.evaluation.ensemble import must_be_same_pairs, weights_of
from wordsight.evaluation.pointing import can_point
from wordsight.evaluation.score_matrix import Scores, as_scores, open_matrix, write_matrix
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.runs.opening import Data, open_data, open_matcher
from wordsight.runtime.progress import Progress, silent
from wordsight.similarity.ranking.count import Ties

_FOR_MATRICES = ("protocol", "ties", "average_precision")


def measure(config: Config, matcher: Matcher, pairs: PairSet, **settings_given: Any) -> Recalls:
    """R@K as [evaluation] says, except for what is asked otherwise."""
    settings = {field.name: getattr(config.evaluation, field.name) for field in fields(Evaluation)}
    settings |= {key: value for key, value in settings_given.items() if value is not None}
    return evaluate(matcher, pairs, **settings)


@dataclass(frozen=True, eq=False)
class Measured:
    """A model, the pairs it was measured on, and what came of it."""

    config: Config
    matcher: Matcher
    split: Split
    pairs: PairSet
    recalls: Recalls
    pointing: Pointing | None  # where the pairs say which box each word names


def measure_model(
    model: str,
    config: str | None,
    changes: Sequence[str],
    split: Split,
    settings_given: Mapping[str, Any],
    intervals: bool = True,
    save_scores: Path | None = None,
    trust_remote_code: bool = False,
    progress: Progress = silent,
    device: str = "auto",
) -> Measured:
    """Measure a run's best model, or any saved model, on the data of a configuration."""
    data = open_data(model, config, changes, split, trust_remote_code)
    matcher = open_matcher(model, trust_remote_code, device)
    recalls = measure(
        data.config,
        matcher,
        data.pairs,
        **settings_given,
        intervals=intervals,
        save_scores=save_scores,
        progress=progress,
    )
    pointing = pointing_accuracy(matcher, data.pairs) if can_point(matcher, data.pairs) else None
    return Measured(data.config, matcher, split, data.pairs, recalls, pointing)


@dataclass(frozen=True)
class Sources:
    """Where scores come from: models, files of scores, or both, and how several become one matrix."""

    models: Sequence[str] = ()
    files: Sequence[Path] = ()  # .npy, also the reference's pickled results_*.npy
    config: str | None = None
    changes: Sequence[str] = ()
    split: Split = "test"
    weights: Sequence[float] | None = None  # models first, then files
    standardize: bool = False
    trust_remote_code: bool = False
    device: str = "auto"

    @property
    def alone(self) -> bool:
        """A single model, whose scores need not be held."""
        return len(self.models) == 1 and not self.files


def measure_scores(
    sources: Sources,
    settings_given: Mapping[str, Any],
    captions_per_image: int = 5,
    intervals: bool = True,
    save_scores: Path | None = None,
    progress: Progress = silent,
) -> Recalls:
    """R@K of one matrix or of the mean of several, by the protocol asked for or the first model's."""
    with _scores_of(sources, progress) as (scores, data):
        if save_scores is not None:
            write_matrix(scores, save_scores)
        given = {key: value for key, value in settings_given.items() if value is not None}
        known = {} if data is None else vars(data.config.evaluation)
        settings = {key: value for key, value in (known | given).items() if key in _FOR_MATRICES}
        settings["intervals"] = intervals
        if data is None:
            return evaluate_scores(scores, captions_per_image=captions_per_image, **settings)
        identities = data.pairs.identities, data.pairs.text_identities
        return evaluate_scores(scores, *identities, split=f"{data.pairs.source}; {scores.source}", **settings)


def measure_by_annotations(
    sources: Sources,
    folder: Path,
    name: str,
    ties: Ties,
    zero_diagonal: bool = False,
    progress: Progress = silent,
) -> ExtendedRecalls:
    """Measure against human relevance annotations; a single model also within pictures and texts."""
    if sources.alone:
        (model,) = sources.models
        pairs = _data_of(sources, model).pairs
        relevance = read_relevance(folder, name, pairs)
        return evaluate_relevance(
            open_matcher(model, sources.trust_remote_code, sources.device),
            pairs,
            relevance,
            ties=ties,
            zero_diagonal=zero_diagonal,
            progress=progress,
        )
    with _scores_of(sources, progress) as (scores, data):
        if data is None:
            raise InputError("scores alone do not say which images and texts they are of; give --config")
        relevance, split = read_relevance(folder, name, data.pairs), f"{data.pairs.source}; {scores.source}"
        return measure_relevance(scores, relevance, ties=ties, split=split)


@contextmanager
def _scores_of(sources: Sources, progress: Progress) -> Iterator[tuple[Scores, Data | None]]:
    """One matrix, and what it is of, if known; the matrices of models are files while it is used."""
    shares = weights_of(sources.weights, len(sources.models) + len(sources.files))
    with TemporaryDirectory() as folder:
        data = [_data_of(sources, model) for model in sources.models]
        for model, other in zip(sources.models, data, strict=True):
            must_be_same_pairs(data[0].pairs, other.pairs, (sources.models[0], model))
        opened = _scores_of_files(sources.files, Path(folder))
        opened = [*_scores_of_models(sources, data, Path(folder), progress), *opened]
        if not data and sources.config is not None:
            data = [_data_of(sources, "")]
        alone = len(opened) == 1 and not sources.standardize
        scores = opened[0] if alone else ensemble_scores(opened, shares, sources.standardize)
        yield scores, data[0] if data else None


def _data_of(sources: Sources, model: str) -> Data:
    return open_data(model, sources.config, sources.changes, sources.split, sources.trust_remote_code)


def _scores_of_models(
    sources: Sources, data: Sequence[Data], folder: Path, progress: Progress
) -> list[Scores]:
    """Each model's matrix in a file; one model at a time is held."""
    opened = []
    for number, (model, known) in enumerate(zip(sources.models, data, strict=True)):
        path = folder / f"model-{number}.npy"
        matcher = open_matcher(model, sources.trust_remote_code, sources.device)
        write_scores(matcher, known.pairs, path, known.config.evaluation.batch_size, progress)
        opened.append(as_scores(path, model))
    return opened


def _scores_of_files(files: Sequence[Path], folder: Path) -> list[Scores]:
    """Each file's matrix; of several, pickled ones are written as plain ones: only one at a time is held."""
    opened = []
    for number, path in enumerate(files):
        matrix = open_matrix(path)
        if len(files) > 1 and not isinstance(matrix, np.memmap):
            np.save(folder / f"file-{number}.npy", matrix)
            matrix = open_matrix(folder / f"file-{number}.npy")
        opened.append(as_scores(matrix, str(path)))
    return opened
