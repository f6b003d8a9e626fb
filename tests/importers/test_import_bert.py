"""A BERT inside a checkpoint: its keys, its architecture, its word pieces."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.published_bert import CONFIG, IDS, PIECES, TEXTS, bert, publish_bert, text_state
from support.published_chan import OPTIONS, image_state, published_scores
from support.published_chan import text_state as gru_text
from support.published_checkpoints import State, pictures, unit, write_checkpoint, write_vocabulary
from torch import Tensor

from wordsight.importers.convert import import_checkpoint
from wordsight.matcher import Matcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_bert(tmp_path)


BERT_OPTIONS = OPTIONS | {"text_enc_type": "bert", "pooling_type": "MeanPooling", "vocab_size": len(PIECES)}


def words(model: Any, state: State) -> list[Tensor]:
    with torch.no_grad():
        hidden = [model(torch.tensor([row]))[0][0] for row in IDS]
    return [unit((h @ state["linear.weight"].T + state["linear.bias"]).double()) for h in hidden]


def check(tmp_path: Path, model: Any, image: State, text: State) -> None:
    matcher, regions = Matcher.from_pretrained(tmp_path / "out"), pictures()
    assert matcher.tokenizer(TEXTS).ids[0].tolist() == IDS[0]
    doubled = {name: tensor.double() for name, tensor in image.items()}
    expected = published_scores(regions.features.double(), words(model, text), doubled, BERT_OPTIONS)
    torch.testing.assert_close(matcher.score(regions, TEXTS).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("heads", "given"), [(3, "bert"), (1, "vocabulary")])
def test_scores_are_the_published_ones(tmp_path: Path, folder: Path, heads: int, given: str) -> None:
    """The number of heads is no shape: it is 1 per 64 numbers, or what the folder's config.json says."""
    model = bert(heads)
    image, text = image_state("basic"), text_state(model)
    path = write_checkpoint(tmp_path / "model_best.pth", [image, text, {}, {}], BERT_OPTIONS)
    files = {"bert": folder} if given == "bert" else {"vocabulary": folder / "vocab.txt"}
    report = import_checkpoint(path, "chan", tmp_path / "out", **files)
    check(tmp_path, model, image, text)
    unused = {line.source: line.reason for line in report.lines if line.target is None}
    assert set(unused) == {
        "txt.bert.pooler.dense.weight", "txt.bert.pooler.dense.bias", "txt.bert.embeddings.position_ids",
    }  # fmt: skip


def test_another_bert_or_a_word_vocabulary_is_named(tmp_path: Path, folder: Path) -> None:
    states = [image_state("basic"), text_state(bert(3)), {}, {}]
    path = write_checkpoint(tmp_path / "model_best.pth", states, BERT_OPTIONS)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"hidden_size": 24}))
    with pytest.raises(ValueError, match="says hidden_size = 24, the checkpoint has 12"):
        import_checkpoint(path, "chan", tmp_path / "out", bert=folder)
    with pytest.raises(ValueError, match=r"belongs the vocab\.txt of bert-base-uncased"):
        import_checkpoint(path, "chan", tmp_path / "out", write_vocabulary(tmp_path / "vocabulary.json"))
    assert not (tmp_path / "out").exists()


def test_the_standard_bert_that_cannot_be_fetched_is_asked_for_by_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    states = [image_state("basic"), text_state(bert(3)), {}, {}]
    path = write_checkpoint(tmp_path / "model_best.pth", states, BERT_OPTIONS)
    with pytest.raises(FileNotFoundError, match=r"give it as --bert bert-base-uncased, or its vocab\.txt as"):
        import_checkpoint(path, "chan", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bert_that_is_not_there_or_not_wanted_is_said(tmp_path: Path, folder: Path) -> None:
    states = [image_state("basic"), text_state(bert(3)), {}, {}]
    path = write_checkpoint(tmp_path / "bert.pth", states, BERT_OPTIONS)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; --bert wants one"):
        import_checkpoint(path, "chan", tmp_path / "out", bert=tmp_path / "nowhere")
    path = write_checkpoint(tmp_path / "gru.pth", [image_state("basic"), gru_text(), {}, {}], OPTIONS)
    with pytest.raises(ValueError, match="not with a BERT; leave --bert out"):
        import_checkpoint(path, "chan", tmp_path / "out", write_vocabulary(tmp_path / "v.json"), folder)
    assert not (tmp_path / "out").exists()
