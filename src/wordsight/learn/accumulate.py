"""The batches of one step -> their losses, and the gradients of all of them in the weights."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wordsight.errors import InputError
from wordsight.learn.collapse import score_spread
from wordsight.learn.divide import Divided, Whole
from wordsight.learn.loss import Loss, value_of
from wordsight.pairs import EncodedPairs, PairBatch

Numbered = tuple[int, PairBatch, float]  # a batch's number in the epoch, the batch, its gradient's factor
Terms = Mapping[str, Float[Tensor, ""]]


@dataclass(frozen=True, eq=False)
class Accumulated:
    """One step's batches, in their order."""

    losses: Sequence[Float[Tensor, ""]]
    spreads: Sequence[Float[Tensor, ""]]
    terms: Sequence[Terms]  # of the loss, of each batch; empty unless they were wanted
    last: EncodedPairs


class OneByOne:
    """Each batch adds its gradient before the next one is read; ``backward`` returns its pairs and loss."""

    def __init__(self, backward: Whole | Divided, loss: Loss) -> None:
        self.backward, self.loss = backward, loss

    def __call__(self, batches: Iterable[Numbered], with_terms: bool = False) -> Accumulated:
        losses, spreads, terms = [], [], []
        for number, batch, factor in batches:
            pairs, value = self.backward(batch, number, factor)
            losses.append(value.detach())
            spreads.append(score_spread(pairs.scores))
            if with_terms:
                terms.append(_terms(self.loss, pairs))
        return Accumulated(losses, spreads, terms, pairs)

    def close(self) -> None:
        """Nothing is left open."""


class AtOnce:
    """Each batch on a thread of its own; their gradients are added in the order of the batches.

    The result has the bits of ``OneByOne`` with one thread. On a CPU a small network is faster so: threads
    that share each product wait for one another longer than the product takes.

    Raises InputError where batches of one step depend on each other: batch norms, which count batches, and
    encoders that draw random numbers (dropout).
    """

    def __init__(
        self, encode: Callable[[PairBatch], EncodedPairs], loss: Loss, matcher: nn.Module, threads: int
    ) -> None:
        norm = next((name for name, part in matcher.named_modules() if isinstance(part, _BatchNorm)), None)
        if norm is not None:
            raise InputError(
                f"[training] parallel_batches = true: {norm} is a batch norm, which reads batches one after "
                "another; leave parallel_batches out"
            )
        self.encode, self.loss = encode, loss
        self.weights = [*matcher.parameters(), *loss.parameters()]
        # Of each thread alone, and of every product that it calls.
        self.pool = ThreadPoolExecutor(threads, "train-batch", initializer=partial(torch.set_num_threads, 1))

    def __call__(self, batches: Iterable[Numbered], with_terms: bool = False) -> Accumulated:
        before = torch.random.get_rng_state()
        done = list(self.pool.map(self._gradients, batches))
        if not torch.equal(before, torch.random.get_rng_state()):
            raise InputError(
                "[training] parallel_batches = true: an encoder draws random numbers (dropout), and batches "
                "computed at once draw them in any order; set its dropout to 0, or leave parallel_batches out"
            )
        for _, _, gradients in done:
            for weight, gradient in zip(self.weights, gradients, strict=True):
                if gradient is not None:
                    weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        return Accumulated(
            [value.detach() for _, value, _ in done],
            [score_spread(pairs.scores) for pairs, _, _ in done],
            [_terms(self.loss, pairs) for pairs, _, _ in done] if with_terms else [],
            done[-1][0],
        )

    def _gradients(self, numbered: Numbered) -> tuple[EncodedPairs, Tensor, Sequence[Tensor | None]]:
        _, batch, factor = numbered
        pairs = self.encode(batch)
        value = value_of(self.loss, pairs)
        if not value.requires_grad:
            return pairs, value, [None] * len(self.weights)
        learned = [weight for weight in self.weights if weight.requires_grad]
        found = iter(torch.autograd.grad(value * factor, learned, allow_unused=True))
        return pairs, value, [next(found) if weight.requires_grad else None for weight in self.weights]

    def close(self) -> None:
        self.pool.shutdown()


@torch.no_grad()
def _terms(loss: Loss, pairs: EncodedPairs) -> Terms:
    return {name: part.detach() for name, part in loss.parts(pairs).items()}
