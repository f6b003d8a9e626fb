"""CHAN's checkpoints score here as CHAN's own formulas say they do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.published_chan import OPTIONS, coded, image_state, images, published_scores, text_state
from support.published_checkpoints import (
    DIM,
    IN,
    TEXTS,
    WORD,
    State,
    doubled,
    gru_state,
    gru_words,
    ids,
    linear_state,
    pictures,
    random,
    scaled,
    unit,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)

from wordsight.importers.convert import IMPORTED, import_checkpoint
from wordsight.matcher import Matcher
from wordsight.sets import Regions


def imported(tmp_path: Path, states: list[State], options: dict[str, Any] | None, **given: Any) -> Matcher:
    path = write_checkpoint(tmp_path / "model_best.pth", states, options)
    given.setdefault("vocabulary", write_vocabulary(tmp_path / "vocabulary.json"))
    import_checkpoint(path, "chan", tmp_path / "out", **given)
    return Matcher.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("kind", ["basic", "selfattention", "transformer"])
@pytest.mark.parametrize(
    ("coding", "pooling"),
    [
        ("VHACoding", "LSEPooling"), ("VHACoding", "MeanPooling"), ("VHACoding", "MaxPooling"),
        ("VHACoding", "SumPooling"), ("VHACoding", "SoftmaxPooling"), ("THACoding", "LSEPooling"),
        ("THACoding", "MeanPooling"), ("VSACoding", "MeanPooling"), ("VSACoding", "LSEPooling"),
    ],
)  # fmt: skip
def test_scores_are_the_published_ones(tmp_path: Path, kind: str, coding: str, pooling: str) -> None:
    options = OPTIONS | {"precomp_enc_type": kind, "coding_type": coding, "pooling_type": pooling}
    states = [image_state(kind), text_state(), {}, {}]
    matcher, regions = imported(tmp_path, states, options), pictures()
    image, text, *_ = doubled(states)
    texts = [unit(gru_words(ids(words, vocabulary_table()), text)) for words in TEXTS]
    expected = published_scores(regions.features.double(), texts, image, options)
    torch.testing.assert_close(matcher.score(regions, TEXTS).double(), expected, atol=1e-5, rtol=1e-5)


def test_two_layers_of_gru_are_read(tmp_path: Path) -> None:
    text = {"embed.weight": random(14, WORD), **gru_state(WORD, DIM, 2), **linear_state(DIM, DIM, "fc.")}
    states = [image_state("basic"), text, {}, {}]
    matcher, regions = imported(tmp_path, states, OPTIONS | {"num_layers": 2}), pictures()
    image, text, *_ = doubled(states)
    texts = [unit(gru_words(ids(words, vocabulary_table()), text, 2)) for words in TEXTS]
    expected = published_scores(regions.features.double(), texts, image, OPTIONS)
    torch.testing.assert_close(matcher.score(regions, TEXTS).double(), expected, atol=1e-5, rtol=1e-5)


def test_attention_to_padding_comes_back_by_configuration(tmp_path: Path) -> None:
    """The published code attends to padded regions, which hold the bias of the linear map."""
    options = OPTIONS | {"precomp_enc_type": "selfattention", "pooling_type": "MeanPooling"}
    states = [image_state("selfattention"), text_state(), {}, {}]
    tables = {"image_encoder": {"name": "regions", "attend_padding": True}}
    matcher = imported(tmp_path, states, options, tables=tables)
    regions = pictures(1, 5)
    short = Regions(regions.features.clone(), None, regions.mask.clone())
    short.mask[0, 3:], short.features[0, 3:] = False, 0
    image, text, *_ = doubled(states)
    found = images(short.features.double(), image, options)[:, :3]
    words = unit(gru_words(ids(TEXTS[0], vocabulary_table()), text))
    expected = coded(found[0], words, "VHACoding", 0.1).mean()
    torch.testing.assert_close(matcher.score(short, TEXTS[:1]).double()[0, 0], expected, atol=1e-5, rtol=1e-5)


def test_every_key_is_accounted_for(tmp_path: Path) -> None:
    states = [image_state("selfattention"), text_state(), {}, {}]
    imported(tmp_path, states, OPTIONS | {"precomp_enc_type": "selfattention"})
    told = json.loads((tmp_path / "out" / IMPORTED).read_text())
    keys = {f"img.{name}" for name in states[0]} | {f"txt.{name}" for name in states[1]}
    assert {line["from"] for line in told["weights"] + told["unused"]} == keys
    assert {"from": "img.fc.weight", "to": "image_encoder.linear.weight", "shape": [DIM, IN]} in told[
        "weights"
    ]
    assert {line["from"] for line in told["unused"]} == {"txt.fc.weight", "txt.fc.bias"}
    assert all("never applies" in line["reason"] for line in told["unused"])
    assert told["best_rsum"] == 401.5
    assert told["options"]["margin"] == 0.05


def test_the_vocabulary_among_the_options_is_taken_and_checked(tmp_path: Path) -> None:
    options = OPTIONS | {"word2idx": vocabulary_table(mask=True)}
    states = [image_state("basic"), text_state(), {}, {}]
    matcher = imported(tmp_path, states, options, vocabulary=None)
    assert matcher.tokenizer.mask_id == 13
    turned = json.loads(write_vocabulary(tmp_path / "turned.json").read_text())
    turned["word2idx"] |= {"a": 5, "dog": 4}
    turned["idx2word"] |= {"5": "a", "4": "dog"}
    (tmp_path / "turned.json").write_text(json.dumps(turned))
    with pytest.raises(ValueError, match="orders its words otherwise"):
        import_checkpoint(tmp_path / "model_best.pth", "chan", tmp_path / "again", tmp_path / "turned.json")


@pytest.mark.parametrize("coding", ["VHACoding", "THACoding", "VSACoding"])
@pytest.mark.parametrize("raw", [("img",), ("txt",), ("img", "txt")])
def test_vectors_that_are_not_normalized_score_as_published(
    tmp_path: Path, coding: str, raw: tuple[str, ...]
) -> None:
    options = OPTIONS | {"coding_type": coding, "pooling_type": "MeanPooling"}
    options |= {f"no_{side}norm": True for side in raw}
    states = [image_state("basic"), text_state(), {}, {}]
    matcher, regions = imported(tmp_path, states, options), pictures()
    assert matcher.similarity.normalize_images is ("img" not in raw)
    assert matcher.similarity.normalize_texts is ("txt" not in raw)
    image, text, *_ = doubled(states)
    texts = [scaled(gru_words(ids(words, vocabulary_table()), text), options, "txt") for words in TEXTS]
    expected = published_scores(regions.features.double(), texts, image, options)
    torch.testing.assert_close(matcher.score(regions, TEXTS).double(), expected, atol=1e-5, rtol=1e-5)
