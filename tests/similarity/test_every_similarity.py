"""What no other test asks of every similarity."""

import torch
from support.blockwise_similarities import every_trained, images_and_texts

from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity


@every_trained
def test_a_loss_that_is_met_everywhere_has_a_gradient_of_zero(similarity: Similarity) -> None:
    images, texts = images_and_texts()
    leaves = [side.vectors.clone().requires_grad_() for side in (images, texts)]
    scores = similarity(EmbeddingSet(leaves[0], images.mask), EmbeddingSet(leaves[1], texts.mask))
    torch.relu(scores - 100).sum().backward()
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves)
