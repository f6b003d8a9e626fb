"""Every program of a GPU against the blocks, in every combination of its settings, for gpu_sections.py."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice, product
from typing import Any, get_args

import torch
import training_step as steps

from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention, Normalize
from wordsight.similarity.kernels import launch
from wordsight.similarity.max_sim import MaxSim

POOLINGS: list[Any] = [
    "log-sum-exp", "mean", "max", "sum", "softmax", {"name": "log-sum-exp", "scaled": False},
]  # fmt: skip
DIRECTIONS: list[Any] = ["word", "region"]
DIMS = (1, 31, 65, 1000)
FLOAT32 = torch.float32


def autocast(kind: str, dtype: torch.dtype) -> AbstractContextManager[Any]:
    return nullcontext() if dtype == FLOAT32 else torch.autocast(kind, dtype)


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def both(act: Callable[[], Any]) -> tuple[Any, Any]:
    """What the programs find, and what the blocks find."""
    fast = act()
    with launch.disabled():
        return fast, act()


def differences(
    similarity: Any,
    images: EmbeddingSet,
    texts: EmbeddingSet,
    dtype: torch.dtype,
    losses: Sequence[str] = tuple(steps.LOSSES),
) -> dict[str, float]:
    """The largest of the scores, and of the gradients by their length; and whether a program was refused."""

    def scores() -> Any:
        with torch.no_grad(), autocast(images.device.type, dtype):
            return similarity(images, texts)

    def gradients() -> list[torch.Tensor]:
        with autocast(images.device.type, dtype):
            return [one for loss in losses for one in steps.step(similarity, loss, images, texts)]

    fast, slow = both(scores)
    pairs = zip(*both(gradients), strict=True) if len(images) == len(texts) else ()
    return {
        "scores differ by": float((fast - slow).abs().max()),
        "gradients differ by": max(
            (float((a - b).norm() / b.norm().clamp_min(1e-30)) for a, b in pairs), default=0.0
        ),
        "programs refused": len(launch._refused),
    }


def ragged(count: int, items: int, dim: int, seed: int, device: str) -> EmbeddingSet:
    """Sets of one to ``items`` vectors; padding is not a number."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, items + 1, (count, 1), generator=draw)
    lengths[0] = items
    mask = torch.arange(items) < lengths
    vectors = torch.randn(count, items, dim, generator=draw).masked_fill(~mask[..., None], float("nan"))
    return EmbeddingSet(vectors, mask).to(device)


def all_programs(device: str, most: int | None, sets: int) -> Iterator[tuple[str, Any]]:
    """One line for each combination, of so many sets a side; ``most`` are run."""
    for name, similarity, dim, dtype in islice(combinations(), most):
        images, texts = ragged(sets, 36, dim, 0, device), ragged(sets, 25, dim, 1, device)
        yield name, differences(similarity, images, texts, dtype)


def combinations() -> Iterator[tuple[str, Any, int, torch.dtype]]:
    """Each setting with the usual others, in both directions."""
    usual = 64
    for direction, dtype in product(DIRECTIONS, (FLOAT32, torch.bfloat16, torch.float16)):
        yield f"max_sim {direction} {short(dtype)}", MaxSim(direction), usual, dtype
        yield f"cross_attention {direction} {short(dtype)}", CrossAttention(direction), usual, dtype
    for direction, pooling in product(DIRECTIONS, POOLINGS):
        said = f"{direction} pooling {pooling}"
        yield f"max_sim {said}", MaxSim(direction, pooling), usual, FLOAT32
    for direction, dim in product(DIRECTIONS, DIMS):
        yield f"max_sim {direction} dim {dim}", MaxSim(direction), dim, FLOAT32
    norms = ((DIRECTIONS[0], "mean", norm) for norm in get_args(Normalize))
    others = ((DIRECTIONS[1], pooling, "clipped_l2") for pooling in POOLINGS)
    for direction, pooling, norm in chain(norms, others):
        similarity = CrossAttention(direction, pooling=pooling, normalize=norm)
        yield f"cross_attention {direction} {norm} pooling {pooling}", similarity, usual, FLOAT32
