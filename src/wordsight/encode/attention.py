"""Items of a set look at each other: vectors and mask in, vectors of the same shape out."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wordsight.errors import InputError


class Attention(nn.Module):
    """Multi-head attention of every item to the real items of its own set.

    ``attend_padding`` lets padding be attended to, and ``attend_batch`` attends along the batch axis (the
    k-th items of all sets) instead of along the set: CHAN's published code does both in its two attention
    encoders, here they serve comparisons. Either makes a set's output depend on the others of its batch.
    """

    def __init__(
        self, dim: int, heads: int, dropout: float, attend_padding: bool = False, attend_batch: bool = False
    ):
        super().__init__()
        if dim % heads:
            raise InputError(f"{heads} heads do not divide {dim} dimensions; choose heads that do")
        self.attend_padding = attend_padding
        self.attend_batch = attend_batch
        self.heads = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)

    def forward(
        self, items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n item dim"]:
        if self.attend_batch:
            items, mask = items.transpose(0, 1), mask.T
        found: Tensor = self.heads(
            items, items, items, key_padding_mask=self._ignored(mask), need_weights=False
        )[0]
        return found.transpose(0, 1) if self.attend_batch else found

    def _ignored(self, mask: Bool[Tensor, "n item"]) -> Bool[Tensor, "n item"] | None:
        """Where not to look. A set without any item looks at its padding: a softmax over nothing is NaN."""
        return None if self.attend_padding else ~mask & mask.any(1, keepdim=True)


class SelfAttention(nn.Module):
    """x + attention(norm(x)), one layer without an MLP: CHAN's "selfattention"."""

    def __init__(self, dim: int, heads: int = 8, dropout: float = 0.0, **reference: bool):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, dropout, **reference)

    def forward(
        self, items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n item dim"]:
        found: Tensor = self.attention(self.norm(items), mask)
        return items + found


class QuickGELU(nn.Module):
    """z sigmoid(1.702 z), the form that CLIP and CHAN train with."""

    def forward(self, z: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return z * torch.sigmoid(1.702 * z)


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), four times as wide inside: CHAN's "transformer"."""

    def __init__(self, dim: int, heads: int = 8, dropout: float = 0.0, **reference: bool):
        super().__init__()
        self.attention = Attention(dim, heads, dropout, **reference)
        self.norm_before_attention = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, 4 * dim), QuickGELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.norm_before_mlp = nn.LayerNorm(dim)

    def forward(
        self, items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]
    ) -> Float[Tensor, "n item dim"]:
        items = items + self.attention(self.norm_before_attention(items), mask)
        change: Tensor = self.mlp(self.norm_before_mlp(items))
        return items + change


LAYERS: dict[str, type[SelfAttention] | type[TransformerLayer]] = {
    "self-attention": SelfAttention,
    "transformer": TransformerLayer,
}


def attention_layer(
    name: str, dim: int, heads: int, dropout: float, **reference: bool
) -> SelfAttention | TransformerLayer | None:
    """The layer of that name; None for "none"."""
    if name == "none":
        return None
    if name not in LAYERS:
        raise InputError(f'attention "{name}" is not known; known: none, {", ".join(sorted(LAYERS))}')
    return LAYERS[name](dim, heads, dropout, **reference)
