"""A batch that the memory does not hold -> its exact loss and gradient, encoded in parts.

A contrastive loss needs all pairs, so the batch itself is never divided. The parts are encoded without a
graph, all pairs are scored, and the loss gives a gradient for each vector; then each part is encoded again,
with a graph, and passes its share of that gradient on to the weights (GradCache, Gao et al. 2021).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wordsight.errors import InputError
from wordsight.learn.loss import Loss, value_of
from wordsight.matcher import Matcher
from wordsight.pairs import EncodedPairs, PairBatch
from wordsight.runtime.halving import free_cached, is_out_of_memory
from wordsight.sets import EmbeddingSet, Tokens

Encode = Callable[[PairBatch, int], EncodedPairs]
Found = tuple[EncodedPairs, Float[Tensor, ""]]
_log = logging.getLogger("wordsight.device")


class Whole:
    """Each batch is encoded at once; ``encode`` is given its number too, which random numbers depend on."""

    def __init__(self, encode: Encode, loss: Loss) -> None:
        self.encode, self.loss = encode, loss

    def __call__(self, batch: PairBatch, number: int, factor: float) -> Found:
        pairs = self.encode(batch, number)
        value = value_of(self.loss, pairs)
        if value.requires_grad:  # not when no pair of the batch has a negative
            torch.autograd.backward(value * factor)
        return pairs, value


class Divided:
    """Each batch is encoded at once until memory ends, then in parts, of half as many pairs each time.

    ``autocast`` is the context of all products; ``seed(batch number, part)`` sets the random numbers of a
    part, the same in both of its passes; ``finish`` is applied to the scored pairs. The gradients in the
    weights change only when a batch succeeds.
    """

    def __init__(
        self,
        whole: Whole,
        matcher: Matcher,
        autocast: Callable[[], AbstractContextManager[Any]],
        seed: Callable[[int, int], None],
        finish: Callable[[EncodedPairs], EncodedPairs],
    ) -> None:
        self.whole, self.matcher, self.loss = whole, matcher, whole.loss
        self.autocast, self.seed, self.finish = autocast, seed, finish
        self.most: int | None = None  # rows encoded at once; None: all of the batch

    def __call__(self, batch: PairBatch, number: int, factor: float) -> Found:
        while True:
            found = self._attempt(batch, number, factor)
            if found is not None:
                return found
            free_cached()
            self._halve(len(batch))

    def _attempt(self, batch: PairBatch, number: int, factor: float) -> Found | None:
        """The batch's loss, its gradient added to the weights; None if memory ended."""
        try:
            with _added_if_whole([*self.matcher.parameters(), *self.loss.parameters()]):
                if self.most is None:
                    return self.whole(batch, number, factor)
                return self._in_parts(batch, number, factor, self.most)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _halve(self, pairs: int) -> None:
        norm = next(
            (
                name
                for name, part in self.matcher.named_modules()
                if isinstance(part, _BatchNorm) and part.training
            ),
            None,
        )
        before = pairs if self.most is None else min(self.most, pairs)
        if norm is not None or before == 1:
            why = "" if norm is None else f", and {norm} is a batch norm, which needs the batch as a whole"
            raise InputError(
                f"out of memory with {before} of a batch's {pairs} pairs encoded at once{why}",
                "give a smaller [training] batch_size",
            )
        self.most = before // 2
        _log.warning(
            "out of memory with a batch of %d pairs, %d encoded at once; going on with %d at once: "
            "the loss is the same, a step takes longer",
            pairs, before, self.most,
        )  # fmt: skip

    def _in_parts(self, batch: PairBatch, number: int, factor: float, most: int) -> Found:
        texts = batch.texts
        if batch.negative_texts is not None:
            texts = Tokens.join([texts, batch.negative_texts])
        sides = (
            (self.matcher.image_encoder, _parts(batch.images, most), 1),
            (self.matcher.text_encoder, _parts(texts, most), 1 + len(batch)),
        )
        with torch.no_grad():
            images, every = (self._encode_all(*side, number) for side in sides)
        own, negatives = every, None
        if batch.negative_texts is not None:
            own, negatives = every[: len(batch.texts)], every[len(batch.texts) :]
        with self.autocast():
            pairs = self.matcher.compare(
                images, own, batch.identities, batch.labels, batch.image_of, negatives
            )
        pairs = self.finish(pairs)
        value = value_of(self.loss, pairs)
        if value.requires_grad:
            torch.autograd.backward(value * factor)
            for side, encoded in zip(sides, (images, every), strict=True):
                self._pass_on(*side, number, encoded.vectors.grad)
        return pairs, value

    def _encode_all(self, encoder: nn.Module, parts: Sequence[Any], first: int, number: int) -> EmbeddingSet:
        """All rows of a side, as a set whose vectors collect a gradient."""
        encoded = [self._encode(encoder, part, number, first + place) for place, part in enumerate(parts)]
        joined = type(encoded[0]).join(encoded)
        return replace(joined, vectors=joined.vectors.detach().requires_grad_())

    def _pass_on(
        self, encoder: nn.Module, parts: Sequence[Any], first: int, number: int, gradient: Tensor | None
    ) -> None:
        """The gradient of each part's vectors, on to the weights of the encoder."""
        start = 0
        for place, part in enumerate(parts):
            stop = start + len(part)
            if gradient is not None:
                vectors = self._encode(encoder, part, number, first + place).vectors
                if vectors.requires_grad:
                    own = gradient[start:stop, : vectors.shape[1]].to(vectors.dtype)
                    torch.autograd.backward(vectors, own)
            start = stop

    def _encode(self, encoder: nn.Module, part: Any, number: int, place: int) -> EmbeddingSet:
        self.seed(number, place)
        with self.autocast():
            encoded: EmbeddingSet = encoder(part)
        return encoded


def _parts(rows: Any, most: int) -> list[Any]:
    return [rows[start : start + most] for start in range(0, len(rows), most)]


@contextmanager
def _added_if_whole(weights: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients computed inside are added to the weights' own if nothing fails, else forgotten."""
    before = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    try:
        yield
    except BaseException:
        for weight, own in zip(weights, before, strict=True):
            weight.grad = own
        raise
    for weight, own in zip(weights, before, strict=True):
        if own is not None:
            weight.grad = own if weight.grad is None else own.add_(weight.grad)
