"""A detector's kinds of things beside the features of regions: where they stand, and how much they weigh."""

import shutil
from pathlib import Path

import pytest
import torch
from support.published_backbones import photos, publish
from support.published_detectors import publish_detector

from wordsight.errors import InputError
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.region_kinds import chances_of_cells, with_kinds


def test_a_cell_has_a_kind_as_far_as_its_thing_lies_there() -> None:
    """The whole picture, its left half, its right half; a thing that lies for a quarter in the right half."""
    cells = torch.tensor([[[0, 0, 1, 1], [0, 0, 0.5, 1], [0.5, 0, 1, 1]]])
    boxes = torch.tensor([[[0.2, 0.2, 0.6, 0.6], [0, 0, 0, 0]]])
    chances = torch.tensor([[[0.1, 0.8], [0.0, 0.0]]])
    expected = torch.tensor([[[0.1, 0.8], [0.075, 0.6], [0.025, 0.2]]])
    torch.testing.assert_close(chances_of_cells(cells, boxes, chances), expected)


def test_of_two_things_of_a_kind_the_surer_one_counts() -> None:
    whole = torch.tensor([[[0.0, 0, 1, 1]]])
    boxes = torch.tensor([[[0, 0, 0.3, 0.3], [0.5, 0.5, 1, 1]]])
    chances = torch.tensor([[[0.4, 0.3], [0.6, 0.1]]])
    torch.testing.assert_close(chances_of_cells(whole, boxes, chances), torch.tensor([[[0.6, 0.3]]]))


def test_a_sure_kind_is_as_long_as_the_weight_says() -> None:
    features = torch.randn(2, 3, 7)
    chances = torch.tensor([[0.0, 1.0, 0.0, 0.0]]).expand(2, 3, -1)
    both = with_kinds(features, chances, 0.5)
    torch.testing.assert_close(both[..., :7], features)
    torch.testing.assert_close(both[..., 7:].norm(dim=-1), 0.5 * features.norm(dim=-1))


def test_a_reader_puts_the_kinds_of_each_detection_beside_it(tmp_path: Path) -> None:
    eye, eyes = str(publish(tmp_path / "eye", "resnet")), str(publish_detector(tmp_path / "finder", "yolos"))
    settings = {"model": eye, "grid": [1, 2], "detector": eyes, "detections": 4}
    plain, kinds = BackboneReader(**settings), BackboneReader(**settings, kinds_weight=0.5)
    before, after = plain(photos(3)), kinds(photos(3))
    assert kinds.feature_dim == plain.feature_dim + 4 == after.features.shape[-1]
    torch.testing.assert_close(after.features[..., :-4], before.features)
    told = after.features[..., -4:]
    assert (told[after.mask] > 0).any(-1).all()
    assert not told[~after.mask].any()
    whole = told[:, 0] / before.features[:, :1].norm(dim=-1)
    things = (told / before.features.norm(dim=-1, keepdim=True).clamp(min=1e-9))[:, 5:]
    torch.testing.assert_close(whole, things.amax(1), atol=1e-5, rtol=1e-4)


def test_the_kinds_change_what_a_reader_is_and_travel_with_it(tmp_path: Path) -> None:
    eye, eyes = publish(tmp_path / "eye", "resnet"), publish_detector(tmp_path / "finder", "rt-detr")
    settings = {"model": str(eye), "grid": 1, "detector": str(eyes), "detections": 3}
    plain, kinds = BackboneReader(**settings), BackboneReader(**settings, kinds_weight=0.5)
    assert "kinds_weight" not in plain.settings  # stores that were made before stay valid
    assert plain.identity != kinds.identity
    saved = kinds.save(tmp_path / "model")
    shutil.rmtree(eye)
    shutil.rmtree(eyes)
    inside = {name: str(tmp_path / "model" / saved[name]) for name in ("model", "detector")}
    again = BackboneReader(**saved | inside)
    assert again.identity == kinds.identity
    assert torch.equal(again(photos(2)).features, kinds(photos(2)).features)


def test_kinds_without_a_detector_are_refused(tmp_path: Path) -> None:
    eye = publish(tmp_path / "eye", "resnet")
    with pytest.raises(InputError, match=r"kinds_weight = 0\.5 needs a detector"):
        BackboneReader(str(eye), kinds_weight=0.5)
