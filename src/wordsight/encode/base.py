"""The promise of every encoder: Regions, Pixels or Tokens in, an EmbeddingSet out."""

from typing import Any

from torch import nn

from wordsight.sets import EmbeddingSet, Tokens


class ImageEncoder(nn.Module):
    """Pictures, as Regions or Pixels, -> one set of vectors each; padding is exactly zero and masked."""

    dim: int  # of every vector

    def forward(self, images: Any) -> EmbeddingSet:
        raise NotImplementedError


class TextEncoder(nn.Module):
    """Texts, as Tokens, -> one set of vectors each; padding is exactly zero and masked."""

    dim: int  # of every vector

    def forward(self, texts: Tokens) -> EmbeddingSet:
        raise NotImplementedError
