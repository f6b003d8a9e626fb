"""Pieces of texts -> their distinct words as short texts, and the word of each piece; numpy."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


class DistinctWords(NamedTuple):
    """Words that are read as texts of their own, each once."""

    ids: Int[np.ndarray, "word piece"]
    mask: Bool[np.ndarray, "word piece"]
    word_of: Int[np.ndarray, "text piece"]  # the row of each piece of a text; 0 for padding


def distinct_words(
    ids: Int[np.ndarray, "text piece"],
    mask: Bool[np.ndarray, "text piece"],
    starts: Bool[np.ndarray, "text piece"],
    pad_id: int,
) -> DistinctWords:
    """``starts``: pieces that begin a word; the first of a text does so anyway."""
    place = np.arange(ids.shape[1])
    begins = (starts | (place == 0)) & mask
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)  # of the word that a piece belongs to
    number = begins.ravel().cumsum().reshape(begins.shape) - 1  # words are counted through all texts
    within = place - first
    total = int(begins.sum())
    longest = int(within[mask].max()) + 1 if total else 1
    rows = np.full((total, longest), -1, dtype=ids.dtype)
    rows[number[mask], within[mask]] = ids[mask]
    different, row_of = np.unique(rows, axis=0, return_inverse=True)
    word_of = np.zeros_like(ids)
    word_of[mask] = row_of.reshape(-1)[number[mask]]
    real = different >= 0
    return DistinctWords(np.where(real, different, pad_id).astype(ids.dtype), real, word_of)
