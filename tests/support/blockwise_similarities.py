"""Every similarity that is computed block by block, and embedding sets of several lengths."""

import pytest
import torch
from torch import Tensor

from wordsight.encode.pool import MaxPool, pooled
from wordsight.registry import REGISTRY, build
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment, Similarity
from wordsight.similarity.bidirectional import BothWays
from wordsight.similarity.cosine import Cosine
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.dual_encoder import Dual
from wordsight.similarity.label_agreement import Semantic
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.order_embedding import Order


class OfHighest(Similarity):
    """A similarity of one vector each, given the highest values of each set, as by encoders that pool."""

    def __init__(self, similarity: dict | Similarity):
        super().__init__()
        self.similarity = build("similarity", similarity) if isinstance(similarity, dict) else similarity

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
        return self.similarity(*self.given(images, texts))

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        return self.similarity.align(*self.given(images, texts))

    def given(self, *sides: EmbeddingSet) -> list[EmbeddingSet]:
        return [pooled(side, MaxPool()) for side in sides]


class HighestFirst(OfHighest):
    """The same of one that takes the first vector of a set for the whole: the others stand behind it."""

    def given(self, *sides: EmbeddingSet) -> list[EmbeddingSet]:
        return [
            EmbeddingSet(*(torch.cat(two, 1) for two in ((one.vectors, side.vectors), (one.mask, side.mask))))
            for one, side in zip(super().given(*sides), sides, strict=True)
        ]


NORMALIZE = ("none", "l2", "clipped_l2", "l1", "clipped_l1", "clipped", "softmax")
SIMILARITIES = {
    **{f"max-sim word {pool}": MaxSim("word", pool) for pool in REGISTRY["pooling"]},
    **{f"max-sim region {pool}": MaxSim("region", pool) for pool in ("mean", "log-sum-exp")},
    **{f"cross word {how}": CrossAttention("word", 0.2, how) for how in NORMALIZE},
    **{
        f"cross region {how}": CrossAttention("region", 0.2, how) for how in ("none", "clipped_l2", "softmax")
    },
    "cross word log-sum-exp": CrossAttention("word", 0.1, "clipped_l2", "log-sum-exp"),
    "max-sim word, image lengths count": MaxSim("word", "mean", normalize_images=False),
    "max-sim region, all lengths count": MaxSim(
        "region", "log-sum-exp", normalize_images=False, normalize_texts=False
    ),
    **{
        f"cross {side}, lengths count, {how}": CrossAttention(
            side, 0.7, how, normalize_images=images, normalize_texts=texts
        )
        for side in ("word", "region")
        for how, images, texts in (("clipped_l2", True, False), ("none", False, True), ("l1", False, False))
    },
    "cross region, query length kept": CrossAttention(
        "region", 0.7, "none", normalize_images=False, keep_query_length=True
    ),
    "both ways, lengths count": BothWays(
        CrossAttention("word", 0.5, normalize_images=False),
        {"name": "max-sim", "pooling": "mean", "normalize_images": False},
    ),
    "both ways, soft": BothWays(CrossAttention("word", 0.2), CrossAttention("region", 0.3), weight=0.3),
    "both ways, hard": BothWays("max-sim", {"name": "max-sim", "pooling": "mean"}),
    "cosine": OfHighest(Cosine()),
    "cosine, lengths count": OfHighest(Cosine(normalize_images=False)),
    "dual": HighestFirst(Dual(2.0, -1.0)),
    "dual, words count": HighestFirst(Dual(2.0, -1.0, words=0.3)),
    "order": OfHighest(Order()),
    "order, all directions": OfHighest(Order(absolute=False)),
    "order, lengths count": OfHighest(Order(normalize_images=False, normalize_texts=False)),
}
TRAINED = SIMILARITIES | {"labels, training": Semantic(16, 5)}
every_trained = pytest.mark.parametrize("similarity", TRAINED.values(), ids=TRAINED.keys())


def random_set(
    lengths: list[int], dim: int = 16, width: int = 0, dtype: torch.dtype = torch.float64
) -> EmbeddingSet:
    """Ragged, with its padding filled with what must never count."""
    mask = torch.arange(max(width, *lengths)) < torch.tensor(lengths)[:, None]
    vectors = torch.randn(*mask.shape, dim, dtype=dtype)
    vectors[~mask] = float("nan")
    return EmbeddingSet(vectors, mask)


def images_and_texts(dtype: torch.dtype = torch.float64) -> tuple[EmbeddingSet, EmbeddingSet]:
    images = random_set([4, 7, 7, 3, 5, 7], dtype=dtype)
    return images, random_set([3, 6, 1, 6, 2, 9, 4, 4], width=12, dtype=dtype)
