"""The setting precision -> float32 or bfloat16, by a short measurement on a CPU; and back to float32.

bfloat16 halves a training step where the processor computes in it, and takes many times longer where it is
emulated. The sizes of the model decide too: small products lose more to conversions than they gain.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wordsight.errors import InputError
from wordsight.learn.settings import Training
from wordsight.pairs import EncodedPairs
from wordsight.sets import EmbeddingSet

WORTHWHILE = 1.3  # times faster than float32: less is not worth the lost digits
ROWS, LARGEST = 512, 1024  # of the product that is measured; its inputs and outputs
SMALL = 128  # those of the first try, which an emulation fails
EMULATED = 0.5  # times as fast as float32, or slower: no larger product need be tried
ROWS_PER_PAIR = 8  # regions, or words
ROUNDS, SECONDS = 4, 0.15  # the measurement ends with the first of both


@dataclass(frozen=True)
class Arithmetic:
    """How a run computes encoders and scores; it stays in run.json, and a resumed run repeats it."""

    bf16: bool
    speedup: float | None = None  # of bfloat16 over float32, as measured; None where it was not

    def to_dict(self) -> dict[str, Any]:
        return {"precision": "bf16" if self.bf16 else "float32", "bf16_speedup": self.speedup}

    def warnings(self) -> Iterator[str]:
        """A sentence where bfloat16 costs time instead of saving it."""
        if self.bf16 and self.speedup is not None and self.speedup < 1:
            yield (
                "bfloat16 is emulated on this processor: a product takes "
                f"{1 / self.speedup:.1f} times as long as in float32; "
                'precision = "auto" or "float32" trains faster here'
            )


class Product(NamedTuple):
    """Sizes of a product that is typical of a model's training."""

    rows: int
    inputs: int
    outputs: int


def choose_arithmetic(
    settings: Training, device: torch.device, model: nn.Module, begun: Mapping[str, Any] | None
) -> Arithmetic:
    """The arithmetic of a run. ``begun`` is the run.json of the run that goes on, None for a new one.

    Raises InputError for "bf16" on a GPU that has none.
    """
    gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
    settled = _settled(settings.precision, begun, gpu)
    if device.type != "cpu":
        chosen = settled or Arithmetic(gpu)
        if chosen.bf16 and device.type == "cuda" and not gpu:
            raise InputError(
                '[training] precision = "bf16", but this GPU has no bfloat16; use "auto" or "float32"'
            )
        return chosen
    if settled is not None and not settled.bf16:
        return settled
    speedup = bf16_speedup(typical_product(model, settings.batch_size))
    return Arithmetic(settled is not None or speedup >= WORTHWHILE, round(speedup, 3))


def _settled(precision: str, begun: Mapping[str, Any] | None, gpu: bool) -> Arithmetic | None:
    """What the setting says, or the run that goes on; None where it is still to be chosen."""
    if precision != "auto":
        return Arithmetic(precision == "bf16")
    if begun is None:
        return None
    saved = begun.get("arithmetic")
    if saved is not None:
        return Arithmetic(saved["precision"] == "bf16", saved["bf16_speedup"])
    before = begun["training"].get("precision", "auto")  # version 0.1.0, which took float32 on every CPU
    return Arithmetic(gpu if before == "auto" else before == "bf16")


def typical_product(model: nn.Module, batch_size: int) -> Product:
    """The largest matrix that the model multiplies by, for the regions or words of a batch."""
    sizes = [
        (weight.flatten(1).shape[1], weight.shape[0])
        for module in model.modules()
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag)  # rows are read from it
        for weight in module.parameters(recurse=False)
        if weight.requires_grad and weight.ndim in (2, 4)
    ]
    inputs, outputs = max(sizes, key=lambda size: size[0] * size[1], default=(1, 1))
    rows = min(ROWS_PER_PAIR * batch_size, ROWS)
    return Product(rows, min(inputs, LARGEST), min(outputs, LARGEST))


@cache
def bf16_speedup(product: Product) -> float:
    """How many times faster than float32 a linear layer's forward and backward pass is in bfloat16 here.

    An emulation shows on a small product already, where it takes milliseconds.
    """
    small = Product(*(min(size, SMALL) for size in product))
    speedup = _measure(small)
    return speedup if speedup <= EMULATED or small == product else _measure(product)


def _measure(product: Product) -> float:
    """The best of several rounds in turn: what else the machine does only adds time."""
    rows = torch.linspace(-1, 1, product.rows * product.inputs).reshape(product.rows, product.inputs)
    weight = torch.linspace(-1, 1, product.outputs * product.inputs).reshape(product.outputs, product.inputs)
    learned = rows.requires_grad_(), weight.requires_grad_()

    def step(bf16: bool) -> Tensor:
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = nn.functional.linear(rows, weight)
            gradient: Tensor = torch.autograd.grad(found.float().sum(), learned)[0]
        return gradient

    step(False)
    started, best = time.perf_counter(), {False: float("inf"), True: float("inf")}
    for _ in range(ROUNDS):
        for bf16, least in best.items():
            best[bf16] = min(least, _seconds(partial(step, bf16)))
        if time.perf_counter() - started > SECONDS:
            break
    return best[False] / best[True]


def _seconds(act: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def in_float32(pairs: EncodedPairs) -> EncodedPairs:
    """Cast the input of a loss, after encoders and scores were computed in bfloat16."""

    def wide(embeddings: EmbeddingSet) -> EmbeddingSet:
        return replace(embeddings, vectors=embeddings.vectors.float())

    return replace(pairs, images=wide(pairs.images), texts=wide(pairs.texts), scores=pairs.scores.float())
