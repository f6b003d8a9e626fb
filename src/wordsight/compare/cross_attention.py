"""Soft alignment: every word blends the regions it resembles, or every region the words (SCAN, CHAN)."""

from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from wordsight.compare.blocks import EPSILON, SeekingSimilarity
from wordsight.compare.pooling import Pooling
from wordsight.compare.similarity import Seeker

Normalize: TypeAlias = Literal["none", "l2", "clipped_l2", "l1", "clipped_l1", "clipped", "softmax"]
NORMALIZE = ("none", "l2", "clipped_l2", "l1", "clipped_l1", "clipped", "softmax")


class CrossAttention(SeekingSimilarity):
    """share = softmax over the context of (normalized cosine / temperature); found = cos(query, its blend).

    ``normalize`` is SCAN's ``raw_feature_norm``, per context element over the queries; ``temperature`` is
    1 / its ``lambda_softmax``. SCAN t-i: ``seeker="word"``, 1/9, "clipped_l2"; i-t: ``"region"``, 1/4.
    CHAN's VSA as its code has it: ``seeker="region", normalize="none"`` and alpha as the temperature.
    """

    def __init__(
        self,
        seeker: Seeker = "word",
        temperature: float = 1 / 9,
        normalize: Normalize = "clipped_l2",
        pooling: str | dict[str, Any] | Pooling = "mean",
    ):
        super().__init__(seeker, pooling)
        if not temperature > 0:
            raise ValueError(f"temperature = {temperature}; it must be above 0, e.g. 0.111 (SCAN's lambda 9)")
        if normalize not in NORMALIZE:
            raise ValueError(f'normalize = "{normalize}"; expected one of {", ".join(NORMALIZE)}')
        self.temperature, self.normalize = temperature, normalize

    def attend(
        self,
        cosines: Float[Tensor, "*rows context query"],
        contexts: Float[Tensor, "*contexts context dim"],
        context_mask: Bool[Tensor, "*contexts context"],
        query_mask: Bool[Tensor, "*queries query"],
    ) -> tuple[Float[Tensor, "*rows context query"], Float[Tensor, "*rows query"]]:
        logits = _normalize(cosines, query_mask[..., None, :], self.normalize) / self.temperature
        shares = logits.masked_fill(~context_mask[..., None], -float("inf")).softmax(-2)
        gram = contexts @ contexts.transpose(-1, -2)
        square = (shares * (gram @ shares)).sum(-2)  # the blend's squared length, without the blend
        return shares, (shares * cosines).sum(-2) / square.clamp_min(EPSILON**2).sqrt()


def _normalize(
    cosines: Float[Tensor, "*rows context query"],
    query_mask: Bool[Tensor, "*queries 1 query"],
    how: Normalize,
) -> Float[Tensor, "*rows context query"]:
    if how == "softmax":
        return cosines.masked_fill(~query_mask, -float("inf")).softmax(-1)
    values = F.leaky_relu(cosines, 0.1) if how.startswith("clipped") else cosines
    values = values.masked_fill(~query_mask, 0)
    if how.endswith("l2"):
        return values / (torch.linalg.vector_norm(values, dim=-1, keepdim=True) + EPSILON)
    if how.endswith("l1"):
        return values / (values.abs().sum(-1, keepdim=True) + EPSILON)
    return values
