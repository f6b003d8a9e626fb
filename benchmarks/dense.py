"""What to compare with: the straightforward layout, an [image, text, region, word] tensor."""

import torch
from torch import Tensor

from wordsight.sets import EmbeddingSet

SHARD = 128  # images and texts at a time when scoring
TEMPERATURE = 0.1


def unit(items: EmbeddingSet) -> EmbeddingSet:
    return EmbeddingSet(items.vectors / (items.vectors.norm(dim=-1, keepdim=True) + 1e-8), items.mask)


def dense_scores(images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    """Every word's best region, then log-sum-exp; of unit vectors, padded to the longest; differentiable."""
    n, regions, dim = images.vectors.shape
    m, words, _ = texts.vectors.shape
    cosines = images.vectors.reshape(-1, dim) @ texts.vectors.reshape(-1, dim).T
    cosines = cosines.reshape(n, regions, m, words).permute(0, 2, 1, 3)
    real = images.mask[:, None, :, None] & texts.mask[None, :, None, :]
    found = cosines.masked_fill(~real, -1).max(2)[0]
    found = found.masked_fill(~texts.mask, -float("inf"))
    return TEMPERATURE * torch.logsumexp(found / TEMPERATURE, -1)


def scan_scores(images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    """SCAN, words looking: text by text with all images, each blend made as in its code; differentiable."""
    images, texts = unit(images), unit(texts)
    columns = []
    for text, real in zip(texts.vectors, texts.mask, strict=True):
        words = text[: int(real.sum())]
        cosines = torch.nn.functional.leaky_relu(images.vectors @ words.T, 0.1)
        cosines = cosines / (cosines.norm(dim=2, keepdim=True) + 1e-8)
        shares = (9 * cosines).masked_fill(~images.mask[..., None], -float("inf")).softmax(1)
        blends = torch.bmm(shares.transpose(1, 2), images.vectors)
        columns.append(torch.cosine_similarity(blends, words[None], dim=2).mean(1))
    return torch.stack(columns, 1)


def sharded_scores(images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    """All pairs, 128 x 128 at a time, each shard cropped to its longest text."""
    images, texts = unit(images), unit(texts)
    scores = torch.empty(len(images), len(texts), device=images.device)
    for row in range(0, len(images), SHARD):
        for column in range(0, len(texts), SHARD):
            shard = texts[column : column + SHARD]
            longest = int(shard.lengths.max())
            cropped = EmbeddingSet(shard.vectors[:, :longest], shard.mask[:, :longest])
            scores[row : row + SHARD, column : column + SHARD] = dense_scores(
                images[row : row + SHARD], cropped
            )
    return scores


def sorted_ranks(scores: Tensor, identities: Tensor) -> tuple[Tensor, Tensor]:
    """The ranks of the best matches by sorting; text t belongs to image identities[t]."""
    place = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    belongs = torch.arange(len(scores), device=scores.device)[:, None] == identities
    i2t = place.masked_fill(~belongs, scores.shape[1]).amin(1)
    place = scores.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    return i2t, place.gather(0, identities[None])[0]
