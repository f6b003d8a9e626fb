"""Hard alignment: every word picks its single best region, or every region its single best word (CHAN)."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wordsight.compare.blocks import SeekingSimilarity
from wordsight.compare.pooling import Pooling
from wordsight.compare.similarity import Seeker


class MaxSim(SeekingSimilarity):
    """found_q = max over the context of the cosine; score = pooling of found over the queries.

    ``seeker="word"`` is CHAN's visual hard assignment (VHA, all its published runs), ``seeker="region"`` the
    textual one (THA).
    """

    def __init__(self, seeker: Seeker = "word", pooling: str | dict[str, Any] | Pooling = "log-sum-exp"):
        super().__init__(seeker, pooling)

    def attend(
        self,
        cosines: Float[Tensor, "*rows context query"],
        contexts: Float[Tensor, "*contexts context dim"],
        context_mask: Bool[Tensor, "*contexts context"],
        query_mask: Bool[Tensor, "*queries query"],
    ) -> tuple[Float[Tensor, "*rows context query"], Float[Tensor, "*rows query"]]:
        found, place = cosines.masked_fill(~context_mask[..., None], -float("inf")).max(-2)
        return torch.zeros_like(cosines).scatter(-2, place[..., None, :], 1.0), found
