"""CASC's golden numbers: two images, their texts and the table of the similarity."""

import torch
from support.golden_inputs import fill, sine

from wordsight.sets import EmbeddingSet
from wordsight.similarity.label_agreement import Semantic

CASC = {
    "name": "bidirectional",
    "words": {"name": "cross-attention", "temperature": 1 / 9, "pooling": "mean"},
    "regions": {
        "name": "cross-attention",
        "temperature": 1 / 4,
        "pooling": {"name": "log-sum-exp", "temperature": 1 / 5},
    },
}
GOLDEN = [[1.007313, 0.636082], [1.019802, 1.011090], [0.997250, 0.928927]]


def images() -> EmbeddingSet:
    return EmbeddingSet(sine(3, 4, 6), torch.ones(3, 4) > 0)


def texts() -> EmbeddingSet:
    return EmbeddingSet(sine(2, 3, 6, shift=1), torch.arange(3) < torch.tensor([3, 2])[:, None])


def casc(similarity: object = CASC) -> Semantic:
    made = Semantic(6, 4, similarity, hidden=5).double().eval()
    fill(made.head)
    return made
