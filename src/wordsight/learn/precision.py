"""The setting precision -> bfloat16 or float32, by a probe of the device; a resumed run repeats the decision.

On a processor without bfloat16 instructions a product in bfloat16 is emulated and up to 50 times slower than
in float32; on one that has them it is up to three times faster. That is measured, not read from a list.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any

import torch

from wordsight.errors import InputError
from wordsight.pairs import EncodedPairs
from wordsight.sets import EmbeddingSet

CLEAR_SPEEDUP = 1.3  # "auto" takes bfloat16 on a CPU from here on: casts and rounding have their price too
SLOW = 0.8  # bfloat16 that is emulated is far below
ROWS, INNER, COLUMNS = 256, 512, 256  # of the probe's product: 67 million multiplications
TRIES = 5


@dataclass(frozen=True)
class Precision:
    """A decision for one run; it stands in run.json."""

    bf16: bool
    speedup: float | None = None  # of bfloat16 against float32; None: not probed

    @property
    def warning(self) -> str:
        """A sentence for a run in bfloat16 that is slower than in float32; empty for any other."""
        if not self.bf16 or self.speedup is None or self.speedup >= SLOW:
            return ""
        return (
            f'precision = "bf16" is emulated on this processor: a product takes {1 / self.speedup:.0f} times '
            'as long as in float32; with precision = "auto" the run takes float32 here'
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(setting: str, device: torch.device, speedup: Callable[[], float] | None = None) -> Precision:
    """The precision of a new run. ``speedup`` of bfloat16 on the CPU, by default by a probe.

    Raises InputError for "bf16" on a GPU that has none.
    """
    if device.type != "cpu":
        has = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        if setting == "bf16" and device.type == "cuda" and not has:
            raise InputError(
                '[training] precision = "bf16", but this GPU has no bfloat16', 'use "auto" or "float32"'
            )
        return Precision(setting == "bf16" or (setting == "auto" and has))
    if setting == "float32":
        return Precision(False)
    measured = (speedup or bf16_speedup)()
    return Precision(setting == "bf16" or measured >= CLEAR_SPEEDUP, round(measured, 4))


def repeat(known: dict[str, Any] | None, setting: str, device: torch.device) -> Precision:
    """The precision of a resumed run, as decided before; a run of before decisions had no probe."""
    if known is not None:
        return Precision(bool(known["bf16"]), known.get("speedup"))
    if device.type == "cpu":
        return Precision(setting == "bf16")
    return decide(setting, device)


def in_float32(pairs: EncodedPairs) -> EncodedPairs:
    """Cast the input of a loss, after encoders and scores were computed in bfloat16."""

    def wide(embeddings: EmbeddingSet) -> EmbeddingSet:
        return replace(embeddings, vectors=embeddings.vectors.float())

    negative = None if pairs.negative_scores is None else pairs.negative_scores.float()
    return replace(
        pairs,
        images=wide(pairs.images),
        texts=wide(pairs.texts),
        scores=pairs.scores.float(),
        negative_scores=negative,
    )


@cache
def bf16_speedup() -> float:
    """Time of a float32 product on the CPU divided by that in bfloat16: the best of some tries each."""
    rows = torch.linspace(-1, 1, ROWS * INNER).reshape(ROWS, INNER)
    weight = torch.linspace(1, -1, COLUMNS * INNER).reshape(COLUMNS, INNER)
    half = rows.bfloat16(), weight.bfloat16()
    with torch.no_grad():
        full = _seconds(lambda: torch.nn.functional.linear(rows, weight))
        short = _seconds(lambda: torch.nn.functional.linear(*half), at_most=full * 4)
    return full / short


def _seconds(run: Callable[[], Any], at_most: float = float("inf")) -> float:
    """The shortest of some runs, after one that is not counted; the first that takes ``at_most`` decides."""
    run()
    best = float("inf")
    for _ in range(TRIES):
        start = perf_counter()
        run()
        best = min(best, perf_counter() - start)
        if best >= at_most:
            break
    return best
