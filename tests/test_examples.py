"""The example packages, installed as a user would install them, are found by their entry points."""

import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from wordsight import EmbeddingSet, EncodedPairs, Matcher, registry
from wordsight.evaluation.protocols import find_protocol
from wordsight.importers.convert import import_checkpoint
from wordsight.read.text.vocabulary import Vocabulary

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an example's modules and metadata on the path: the result of ``pip install``, without an index."""

    def install(example: str) -> None:
        project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())["project"]
        site = tmp_path / "site"
        info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        groups = project["entry-points"]
        lines = [
            "\n".join([f"[{group}]", *(f"{name} = {place}" for name, place in names.items())])
            for group, names in groups.items()
        ]
        (info / "entry_points.txt").write_text("\n\n".join(lines))
        (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        for module in (EXAMPLES / example).glob("*.py"):
            (site / module.name).write_text(module.read_text())
        monkeypatch.syspath_prepend(site)

    return install


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
