"""Alignments -> for each word: where it looks, how well it is found there, which region it chose."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wordsight.similarity.base import Alignment


def shares_by_word(alignments: Sequence[Alignment]) -> Float[Tensor, "pair region word"]:
    """Where each word looks; where only regions look, how much of its look each region gives to the word."""
    alignment = _of_words(alignments)
    return alignment.shares if alignment.direction == "word" else alignment.shares.transpose(1, 2)


def found_by_word(alignments: Sequence[Alignment]) -> Float[Tensor, "pair word"]:
    """How well each word is found, a cosine.

    Where only regions look, it is the most that a region gives to the word: its share of the look x how well
    it finds itself there. That is 0 for a word that no region looks at.
    """
    alignment = _of_words(alignments)
    if alignment.direction == "word":
        return alignment.found
    return (alignment.shares * alignment.found[:, None]).amax(2)


def chosen_regions(
    alignments: Sequence[Alignment], mask: Bool[Tensor, "pair region"]
) -> Int[Tensor, "pair word"]:
    """The region each word looks at most, -1 where no region answers.

    Where only regions look at words, a word's region is the one that looks at it most; of equals, the one
    that finds itself there best.
    """
    alignment = _of_words(alignments)
    if alignment.direction == "word":
        return alignment.shares.masked_fill(~mask[:, :, None], -1).argmax(1)
    top = alignment.shares.amax(2, keepdim=True)
    found = alignment.found[:, None].expand_as(alignment.shares)
    best = found.masked_fill(alignment.shares < top, -torch.inf).argmax(2)
    return best.masked_fill(top.squeeze(2) <= 0, -1)


def _of_words(alignments: Sequence[Alignment]) -> Alignment:
    """The one in which words look, or else regions."""
    by_word = [alignment for alignment in alignments if alignment.direction == "word"]
    return by_word[0] if by_word else alignments[0]
