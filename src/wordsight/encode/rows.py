"""Padded items -> the real ones as packed rows, and packed rows -> padded items again (zeros at padding)."""

from jaxtyping import Bool, Float

from wordsight.tensors import Tensor, torch


def packed(items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]) -> Float[Tensor, "real dim"]:
    """The items that are not padding, set after set; only they are worth multiplying."""
    return items[mask]


def unpacked(rows: Float[Tensor, "real dim"], mask: Bool[Tensor, "n item"]) -> Float[Tensor, "n item dim"]:
    """Each row back at its place; padding is exactly zero."""
    items = rows.new_zeros(*mask.shape, rows.shape[-1])
    return items.index_put((mask,), rows)


def unit_length(vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
    """Scaled to length 1; zeros stay zeros."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (length + 1e-8)


def zeroed(items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]) -> Float[Tensor, "n item dim"]:
    """The items with zeros at padding, whatever was there (NaN included)."""
    return torch.where(mask[..., None], items, 0)
