"""A published vision network that is trained on: its own map as cells or one vector, and saved whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.published_backbones import FAMILIES, photos, publish, vision
from torch import Tensor

from wordsight.encode.backbone import BackboneEncoder
from wordsight.matcher import Matcher
from wordsight.pretrained import feature_maps
from wordsight.pretrained.models import MissingModel
from wordsight.read.pictures.preprocessor_config import model_pixels
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.sets import Pixels

TEXTS = ["a red dog runs", "two men on a bench .", "a cat"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    home = tmp_path_factory.mktemp("published")

    def get(family: str) -> str:
        folder = home / family
        return str(folder if folder.is_dir() else publish(folder, family))

    return get


def pictures(count: int = 2, size: int = 64) -> Pixels:
    return Pixels(torch.randn(count, 3, size, size))


def statistics(encoder: BackboneEncoder) -> Tensor:
    return torch.cat([one for name, one in encoder.named_buffers() if name.endswith("running_mean")]).clone()


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_the_linear_map_of_the_networks_own_cells(
    family: str, published: Callable[[str], str]
) -> None:
    encoder = BackboneEncoder(published(family), 6).eval()
    read = model_pixels(published(family))(photos())
    network, leading = vision(Path(published(family))), FAMILIES[family][2]
    states = network(pixel_values=read.values).last_hidden_state
    cells = states[:, leading:] if leading is not None else states.flatten(2).transpose(1, 2)
    out = encoder(read)
    torch.testing.assert_close(out.vectors, encoder.linear(cells), atol=1e-5, rtol=1e-4)
    assert out.mask.all()
    side = int(cells.shape[1] ** 0.5)
    torch.testing.assert_close(out.boxes[0], feature_maps.boxes([(side, side)], (side, side)))


def test_a_coarser_grid_averages_cells(published: Callable[[str], str]) -> None:
    folder, seen = published("resnet"), pictures()
    fine = BackboneEncoder(folder, 16, head=False).eval()(seen)
    coarse = BackboneEncoder(folder, 16, head=False, grid=2).eval()(seen)
    assert (fine.vectors.shape[1], coarse.vectors.shape[1]) == (64, 4)
    top_left = (fine.boxes[0][:, 2:] <= 0.5).all(1)
    torch.testing.assert_close(coarse.vectors[:, 0], fine.vectors[:, top_left].mean(1))
    assert coarse.boxes[0, 0].tolist() == [0, 0, 0.5, 0.5]


def test_one_vector_in_the_joint_space(published: Callable[[str], str]) -> None:
    """CMPL: the mean of the last map, then the joint layer."""
    encoder = BackboneEncoder(published("resnet"), 16, head=False, pool="mean", projection=5).eval()
    out, seen = encoder(pictures()), BackboneEncoder(published("resnet"), 16, head=False).eval()
    torch.manual_seed(0)
    assert out.vectors.shape == (2, 1, 5)
    read = pictures()
    expected = encoder.joint_layer(seen(read).vectors.mean(1))
    torch.testing.assert_close(encoder(read).vectors[:, 0], expected)


@pytest.mark.parametrize("family", ["resnet", "mobilenet_v2", "vit", "dinov2"])
def test_every_weight_learns(family: str, published: Callable[[str], str]) -> None:
    encoder = BackboneEncoder(published(family), 6)
    assert {name.split(".")[0] for name, _ in encoder.named_parameters()} == {"backbone", "linear"}
    (encoder(pictures(size=128)).vectors.square().sum()).backward()
    without = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert [name for name in without if not name.endswith("mask_token")] == []


def test_pooled_features_may_be_scaled_before_the_linear_map_as_in_vsepp(
    published: Callable[[str], str],
) -> None:
    encoder = BackboneEncoder(published("resnet"), 6, grid=1, normalize_input=True).eval()
    pooled = encoder.backbone(pixel_values=(given := pictures()).values).last_hidden_state.mean((2, 3))
    scaled = pooled / pooled.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoder(given).vectors[:, 0], encoder.linear(scaled), atol=1e-5, rtol=1e-4)


def test_batch_norms_are_trained_or_stay_as_published(published: Callable[[str], str]) -> None:
    trained = BackboneEncoder(published("resnet"), 6)
    frozen = BackboneEncoder(published("resnet"), 6, batch_norm="frozen")
    before = statistics(trained)
    assert torch.equal(before, statistics(frozen))  # measuring the network has not touched them
    for encoder in (trained.train(), frozen.train()):
        encoder(pictures()).vectors.square().sum().backward()
    assert not torch.equal(statistics(trained), before)
    assert torch.equal(statistics(frozen), before)
    still = {name for name, weight in frozen.named_parameters() if weight.grad is None}
    assert still
    assert all("normalization" in name for name in still)
    assert torch.equal(frozen(Pixels(torch.ones(2, 3, 64, 64))).vectors[0], frozen.eval()(
        Pixels(torch.ones(2, 3, 64, 64))
    ).vectors[0])  # fmt: skip


def test_padding_free_pictures_do_not_know_each_other(published: Callable[[str], str]) -> None:
    encoder, seen = BackboneEncoder(published("resnet"), 6).eval(), pictures(3)
    torch.testing.assert_close(encoder(seen[[1]]).vectors[0], encoder(seen).vectors[1])


def test_dropped_cells(published: Callable[[str], str]) -> None:
    encoder = BackboneEncoder(published("resnet"), 6, drop_cells=0.5)
    kept = torch.cat([encoder(pictures(50)).mask for _ in range(4)])
    whole = kept.all(1)
    assert float(whole.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert float(kept[~whole].float().mean()) == pytest.approx(1 - 0.5 * 0.75, abs=0.05)
    assert encoder.eval()(pictures()).mask.all()
    one_cell = BackboneEncoder(published("resnet"), 6, grid=1, drop_cells=0.9)
    assert one_cell(pictures(50)).mask.all()


def test_dropout_only_in_training(published: Callable[[str], str]) -> None:
    encoder = BackboneEncoder(published("vit"), 6, dropout=0.5, pool="mean")
    seen = pictures(size=32)
    assert not torch.equal(encoder(seen).vectors, encoder(seen).vectors)
    assert torch.equal(encoder.eval()(seen).vectors, encoder(seen).vectors)


def test_a_transformer_reads_larger_pictures_too(published: Callable[[str], str]) -> None:
    encoder = BackboneEncoder(published("vit"), 6)
    assert encoder(pictures(size=32)).vectors.shape == (2, 16, 6)
    assert encoder(pictures(size=64)).vectors.shape == (2, 64, 6)


def test_checkpointing_changes_no_gradient(published: Callable[[str], str]) -> None:
    plain = BackboneEncoder(published("vit"), 6)
    saving = BackboneEncoder(published("vit"), 6, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    seen = pictures(size=32)
    for encoder in (plain, saving):
        encoder(seen).vectors.square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, msg=name)
    with pytest.raises(ValueError, match="cannot be checkpointed in transformers; set checkpointing = false"):
        BackboneEncoder(published("resnet"), 6, checkpointing=True)


def matcher_of(folder: str, **settings: Any) -> Matcher:
    tables: dict[str, dict[str, Any]] = {
        "reader": {"name": "model-pixels", "model": folder},
        "tokenizer": {"name": "words", "specials": "start"},
        "image_encoder": {"name": "backbone", "model": folder, "dim": 16, **settings},
        "text_encoder": {"name": "recurrent", "word_dim": 8},
        "similarity": {"name": "max-sim"},
    }
    return Matcher.build(tables, vocabulary=Vocabulary.learn(TEXTS, min_count=1)).eval()


@pytest.mark.parametrize("family", ["resnet", "clip", "vit"])
def test_a_saved_matcher_needs_neither_folder_nor_hub(
    family: str,
    published: Callable[[str], str],
    tmp_path: Path,
    hub: Path,
) -> None:
    shutil.copytree(published(family), tmp_path / "source")
    matcher, seen = matcher_of(str(tmp_path / "source"), grid=2), photos(3)
    with torch.no_grad():  # as if it had been trained: the weights are not those of the source
        for weight in matcher.parameters():
            weight.add_(0.01)
    expected = matcher.score(seen, TEXTS)
    matcher.save_pretrained(tmp_path / "model")
    shutil.rmtree(tmp_path / "source")
    (tmp_path / "model").rename(tmp_path / "moved")
    again = Matcher.from_pretrained(tmp_path / "moved")
    assert torch.equal(again.score(seen, TEXTS), expected)
    again.save_pretrained(tmp_path / "twice")
    assert torch.equal(Matcher.from_pretrained(tmp_path / "twice").score(seen, TEXTS), expected)


def test_pixels_of_a_model_are_saved_as_numbers(published: Callable[[str], str], tmp_path: Path) -> None:
    reader = model_pixels(published("resnet"), size=48)
    assert (reader.size, reader.keep_aspect) == (48, False)
    assert reader.mean == pytest.approx([0.485, 0.456, 0.406])
    assert "model" not in reader.save(tmp_path)
    with pytest.raises(ValueError, match='fit = "crop" is unknown; known: squash, published'):
        model_pixels(published("resnet"), fit="crop")


def test_mistakes_name_value_and_remedy(published: Callable[[str], str], tmp_path: Path) -> None:
    folder = published("resnet")
    with pytest.raises(ValueError, match='batch_norm "eval" is not known; known: frozen, train'):
        BackboneEncoder(folder, batch_norm="eval")
    with pytest.raises(ValueError, match=r"head = false leaves the 16 channels of .*; set dim = 16"):
        BackboneEncoder(folder, head=False)
    with pytest.raises(
        ValueError, match='grid = "all"; expected a number of cells along each side, or "full"'
    ):
        BackboneEncoder(folder, grid="all")
    with pytest.raises(ValueError, match=r"drop_cells = 1\.0; expected 0 up to"):
        BackboneEncoder(folder, drop_cells=1.0)
    with pytest.raises(ValueError, match="grid = 9 is out of reach: the model's own grid is 8 x 8 cells"):
        BackboneEncoder(folder, 6, grid=9)(pictures())
    with pytest.raises(MissingModel, match="there is no folder"):
        BackboneEncoder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("pretrained", [True, False])
def test_without_a_network_a_hub_name_is_an_error_that_says_what_to_fetch(
    pretrained: bool,
    hub: Path,
) -> None:
    with pytest.raises(MissingModel, match=r"hf download lab/resnet-9 --local-dir resnet-9"):
        BackboneEncoder("lab/resnet-9", pretrained=pretrained)


@pytest.mark.data
def test_a_real_network_learns_from_real_photos(data: Path) -> None:
    """MobileNetV2 in CMPL's arrangement: the mean of its map, a joint layer, all weights trained."""
    folder = str(data / "weights" / "mobilenet_v2_1.0_224")
    reader = model_pixels(folder, size=96)
    assert (reader.mean, reader.std) == ([0.5] * 3, [0.5] * 3)
    seen = reader(sorted((data / "flickr8k" / "images").glob("*.jpg"))[:8])
    encoder = BackboneEncoder(folder, 1280, head=False, pool="mean", projection=16)
    states = vision(Path(folder))(pixel_values=seen.values).last_hidden_state
    encoder.eval()
    torch.testing.assert_close(
        encoder(seen).vectors[:, 0], encoder.joint_layer(states.mean((2, 3))), atol=1e-4, rtol=1e-3
    )
    steps, losses = torch.optim.Adam(encoder.train().parameters(), 1e-3), []
    wanted = torch.arange(8)
    for _ in range(4):
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(encoder(seen).vectors[:, 0], wanted)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert np.isfinite(losses).all()
