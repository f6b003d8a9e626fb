"""The state of a run -> a folder on disk, written whole or not at all, and back to the last bit.

Nothing is pickled: weights, optimizer state and average are safetensors, the rest is JSON. No random state is
kept, since every batch draws from its own seed. A run folder holds

    run.json       what was asked for: settings, parts, data, versions
    last/          the newest checkpoint: weights.safetensors, resume.safetensors, progress.json
    best/          the model with the best validation rsum, for ``Matcher.from_pretrained``
    log.jsonl      one line per logged step and per epoch
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

import wordsight
from wordsight import aliases, checkpoint, registry
from wordsight.checkpoint import BEST as BEST
from wordsight.errors import AlreadyExistsError, InputError, StorageError
from wordsight.files import atomic, plain_json
from wordsight.learn.average import WeightAverage
from wordsight.learn.batches import Batches
from wordsight.learn.loss import Loss
from wordsight.learn.settings import Training
from wordsight.matcher import Matcher

RUN, LAST = "run.json", "last"
RESUME, PROGRESS = "resume.safetensors", "progress.json"
_FREE = frozenset(
    {
        "workers", "prefetch", "log_every", "checkpoint_every", "validate_every", "patience", "device",
        "start_from",
    }
)  # fmt: skip


@dataclass
class RunState:
    """How far a run has come; all of it is in progress.json."""

    epoch: int = 0  # from 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0  # changes of the weights so far
    loss_sum: float = 0.0  # of the batches of this epoch
    best_rsum: float | None = None
    best_epoch: int | None = None
    without_better: int = 0  # validations since then
    log_position: int = 0  # bytes of log.jsonl
    collapse: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)  # what was logged at the end of each


@dataclass
class Trained:
    """Everything that training changes."""

    matcher: Matcher
    loss: Loss
    weights: Mapping[str, nn.Parameter]  # of both, by name
    optimizer: Optimizer
    average: WeightAverage | None

    def tensors(self) -> dict[str, Tensor]:
        """All but the matcher's own weights, by name."""
        named = {f"loss.{name}": tensor for name, tensor in self.loss.state_dict().items()}
        for name, weight in self.weights.items():
            for key, value in self.optimizer.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    named[f"optimizer.{key}.{name}"] = value
        if self.average:
            named |= {f"average.{name}": tensor for name, tensor in self.average.average.items()}
        return named

    def load(self, named: Mapping[str, Tensor]) -> None:
        own = self.loss.state_dict()
        self.loss.load_state_dict({name: named[f"loss.{name}"] for name in own})
        for full, tensor in named.items():
            kind, _, rest = full.partition(".")
            if kind == "optimizer":
                key, _, name = rest.partition(".")
                weight = self.weights[name]
                device = "cpu" if key == "step" else weight.device  # as the optimizers of torch keep them
                self.optimizer.state[weight][key] = tensor.to(device)
        if self.average:
            self.average.load({name: named[f"average.{name}"] for name in self.average.average})


def save(folder: Path, trained: Trained, state: RunState) -> None:
    """Replace ``last/``; the checkpoint before it stays until the new one is whole, and on any error."""
    last = folder / LAST
    try:
        with atomic.atomic_folder(last) as fresh:
            checkpoint.save_weights(fresh / checkpoint.WEIGHTS, trained.matcher.state_dict())
            checkpoint.save_weights(fresh / RESUME, trained.tensors())
            checkpoint.write_json(fresh / PROGRESS, asdict(state))
    except (OSError, SafetensorError) as error:
        previous = f"{last} still holds the one before" if last.is_dir() else "there is none before it"
        raise StorageError(
            f"the checkpoint of step {state.step} could not be written to {last} ({error}); {previous}. "
            "Make room on the disk, then go on with resume"
        ) from error


def load(folder: Path, trained: Trained) -> RunState | None:
    """Put a run back to its newest checkpoint; None if it has none."""
    last = folder / LAST
    if not last.is_dir():
        return None
    stored = plain_json.read(last / PROGRESS)
    checkpoint.load_weights(trained.matcher, last / checkpoint.WEIGHTS)
    trained.load(checkpoint.read_weights(last / RESUME))
    return RunState(**{each.name: stored[each.name] for each in fields(RunState)})


def describe_run(
    matcher: Matcher, loss: nn.Module, batches: Batches, settings: Training, world: int
) -> dict[str, Any]:
    """Content of run.json: all that the final weights depend on."""
    trained = ("image_encoder", "text_encoder", "similarity")
    facts = {
        "training": asdict(settings),
        "loss": registry.describe(loss),
        "parts": {kind: registry.describe(getattr(matcher, kind)) for kind in trained},
        "reader": str(getattr(matcher.reader, "identity", "")),
        "data": {
            "images": len(batches.pairs.images),
            "texts": len(batches.pairs),
            "pairs": batches.digest(),
        },
        "versions": {
            "wordsight": wordsight.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "processes": world,
    }
    known: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return known


def run_facts(folder: Path) -> dict[str, Any] | None:
    """The run.json of a folder; None where there is none."""
    there = folder / RUN
    return plain_json.read(there) if there.is_file() else None


def open_folder(folder: Path, run: Mapping[str, Any], resume: bool) -> None:
    """Make the folder of a new run, or see that it is of the same run; anything else is an error."""
    there = folder / RUN
    if resume and there.is_file():
        _refuse_another_run(folder, plain_json.read(there), run)
    elif any((folder / name).exists() for name in (LAST, BEST)):
        raise AlreadyExistsError(f"{folder} already holds a run; resume it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    _clear_unfinished(folder)
    checkpoint.write_json(there, run)


def _clear_unfinished(folder: Path) -> None:
    """Remove what a process that died here had begun to write."""
    for name in (LAST, BEST):
        atomic.recover(folder / name)
    for unfinished in folder.glob(f".{RUN}.*"):
        unfinished.unlink()


def _refuse_another_run(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    free = {f"training.{name}" for name in _FREE}
    if now["training"]["schedule"] != "cosine":
        free.add("training.epochs")  # with a cosine, the learning rate of every step depends on the last one
    if now["training"]["precision"] == "auto":
        free.add("training.precision")  # the decision of run.json is repeated
    if now["training"]["compile"] == "auto":
        free.add("training.compile")  # likewise
    kinds = ("training", "loss", "parts", "reader", "data")
    before = _with_defaults(before)
    old, new = (_flat({kind: facts.get(kind) for kind in kinds}) for facts in (before, now))
    different = sorted(
        key for key in old.keys() | new.keys() if old.get(key) != new.get(key) and key not in free
    )
    if different:
        differences = "; ".join(
            f"{key} was {old.get(key)!r} and is {new.get(key)!r} now" for key in different
        )
        raise InputError(
            f"{folder} was begun differently: {differences}. Resume with what it was begun with, "
            "or start in a new folder"
        )


def _with_defaults(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run that was begun before a setting was there had its default."""
    training = asdict(Training()) | run["training"]
    run = aliases.current(run)
    parts = {kind: _complete(kind, table) for kind, table in run["parts"].items()}
    completed = dict(run) | {"training": training, "parts": parts, "loss": _complete("loss", run["loss"])}
    known: dict[str, Any] = json.loads(json.dumps(completed, default=str))
    return known


def _complete(kind: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return registry.complete(kind, table)
    except ValueError:  # a part of somebody's own, which its name does not lead to
        return table


def _flat(facts: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables -> one, with dotted keys."""
    if not isinstance(facts, Mapping) or not facts:
        return {prefix: facts}
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
