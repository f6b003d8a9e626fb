"""CHAN's soft coding as published: every region blends the words it resembles (VSA), golden numbers."""

import pytest
import torch
from support.golden_inputs import sine

from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention

GOLDEN = {  # [temperature][image][text]: what each region finds
    0.1: [
        [[0.187187, 0.922251, 0.999047, 0.999623], [-0.705859, 0.097595, 0.764284, 0.979257]],
        [[0.999047, 0.938268, -0.540077], [0.764284, 0.950576, 0.873106]],
        [[0.938268, -0.928443], [0.950576, 0.453491]],
    ],
    1.0: [
        [[-0.190795, 0.695403, 0.987915, 0.968927], [-0.973637, -0.226490, 0.593113, 0.880324]],
        [[0.987915, 0.767320, -0.827371], [0.593113, 0.986953, 0.728553]],
        [[0.767320, -0.993837], [0.986953, 0.215869]],
    ],
}


@pytest.mark.parametrize("temperature", GOLDEN)
def test_regions_find_in_blends_of_words_what_the_published_code_finds(temperature: float) -> None:
    def masked(vectors: torch.Tensor, lengths: list[int]) -> EmbeddingSet:
        return EmbeddingSet(vectors, torch.arange(vectors.shape[1]) < torch.tensor(lengths)[:, None])

    images, texts = masked(sine(3, 4, 6), [4, 3, 2]), masked(sine(2, 3, 6, shift=1.0), [3, 2])
    similarity = CrossAttention("region", temperature, normalize="none", pooling="mean")
    scores = similarity(images, texts)
    for image, by_text in enumerate(GOLDEN[temperature]):
        for text, expected in enumerate(by_text):
            (alignment,) = similarity.align(images[[image]], texts[[text]])
            found = alignment.found[0, : len(expected)]
            assert found.tolist() == pytest.approx(expected, abs=2e-6)
            assert float(scores[image, text]) == pytest.approx(sum(expected) / len(expected), abs=2e-6)
