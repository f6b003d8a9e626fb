"""Some batches -> their gradients, and one change of the weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

from wordsight.learn.accumulate import AtOnce, OneByOne
from wordsight.learn.batches import WEIGHTS, random_seed
from wordsight.learn.divide import Divided, Whole
from wordsight.learn.optimizers import set_learning_rates
from wordsight.learn.precision import in_float32
from wordsight.learn.processes import Processes
from wordsight.learn.resume import RunState, Trained
from wordsight.learn.settings import Training
from wordsight.pairs import EncodedPairs, PairBatch


class Gradients(NamedTuple):
    """The gradients of one step are in the weights; these numbers describe them."""

    loss: float  # mean over the batches
    spread: float  # of the scores, mean over the batches
    norm: float  # length before clipping
    terms: Mapping[str, float]  # of the loss, means over the batches; empty unless they were wanted
    last: EncodedPairs  # the last batch


class Stepper:
    """Changes the weights of a matcher and a loss, one step at a time; ``state`` says where the run is."""

    def __init__(
        self,
        trained: Trained,
        state: RunState,
        settings: Training,
        processes: Processes,
        device: torch.device,
        bf16: bool,
    ) -> None:
        self.trained, self.state, self.settings, self.processes = trained, state, settings, processes
        self.device, self.bf16 = device, bf16
        alone = processes.world == 1 and device.type == "cpu"
        self._accumulate = (
            AtOnce(self._encode, trained.loss, trained.matcher, settings.accumulate)
            if settings.parallel_batches and alone
            else OneByOne(self._backward(), trained.loss)
        )

    def close(self) -> None:
        self._accumulate.close()

    def gradients(
        self, coming: Iterator[PairBatch], batches: int, group: range, with_terms: bool = False
    ) -> Gradients:
        """Those of the mean loss of a group of the epoch's batches, averaged over processes and clipped."""
        self.trained.optimizer.zero_grad(set_to_none=True)
        factors = (self._ramp(number, batches) / len(group) for number in group)
        step = self._accumulate(zip(group, coming, factors, strict=False), with_terms)
        norm = self._clip()
        loss, spread, length = torch.stack([_mean(step.losses), _mean(step.spreads), norm]).tolist()
        names = step.terms[0] if step.terms else ()
        terms = {name: float(_mean([batch[name] for batch in step.terms])) for name in names}
        return Gradients(loss, spread, length, terms, step.last)

    def apply(self, steps_per_epoch: int) -> float:
        """Change the weights; returns the learning rate of the first group."""
        at, optimizer = self.state, self.trained.optimizer
        rate = set_learning_rates(optimizer, at.step, at.epoch, steps_per_epoch, self.settings)
        optimizer.step()
        if self.trained.average:
            self.trained.average.update(at.step + 1)
        return rate

    def _ramp(self, number: int, batches: int) -> float:
        return (number + 1) / batches if self.state.epoch == self.settings.loss_ramp_epoch else 1.0

    def _backward(self) -> Whole | Divided:
        """Several processes wait for each other in each batch, so none of them may divide it."""
        whole = Whole(self._encode_seeded, self.trained.loss)
        if self.processes.world > 1:
            return whole
        return Divided(whole, self.trained.matcher, self._autocast, self._seed, self._finish)

    def _encode_seeded(self, batch: PairBatch, number: int) -> EncodedPairs:
        self._seed(number)
        return self._encode(batch)

    def _seed(self, number: int, *part: int) -> None:
        """Dropout draws from the batch's own seed: where a run has been does not matter."""
        place = (self.settings.seed, self.state.epoch, number, self.processes.rank, *part)
        torch.manual_seed(random_seed(WEIGHTS, *place))

    def _encode(self, batch: PairBatch) -> EncodedPairs:
        with self._autocast():
            pairs = self.processes.encode(self.trained.matcher, batch)
        return self._finish(pairs)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _finish(self, pairs: EncodedPairs) -> EncodedPairs:
        return in_float32(pairs) if self.bf16 else pairs

    def _clip(self) -> Tensor:
        """Average the gradients over the processes and shorten them; the length they had."""
        weights = [weight for weight in self.trained.weights.values() if weight.requires_grad]
        self.processes.average_gradients(weights)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        norm = get_total_norm(gradients)
        if self.settings.clip and self.settings.clip_groups:
            for group in self.trained.optimizer.param_groups:
                clip_grad_norm_(group["params"], self.settings.clip)
        elif self.settings.clip:
            clip_grads_with_norm_(weights, self.settings.clip, norm)
        return norm.to(self.device)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.float() for value in values]).mean()
