"""Pieces of texts -> their distinct words as short texts, and the word of each piece."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class DistinctWords(NamedTuple):
    """Words that are read as texts of their own, each once."""

    ids: Int[Tensor, "word piece"]
    mask: Bool[Tensor, "word piece"]
    word_of: Int[Tensor, "text piece"]  # the row of each piece of a text; 0 for padding


def distinct_words(
    ids: Int[Tensor, "text piece"],
    mask: Bool[Tensor, "text piece"],
    starts: Bool[Tensor, "text piece"],
    pad_id: int,
) -> DistinctWords:
    """``starts``: pieces that begin a word; the first of a text does so anyway."""
    place = torch.arange(ids.shape[1], device=ids.device)
    begins = (starts | (place == 0)) & mask
    first = torch.where(begins, place, 0).cummax(1).values  # of the word that a piece belongs to
    number = begins.flatten().cumsum(0).view_as(begins) - 1  # words are counted through all texts
    within = place - first
    total = int(begins.sum())
    longest = int(within[mask].max()) + 1 if total else 1
    rows = torch.full((total, longest), -1, dtype=ids.dtype, device=ids.device)
    rows[number[mask], within[mask]] = ids[mask]
    different, row_of = torch.unique(rows, dim=0, return_inverse=True)
    word_of = torch.zeros_like(ids)
    word_of[mask] = row_of[number[mask]]
    real = different >= 0
    return DistinctWords(different.masked_fill(~real, pad_id), real, word_of)
