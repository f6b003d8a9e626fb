"""Cosine and order embeddings: golden numbers, slow loops, what is tied or zero, and what is refused."""

import math

import pytest
import torch
from support import warm_process
from support.golden_inputs import sine
from torch import Tensor

from wordsight.registry import build
from wordsight.sets import EmbeddingSet
from wordsight.similarity.cosine import Cosine
from wordsight.similarity.order_embedding import Order

GOLDEN = [[-0.718670, -0.999658], [-0.356959, -0.867193], [-0.444254, -0.268585]]


def alone(vectors: Tensor) -> EmbeddingSet:
    return EmbeddingSet(vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))


def images_and_texts() -> tuple[Tensor, Tensor]:
    return sine(1, 3, 4)[0], sine(1, 2, 4, shift=1)[0]


def test_golden_numbers_of_order_embeddings() -> None:
    """VSE++'s order similarity, of vectors that are not normalized."""
    similarity = Order(normalize_images=False, normalize_texts=False)
    scores = similarity(*map(alone, images_and_texts()))
    torch.testing.assert_close(scores, torch.tensor(GOLDEN).double(), atol=1e-6, rtol=0)


def slow_order(image: list[float], text: list[float]) -> float:
    return -math.sqrt(sum(max(0.0, s - i) ** 2 for i, s in zip(image, text, strict=True)))


def slow_cosine(image: list[float], text: list[float]) -> float:
    return sum(i * s for i, s in zip(image, text, strict=True))


def length(vector: list[float]) -> float:
    return math.sqrt(sum(number * number for number in vector))


@pytest.mark.parametrize("scale_images", [True, False])
@pytest.mark.parametrize("scale_texts", [True, False])
@pytest.mark.parametrize("kind", ["cosine", "order", "order of absolute values"])
def test_scores_are_those_of_a_slow_loop(kind: str, scale_images: bool, scale_texts: bool) -> None:
    images, texts = images_and_texts()
    table = {"normalize_images": scale_images, "normalize_texts": scale_texts}
    table |= {"name": kind.split()[0]} | ({} if kind == "cosine" else {"absolute": "absolute" in kind})

    def read(vector: list[float], scale: bool) -> list[float]:
        scaled = [number / (length(vector) if scale else 1) for number in vector]
        return [abs(number) for number in scaled] if "absolute" in kind else scaled

    slow = slow_cosine if kind == "cosine" else slow_order
    expected = [
        [slow(read(image, scale_images), read(text, scale_texts)) for text in texts.tolist()]
        for image in images.tolist()
    ]
    found = build("similarity", table)(alone(images), alone(texts))
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=1e-7, rtol=0)


def test_a_text_that_nothing_of_the_image_contradicts_scores_zero_and_has_no_gradient() -> None:
    image = torch.tensor([[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]], requires_grad=True)
    text = torch.tensor([[1.0, 2.0, 0.5]], requires_grad=True)
    scores = Order(normalize_images=False, normalize_texts=False)(alone(image), alone(text))
    assert scores[0, 0] == 0
    scores.sum().backward()
    assert not image.grad[0].any()
    torch.testing.assert_close(text.grad[0], -text[0].detach() / text[0].detach().norm())
    assert image.grad.isfinite().all()


def test_gradients_of_order_embeddings_are_those_of_finite_differences() -> None:
    images, texts = (side.clone().requires_grad_() for side in images_and_texts())
    similarity = Order(memory_mb=1e-6)
    assert torch.autograd.gradcheck(lambda i, t: similarity(alone(i), alone(t)), (images, texts))


def test_sets_of_several_are_refused_with_what_to_do() -> None:
    images, texts = map(alone, images_and_texts())
    several = EmbeddingSet(sine(3, 2, 4), torch.tensor([[True, False], [True, True], [True, False]]))
    for similarity in (Cosine(), Order()):
        with pytest.raises(ValueError, match=r"image 1 of 3 has 2 vectors.* set pool in \[image_encoder\]"):
            similarity(several, texts)
        with pytest.raises(ValueError, match=r"text 1 of 3 has 2 vectors.* set pool in \[text_encoder\]"):
            similarity.align(images, several)
    nothing = EmbeddingSet(sine(3, 1, 4), torch.tensor([[True], [False], [True]]))
    with pytest.raises(ValueError, match="image 1 of 3 has 0 vectors"):
        Cosine()(nothing, texts)


def test_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="memory_mb = 0"):
        Order(memory_mb=0.0)


PEAK = """
import resource, torch
from wordsight.similarity.order_embedding import Order
from wordsight.sets import EmbeddingSet

def alone(vectors):
    return EmbeddingSet(vectors[:, None], torch.ones(len(vectors), 1) > 0)

def step(pairs):
    images, texts = (torch.randn(pairs, 256, requires_grad=True) for _ in range(2))
    Order(memory_mb=8.0)(alone(images), alone(texts)).logsumexp(1).sum().backward()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

step(4)
before = peak()
step(512)
print(peak() - before)
"""


def test_training_never_holds_the_differences_of_all_pairs() -> None:
    """512 x 512 x 256 of them would be 268 MB in float32, and autograd would hold them several times."""
    done = warm_process.run(program=("code", PEAK))
    assert float(done.stdout) < 80
