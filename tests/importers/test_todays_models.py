"""Meta CLIP 2, SigLIP 2 NaFlex, TIPSv2: what is particular to each; the rest is in test_clip_siglip.py."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from support.published_dual_encoders import TEXTS, photos, publish, reference
from torch.nn.functional import normalize

from wordsight import registry
from wordsight.builder import Builder
from wordsight.config import Config
from wordsight.exporters.onnx_export import export_onnx
from wordsight.importers.clip_siglip import import_dual
from wordsight.learn.augmentation import ChangePictures
from wordsight.matcher import Matcher
from wordsight.matcher.onnx_matcher import OnnxMatcher
from wordsight.pretrained.naflex import grid_of
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.flexible_pixels import FlexiblePixels
from wordsight.runs.opening import matcher_folder
from wordsight.runs.training import train
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.sets import Pixels

Get = Callable[[str], Path]
SHAPES = [(64, 48), (48, 64), (200, 20), (31, 33)]  # width, height


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Get:
    home = tmp_path_factory.mktemp("published")

    def get(family: str) -> Path:
        return home / family if (home / family).is_dir() else publish(home / family, family)

    return get


def shaped() -> list[Image.Image]:
    return [photo.resize(shape) for photo, shape in zip(photos(4), SHAPES, strict=True)]


def test_meta_clip_2_reads_capitals_and_other_scripts(published: Get) -> None:
    matcher = Matcher.from_published(published("metaclip_2"))
    assert not matcher.tokenizer.lower
    assert matcher.tokenizer.words("Dog") != matcher.tokenizer.words("dog")
    texts = ["a dog 犬", "A DOG"]
    ours, theirs = matcher.score(photos(), texts), reference(published("metaclip_2"), photos(), texts)
    torch.testing.assert_close(ours, theirs.logits_per_image, atol=1e-4, rtol=0)


def test_meta_clip_2_shows_the_picture_as_its_processor_does(published: Get) -> None:
    matcher = Matcher.from_published(published("metaclip_2"))
    processor = transformers.CLIPImageProcessorPil.from_pretrained(published("metaclip_2"))
    expected = processor(shaped(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(matcher.read_images(shaped()).values, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("most", [4, 20, 256])
def test_naflex_grids_are_the_published_ones(most: int) -> None:
    from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

    for height, width in [(48, 64), (640, 480), (20, 3000), (1, 1), (427, 640), (333, 500), (3000, 2000)]:
        expected = get_image_size_for_max_num_patches(height, width, 16, most)
        rows, columns = grid_of(height, width, 16, most)
        assert (rows * 16, columns * 16) == expected


def test_naflex_keeps_shapes_alone_and_among_others(published: Get) -> None:
    matcher = Matcher.from_published(published("naflex"), "patches")
    pixels = matcher.read_images(shaped())
    assert pixels.sizes.tolist() == [[32, 40], [40, 32], [8, 80], [40, 32]]
    among = matcher.encode_images(pixels)
    for row, (height, width) in enumerate(pixels.sizes.tolist()):
        count = 1 + height * width // 64
        alone = matcher.encode_images(shaped()[row : row + 1])
        assert among.mask[row].sum() == count == alone.mask.sum()
        torch.testing.assert_close(among.vectors[row, :count], alone.vectors[0, :count], atol=1e-5, rtol=1e-5)
        boxes = among.boxes[row, 1:count]
        assert (boxes[:, 2:] - boxes[:, :2]).prod(1).sum() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(boxes[0], torch.tensor([0, 0, 8 / width, 8 / height]))
    again = Pixels.join([matcher.read_images([photo]) for photo in shaped()])
    torch.testing.assert_close(matcher.encode_images(again).vectors, among.vectors, atol=1e-5, rtol=1e-5)
    theirs = reference(published("naflex"), shaped(), TEXTS)
    torch.testing.assert_close(matcher.score(shaped(), TEXTS), theirs.logits_per_image, atol=1e-4, rtol=0)


def test_naflex_mirrors_each_picture_in_its_own_width() -> None:
    reader = FlexiblePixels(patch=8, most_patches=20)
    pixels = reader(shaped())
    mirrored = ChangePictures(flip=1.0).mirrored(pixels, torch.Generator())
    for row, (height, width) in enumerate(pixels.sizes.tolist()):
        own = pixels.values[row, :, :height, :width]
        torch.testing.assert_close(mirrored.values[row, :, :height, :width], own.flip(-1))
    assert torch.equal(mirrored.sizes, pixels.sizes)


def test_naflex_is_a_backbone_with_cells_of_each_pictures_own_grid(published: Get) -> None:
    reader = BackboneReader(str(published("naflex")))
    regions = reader(shaped())
    assert regions.mask.sum(1).tolist() == [20, 20, 10, 20]
    processor = transformers.Siglip2ImageProcessorPil.from_pretrained(published("naflex"))
    shown = processor(shaped(), return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(published("naflex")).vision_model.eval()
    with torch.no_grad():
        states = model(**shown).last_hidden_state
    for row, count in enumerate(regions.mask.sum(1).tolist()):
        torch.testing.assert_close(regions.features[row, :count], states[row, :count], atol=1e-4, rtol=1e-4)
        columns = int(shown["spatial_shapes"][row, 1])
        assert regions.boxes[row, 1, 0] == pytest.approx(1 / columns)
    coarse = BackboneReader(str(published("naflex")), grid=[1, 3])(shaped())
    assert coarse.mask.sum(1).tolist() == [10, 10, 1 + 1 * 3, 10]  # one row is all that the long one has
    copy = reader.save(published("naflex").parent / "saved")
    assert copy["model"] == "reader"


def test_naflex_says_what_it_is_not_for(published: Get) -> None:
    folder = str(published("naflex"))
    with pytest.raises(ValueError, match=r'own shape.*\[reader\] name = "backbone"'):
        registry.build("image_encoder", {"name": "backbone", "model": folder})
    fixed = Matcher.from_published(published("siglip2"))
    with pytest.raises(ValueError, match='reader gives each its own; take the reader "model-pixels"'):
        fixed.encode_images(FlexiblePixels(patch=8, most_patches=20)(shaped()))


def test_tips_words_are_read_as_texts_of_their_own(published: Get) -> None:
    matcher = Matcher.from_published(published("tipsv2"), "patches")
    found = matcher.encode_texts(["the red dog on a bench", "dog"])
    for place, word in enumerate(["the", "red", "dog"]):
        alone = matcher.encode_texts([word]).vectors[0, 0]
        torch.testing.assert_close(found.vectors[0, 1 + place], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.vectors[1, 1], found.vectors[0, 3])  # in whatever text it stands
    pieces = matcher.encode_texts(["caf\u00e9"])  # several pieces, one word
    words = pieces.vectors[0, 1:][pieces.mask[0, 1:]]
    assert len(words) > 1
    torch.testing.assert_close(words, pieces.vectors[:, 0].expand_as(words), atol=1e-5, rtol=1e-5)


def test_tips_patches_are_its_own_and_near_what_is_nearest(published: Get) -> None:
    matcher = Matcher.from_published(published("tipsv2"), "patches")
    images, texts = matcher.encode_images(photos(1)), matcher.encode_texts(["a red dog"])
    model = transformers.AutoModel.from_pretrained(published("tipsv2")).vision_model.eval()
    with torch.no_grad():
        states = model(pixel_values=matcher.read_images(photos(1)).values).last_hidden_state
    torch.testing.assert_close(images.vectors[:, 0], states[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        images.vectors[:, 1:], states[:, 2:], atol=1e-5, rtol=1e-4
    )  # behind the register
    (alignment,) = matcher.similarity.align(images, texts)
    assert alignment.of_wholes
    assert not alignment.hint
    cosines = normalize(images.vectors[0, 1:], dim=1) @ normalize(texts.vectors[0, 1:], dim=1).T
    assert alignment.shares[0, 1:, 1:].argmax(0).tolist() == cosines.argmax(0).tolist()
    torch.testing.assert_close(alignment.found[0, 1:], cosines.amax(0), atol=1e-5, rtol=0)


def test_a_search_with_tips_shows_cells_as_evidence(published: Get, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for n, picture in enumerate(photos(4)):
        picture.save(tmp_path / "pictures" / f"{n}.png")
    import_dual(published("tipsv2"), tmp_path / "model", "tipsv2", "patches")
    index = Index.create(tmp_path / "index", tmp_path / "model")
    index.update([tmp_path / "pictures"])
    searcher = Searcher(Index.open(tmp_path / "index"))
    hit = searcher.find_images("the red dog", k=4).hits[0]
    explanation = searcher.explain("the red dog", hit.item.id)
    assert explanation.kind == hit.evidence == "cell"
    assert "one of 16 cells of a grid" in explanation.sentence
    left, top, right, bottom = explanation.words[2].word.box
    assert (right - left, bottom - top) == pytest.approx((0.25, 0.25), abs=1e-3)


@pytest.mark.parametrize("family", ["metaclip_2", "naflex"])
def test_a_search_by_the_name_of_a_folder(family: str, published: Get, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for n, picture in enumerate(shaped()):
        picture.save(tmp_path / "pictures" / f"{n}.png")
    import_dual(published(family), tmp_path / "model")
    index = Index.create(tmp_path / "index", tmp_path / "model")
    index.update([tmp_path / "pictures"])
    found = Searcher(Index.open(tmp_path / "index")).find_images("a red dog", k=4)
    scores = Matcher.from_published(published(family)).score(shaped(), ["a red dog"])[:, 0]
    for hit in found.hits:
        assert hit.score == pytest.approx(float(scores[int(Path(hit.item.path).stem)]), abs=0.05)
        assert hit.evidence == "whole"


def first_release(folder: Path, source: Path, **changes: Any) -> Path:
    """TIPSv2's config.json as it was first published, for its own code, without a preprocessor."""
    shutil.copytree(source, folder)
    (folder / "preprocessor_config.json").unlink()
    facts = {
        "model_type": "tipsv2", "auto_map": {"AutoModel": "modeling_tips.TIPSv2Model"}, "patch_size": 8,
        "img_size": 32, "init_values": 1.0, "num_register_tokens": 1, "vocab_size": 310, "max_len": 16,
        "vision_fn": "vit_base", "embed_dim": 12, "text_hidden_size": 12, "text_mlp_dim": 24,
        "text_num_heads": 2, "text_num_layers": 2, "ffn_layer": "mlp", "temperature": 0.02,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(facts | changes))
    return folder


def test_the_first_release_of_tips_opens_without_its_code(published: Get, tmp_path: Path) -> None:
    folder = first_release(tmp_path / "tips", published("tipsv2"))
    torch.manual_seed(0)
    config = transformers.Tipsv2Config(
        text_config={
            "hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "vocab_size": 310, "max_position_embeddings": 16,
        },
        vision_config={"hidden_size": 12, "image_size": 32, "patch_size": 8},
        temperature_init_value=0.02,
    )  # fmt: skip
    model = transformers.Tipsv2Model(config).eval()
    config_json = (folder / "config.json").read_text()
    model.save_pretrained(folder)
    (folder / "config.json").write_text(config_json)
    matcher = Matcher.from_published(folder)
    pixels, tokens = matcher.read_images(photos()), matcher.tokenizer(TEXTS)
    assert pixels.values.shape[2:] == (32, 32)
    assert 0 <= pixels.values.min() <= pixels.values.max() <= 1
    with torch.no_grad():
        theirs = model(
            input_ids=tokens.ids[:, 1:], attention_mask=tokens.mask[:, 1:].long(), pixel_values=pixels.values
        )
    torch.testing.assert_close(matcher.score(pixels, TEXTS), theirs.logits_per_image, atol=1e-3, rtol=1e-4)
    reader = BackboneReader(str(folder))
    assert reader.native == (4, 4)


def test_a_first_release_of_unknown_size_says_what_to_fetch(published: Get, tmp_path: Path) -> None:
    folder = first_release(tmp_path / "tips", published("tipsv2"), vision_fn="vit_so400m")
    with pytest.raises(ValueError, match=r"vit_so400m' is not known.*current config\.json"):
        Matcher.from_published(folder)


@pytest.mark.parametrize("regions", ["whole", "patches"])
def test_tips_is_exported_with_words_as_texts_of_their_own(
    regions: str, published: Get, tmp_path: Path
) -> None:
    import_dual(published("tipsv2"), tmp_path / "tips", regions=regions)
    report = export_onnx(tmp_path / "tips", int8=True)
    assert report.differences["float32"] < 1e-4
    matcher, exported = (kind.from_pretrained(tmp_path / "tips") for kind in (Matcher, OnnxMatcher))
    texts = ["the red dog on a bench", "caf\u00e9", "dog"]
    right, found = matcher.encode_texts(texts), exported.encode_texts(texts)
    assert torch.equal(right.mask, found.mask)
    torch.testing.assert_close(found.vectors, right.vectors, atol=1e-5, rtol=1e-4)
    (why, same) = (one.align(photos(1), ["a red dog"])[0] for one in (matcher, exported))
    torch.testing.assert_close(same.found, why.found, atol=1e-4, rtol=0)
    assert same.of_wholes == why.of_wholes


def test_naflex_says_that_it_is_not_exported(published: Get, tmp_path: Path) -> None:
    import_dual(published("naflex"), tmp_path / "model")
    with pytest.raises(
        ValueError, match=r"own shape .* cannot be written as ONNX; export a model of a fixed"
    ):
        export_onnx(tmp_path / "model")


def test_words_alone_are_for_models_that_are_trained_for_it(published: Get) -> None:
    table = {"name": "dual", "model": str(published("clip")), "items": "both", "words": "alone"}
    with pytest.raises(ValueError, match=r'is for TIPSv2, .* set words = "in-context"'):
        registry.build("text_encoder", table)


def test_naflex_is_trained_further_on_pictures_of_several_shapes(published: Get, tmp_path: Path) -> None:
    lines = ["image,caption,split"]
    for n, picture in enumerate(shaped()):
        picture.save(tmp_path / f"{n}.png")
        lines += [f"{n}.png,a dog {n} runs,{split}" for split in ("train", "val")]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    folder = str(published("naflex"))
    side = {"name": "dual", "model": folder, "head": True, "dim": 8}
    config = Config(
        {
            "data": {"name": "table", "path": str(tmp_path / "captions.csv")},
            "reader": {"name": "model-pixels", "model": folder},
            "tokenizer": {"name": "dual", "model": folder},
            "image_encoder": side | {"items": "patches"},
            "text_encoder": side | {"items": "words"},
            "similarity": {"name": "max-sim"},
            "loss": {"name": "info-nce"},
            "training": {"epochs": 1, "batch_size": 4, "flip_pictures": 0.5, "precision": "float32"},
        }
    )
    train(config, tmp_path / "run")
    learned = Matcher.from_pretrained(matcher_folder(str(tmp_path / "run")))
    before = Builder(config).matcher(Builder(config).pairs("train"))
    tower = learned.image_encoder.tower.state_dict()
    assert not torch.equal(
        tower["encoder.layers.0.mlp.fc1.weight"],
        before.image_encoder.tower.state_dict()["encoder.layers.0.mlp.fc1.weight"],
    )
    index = Index.create(tmp_path / "index", matcher_folder(str(tmp_path / "run")))
    index.update([tmp_path])
    hit = Searcher(Index.open(tmp_path / "index")).find_images("a dog", k=4).hits[0]
    assert hit.evidence == "cell"
