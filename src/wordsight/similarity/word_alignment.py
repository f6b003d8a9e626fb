"""Alignments -> for each word: where it looks, how well it is found there, which region it chose."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int

from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment
from wordsight.tensors import F, Tensor, torch

WHOLE_SHARE = 0.99  # of the picture: a region that says nothing of where
VOTE_TEMPERATURE = 0.1  # of cosines; chosen on 40 photographs of COCO


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


def pointed_regions(
    images: EmbeddingSet, texts: EmbeddingSet, alignments: Sequence[Alignment]
) -> Int[Tensor, "pair word"]:
    """The region in whose centre each word is most likely seen; -1 where no region answers.

    Regions overlap, and one that is a little better than all others may be far off. So each region votes with
    the softmax of its cosine for all places that it covers, and the region whose centre has the most votes is
    it. The whole picture votes, but is no place, where there are others. Regions without boxes, and
    alignments that are no cosines of words, give ``chosen_regions``.
    """
    alignment = _of_words(alignments)
    if images.boxes is None or alignment.hint or not _has_cosines(alignment, images, texts):
        return chosen_regions(alignments, images.mask)
    own = region_votes(images, texts, alignments)
    votes = _covers(images.boxes).to(own) @ own
    ranks = votes - 2 * _is_whole(images.boxes).to(votes)[..., None]  # votes are at most 1
    return ranks.masked_fill(~images.mask[..., None], -torch.inf).argmax(1)


def region_votes(
    images: EmbeddingSet, texts: EmbeddingSet, alignments: Sequence[Alignment]
) -> Float[Tensor, "pair region word"]:
    """How strongly each region speaks for each word: the softmax of their cosines over the regions.

    Where only regions look at words, it is how much of its look each gives to the word.
    """
    if not _has_cosines(_of_words(alignments), images, texts):
        return shares_by_word(alignments)
    cosines = F.normalize(images.vectors, dim=-1) @ F.normalize(texts.vectors, dim=-1).transpose(1, 2)
    masked = cosines.masked_fill(~images.mask[..., None], -torch.inf)
    return torch.softmax(masked / VOTE_TEMPERATURE, 1)


def _has_cosines(alignment: Alignment, images: EmbeddingSet, texts: EmbeddingSet) -> bool:
    """Whether the alignment is that of words whose cosines with the regions say where they look."""
    (pairs, regions), words = images.vectors.shape[:2], texts.vectors.shape[1]
    return alignment.direction == "word" and alignment.shares.shape == (pairs, regions, words)


def _covers(boxes: Float[Tensor, "pair region 4"]) -> Bool[Tensor, "pair centre region"]:
    """Whether each region covers the centre of each."""
    centres = ((boxes[..., :2] + boxes[..., 2:]) / 2)[:, :, None]
    over = boxes[:, None]
    return ((over[..., :2] <= centres) & (centres <= over[..., 2:])).all(-1)


def _is_whole(boxes: Float[Tensor, "pair region 4"]) -> Bool[Tensor, "pair region"]:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1) > WHOLE_SHARE


def _of_words(alignments: Sequence[Alignment]) -> Alignment:
    """The one in which words look, or else regions."""
    by_word = [alignment for alignment in alignments if alignment.direction == "word"]
    return by_word[0] if by_word else alignments[0]
