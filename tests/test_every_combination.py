"""Any similarity with any loss and any encoders trains: every two choices of the menu stand in one system."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from support.pairwise import Row, all_pairs, completed, pairs_of
from support.registry_choices import FACTORS, NONE, THINGS, fits, groups, make_world, tables
from torch import Tensor
from torch.nn.utils import get_total_norm

from wordsight.builder import Builder
from wordsight.config import Config
from wordsight.evaluation import evaluate
from wordsight.learn.batches import Batches
from wordsight.learn.loss import Loss
from wordsight.learn.optimizers import make_optimizer, named_weights, set_learning_rates
from wordsight.learn.precision import in_float32
from wordsight.matcher import Matcher
from wordsight.pairs import PairBatch, PairSet, Picture
from wordsight.registry import REGISTRY
from wordsight.sets import Regions

ROWS = all_pairs(FACTORS, fits)
STEPS = 45  # at most: a system that has learnt enough after fewer is trained no further
LOOKS = 10  # steps from one look at it to the next, the first after two of them
TRAINING = {"optimizer": "adam", "weight_decay": 0.0, "learning_rate": 0.01, "schedule": "constant"}
WHOLE_BATCHES = {"batch_size": len(THINGS), "distinct_images": True}  # each picture once in every batch
WARMED_UP = ("triplet, warm-up", "consistency")  # after two epochs of five batches
CHANCE = 100 / len(THINGS)
OF_PUBLISHED = {
    "shaped-pixels",
    "flexible-pixels",
    "multi-vector",
}  # tested with published models


@dataclass
class Trained:
    """A system after its steps, on pairs that it is then asked for."""

    row: Row
    matcher: Matcher
    loss: Loss
    pairs: PairSet
    batch: PairBatch
    losses: list[float]
    norms: list[float]  # of all gradients, step by step
    idle: set[str]  # weights that are not frozen and whose gradient was absent or zero whenever one looked


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def known_pairs() -> dict[str, PairSet]:
    return {}


def shown(row: Row) -> str:
    return " | ".join(level for level in row.values() if level not in (NONE, "not asked"))


@pytest.fixture(scope="module", params=ROWS, ids=shown)
def trained(request: pytest.FixtureRequest, world: Path, known_pairs: dict[str, PairSet]) -> Trained:
    config = as_config(request.param, world)
    read_by = f"{config.tables['data']} {config.tables.get('labels')}"
    if read_by not in known_pairs:
        known_pairs[read_by] = Builder(config).pairs("train").numbered()
    return train(request.param, config, known_pairs[read_by])


def as_config(row: Row, world: Path) -> Config:
    return Config(tables(row, world) | {"training": TRAINING | {"groups": groups(row)}})


def train(row: Row, config: Config, pairs: PairSet) -> Trained:
    torch.manual_seed(0)
    matcher = Builder(config).matcher(pairs).train()
    loss = Builder(config).loss(pairs, matcher)
    weights = named_weights(matcher, loss)
    optimizer = make_optimizer(weights, config.training)
    batches = Batches(pairs, matcher.tokenizer, matcher.read_images, **WHOLE_BATCHES)
    made = [batches.make(0, number, texts) for number, texts in enumerate(batches.rows(0))]
    losses, norms = [], []
    idle = {name for name, weight in weights.items() if weight.requires_grad}
    for step in range(STEPS):
        epoch = step // len(made)
        loss.begin(epoch)
        optimizer.zero_grad()
        with shapes_checked(step == 0):
            value = loss(matcher(made[step % len(made)]))
            value.backward()
        if step % 5 == 4:
            idle -= {name for name, weight in weights.items() if _any(weight.grad)}
        norms.append(get_total_norm([w.grad for w in weights.values() if w.grad is not None]).item())
        losses.append(value.item())
        set_learning_rates(optimizer, step, epoch, len(made), config.training)
        optimizer.step()
        if step > LOOKS and step % LOOKS == LOOKS - 1 and has_learnt(row, matcher, pairs, losses):
            break
    return Trained(row, matcher.eval(), loss, pairs, made[0], losses, norms, idle)


def has_learnt(row: Row, matcher: Matcher, pairs: PairSet, losses: list[float]) -> bool:
    """More than what is asked of it below: half of the loss is gone, and it finds twice as much."""
    if loss_left(row, losses) > 0.5:
        return False
    enough = recall(matcher.eval(), pairs) > min(2 * recall_wanted(row), 99)
    matcher.train()
    return enough


def loss_left(row: Row, losses: list[float]) -> float:
    """The share of the first losses that the last ones are."""
    start = 10 if row["loss"] in WARMED_UP else 0
    return sum(losses[-5:]) / sum(losses[start : start + 5])


def recall(matcher: Matcher, pairs: PairSet) -> float:
    recalls = evaluate(matcher, pairs, intervals=False)
    return min(recalls.i2t.recall[1], recalls.t2i.recall[1])


def recall_wanted(row: Row) -> float:
    """A published tower of random weights learns slowly."""
    return (2 if row["image"] == "dual" else 5) * CHANCE


def _any(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.any())


@contextmanager
def shapes_checked(checked: bool) -> Iterator[None]:
    """The check costs as much time as the step itself."""
    jaxtyping.config.update("jaxtyping_disable", not checked)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_the_loss_falls_by_finite_gradients(trained: Trained) -> None:
    assert torch.tensor(trained.norms).isfinite().all()
    assert loss_left(trained.row, trained.losses) < 0.9


def test_it_finds_again_what_it_has_seen(trained: Trained) -> None:
    assert recall(trained.matcher, trained.pairs) > recall_wanted(trained.row)


def test_every_weight_learns(trained: Trained) -> None:
    """But for the labels' network without their loss, and how a reader goes on that has read one word."""
    allowed = ["similarity.head."] if trained.row["loss"] != "consistency" else []
    allowed += ["text_encoder.reader.weight_hh_"] if trained.row["text pool"] == "last" else []
    assert [name for name in trained.idle if not name.startswith(tuple(allowed))] == []


def test_a_pair_alone_scores_as_among_others_and_is_explained(trained: Trained) -> None:
    matcher, images, texts = trained.matcher, trained.pairs.images, trained.pairs.texts
    some = [7, 0, 3]  # texts of different lengths
    pictures, told = images.read(some), [texts[5 * 7], texts[1], texts[5 * 3 + 2]]
    scores = matcher.score(padded(pictures), told)
    for place, row in enumerate(some):
        alone = matcher.score(images.read([row]), [told[place]])
        torch.testing.assert_close(alone[0, 0], scores[place, place], atol=1e-5, rtol=1e-5)
    explained = sum(part.score for part in matcher.align(pictures, told))
    torch.testing.assert_close(explained, scores.diagonal(), atol=1e-5, rtol=1e-5)


def padded(images: Regions | list[Picture]) -> Regions | list[Picture]:
    """Regions with two more of each image that are none."""
    if not isinstance(images, Regions):
        return images
    more = [
        images.features.new_full((len(images), 2, size), torch.nan) for size in (images.features.shape[2], 4)
    ]
    return Regions(
        torch.cat([images.features, more[0]], 1),
        torch.cat([images.boxes, more[1]], 1),
        torch.cat([images.mask, images.mask.new_zeros(len(images), 2)], 1),
    )


def test_it_computes_in_bfloat16_too(trained: Trained) -> None:
    """As on a GPU: encoders and scores in half the bits, the loss in single precision."""
    matcher = trained.matcher
    matcher.similarity.train()  # measured scores may have no gradient
    exact = matcher(trained.batch).scores
    with torch.autocast("cpu", torch.bfloat16):
        pairs = matcher(trained.batch)
    matcher.zero_grad()
    trained.loss(in_float32(pairs)).backward()
    matcher.eval()
    assert torch.corrcoef(torch.stack([pairs.scores.flatten(), exact.flatten()]))[0, 1] > 0.98
    gradients = [weight.grad for weight in matcher.parameters() if weight.grad is not None]
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    assert get_total_norm(gradients).isfinite()


def test_saved_and_opened_again_it_scores_the_same(trained: Trained, tmp_path: Path) -> None:
    trained.matcher.save_pretrained(tmp_path / "model")
    again = Matcher.from_pretrained(tmp_path / "model")
    asked = trained.pairs.images.read(range(4)), trained.pairs.texts[:20:5]
    assert torch.equal(again.score(*asked), trained.matcher.score(*asked))


def test_every_two_choices_that_may_meet_do_meet() -> None:
    met = {pair for row in ROWS for pair in combinations(row.items(), 2)}
    missing = [pair for pair in pairs_of(FACTORS) if pair not in met]
    assert [pair for pair in missing if completed(dict(pair), FACTORS, fits)] == []
    assert all(fits(row) and row.keys() == FACTORS.keys() for row in ROWS)


APART = {  # choices that may meet, what is changed in such a row, and what is then said
    "cosine of a set": ({"similarity": "cosine"}, {"text pool": NONE}, r"set pool in \[text_encoder\]"),
    "order of a set": ({"similarity": "order"}, {"image pool": NONE}, r"set pool in \[image_encoder\]"),
    "projection of a set": (
        {"loss": "projection", "similarity": "max-sim, words"}, {"image pool": NONE}, "pool on both encoders",
    ),
    "consistency without labels": ({"similarity": "cosine"}, {"loss": "consistency"}, "needs labels"),
}  # fmt: skip


@pytest.mark.parametrize(("meet", "change", "message"), APART.values(), ids=APART)
def test_what_may_not_meet_is_an_error_that_says_what_to_do(
    meet: Row, change: Row, message: str, world: Path
) -> None:
    row = completed(meet, FACTORS, fits) | change
    assert not fits(row)
    config = as_config(row, world)
    with pytest.raises(ValueError, match=message):
        train(row, config, Builder(config).pairs("train").numbered())


@pytest.mark.parametrize(
    "kind", ["reader", "tokenizer", "image_encoder", "text_encoder", "similarity", "loss"]
)
def test_every_part_on_the_menu_is_combined(kind: str, world: Path) -> None:
    used = {name for row in ROWS for name in values("name", tables(row, world)[kind])}
    assert set(REGISTRY[kind]) - used - OF_PUBLISHED == set()


@pytest.mark.parametrize("kind", ["pool", "pooling"])
def test_every_pool_and_pooling_on_the_menu_is_combined(kind: str, world: Path) -> None:
    used = {name for row in ROWS for name in values(kind, tables(row, world))}
    assert set(REGISTRY[kind]) - used == set()


def values(key: str, table: Any) -> Iterator[str]:
    """Whatever is called so, in a table or in the tables inside it."""
    for name, value in table.items() if isinstance(table, dict) else ():
        if name == key:
            yield value
        yield from values(key, value)
