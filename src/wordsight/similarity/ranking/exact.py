"""Embeddings and who belongs together -> ranks that no rounding, block, thread or precision can change."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from jaxtyping import Int

from wordsight.errors import InputError
from wordsight.runtime.device import exact_device
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity, on_device
from wordsight.similarity.kernels.blockwise import AttentionSimilarity
from wordsight.similarity.kernels.integer_product import (
    IntegerProduct,
    int8_is_faster,
    int8_speedup,
    integer_product,
)
from wordsight.similarity.ranking.certified import Progress, Ranking
from wordsight.similarity.ranking.count import BestMatches, Ties
from wordsight.similarity.ranking.float64_recheck import rank_any
from wordsight.tensors import Tensor, torch

Precision: TypeAlias = Literal["float32", "int8", "auto"]

PATIENCE = {"auto": 1, "int8": 8}  # blocks in a row that int8 may leave too open before it is given up
ITEMS_AT_ONCE = 1024  # items per block


def rank_matches(
    similarity: Similarity,
    images: EmbeddingSet,
    texts: EmbeddingSet,
    image_identities: Int[Tensor, " image"],
    text_identities: Int[Tensor, " text"],
    precision: Precision = "auto",
    ties: Ties = "pessimistic",
    progress: Progress | None = None,
) -> tuple[Int[Tensor, " image"], Int[Tensor, " text"]]:
    """The 0-based rank of each image's best text (i2t) and of each text's best image (t2i), by counting.

    Scores are screened in int8 or float32, with a bound on their error; whatever the bound leaves open is
    scored again, in the end in float64. So all precisions give the same ranks. Scores that differ by less
    than float64's own error count as equal; ``ties`` says what that means (``ranks_from_blocks``). "auto"
    tries int8 where this machine is fast at it, and gives it up where it leaves too much open. "int8" tries
    longer; where this machine is slower at it than at float32, it warns and takes float32.

    The bound is a proof for hard alignment (MaxSim); for cross attention it is a generous allowance, for a
    similarity of another kind (``rank_any``) a generous multiple of the errors seen, and int8 is not offered.
    ``progress`` is called with (pairs scored, of how many). A device without float64 (mps) leaves it all to
    the processor.

    Raises ValueError for embeddings that are not finite and for items that nothing belongs to.
    """
    if precision not in ("float32", "int8", "auto"):
        raise InputError(f'precision = "{precision}"; expected "float32", "int8" or "auto"')
    best = BestMatches(image_identities.cpu(), text_identities.cpu())
    device = exact_device(images.device)
    similarity, images, texts = on_device(similarity, device), images.to(device), texts.to(device)
    with torch.no_grad(), _true_float32(), torch.autocast(device.type, enabled=False):
        for kind, items in (("image", images), ("text", texts)):
            _must_be_finite(items, kind)
        integers = _integers(similarity, precision, device.type)
        if not isinstance(similarity, AttentionSimilarity) or similarity.keeps_lengths:
            return rank_any(similarity, images, texts, best, ties, progress)
        patience = PATIENCE.get(precision, 1)
        return Ranking(similarity, images, texts, best, ties, integers, patience, progress).run()


def _integers(similarity: Similarity, precision: Precision, device: str) -> IntegerProduct | None:
    """The integer product to screen with, or None for float32, which gives the same ranks."""
    if precision == "int8" and not similarity.has_int8_bound:
        lengths = isinstance(similarity, AttentionSimilarity) and similarity.keeps_lengths
        suffix = " whose vectors keep their lengths" if lengths else ""
        raise InputError(
            f'precision = "int8" certifies the ranks of MaxSim with unit vectors only, not of '
            f'{type(similarity).__name__}{suffix}; use "auto" or "float32"'
        )
    if precision == "float32" or not similarity.has_int8_bound:
        return None
    if precision == "auto":
        return integer_product(device) if int8_is_faster(device) else None
    speedup = int8_speedup(device)
    if speedup < 1:
        slower = f"{1 / speedup:.1f} times slower than float32 here" if speedup else "not to be had here"
        warnings.warn(
            f'precision = "int8" is {slower} ({device}); the ranks are found in float32, and are the same',
            stacklevel=3,
        )
        return None
    return integer_product(device)


def _must_be_finite(items: EmbeddingSet, kind: str) -> None:
    for start in range(0, len(items), ITEMS_AT_ONCE):
        some = items[start : start + ITEMS_AT_ONCE]
        if not bool(some.vectors.sum().isfinite()):  # quick; padding may hold anything
            bad = ~(some.vectors.isfinite().all(-1) | ~some.mask).all(1)
            if bool(bad.any()):
                raise InputError(
                    f"the embedding of {kind} {start + int(bad.nonzero()[0])} is not finite; "
                    "its scores have no rank: look for an overflow or a division by zero in the encoder"
                )


@contextmanager
def _true_float32() -> Iterator[None]:
    """The bounds hold for float32 products, not for the shorter formats that a setting may allow instead."""
    products = [
        backend.matmul
        for backend in (torch.backends.cuda, torch.backends.mkldnn)
        if hasattr(getattr(backend, "matmul", None), "fp32_precision")
    ]
    allowed = [product.fp32_precision for product in products]
    before: str | None
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set by ``fp32_precision``, which newer versions of torch have
        before = None
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if before is not None:
            torch.set_float32_matmul_precision(before)
        else:
            for product, precision in zip(products, allowed, strict=True):
                product.fp32_precision = precision
