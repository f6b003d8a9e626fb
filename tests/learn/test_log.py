"""log.jsonl: every recall of a validation, and the terms of a loss that is a sum."""

import json
from pathlib import Path

import pytest
import torch

from wordsight.config import load_config
from wordsight.evaluation.recall import K
from wordsight.learn.consistency import Consistency
from wordsight.learn.projection import Projection
from wordsight.pairs import EncodedPairs
from wordsight.runs.training import train
from wordsight.sets import EmbeddingSet


def one_vector(vectors: torch.Tensor) -> EmbeddingSet:
    return EmbeddingSet(vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))


def some_pairs(labels: torch.Tensor | None = None, logits: torch.Tensor | None = None) -> EncodedPairs:
    draw = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(4, 6, generator=draw) for _ in range(2))
    scores = torch.randn(4, 4, generator=draw)
    return EncodedPairs(one_vector(images), one_vector(texts), scores, torch.arange(4), labels, logits)


def test_cmpls_two_losses_add_up_to_the_loss() -> None:
    loss, pairs = Projection(cmpm=0.5, cmpc=2.0, classes=4, dim=6), some_pairs()
    parts = loss.parts(pairs)
    assert list(parts) == ["cmpm", "cmpc"]
    assert float(loss(pairs)) == pytest.approx(float(0.5 * parts["cmpm"] + 2 * parts["cmpc"]), rel=1e-6)


def test_cascs_labels_are_counted_by_hand() -> None:
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    logits = torch.full((4, 2, 3), -1.0)
    logits[:, 0, 0] = 1.0  # images: the first label always; right for two of four
    logits[1, 1, 1] = 1.0  # texts: one label in one of them, and right
    loss, pairs = Consistency("triplet", weight=3.0), some_pairs(labels, logits)
    parts = {name: float(value) for name, value in loss.parts(pairs).items()}
    assert parts["image_label_recall"] == pytest.approx(50)
    assert parts["image_label_precision"] == pytest.approx(50)
    assert parts["image_label_accuracy"] == pytest.approx(100 * 8 / 12)
    assert (parts["text_label_recall"], parts["text_label_precision"]) == (25, 100)
    assert float(loss(pairs)) == pytest.approx(parts["ranking_loss"] + 3 * parts["label_loss"], rel=1e-6)


@pytest.mark.parametrize("at_once", ["false", "true"])
def test_a_validation_logs_every_recall_and_a_step_the_mean_terms_of_its_batches(
    tmp_path: Path, at_once: str
) -> None:
    changes = [
        "data.images=24", "image_encoder.dim=8", "image_encoder.width=4", "text_encoder.word_dim=4",
        "training.epochs=1", "training.batch_size=12", "training.log_every=1", "training.warmup_steps=0",
        f"training.parallel_batches={at_once}", "training.accumulate=2",
        'image_encoder.pool="mean"', 'text_encoder.pool="mean"', 'similarity.name="cosine"',
        'loss.name="projection"', "loss.cmpc=1.0", "loss.temperature=", "loss.mask_matches=",
    ]  # fmt: skip
    similarity = "similarity.pooling="  # cosine has no pooling
    train(load_config("demo", [*changes, similarity]), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (epoch,) = (line for line in lines if line["event"] == "epoch")
    names = [f"{way} R@{k}" for way in ("i2t", "t2i") for k in K]
    assert epoch["rsum"] == pytest.approx(sum(epoch[name] for name in names), abs=1e-4)
    assert all(epoch[f"{way} {rank}"] >= 1 for way in ("i2t", "t2i") for rank in ("medr", "meanr"))
    step = next(line for line in lines if line["event"] == "step")
    assert step["loss"] == pytest.approx(step["cmpm"] + step["cmpc"], rel=1e-4)
