"""The example packages, installed as a user would install them, are found by their entry points."""

from pathlib import Path

import pytest
import torch
from support import installed_examples
from torch import nn

from wordsight import EmbeddingSet, EncodedPairs, Matcher, registry
from wordsight.evaluation.protocols import find_protocol
from wordsight.importers.convert import import_checkpoint
from wordsight.read.text.vocabulary import Vocabulary


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    return lambda example: installed_examples.install(example, tmp_path / "site", monkeypatch)


def test_a_loss_is_named_in_a_configuration(install) -> None:
    install("focal_loss")
    loss = registry.build("loss", {"name": "focal", "gamma": 1.0})
    scores = torch.randn(4, 4, requires_grad=True)
    vectors = EmbeddingSet(torch.randn(4, 1, 3), torch.ones(4, 1, dtype=torch.bool))
    value = loss(EncodedPairs(vectors, vectors, scores, torch.arange(4)))
    value.backward()
    assert value > 0
    assert scores.grad.isfinite().all()
    assert registry.describe(loss) == {"name": "focal", "gamma": 1.0, "temperature": 0.05}


def test_a_protocol_is_found_by_name(install) -> None:
    with pytest.raises(ValueError, match='protocol "coco-500-10fold" is not known'):
        find_protocol("coco-500-10fold")
    install("ten_fold_protocol")
    assert len(find_protocol("coco-500-10fold").rows(5000)) == 10


def test_an_importer_turns_a_checkpoint_into_a_model(install, tmp_path: Path) -> None:
    install("checkpoint_importer")
    vocabulary = Vocabulary.learn(["a dog runs"], min_count=1)
    vocabulary.save(tmp_path / "vocab.json")
    words, image = nn.Embedding(len(vocabulary), 5), nn.Linear(6, 4)
    gru = nn.GRU(5, 4, bidirectional=True)
    text = {f"embed.{name}": tensor for name, tensor in words.state_dict().items()}
    text |= {f"rnn.{name}": tensor for name, tensor in gru.state_dict().items()}
    picture = {f"proj.{name}": tensor for name, tensor in image.state_dict().items()}
    torch.save({"model": [picture, text]}, tmp_path / "two.pth")
    import_checkpoint(tmp_path / "two.pth", "two-tower", tmp_path / "model", tmp_path / "vocab.json")
    opened = Matcher.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(opened.image_encoder.linear.weight, image.weight)
    torch.testing.assert_close(opened.text_encoder.reader.weight_ih_l0, gru.weight_ih_l0)
