"""VSE++'s checkpoints score here as its formulas say they do."""

from pathlib import Path
from typing import Any

import numpy as np
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
    pickled,
    random,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)
from support.published_networks import resnet, resnet_state
from support.published_vsepp import MEAN, OPTIONS, STD, states
from torch import Tensor

from wordsight.importers.convert import import_checkpoint
from wordsight.matcher import Matcher
from wordsight.sets import Regions


def score(image: Tensor, text: Tensor, options: dict[str, Any]) -> Tensor:
    image = image if options["no_imgnorm"] else image / image.norm()
    text = text / text.norm()
    if options["use_abs"]:
        image, text = image.abs(), text.abs()
    if options["measure"] == "order":
        return -(text - image).clamp_min(0).square().sum().sqrt()
    return image @ text


def check(matcher: Matcher, saved: list[State], options: dict[str, Any], layers: int = 1) -> None:
    features = torch.randn(3, 1, IN)
    image, text = doubled(saved)
    vectors = features[:, 0].double() @ image["fc.weight"].T + image["fc.bias"]
    last = [gru_words(ids(t, vocabulary_table()), text, layers, both=False)[-1] for t in TEXTS]
    expected = torch.stack([torch.stack([score(v, t, options) for t in last]) for v in vectors])
    found = matcher.score(Regions(features, None, torch.ones(3, 1, dtype=torch.bool)), TEXTS)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"no_imgnorm": True}, {"measure": "order"}, {"measure": "order", "use_abs": True},
        {"measure": "order", "use_abs": True, "no_imgnorm": True},
    ],
)  # fmt: skip
def test_scores_are_the_published_ones(tmp_path: Path, changes: dict[str, Any]) -> None:
    saved, options = states(), OPTIONS | changes
    path = write_checkpoint(tmp_path / "model_best.pth.tar", saved, options)
    (tmp_path / "f8k_precomp_vocab.pkl").write_bytes(pickled("vocab", vocabulary_table()))
    import_checkpoint(path, "vsepp", tmp_path / "out", tmp_path / "f8k_precomp_vocab.pkl")
    check(Matcher.from_pretrained(tmp_path / "out"), saved, options)


@pytest.mark.parametrize(("depths", "bottleneck"), [((2, 1, 2, 1), True), ((1, 2, 1, 1), False)])
def test_a_resnet_scores_as_published(tmp_path: Path, depths: tuple[int, ...], bottleneck: bool) -> None:
    """Its pooled features are scaled to length 1 before the linear map; DataParallel is inside the model."""
    cnn = resnet_state(depths, bottleneck=bottleneck)
    channels = len(cnn[f"layer4.{depths[3] - 1}.bn{2 + bottleneck}.weight"])
    image = {f"cnn.module.{name}": tensor for name, tensor in cnn.items()} | linear_state(
        channels, DIM, "fc."
    )
    saved = [image, states()[1]]
    path = write_checkpoint(tmp_path / "model_best.pth.tar", saved, OPTIONS | {"cnn_type": "resnet50"})
    report = import_checkpoint(path, "vsepp", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    assert "img.cnn.module.layer4.0.downsample.0.weight" in {line.source for line in report.lines}
    pictures = list(np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8))
    values = torch.from_numpy(np.stack(pictures)[:, 16:240, 16:240]).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(three, dtype=torch.float64).view(3, 1, 1) for three in (MEAN, STD))
    image, text = doubled(saved)
    with torch.no_grad():
        features = resnet((values - mean) / std, doubled([cnn])[0], depths)
    features = features / features.norm(dim=1, keepdim=True)
    vectors = features @ image["fc.weight"].T + image["fc.bias"]
    last = [gru_words(ids(t, vocabulary_table()), text, both=False)[-1] for t in TEXTS]
    expected = torch.stack([torch.stack([score(v, t, OPTIONS) for t in last]) for v in vectors])
    found = Matcher.from_pretrained(tmp_path / "out").score(pictures, TEXTS)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


def test_a_vgg_is_refused_with_the_reason(tmp_path: Path) -> None:
    image = {"cnn.features.module.0.weight": random(4, 3, 3, 3)} | linear_state(IN, DIM, "fc.")
    path = write_checkpoint(tmp_path / "vgg.pth.tar", [image, states()[1]], OPTIONS)
    with pytest.raises(ValueError, match="through a VGG or AlexNet, which transformers does not load"):
        import_checkpoint(path, "vsepp", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    assert not (tmp_path / "out").exists()


def test_more_layers_and_no_options(tmp_path: Path) -> None:
    saved = states(2)
    path = write_checkpoint(tmp_path / "model_best.pth.tar", saved, None)
    vocabulary = write_vocabulary(tmp_path / "v.json")
    with pytest.raises(ValueError, match="its similarity is not known; give --config"):
        import_checkpoint(path, "vsepp", tmp_path / "out", vocabulary)
    tables = {"similarity": {"name": "cosine"}}
    import_checkpoint(path, "vsepp", tmp_path / "out", vocabulary, tables=tables)
    check(Matcher.from_pretrained(tmp_path / "out"), saved, OPTIONS, 2)


def test_what_has_no_counterpart_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "abs.pth.tar", states(), OPTIONS | {"use_abs": True})
    with pytest.raises(ValueError, match="trained with use_abs and measure cosine"):
        import_checkpoint(path, "vsepp", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    with pytest.raises(ValueError, match=r"not a checkpoint of scan .*they look like vsepp"):
        import_checkpoint(path, "scan", tmp_path / "out", tmp_path / "v.json")
    assert not (tmp_path / "out").exists()
