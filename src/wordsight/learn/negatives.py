"""Encoded pairs -> what a loss over all pairs of a batch needs: square scores, and who belongs to whom."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wordsight.errors import InputError
from wordsight.pairs import EncodedPairs


def square(scores: Float[Tensor, "image text"]) -> Float[Tensor, "pair pair"]:
    """The scores in at least single precision, their shape checked: exp and sums of halves overflow."""
    if scores.shape[0] != scores.shape[1]:
        raise InputError(
            "a loss needs one text per image in the batch, row for row, "
            f"but the scores are {tuple(scores.shape)}"
        )
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def with_negative_texts(
    scores: Float[Tensor, "pair pair"], pairs: EncodedPairs
) -> Float[Tensor, "pair negative"]:
    """The scores that each image must beat: with the batch's texts, and with those of no image."""
    if pairs.negative_scores is None:
        return scores
    return torch.cat([scores, pairs.negative_scores.to(scores)], 1)


def matches(pairs: EncodedPairs, same_identity: bool) -> Bool[Tensor, "pair pair"]:
    """True for what is no negative: each pair itself and, if asked, all pairs of the same identity."""
    if same_identity:
        return pairs.identities[:, None] == pairs.identities
    return torch.eye(len(pairs.identities), dtype=torch.bool, device=pairs.scores.device)
