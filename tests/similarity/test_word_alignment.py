"""Where a word points: the place on which overlapping regions agree."""

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.word_alignment import VOTE_TEMPERATURE, chosen_regions, pointed_regions

BOXES = torch.tensor(
    [
        [0.0, 0.0, 1.0, 1.0],  # the whole
        [0.0, 0.0, 0.2, 0.2],  # alone in its corner
        [0.5, 0.5, 0.9, 0.9],  # three that overlap
        [0.6, 0.6, 1.0, 1.0],
        [0.6, 0.5, 0.8, 0.9],
    ]
)


def picture(cosines: Float[Tensor, " region"], boxes: Tensor | None = BOXES) -> EmbeddingSet:
    """Regions with these cosines with the word (1, 0)."""
    vectors = torch.stack([cosines, (1 - cosines**2).sqrt()], 1)
    return EmbeddingSet(
        vectors[None], torch.ones(1, len(cosines), dtype=torch.bool), None if boxes is None else boxes[None]
    )


WORD = EmbeddingSet(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool))


def pointed(images: EmbeddingSet) -> int:
    return int(pointed_regions(images, WORD, MaxSim().align(images, WORD)))


def test_regions_that_agree_beat_one_that_is_a_little_better() -> None:
    cosines = torch.tensor([0.1, 0.42, 0.4, 0.4, 0.38])
    images = picture(cosines)
    assert int(chosen_regions(MaxSim().align(images, WORD), images.mask)) == 1
    votes = []
    for box in BOXES.tolist():
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        votes.append(sum(
            float(torch.softmax(cosines / VOTE_TEMPERATURE, 0)[n])
            for n, (left, top, right, bottom) in enumerate(BOXES.tolist())
            if left <= x <= right and top <= y <= bottom
        ))  # fmt: skip
    assert pointed(images) == 1 + max(range(4), key=lambda n: votes[1 + n])
    assert pointed(images) in (2, 3, 4)
    assert pointed(picture(torch.tensor([0.1, 0.9, 0.2, 0.2, 0.2]))) == 1  # but a clear winner stays


def test_the_whole_picture_is_a_place_only_where_nothing_else_is_one() -> None:
    assert pointed(picture(torch.tensor([0.9, 0.1, 0.2, 0.1, 0.1]))) != 0
    assert pointed(picture(torch.tensor([0.9]), BOXES[:1])) == 0


def test_padding_is_no_place_and_has_no_vote() -> None:
    images = picture(torch.tensor([0.1, 0.3, 0.4, 0.4, 0.99]))
    padded = EmbeddingSet(images.vectors, torch.tensor([[True, True, True, False, False]]), images.boxes)
    assert pointed(padded) == pointed(images[[0]]._map(lambda tensor: tensor[:, :3])) == 2


def test_regions_without_boxes_give_the_best_one() -> None:
    assert pointed(picture(torch.tensor([0.1, 0.42, 0.4, 0.4, 0.38]), None)) == 1
    images = picture(torch.tensor([0.1, 0.42, 0.4, 0.4, 0.38]))
    hint = [Alignment(**vars(one) | {"hint": True}) for one in MaxSim().align(images, WORD)]
    assert int(pointed_regions(images, WORD, hint)) == 1
