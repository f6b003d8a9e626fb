"""A configuration -> a trained model in a folder, with the probabilities of its matches."""

import os
from contextlib import suppress
from pathlib import Path

import torch

from wordsight.builder import Builder
from wordsight.config import CONFIG, Config
from wordsight.evaluation import (
    pointing_accuracy,
)
from wordsight.evaluation.pointing import can_point
from wordsight.files.atomic import removed_on_failure
from wordsight.learn.journal import LOG
from wordsight.learn.resume import BEST, LAST
from wordsight.learn.training import History, fit
from wordsight.matcher import Matcher
from wordsight.presence.model import PresenceModel
from wordsight.presence.saved import FILE as PRESENCE
from wordsight.presence.saved import save_presence
from wordsight.runs.measuring import measure
from wordsight.runs.opening import matcher_folder, open_matcher
from wordsight.runtime.progress import Progress, silent
from wordsight.search.relevance.fit_presence import TooFewPairsError, fit_presence


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
    matcher = open_matcher(str(folder), trust_remote_code, device)
    builder = Builder(config)
    presence = fit_presence(
        matcher,
        builder.pairs("train"),
        builder.measured_pairs("validation"),
        progress,
        config.training.calibration_pictures,
    )
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
