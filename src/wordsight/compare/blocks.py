"""Every context with every query, in any size."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wordsight.compare.pooling import Pooling
from wordsight.compare.similarity import Alignment, Seeker, Similarity
from wordsight.components import make
from wordsight.sets import EmbeddingSet

EPSILON = 1e-8  # added to a length before dividing by it, as the papers' code does


class SeekingSimilarity(Similarity):
    """Every query (a word, or a region) looks for itself in the context; pooling adds up what it finds."""

    def __init__(self, seeker: Seeker, pooling: str | dict[str, Any] | Pooling):
        super().__init__()
        if seeker not in ("word", "region"):
            raise ValueError(f'seeker = "{seeker}"; expected "word" or "region"')
        self.seeker: Seeker = seeker
        self.pooling = pooling if isinstance(pooling, Pooling) else _pooling(pooling)

    def attend(
        self,
        cosines: Float[Tensor, "*rows context query"],
        contexts: Float[Tensor, "*contexts context dim"],
        context_mask: Bool[Tensor, "*contexts context"],
        query_mask: Bool[Tensor, "*queries query"],
    ) -> tuple[Float[Tensor, "*rows context query"], Float[Tensor, "*rows query"]]:
        raise NotImplementedError

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        contexts, queries = (images, texts) if self.seeker == "word" else (texts, images)
        looked_at, looking = normalized(contexts), normalized(queries)
        cosines = torch.einsum("ckd,qld->cqkl", looked_at, looking)
        mask = queries.mask[None]
        _, found = self.attend(cosines, looked_at[:, None], contexts.mask[:, None], mask)
        scores = self.pooling(found, mask)
        return scores if self.seeker == "word" else scores.T

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        contexts, queries = (images, texts) if self.seeker == "word" else (texts, images)
        looked_at, looking = normalized(contexts), normalized(queries)
        cosines = torch.bmm(looked_at, looking.transpose(1, 2))
        shares, found = self.attend(cosines, looked_at, contexts.mask, queries.mask)
        shares = shares.masked_fill(~queries.mask[:, None], 0)
        found = found.masked_fill(~queries.mask, 0)
        return [Alignment(self.seeker, shares, found, self.pooling(found, queries.mask))]


def normalized(items: EmbeddingSet) -> Float[Tensor, "n item dim"]:
    vectors = items.vectors
    return vectors / (vectors.norm(dim=-1, keepdim=True) + EPSILON)


def _pooling(given: str | dict[str, Any]) -> Pooling:
    made: Pooling = make("pooling", {"name": given} if isinstance(given, str) else given)
    return made
