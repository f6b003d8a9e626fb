"""CHAN's golden numbers: images, texts and what was found."""

import torch
from support.golden_inputs import sine

from wordsight.sets import EmbeddingSet


def golden_images() -> EmbeddingSet:
    return EmbeddingSet(sine(3, 4, 6), torch.arange(4) < torch.tensor([4, 3, 2])[:, None])


def golden_texts() -> EmbeddingSet:
    return EmbeddingSet(sine(2, 3, 6, shift=1), torch.arange(3) < torch.tensor([3, 2])[:, None])


UNSCALED = {"name": "log-sum-exp", "scaled": False}


# What each word of two texts found in three images (CHAN's VHA); the second text has two words.
FOUND = torch.tensor(
    [
        [[0.926869, 0.974212, 0.979258], [0.979258, -0.239820, -1]],
        [[0.925913, 0.974212, 0.950212], [0.950212, 0.873106, -1]],
        [[0.164942, 0.703736, 0.950212], [0.950212, 0.453492, -1]],
    ],
    dtype=torch.float64,
)
MASK = torch.tensor([[True, True, True], [True, True, False]])
