"""CASC's checkpoints score here as its formulas say they do: attention both ways, and labels that agree."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.published_casc import CASC, LABELS, head_state
from support.published_checkpoints import (
    DIM,
    IN,
    TEXTS,
    State,
    doubled,
    gru_words,
    ids,
    linear_state,
    pictures,
    scaled,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)
from support.published_scan import aggregated, blends, text_state
from torch import Tensor

from wordsight.importers.convert import import_checkpoint
from wordsight.matcher import Matcher

CASC |= {
    "cross_attn": "all", "t2i_agg_func": "Mean", "i2t_agg_func": "LogSumExp", "lambda_lse": 5.0,
    "lambda_softmax_avg": 9.0, "lambda_softmax_lse": 4.0, "caption_vocab": 500.0, "caption_np": "/vocab/",
}  # fmt: skip


def direction(
    queries: Tensor, contexts: Tensor, options: dict[str, Any], side: str, aggregate: str
) -> tuple[Tensor, Tensor]:
    """What the queries find, added up, and the mean of what they see."""
    seen = blends(queries, contexts, options["raw_feature_norm"], options[f"lambda_softmax_{side}"])
    found = (queries * seen).sum(1) / (queries.norm(dim=1) * seen.norm(dim=1)).clamp_min(1e-8)
    return aggregated(found, aggregate, options["lambda_lse"]), seen.mean(0)


def score(regions: Tensor, words: Tensor, head: State, options: dict[str, Any]) -> Tensor:
    by_words, image = direction(words, regions, options, "avg", options["t2i_agg_func"])
    by_regions, text = direction(regions, words, options, "lse", options["i2t_agg_func"])
    labels = []
    for context in (image, text):
        inner = torch.tanh(head["fc1.weight"] @ context + head["fc1.bias"])
        labels.append(torch.sigmoid(head["fc2.weight"] @ inner + head["fc2.bias"]))
    agreed = labels[0] @ labels[1] / (labels[0].norm() * labels[1].norm()).clamp_min(1e-8)
    return 0.8 * 0.5 * (by_words + by_regions) + 0.2 * agreed


def check(matcher: Matcher, states: list[State], options: dict[str, Any]) -> None:
    regions = pictures()
    image, text, head = doubled(states)
    words = [scaled(gru_words(ids(t, vocabulary_table()), text), options, "txt") for t in TEXTS]
    vectors = scaled(regions.features.double() @ image["fc.weight"].T + image["fc.bias"], options, "img")
    expected = torch.stack([torch.stack([score(v, w, head, options) for w in words]) for v in vectors])
    torch.testing.assert_close(matcher.score(regions, TEXTS).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"t2i_agg_func": "LogSumExp", "i2t_agg_func": "Sum", "raw_feature_norm": "l2norm"},
        {"no_imgnorm": True},
        {"no_txtnorm": True},
        {"no_imgnorm": True, "no_txtnorm": True, "raw_feature_norm": "clipped"},
    ],
)
def test_scores_are_the_published_ones(tmp_path: Path, changes: dict[str, Any]) -> None:
    states = [linear_state(IN, DIM, "fc."), text_state(), head_state()]
    path = write_checkpoint(tmp_path / "model_best.pth.tar", states, CASC | changes)
    report = import_checkpoint(path, "casc", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    check(Matcher.from_pretrained(tmp_path / "out"), states, CASC | changes)
    places = {line.source: line.target for line in report.lines}
    assert places["head.fc2.weight"] == "similarity.head.last.weight"


def test_the_configuration_of_the_run_fits_and_names_the_labels(tmp_path: Path) -> None:
    states = [linear_state(IN, DIM, "fc."), text_state(), head_state()]
    path = write_checkpoint(tmp_path / "model_best.pth.tar", states, CASC)
    regions = {"name": "cross-attention", "temperature": 0.25, "direction": "region"}
    regions["pooling"] = {"name": "log-sum-exp", "temperature": 0.2}
    both = {
        "name": "bidirectional",
        "words": {"name": "cross-attention", "temperature": 0.1111},
        "regions": regions,
    }
    names = [f"thing {n}" for n in range(LABELS)]
    tables = {"similarity": {"name": "label-agreement", "labels": names, "mix": 0.8, "similarity": both}}
    vocabulary = write_vocabulary(tmp_path / "v.json")
    report = import_checkpoint(path, "casc", tmp_path / "out", vocabulary, tables=tables)
    assert report.matcher.similarity.label_names == tuple(names)
    check(Matcher.from_pretrained(tmp_path / "out"), states, CASC)
    tables["similarity"]["labels"] = names[1:]
    with pytest.raises(ValueError, match=r"--config says similarity\.labels"):
        import_checkpoint(path, "casc", tmp_path / "again", vocabulary, tables=tables)


def test_it_is_not_taken_for_scan(tmp_path: Path) -> None:
    states = [linear_state(IN, DIM, "fc."), text_state(), head_state()]
    path = write_checkpoint(tmp_path / "model_best.pth.tar", states, CASC)
    with pytest.raises(ValueError, match="they look like casc: give --from casc"):
        import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
