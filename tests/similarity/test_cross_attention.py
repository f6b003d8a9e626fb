"""Cross attention against SCAN's and CHAN's golden numbers and a slow loop."""

import pytest
import torch
from support.golden_inputs import sine

from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention


def golden_images(lengths: tuple[int, int, int] = (4, 4, 4)) -> EmbeddingSet:
    return EmbeddingSet(sine(3, 4, 6), torch.arange(4) < torch.tensor(lengths)[:, None])


def golden_texts() -> EmbeddingSet:
    return EmbeddingSet(sine(2, 3, 6, shift=1), torch.arange(3) < torch.tensor([3, 2])[:, None])


SCAN = {
    ("clipped_l2", "word"): [[0.845746, 0.238016], [0.956775, 0.917377], [0.913126, 0.714652]],
    ("clipped_l2", "region"): [[0.646302, 0.222176], [0.046511, 0.493390], [0.395636, 0.546470]],
    ("l2", "word"): [[0.967108, 0.343512], [0.956775, 0.927900], [0.913126, 0.873614]],
    ("l2", "region"): [[0.712351, 0.208745], [0.106404, 0.631203], [0.386353, 0.631289]],
    ("clipped", "word"): [[0.988197, 0.046366], [0.966174, 0.930140], [0.892760, 0.856515]],
    ("clipped", "region"): [[0.676063, 0.100561], [0.052103, 0.500008], [0.415470, 0.503247]],
    ("softmax", "word"): [[0.806985, 0.014613], [0.326159, 0.767041], [0.867819, 0.631682]],
    ("softmax", "region"): [[0.578014, -0.153152], [0.022754, 0.430245], [0.318536, 0.397900]],
    ("none", "word"): [[0.988202, 0.341771], [0.966171, 0.930136], [0.892818, 0.858226]],
    ("none", "region"): [[0.745999, 0.235956], [0.162969, 0.644993], [0.419259, 0.623753]],
}


@pytest.mark.parametrize(("normalize", "direction"), SCAN)
def test_golden_numbers_of_scan(normalize: str, direction: str) -> None:
    similarity = CrossAttention(direction, 1 / 9 if direction == "word" else 1 / 4, normalize, "mean")
    scores = similarity(golden_images(), golden_texts())
    torch.testing.assert_close(scores, torch.tensor(SCAN[normalize, direction]).double(), atol=1e-6, rtol=0)
