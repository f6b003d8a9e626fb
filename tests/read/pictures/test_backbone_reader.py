"""Any pretrained vision backbone becomes regions: the right tokens in the right places, one identity."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from support import warm_process
from support.published_backbones import (
    CENTRE,
    FAMILIES,
    IMAGENET,
    SIZED,
    SQUARE,
    photos,
    publish,
    vision,
)
from torch.nn import functional as F

from wordsight import registry
from wordsight.pretrained import feature_maps
from wordsight.pretrained.models import MissingModel
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.preprocessor_config import pixel_reader


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    home = tmp_path_factory.mktemp("published")

    def get(family: str) -> Path:
        folder = home / family
        return folder if folder.is_dir() else publish(folder, family)

    return get


@pytest.mark.parametrize("family", FAMILIES)
def test_full_grid_is_the_models_own_patches_row_by_row(
    family: str, published: Callable[[str], Path]
) -> None:
    folder = published(family)
    reader = BackboneReader(str(folder))
    regions = reader(photos())
    prefix = FAMILIES[family][2]
    with torch.no_grad():
        last = vision(folder)(pixel_values=reader.pixels(photos()).values).last_hidden_state
    expected = last.flatten(2).transpose(1, 2) if prefix is None else last[:, prefix:]
    torch.testing.assert_close(regions.features, expected, atol=1e-5, rtol=1e-4)
    assert regions.features.shape[2] == reader.feature_dim
    assert regions.mask.all()
    assert not regions.features.requires_grad
    rows, columns = reader.native
    assert regions.boxes is not None
    for region in range(rows * columns):
        row, column = divmod(region, columns)
        cell = [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows]
        torch.testing.assert_close(regions.boxes[0, region], torch.tensor(cell))


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        ("ViTImageProcessorPil", SQUARE),
        ("SiglipImageProcessorPil", SQUARE | {"resample": 3}),
        ("CLIPImageProcessorPil", CENTRE),
        ("BitImageProcessorPil", CENTRE),
        ("ConvNextImageProcessorPil", SIZED | IMAGENET | {"size": {"shortest_edge": 32}, "crop_pct": 0.875}),
        ("ConvNextImageProcessorPil", SIZED | IMAGENET | {"size": {"shortest_edge": 384}, "crop_pct": 0.875}),
        ("MobileNetV2ImageProcessorPil", CENTRE | {"resample": 2}),
        ("ViTImageProcessorPil", SQUARE | {"do_normalize": False}),
        ("ViTImageProcessorPil", SQUARE | {"do_rescale": False}),
    ],
)
@pytest.mark.parametrize("shape", [(70, 50), (45, 91), (40, 40)])
def test_preprocessing_equals_the_published_processor(
    tmp_path: Path, processor: str, settings: dict[str, Any], shape: tuple[int, int]
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    pictures = photos(2, *shape)
    expected = getattr(transformers, processor)(**settings)(pictures, return_tensors="pt")["pixel_values"]
    ours = pixel_reader(tmp_path, "published", None)(pictures).values
    torch.testing.assert_close(ours, expected.float(), atol=1e-4, rtol=1e-4)


def test_older_preprocessing_files(tmp_path: Path) -> None:
    old = {"size": 224, "crop_size": 224, "do_center_crop": True, "resample": 3} | IMAGENET
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    reader = pixel_reader(tmp_path, "published", None)
    assert (reader.height, reader.width, reader.short_side, reader.resample) == (224, 224, 224, "bicubic")
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": SQUARE}))
    assert pixel_reader(tmp_path, "squash", None).size == 32
    assert pixel_reader(tmp_path, "squash", 48).size == 48


@pytest.mark.parametrize("native", [(7, 7), (4, 6), (1, 1), (14, 14)])
@pytest.mark.parametrize("grid", [1, 2, 3, 4, 7, "full"])
def test_boxes_cover_the_picture_exactly(native: tuple[int, int], grid: int | str) -> None:
    if grid != "full" and grid > min(native):
        with pytest.raises(ValueError, match=rf"grid = {grid} is out of reach: .* {native[0]} x {native[1]}"):
            feature_maps.sides(grid, native)
        return
    boxes = feature_maps.boxes([feature_maps.sides(grid, native)], native)
    fine = np.zeros((native[0], native[1]), dtype=int)  # how many boxes cover each of the model's cells
    for left, top, right, bottom in boxes.tolist():
        rows = slice(round(top * native[0]), round(bottom * native[0]))
        fine[rows, round(left * native[1]) : round(right * native[1])] += 1
    assert fine.min() == 1
    assert boxes.min() == 0
    assert boxes.max() == 1
    if grid == "full" or (native[0] % grid == 0 and native[1] % grid == 0):
        assert fine.max() == 1


def test_a_region_is_the_mean_of_the_cells_in_its_box() -> None:
    features = torch.randn(2, 5, 7, 6)
    sides = [(1, 1), (2, 2), (4, 4), (7, 6)]
    regions, boxes = feature_maps.pooled(features, sides), feature_maps.boxes(sides, (7, 6))
    assert regions.shape == (2, 1 + 4 + 16 + 42, 5)
    for region, (left, top, right, bottom) in enumerate(boxes.tolist()):
        cells = features[:, :, round(top * 7) : round(bottom * 7), round(left * 6) : round(right * 6)]
        torch.testing.assert_close(regions[:, region], cells.mean((2, 3)))


def test_cropped_models_tell_boxes_of_the_whole_picture(published: Callable[[str], Path]) -> None:
    reader = BackboneReader(
        str(published("clip")), grid=2, fit="published"
    )  # shorter side 40, of it 32 at the centre
    boxes = reader(photos(1, width=100, height=50)).boxes
    assert boxes is not None  # 100 x 50 becomes 80 x 40; seen are 24..56 of 80 and 4..36 of 40
    torch.testing.assert_close(boxes[0, 0], torch.tensor([24 / 80, 4 / 40, 40 / 80, 20 / 40]))
    torch.testing.assert_close(boxes[0, 3], torch.tensor([40 / 80, 20 / 40, 56 / 80, 36 / 40]))


def test_settings_change_the_features_as_they_say(published: Callable[[str], Path]) -> None:
    folder = str(published("vit"))
    plain = BackboneReader(folder, grid=2)(photos()).features
    rooted = BackboneReader(folder, grid=2, signed_sqrt=True)(photos()).features
    torch.testing.assert_close(rooted, plain.sign() * plain.abs() ** 0.5)
    unit = BackboneReader(folder, grid=2, unit=True)(photos()).features
    torch.testing.assert_close(unit, F.normalize(plain, dim=-1))
    half = BackboneReader(folder, grid=2, precision="bfloat16")(photos()).features
    assert half.dtype == torch.float32
    assert 0 < (half - plain).abs().max() < 0.1 * plain.abs().max()
    larger = BackboneReader(folder, size=48)  # 6 x 6 patches: positions are interpolated
    assert larger(photos()).features.shape == (2, 36, 16)


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_several_layers_lie_side_by_side(family: str, published: Callable[[str], Path]) -> None:
    folder = published(family)
    reader = BackboneReader(str(folder), grid=[1, 2], layers=["last", 1])
    regions = reader(photos())
    with torch.no_grad():
        told = vision(folder)(reader.pixels(photos()).values, output_hidden_states=True)
    maps = [told.last_hidden_state, told.hidden_states[1]]
    if family == "vit":
        maps = [states[:, 1:].transpose(1, 2).reshape(2, -1, 4, 4) for states in maps]
    expected = [torch.cat([F.adaptive_avg_pool2d(m, g).flatten(2) for g in (1, 2)], 2) for m in maps]
    torch.testing.assert_close(regions.features, torch.cat(expected, 1).transpose(1, 2), atol=1e-5, rtol=1e-4)
    unit = BackboneReader(str(folder), grid=[1, 2], layers=["last", 1], unit=True)(photos()).features
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(2, 5))
    with pytest.raises(ValueError, match=r'layers names 9; .* "last" and 0 to 2'):
        BackboneReader(str(folder), layers=[9])


def test_one_picture_at_a_time_or_many_is_the_same(published: Callable[[str], Path]) -> None:
    reader = BackboneReader(str(published("resnet")))
    pictures = photos(6)
    together = reader(pictures).features
    alone = torch.cat([reader([picture]).features for picture in pictures])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert reader([]).features.shape == (0, *together.shape[1:])


@pytest.mark.parametrize("family", ["resnet", "clip"])
def test_saved_reader_is_whole_and_the_same(tmp_path: Path, family: str) -> None:
    source = publish(tmp_path / "source", family)
    reader = BackboneReader(str(source), grid=[1, 2], signed_sqrt=True)
    saved = reader.save(tmp_path / "model")
    assert json.loads(json.dumps(saved)) == saved
    weights = tmp_path / "model" / "reader" / "model.safetensors"
    assert weights.stat().st_ino == (source / "model.safetensors").stat().st_ino  # a link, no second copy
    shutil.rmtree(source)
    table = {"name": "backbone", **saved, "model": str(tmp_path / "model" / saved["model"])}
    again = registry.build("reader", table)
    assert again.identity == reader.identity
    assert torch.equal(again(photos()).features, reader(photos()).features)


def test_identity_tells_whatever_changes_the_features(
    tmp_path: Path, published: Callable[[str], Path]
) -> None:
    folder = published("vit")
    base = BackboneReader(str(folder)).identity
    changed = [
        BackboneReader(str(folder), **settings).identity
        for settings in (
            {"grid": 2},
            {"layers": [1]},
            {"signed_sqrt": True},
            {"unit": True},
            {"size": 40},
            {"precision": "bfloat16"},
        )
    ]
    other = shutil.copytree(folder, tmp_path / "other")
    assert BackboneReader(str(other)).identity == base  # the place does not matter
    (other / "preprocessor_config.json").write_text(json.dumps(SQUARE | {"resample": 3}))
    changed.append(BackboneReader(str(other)).identity)
    model = transformers.AutoModel.from_pretrained(folder)
    model.embeddings.cls_token.data += 0.01
    model.save_pretrained(tmp_path / "trained")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "trained")
    changed.append(BackboneReader(str(tmp_path / "trained")).identity)
    assert len({base, *changed}) == 1 + len(changed)


@pytest.mark.parametrize("family", ["resnet", "clip"])
def test_a_picture_can_be_read_in_two_sizes(family: str, published: Callable[[str], Path]) -> None:
    folder = str(published(family))
    both = BackboneReader(folder, grid=[1, 2], signed_sqrt=True, high_res_size=64, high_res_grid=[3, 2])
    small, large = (
        BackboneReader(folder, g, signed_sqrt=True, size=s) for g, s in (([1, 2], None), ([3, 2], 64))
    )
    regions = both(photos())
    assert regions.boxes is not None
    for start, end, reader in ((0, 5, small), (5, 18, large)):
        alone = reader(photos())
        assert alone.boxes is not None
        torch.testing.assert_close(regions.features[:, start:end], alone.features)
        assert torch.equal(regions.boxes[:, start:end], alone.boxes)
    assert len({both.identity, small.identity, large.identity}) == 3
    again = BackboneReader(**json.loads(json.dumps(both.settings)))
    assert again.identity == both.identity


def test_a_second_size_must_be_of_use(published: Callable[[str], Path]) -> None:
    folder = str(published("resnet"))
    with pytest.raises(
        ValueError, match=r"high_res_size = 64 is read for nothing: give high_res_grid or a detector"
    ):
        BackboneReader(folder, high_res_size=64)
    with pytest.raises(ValueError, match=r"high_res_grid = \[2\] needs high_res_size, the size in pixels"):
        BackboneReader(folder, high_res_grid=[2])
    with pytest.raises(ValueError, match=r"grid = 9 is out of reach: the model's own grid is 4 x 4"):
        BackboneReader(str(published("vit")), high_res_size=32, high_res_grid=[9])


def test_what_is_missing_is_named(tmp_path: Path, published: Callable[[str], Path]) -> None:
    with pytest.raises(MissingModel, match="there is no folder"):
        BackboneReader(str(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MissingModel, match=r"needs config.json and model.safetensors; found notes.txt"):
        BackboneReader(str(tmp_path))
    bare = shutil.copytree(published("vit"), tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no preprocessor_config.json.*put it beside config.json"):
        BackboneReader(str(bare))
    with pytest.raises(ValueError, match=r'fit = "stretch" is unknown; known: squash, published'):
        BackboneReader(str(bare), fit="stretch")
    with pytest.raises(ValueError, match=r"bfloat16"):
        BackboneReader(str(bare), precision="half")


def test_weights_of_another_model_are_refused(tmp_path: Path, published: Callable[[str], Path]) -> None:
    mixed = shutil.copytree(published("vit"), tmp_path / "mixed")
    config = json.loads((mixed / "config.json").read_text())
    (mixed / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"do not fit its config.json: \d+ missing"):
        BackboneReader(str(mixed))


def test_hub_model_without_a_network(hub: Path) -> None:
    with pytest.raises(MissingModel) as caught:
        BackboneReader("somebody/resnet-50", revision="v2")
    told = str(caught.value)
    assert "hf download somebody/resnet-50 --revision v2 --local-dir resnet-50" in told
    assert "give its path" in told
    assert "preprocessor_config.json" in told


def test_hub_model_in_the_cache(hub: Path, tmp_path: Path, published: Callable[[str], Path]) -> None:
    home = hub / "models--somebody--tiny"
    shutil.copytree(published("dinov2"), home / "snapshots" / ("a" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    reader = BackboneReader("somebody/tiny", grid=2)
    assert reader.identity == BackboneReader(str(published("dinov2")), grid=2).identity
    assert reader.save(tmp_path / "model") | {"model": "", "revision": None} == reader.settings | {
        "model": ""
    }


def test_broken_torchvision_does_no_harm(tmp_path: Path, published: Callable[[str], Path]) -> None:
    fake = tmp_path / "fake" / "torchvision"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    (tmp_path / "fake" / "torchvision-0.28.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
    (tmp_path / "fake" / "torchvision-0.28.0.dist-info" / "METADATA").write_text(metadata)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "fake")!r})
from wordsight.read.pictures.backbone_reader import BackboneReader
print(BackboneReader({str(published("clip"))!r}).feature_dim, sys.modules["torchvision"])
"""
    ran = warm_process.run(program=("code", code))
    assert ran.stdout.split() == ["16", "None"], ran.stderr


@pytest.mark.data
class TestMobileNet:
    """The real network on real photos."""

    @pytest.fixture
    def reader(self, data: Path) -> BackboneReader:
        return BackboneReader(str(data / "weights" / "mobilenet_v2_1.0_224"), grid=4, signed_sqrt=True)

    def test_agrees_with_the_published_features(self, reader: BackboneReader, data: Path) -> None:
        home = data / "flickr8k"
        listed = json.loads((home / "dataset_flickr8k.json").read_text())["images"][:12]
        regions = reader([home / "images" / image["filename"] for image in listed])
        basis = np.load(home / "features" / "f8k_grid16_pca192_basis.npz")
        ours = (regions.features.numpy() - basis["mean"]) @ basis["components"].T
        stored = np.load(home / "features" / "f8k_grid16_pca192_int8.npy", mmap_mode="r")[:12]
        theirs = stored * np.load(home / "features" / "f8k_grid16_pca192_scale.npy")
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999

    def test_a_change_shows_most_in_the_region_whose_box_holds_it(
        self, reader: BackboneReader, data: Path
    ) -> None:
        photo = np.asarray(Image.open(next(iter(sorted((data / "flickr8k" / "images").glob("*.jpg"))))))
        for x, y in ((28, 28), (196, 28), (28, 196), (196, 196)):
            changed = photo.copy()
            changed[y - 24 : y + 24, x - 24 : x + 24] = 255 - changed[y - 24 : y + 24, x - 24 : x + 24]
            regions = reader([photo, changed])
            assert regions.boxes is not None
            most = (regions.features[0] - regions.features[1]).norm(dim=1).argmax()
            left, top, right, bottom = regions.boxes[0, most].tolist()
            assert left <= x / 224 <= right
            assert top <= y / 224 <= bottom
