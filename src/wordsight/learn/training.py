"""A matcher, a loss and pairs -> trained weights: the loop, from top to bottom."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from wordsight.errors import NonFiniteError
from wordsight.learn.average import WeightAverage
from wordsight.learn.batches import ahead, make_batches
from wordsight.learn.collapse import Collapse, explain_non_finite
from wordsight.learn.compiling import Compiled, Probe, decide_or_repeat
from wordsight.learn.frozen import Frozen
from wordsight.learn.interrupt import Interrupt
from wordsight.learn.journal import Journal, Speed
from wordsight.learn.loss import Loss, check_takes_negative_texts
from wordsight.learn.optimizers import (
    make_optimizer,
    named_weights,
)
from wordsight.learn.precision import Precision, decide, repeat
from wordsight.learn.processes import Processes
from wordsight.learn.resume import RunState, Trained, describe_run, load, open_folder, run_facts, save
from wordsight.learn.settings import Training
from wordsight.learn.step import Gradients, Stepper
from wordsight.learn.unreached import unreached_stages
from wordsight.learn.validation import Validate, Validation
from wordsight.matcher import Matcher
from wordsight.pairs import PairBatch, PairSet
from wordsight.runtime.device import training_device
from wordsight.runtime.progress import Progress, duration, silent

__all__ = ["History", "Training", "fit"]


@dataclass(frozen=True)
class History:
    """Result of a run."""

    epochs: Sequence[Mapping[str, Any]]  # loss and validation of each, as logged
    steps: int
    best_epoch: int | None  # from 0; None without validation
    best_rsum: float | None
    stopped_early: bool


def fit(
    matcher: Matcher,
    loss: Loss,
    train: PairSet,
    settings: Training,
    folder: str | os.PathLike[str],
    validate: Validate | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> History:
    """Train the matcher in place; ``folder/best`` is the model to keep (the latest one without ``validate``).

    ``validate`` returns numbers by name, "rsum" among them: higher is better. With ``resume`` the run goes
    on from ``folder/last`` if there is one, to the same bits on a CPU as if it had never stopped; other
    settings or data than it was begun with are a ValueError that names them. Started by torchrun, the
    processes share each batch and must see one folder. ``progress`` counts the batches of all epochs; what
    there is to say goes to the logger "wordsight.learn".

    Raises NonFiniteError when a loss or gradient is not finite, StorageError when a checkpoint cannot be
    written; ``folder/last`` is whole after both. Ctrl-C saves the state and raises KeyboardInterrupt.
    """
    run = _Run(matcher, loss, train, settings, Path(folder), validate, resume, progress)
    with Interrupt(active=run.processes.world == 1) as interrupt:
        try:
            while not run.finished:
                run.train_epoch(interrupt)
                run.finish_epoch()
        finally:
            run.close()
    return run.history


class _Run:
    """One call of ``fit``."""

    def __init__(
        self,
        matcher: Matcher,
        loss: Loss,
        train: PairSet,
        settings: Training,
        folder: Path,
        validate: Validate | None,
        resume: bool,
        progress: Progress,
    ) -> None:
        if settings.swap_words:
            check_takes_negative_texts(loss)
        self.settings, self.folder = settings, folder
        self.device = training_device(settings.device)
        self.processes = Processes.join(self.device)
        self.precision = self._decide_precision(resume)
        self.matcher, self.loss = matcher.to(self.device).train(), loss.to(self.device).train()
        self.batches = make_batches(matcher, train, settings, self.processes)
        self.steps_per_epoch = math.ceil(len(self.batches.rows(0)) / settings.accumulate)
        self.processes.same_everywhere(self.matcher, self.loss)
        self.trained = _trained(self.matcher, self.loss, settings)
        self.frozen = Frozen({"": self.matcher, "loss": self.loss}, settings.frozen_epochs)
        self.compiled = self._decide_compile(resume)
        self.state = self._begin_or_go_on(resume)
        self.validation = Validation(validate, self.trained, self.state, folder, train.source)
        self.collapse = Collapse.over(self.steps_per_epoch)
        if self.state.collapse:
            self.collapse.load(self.state.collapse)
        position, step = self.state.log_position, self.state.step
        self.journal = Journal(folder, self.processes.first, position, step, progress)
        messages = filter(None, [self.precision.warning, self.compiled.warning])
        for message in [*messages, *unreached_stages(settings, self.loss, self.steps_per_epoch)]:
            self.journal.note(step, message)
        self.speed, self.epochs_here, self.started = Speed(), 0, monotonic()
        bf16 = self.precision.bf16
        self.stepper = Stepper(self.trained, self.state, settings, self.processes, self.device, bf16)
        self.compiled.apply(self.matcher)

    def close(self) -> None:
        self.stepper.close()
        self.journal.close()

    def _decide_precision(self, resume: bool) -> Precision:
        """As the first process decides, or as the run was begun: another machine repeats the decision."""
        if not self.processes.first:
            return Precision(**self.processes.tell(None))
        begun = run_facts(self.folder) if resume else None
        setting = self.settings.precision
        found = (
            decide(setting, self.device)
            if begun is None
            else repeat(begun.get("precision"), begun["training"]["precision"], self.device)
        )
        self.processes.tell(found.to_dict())
        return found

    def _decide_compile(self, resume: bool) -> Compiled:
        """As the first process decides by its first batch, or as the run was begun."""
        if not self.processes.first:
            return Compiled(**self.processes.tell(None))
        epoch, epochs = self.settings.first_epoch, self.settings.epochs
        rows = self.batches.rows(epoch)
        probe = Probe(
            self.matcher,
            lambda: self.batches.make(epoch, 0, rows[0]).to(self.device),
            lambda: torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision.bf16),
            (epochs - epoch) * len(rows),
        )
        begun = run_facts(self.folder) if resume else None
        found = decide_or_repeat(begun, self.settings.compile, self.device, probe)
        self.processes.tell(found.to_dict())
        return found

    def _begin_or_go_on(self, resume: bool) -> RunState:
        if self.processes.first:
            world = self.processes.world
            run = describe_run(self.matcher, self.loss, self.batches, self.settings, world)
            run |= {"precision": self.precision.to_dict(), "compile": self.compiled.to_dict()}
            open_folder(self.folder, run, resume)
        self.processes.tell(None)  # wait until the folder is there
        first = self.settings.first_epoch
        fresh = RunState(epoch=first, step=first * self.steps_per_epoch)
        return (load(self.folder, self.trained) if resume else None) or fresh

    @property
    def stopped_early(self) -> bool:
        return 0 < self.settings.patience <= self.state.without_better

    @property
    def finished(self) -> bool:
        return self.state.epoch >= self.settings.epochs or self.stopped_early

    @property
    def history(self) -> History:
        at = self.state
        return History(at.epochs, at.step, at.best_epoch, at.best_rsum, self.stopped_early)

    def train_epoch(self, interrupt: Interrupt) -> None:
        """All the batches of the epoch that are still to be seen."""
        at = self.state
        self.loss.begin(at.epoch)
        self.frozen.begin(at.epoch)
        self.speed.restart()
        rows = self.batches.rows(at.epoch)
        self._show_progress(len(rows))
        coming = self._read(rows, range(at.batch, len(rows)))
        try:
            for first in range(at.batch, len(rows), self.settings.accumulate):
                self._step(coming, rows, range(first, min(first + self.settings.accumulate, len(rows))))
                every = self.settings.checkpoint_every
                if interrupt.requested or (every and at.step % every == 0):
                    self._save()
                if interrupt.requested:
                    raise KeyboardInterrupt(f"the state is saved in {self.folder}; go on with resume")
        finally:
            coming.close()

    def _read(self, rows: list[list[int]], numbers: range) -> Any:
        """This process's share of each batch, on the device, read ahead by other threads."""
        epoch = self.state.epoch

        @torch.no_grad()
        def make(number: int) -> PairBatch:
            return self.batches.make(epoch, number, rows[number]).to(self.device)

        return ahead(make, numbers, self.settings.workers, self.settings.prefetch)

    def _step(self, coming: Iterator[PairBatch], rows: list[list[int]], group: range) -> None:
        """One change of the weights, by the mean loss of a group of batches."""
        at = self.state
        is_logged = (at.step + 1) % self.settings.log_every == 0
        found = self.stepper.gradients(coming, len(rows), group, with_terms=is_logged)
        self._refuse_non_finite(found, rows[group[-1]])
        self.rate = self.stepper.apply(self.steps_per_epoch)
        at.step, at.batch, at.loss_sum = at.step + 1, group[-1] + 1, at.loss_sum + found.loss * len(group)
        self._report(found, sum(len(rows[number]) for number in group), len(group), is_logged)
        self._show_progress(len(rows), f"loss {found.loss:.4g}, {self.speed.rate:.0f} pairs a second")

    def _show_progress(self, batches: int, facts: str = "") -> None:
        """Batches of the whole training, validations aside; the note says in which epoch it is."""
        at, epochs = self.state, self.settings.epochs
        note = f"epoch {at.epoch + 1} of {epochs}" + (f", {facts}" if facts else "")
        self.journal.progress("training batches", at.epoch * batches + at.batch, epochs * batches, note)

    def _refuse_non_finite(self, found: Gradients, rows: Sequence[int]) -> None:
        if not math.isfinite(found.loss):
            what = f"the loss is {found.loss}"
        elif not math.isfinite(found.norm):
            what = f"the gradient's length is {found.norm}"
        else:
            return
        at, train = self.state, self.batches.pairs
        names = [train.names[image] for image in train.image_of[list(rows)].tolist()]
        where = f"epoch {at.epoch + 1}, step {at.step + 1}"
        message = explain_non_finite(what, where, found.last, names)
        self.journal.write("error", at.step + 1, epoch=at.epoch, message=message)
        raise NonFiniteError(message)

    def _report(self, found: Gradients, pairs: int, batches: int, is_logged: bool) -> None:
        at = self.state
        self.speed.add(pairs)
        if is_logged:
            self.journal.write(
                "step", at.step, epoch=at.epoch, loss=found.loss, learning_rate=self.rate,
                gradient_norm=found.norm, score_spread=found.spread,
                pairs_per_second=round(self.speed.rate, 1), **found.terms,
            )  # fmt: skip
        stuck = self.collapse.see(found.loss, self.loss.collapsed_at(pairs // batches), found.spread)
        if stuck:
            self.journal.warn(at.step, stuck)

    def finish_epoch(self) -> None:
        """Validate, keep the best, write the log and the checkpoint."""
        at = self.state
        facts: dict[str, Any] = {"epoch": at.epoch, "loss": at.loss_sum / max(at.batch, 1)}
        last = at.epoch + 1 == self.settings.epochs
        if self.validation.measure is None or last or (at.epoch + 1) % self.settings.validate_every == 0:
            self._save()  # so that an error in the validation costs no epoch
            facts |= self.processes.tell(self.validation.run() if self.processes.first else None)
            if self.validation.compare(facts):
                self.collapse.at_loss = 0  # a model that gets better has not collapsed, wherever its loss is
        at.epochs.append(facts)
        self.journal.write("epoch", at.step, **facts)
        self.epochs_here += 1
        self.journal.say(self._line(facts))
        at.epoch, at.batch, at.loss_sum = at.epoch + 1, 0, 0.0
        self._save()

    def _line(self, facts: Mapping[str, Any]) -> str:
        at, total = self.state, self.settings.epochs
        took = (monotonic() - self.started) / self.epochs_here
        rsum = f", rsum {facts['rsum']:.1f} (best {at.best_rsum:.1f})" if "rsum" in facts else ""
        left = total - at.epoch - 1
        rest = f", {duration(took)} per epoch, at most {duration(took * left)} left" if left else ""
        return f"epoch {at.epoch + 1}/{total}: loss {facts['loss']:.4g}{rsum}{rest}"

    def _save(self) -> None:
        """The newest checkpoint, with the BatchNorm statistics of the first process, which all go on from."""
        self.processes.same_everywhere(self.matcher)
        self.state.log_position = self.journal.position()
        self.state.collapse = self.collapse.state()
        if self.processes.first:
            save(self.folder, self.trained, self.state)


def _trained(matcher: Matcher, loss: Loss, settings: Training) -> Trained:
    weights = named_weights(matcher, loss)
    optimizer = make_optimizer(weights, settings, [*matcher.modules(), *loss.modules()])
    average = WeightAverage(matcher, settings.ema, settings.ema_only) if settings.ema else None
    return Trained(matcher, loss, weights, optimizer, average)
