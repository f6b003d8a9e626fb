"""A configuration -> a trained model in a folder, and its measured numbers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from wordsight.builder import Builder
from wordsight.config import CONFIG, Config, Evaluation, Split, load_config
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
from wordsight.files.atomic import removed_on_failure
from wordsight.importers.clip_siglip import opened_folder
from wordsight.learn.device import find_device
from wordsight.learn.journal import LOG
from wordsight.learn.resume import BEST, LAST
from wordsight.learn.training import History, fit
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.presence.model import PresenceModel
from wordsight.presence.saved import FILE as PRESENCE
from wordsight.presence.saved import save_presence
from wordsight.runtime.progress import Progress, silent
from wordsight.search.relevance.fit_presence import TooFewPairsError, fit_presence
from wordsight.similarity.ranking.count import Ties


def train(
    config: Config,
    folder: Path,
    resume: bool = False,
    progress: Progress = silent,
    calibrate: bool = True,
) -> History:
    """Run what the tables say; the folder then holds config.toml, the log, last/ and best/.

    Unless ``calibrate`` or the configuration says no, the best model gets its probabilities at the end.
    """

    def begun() -> bool:
        """Whether there is anything to go on with, or a log to look at."""
        log = folder / LOG
        return any((folder / name).exists() for name in (LAST, BEST)) or (
            log.exists() and log.stat().st_size > 0
        )

    with removed_on_failure(folder, keep=begun):
        history = _train(config, folder, resume, progress)
        if calibrate and config.training.calibrate and int(os.environ.get("RANK", "0")) == 0:
            with suppress(TooFewPairsError):  # the model has none then, and a search says so
                _calibrate_best(config, folder / BEST, progress)
        return history


def _calibrate_best(config: Config, best: Path, progress: Progress) -> None:
    if best.is_dir() and not (best / PRESENCE).is_file():
        calibrate_model(str(best), config, config.training.device, progress)


def calibrate_model(
    model: str,
    config: Config,
    device: str = "auto",
    progress: Progress = silent,
    trust_remote_code: bool = False,
) -> PresenceModel:
    """Fit the probabilities of a saved model on the configuration's pairs, and write them into its folder."""
    folder = matcher_folder(model)
    matcher = open_matcher(str(folder), trust_remote_code).to(find_device(device, 0))
    builder = Builder(config)
    presence = fit_presence(matcher, builder.pairs("train"), builder.measured_pairs("validation"), progress)
    save_presence(presence, folder)
    return presence


def _train(config: Config, folder: Path, resume: bool, progress: Progress) -> History:
    settings = config.training
    builder = Builder(config)
    learned, validation = builder.pairs("train").numbered(), builder.measured_pairs("validation")
    torch.manual_seed(settings.seed)
    matcher = builder.matcher(learned)
    loss = builder.loss(learned, matcher)
    if not any((folder / name).exists() for name in (LAST, BEST)):  # a run that has begun keeps its own
        config.save(folder / CONFIG)

    def validate(model: Matcher) -> dict[str, float]:
        recalls = measure(config, model, validation, protocol="all", intervals=False)
        numbers = {"rsum": recalls.rsum} | recalls.by_name()
        if can_point(model, validation):
            numbers["pointing"] = pointing_accuracy(model, validation).share
        return numbers

    return fit(matcher, loss, learned, settings, folder, validate, resume, progress)


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
) -> Measured:
    """Measure a run's best model, or any saved model, on the data of a configuration."""
    data = open_data(model, config, changes, split, trust_remote_code)
    matcher = open_matcher(model, trust_remote_code)
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


@dataclass(frozen=True, eq=False)
class Data:
    """A configuration and a split of its data."""

    config: Config
    pairs: PairSet


def open_data(
    model: str, config: str | None, changes: Sequence[str], split: Split, trust_remote_code: bool = False
) -> Data:
    """Open the data of the given configuration, or of the run's own."""
    chosen = open_config(model, config, changes, trust_remote_code)
    return Data(chosen, Builder(chosen).measured_pairs(split))


def open_config(
    model: str, config: str | None, changes: Sequence[str], trust_remote_code: bool = False
) -> Config:
    """The given configuration, or the run's own."""
    if config is None and not (Path(model) / CONFIG).is_file():
        raise InputError(f"{model} is not the folder of a run, so its data is not known; give --config")
    return load_config(config or model, changes, trust_remote_code)


def open_matcher(model: str, trust_remote_code: bool = False) -> Matcher:
    """A run's best model, any saved model, or a published CLIP or SigLIP."""
    return Matcher.from_pretrained(matcher_folder(model), trust_remote_code=trust_remote_code)


def matcher_folder(model: str) -> Path:
    """The folder of a run's best model, of any saved model, or of one made of a published CLIP or SigLIP."""
    return opened_folder(model)


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

    @property
    def alone(self) -> bool:
        """A single model, whose scores need not be held."""
        return len(self.models) == 1 and not self.files


_FOR_MATRICES = ("protocol", "ties", "average_precision")


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
            open_matcher(model, sources.trust_remote_code),
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
        matcher = open_matcher(model, sources.trust_remote_code)
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
