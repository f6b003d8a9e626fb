"""SCAN's checkpoints score here as its formulas say they do."""

from pathlib import Path
from typing import Any

import pytest
import torch
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
    random,
    scaled,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)
from support.published_scan import OPTIONS, aggregated, blends, text_state
from torch import Tensor

from wordsight.config import load_config
from wordsight.importers import scan
from wordsight.importers.checkpoint_reader import Published
from wordsight.importers.convert import import_checkpoint, together
from wordsight.matcher import Matcher


def score(regions: Tensor, words: Tensor, options: dict[str, Any]) -> Tensor:
    queries, contexts = (words, regions) if options["cross_attn"] == "t2i" else (regions, words)
    seen = blends(queries, contexts, options["raw_feature_norm"], options["lambda_softmax"])
    found = (queries * seen).sum(1) / (queries.norm(dim=1) * seen.norm(dim=1)).clamp_min(1e-8)
    return aggregated(found, options["agg_func"], options["lambda_lse"])


def published_scores(regions: Tensor, words: list[Tensor], options: dict[str, Any]) -> Tensor:
    return torch.stack([torch.stack([score(v, w, options) for w in words]) for v in regions])


def imported(tmp_path: Path, states: list[State], options: dict[str, Any] | None, **given: Any) -> Matcher:
    path = write_checkpoint(tmp_path / "model_best.pth.tar", states, options)
    import_checkpoint(path, "scan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"), **given)
    return Matcher.from_pretrained(tmp_path / "out")


def check(matcher: Matcher, matrix: Tensor, bias: Tensor, text: State, options: dict[str, Any]) -> None:
    regions = pictures()
    words = [gru_words(ids(t, vocabulary_table()), text, both=options["bi_gru"]) for t in TEXTS]
    words = [scaled(each, options, "txt") for each in words]
    vectors = scaled(regions.features.double() @ matrix.T + bias, options, "img")
    expected = published_scores(vectors, words, options)
    torch.testing.assert_close(matcher.score(regions, TEXTS).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize(
    ("norm", "aggregate"),
    [
        ("clipped_l2norm", "LogSumExp"), ("clipped_l2norm", "Mean"), ("clipped_l2norm", "Max"),
        ("clipped_l2norm", "Sum"), ("l2norm", "Mean"), ("clipped", "Mean"), ("softmax", "Mean"),
        ("no_norm", "LogSumExp"),
    ],
)  # fmt: skip
def test_scores_are_the_published_ones(tmp_path: Path, direction: str, norm: str, aggregate: str) -> None:
    options = OPTIONS | {"cross_attn": direction, "raw_feature_norm": norm, "agg_func": aggregate}
    options |= {"lambda_softmax": 4.0, "lambda_lse": 5.0} if direction == "i2t" else {}
    states = [linear_state(IN, DIM, "fc."), text_state()]
    image, text = doubled(states)
    check(imported(tmp_path, states, options), image["fc.weight"], image["fc.bias"], text, options)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("norm", ["clipped_l2norm", "no_norm"])
@pytest.mark.parametrize("raw", [("img",), ("txt",), ("img", "txt")])
def test_vectors_that_are_not_normalized_score_as_published(
    tmp_path: Path, direction: str, norm: str, raw: tuple[str, ...]
) -> None:
    """Their lengths count in the attention, and no longer in the cosine after it."""
    options = OPTIONS | {"cross_attn": direction, "raw_feature_norm": norm}
    options |= {f"no_{side}norm": True for side in raw}
    states = [linear_state(IN, DIM, "fc."), text_state()]
    image, text = doubled(states)
    check(imported(tmp_path, states, options), image["fc.weight"], image["fc.bias"], text, options)


def test_one_direction_of_gru(tmp_path: Path) -> None:
    options = OPTIONS | {"bi_gru": False}
    states = [linear_state(IN, DIM, "fc."), text_state(both=False)]
    image, text = doubled(states)
    check(imported(tmp_path, states, options), image["fc.weight"], image["fc.bias"], text, options)


def test_a_weight_norm_is_carried_over(tmp_path: Path) -> None:
    options = OPTIONS | {"precomp_enc_type": "weight_norm"}
    length, direction, bias = torch.tensor([3.0]), random(DIM, IN), random(DIM)
    image = {"fc.bias": bias, "fc.weight_g": length, "fc.weight_v": direction}
    states = [image, text_state()]
    matrix = (length * direction / direction.norm()).double()
    check(imported(tmp_path, states, options), matrix, bias.double(), doubled(states)[1], options)


def test_no_options_need_a_configuration(tmp_path: Path) -> None:
    states = [linear_state(IN, DIM, "fc."), text_state()]
    with pytest.raises(ValueError, match=r"holds no options, so its similarity is not known; give --config"):
        imported(tmp_path, states, None)
    similarity = {
        "name": "cross-attention", "direction": "region", "temperature": 0.25, "pooling": "mean",
    }  # fmt: skip
    matcher = imported(tmp_path, states, None, tables={"similarity": similarity})
    image, text = doubled(states)
    options = OPTIONS | {"cross_attn": "i2t", "lambda_softmax": 4.0, "agg_func": "Mean"}
    check(matcher, image["fc.weight"], image["fc.bias"], text, options)


def test_a_configuration_of_another_run_is_refused(tmp_path: Path) -> None:
    states = [linear_state(IN, DIM, "fc."), text_state()]
    for table in ({"direction": "region"}, {"pooling": "mean"}):
        with pytest.raises(ValueError, match=r"--config says similarity\.\w+ = .*, but .* has"):
            imported(tmp_path, states, OPTIONS, tables={"similarity": {"name": "cross-attention", **table}})
    same = {"name": "cross-attention", "pooling": {"name": "log-sum-exp", "temperature": 1 / 6}}
    imported(tmp_path, states, OPTIONS, tables={"similarity": same})


RUNS = {
    "t2i-lse": {"cross_attn": "t2i", "agg_func": "LogSumExp", "lambda_lse": 6.0, "lambda_softmax": 9.0},
    "t2i-avg": {"cross_attn": "t2i", "agg_func": "Mean", "lambda_softmax": 9.0},
    "i2t-lse": {"cross_attn": "i2t", "agg_func": "LogSumExp", "lambda_lse": 5.0, "lambda_softmax": 4.0},
    "i2t-avg": {"cross_attn": "i2t", "agg_func": "Mean", "lambda_softmax": 4.0},
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("data", ["f30k", "coco"])
def test_the_published_recipe_says_what_its_checkpoint_says(run: str, data: str) -> None:
    options = RUNS[run] | ({"lambda_lse": 20.0} if (data, run) == ("coco", "i2t-lse") else {})
    published = Published(Path("model_best.pth.tar"), {}, options)
    asked = load_config(f"scan-{data}-{run}").tables["similarity"]
    told = scan.similarity(published)
    assert together("similarity", told, asked, published) == {**asked, **told}
