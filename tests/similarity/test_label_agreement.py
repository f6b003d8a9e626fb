"""Agreement on labels: CASC's golden numbers, a slow loop, any direction, and the names of the labels."""

import pytest
import torch
from support import warm_process
from support.golden_casc import CASC, casc, images, texts
from torch import Tensor

from wordsight.registry import build, describe
from wordsight.sets import EmbeddingSet
from wordsight.similarity.label_agreement import Semantic

INNER = {
    "both": CASC,
    "words": {"name": "cross-attention", "direction": "word"},
    "regions": {"name": "cross-attention", "direction": "region", "temperature": 0.25},
    "hard": "max-sim",
}


def test_golden_contexts() -> None:
    of_image, of_text = casc().contexts(images()[:1], texts()[:1])
    expected = [[0.089281, -0.249162, -0.328543, 0.361371, -0.254367, 0.299684]]
    torch.testing.assert_close(of_image, torch.tensor(expected).double(), atol=1e-6, rtol=0)
    expected = [[-0.045598, -0.396156, -0.283541, 0.468612, -0.400407, 0.434745]]
    torch.testing.assert_close(of_text, torch.tensor(expected).double(), atol=1e-6, rtol=0)


def test_golden_scores() -> None:
    expected = [[1.005850, 0.708866], [1.015842, 1.008871], [0.997800, 0.943140]]
    scores = casc()(images(), texts())
    torch.testing.assert_close(scores, torch.tensor(expected).double(), atol=1e-6, rtol=0)


def test_golden_agreement() -> None:
    expected = [[0.9999967, 0.9999999], [0.9999999, 0.9999953], [0.9999988, 0.9999899]]
    only_labels = casc()
    only_labels.mix = 0.0
    scores = only_labels(images(), texts())
    torch.testing.assert_close(scores, torch.tensor(expected).double(), atol=1e-7, rtol=0)


def slow_agreement(similarity: Semantic, image: EmbeddingSet, text: EmbeddingSet) -> Tensor:
    """One pair at a time: every query's blend, their mean, the network, the cosine of the probabilities."""
    means = {"word": image.vectors[0][image.mask[0]], "region": text.vectors[0][text.mask[0]]}
    means = {side: vectors / vectors.norm(dim=1, keepdim=True) for side, vectors in means.items()}
    for alignment in similarity.similarity.align(image, text):
        query = text if alignment.direction == "word" else image
        context = means[alignment.direction]
        blends = [
            sum(share * vector for share, vector in zip(alignment.shares[0, :, q], context, strict=False))
            for q in query.mask[0].nonzero().flatten().tolist()
        ]
        means[alignment.direction] = torch.stack(blends)
    both = [similarity.head(side.mean(0)).sigmoid() for side in means.values()]
    return torch.nn.functional.cosine_similarity(*both, dim=0).detach()


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_agreement_is_the_slow_loop(inner: object) -> None:
    similarity = casc(inner)
    expected = [[slow_agreement(similarity, images()[[i]], texts()[[t]]) for t in range(2)] for i in range(3)]
    only_labels = casc(inner)
    only_labels.mix = 0.0
    torch.testing.assert_close(only_labels(images(), texts()), torch.tensor(expected).double())


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_training_scores_are_those_of_the_alignment_alone(inner: object) -> None:
    similarity = casc(inner).train()
    alone = similarity.similarity
    assert torch.equal(similarity(images(), texts()), alone(images(), texts()))
    assert [part.direction for part in similarity.align(images()[:2], texts())] == [
        part.direction for part in alone.align(images()[:2], texts())
    ]


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_the_gradient_of_the_labels_reaches_both_sides_and_the_network(inner: object) -> None:
    similarity = casc(inner).train()
    leaves = [side.vectors.clone().requires_grad_() for side in (images()[:2], texts())]
    masks = images().mask[:2], texts().mask

    def of_labels(first: Tensor, second: Tensor) -> Tensor:
        return similarity.label_logits(EmbeddingSet(first, masks[0]), EmbeddingSet(second, masks[1]))

    assert torch.autograd.gradcheck(of_labels, tuple(leaves))
    of_labels(*leaves).square().sum().backward()
    assert all(bool(leaf.grad.ne(0).any()) for leaf in leaves)
    assert all(bool(weight.grad.ne(0).any()) for weight in similarity.head.parameters())


def test_the_labels_agree_in_parts_that_add_up() -> None:
    similarity = casc()
    *_, labels = similarity.align(images()[:2], texts())
    assert labels.direction == "label"
    assert labels.found.shape == (2, 4)
    only_labels = casc()
    only_labels.mix = 0.0
    torch.testing.assert_close(labels.found.sum(1), only_labels(images(), texts())[:2].diagonal())
    torch.testing.assert_close(labels.score, 0.2 * labels.found.sum(1))


def test_items_alone_are_the_mean_of_their_own_vectors() -> None:
    similarity = casc()
    for items in (images(), texts()):
        expected = []
        for vectors, mask in zip(items.vectors, items.mask, strict=True):
            own = torch.nn.functional.normalize(vectors[mask], dim=1).mean(0)
            expected.append(similarity.head(own).sigmoid())
        torch.testing.assert_close(similarity.predict(items), torch.stack(expected))


PEAK = """
import resource, torch
from wordsight.similarity.label_agreement import Semantic
from wordsight.sets import EmbeddingSet

similarity = Semantic(64, 500, memory_mb=8.0).eval()
for one in (similarity.similarity.words, similarity.similarity.regions):
    one.memory_mb = 8.0

def score(count):
    sides = [EmbeddingSet(torch.randn(count, n, 64), torch.ones(count, n) > 0) for n in (36, 12)]
    similarity(*sides)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

score(40)
before = peak()
score(300)
print(peak() - before)
"""


def test_measuring_never_holds_the_probabilities_of_all_pairs() -> None:
    """Twice 300 x 300 x 500 would be 360 MB; the reference held 20 GB for Flickr30k."""
    done = warm_process.run(program=("code", PEAK))
    assert float(done.stdout) < 40


def test_labels_keep_their_names() -> None:
    similarity = build("similarity", {"name": "label-agreement", "labels": ["dog", "cat"]}, dim=6)
    assert similarity.label_names == ("dog", "cat")
    again = build("similarity", describe(similarity))
    assert describe(again) == describe(similarity)
    assert casc().label_names == ["label 1", "label 2", "label 3", "label 4"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mix": 1.5}, "mix = 1.5"),
        (
            {"similarity": {"name": "label-agreement", "dim": 6, "labels": 4}},
            "in which somebody looks, not Semantic",
        ),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_is_right(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("similarity", {"name": "label-agreement", "dim": 6, "labels": 4, **settings})
