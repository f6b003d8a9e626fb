"""A configuration -> a trained model in a folder, and its measured numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from wordsight.config import CONFIG, Config, Evaluation, Split, load_config
from wordsight.learn.resume import BEST
from wordsight.learn.training import History, fit
from wordsight.matcher import Matcher
from wordsight.measure import Pointing, Recalls, evaluate, pointing_accuracy
from wordsight.pairs import PairSet


def train(config: Config, folder: Path, resume: bool = False) -> History:
    """Run what the tables say; the folder then holds config.toml, the log, last/ and best/."""
    settings = config.training
    learned, validation = config.pairs("train").numbered(), config.pairs("validation")
    torch.manual_seed(settings.seed)
    matcher = config.matcher(learned)
    loss = config.loss(learned, matcher)
    if not (folder / CONFIG).exists():  # a run that is gone on with keeps its own
        config.save(folder / CONFIG)

    def validate(model: Matcher) -> dict[str, float]:
        recalls = measure(config, model, validation, protocol="all", intervals=False)
        found = {} if validation.objects is None else {"pointing": pointing_accuracy(model, validation).share}
        return {"rsum": recalls.rsum} | found

    return fit(matcher, loss, learned, settings, folder, validate, resume)


def measure(config: Config, matcher: Matcher, pairs: PairSet, **asked: Any) -> Recalls:
    """R@K as [evaluation] says, except for what is asked otherwise."""
    settings = {field.name: getattr(config.evaluation, field.name) for field in fields(Evaluation)}
    settings |= {key: value for key, value in asked.items() if value is not None}
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
    asked: Mapping[str, Any],
    intervals: bool = True,
    save_scores: Path | None = None,
) -> Measured:
    """Measure a run's best model, or any saved model, on the data of a configuration."""
    home = Path(model)
    if config is None and not (home / CONFIG).is_file():
        raise ValueError(f"{model} is not the folder of a run, so its data is not known; give --config")
    chosen = load_config(config or model, changes)
    matcher = Matcher.from_pretrained(home / BEST if (home / BEST).is_dir() else model)
    pairs = chosen.pairs(split)
    recalls = measure(chosen, matcher, pairs, **asked, intervals=intervals, save_scores=save_scores)
    pointing = None if pairs.objects is None else pointing_accuracy(matcher, pairs)
    return Measured(chosen, matcher, split, pairs, recalls, pointing)
