"""An export computes what torch computes, appears whole or not at all, and is refused for other weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support import registry_choices, search_answers, search_models

from wordsight import checkpoint
from wordsight.builder import Builder
from wordsight.config import Config
from wordsight.errors import AlreadyExistsError, InputError, MissingFileError
from wordsight.exported import FOLDER, has_export, read_export
from wordsight.exporters import onnx_export
from wordsight.exporters.onnx_export import MAX_DIFFERENCE, export_onnx
from wordsight.files.index_folder import MODEL
from wordsight.matcher import Matcher
from wordsight.matcher.onnx_matcher import OnnxMatcher
from wordsight.search.index import manifest

SYSTEMS = {  # image encoder, text encoder, pools of both, whether there is a joint layer
    "transformer and LSTM": ("regions, transformer", "lstm", "gpo", "last", "projection"),
    "MLP and two layers": ("regions, MLP", "gru, two layers", "none", "none", "none"),
    "backbone and BERT": ("regions, backbone", "bert", "none", "gpo", "projection"),
    "regions and BERT read by a GRU": ("regions", "bert, frozen, GRU", "none", "none", "none"),
    "network and GRU": ("backbone", "gru, one way", "max", "mean", "none"),
    "CLIP": ("dual", "dual", "none", "none", "none"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registry_choices.make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_encoder_is_exported_and_reads_batches_of_other_sizes(
    name: str, world: Path, tmp_path: Path
) -> None:
    image, text, image_pool, text_pool, projection = SYSTEMS[name]
    one = "none" not in (image_pool, text_pool)
    row = {
        "image": image, "text": text, "image pool": image_pool, "text pool": text_pool,
        "projection": projection, "similarity": "cosine" if one else "max-sim, words",
        "pooling": "none" if one else "mean", "normalize": "not asked", "loss": "info-nce",
    }  # fmt: skip
    builder = Builder(Config(registry_choices.tables(row, world)))
    matcher = builder.matcher(builder.pairs("train")).eval()
    matcher.save_pretrained(tmp_path / "model")
    report = export_onnx(tmp_path / "model")
    assert report.differences["float32"] <= MAX_DIFFERENCE
    exported = OnnxMatcher.from_pretrained(tmp_path / "model")
    texts = ["a dog on the grass", "snow", "the cat under the car on sand", "bird"]
    with torch.no_grad():
        right, found = matcher.encode_texts(texts), exported.encode_texts(texts)
    assert torch.equal(right.mask, found.mask)
    torch.testing.assert_close(found.vectors, right.vectors, atol=1e-5, rtol=1e-4)
    if report.no_pictures:
        assert "stored features" in report.no_pictures
        return
    pictures = [world / "dog.png", world / "cat.png"]
    torch.testing.assert_close(
        exported.score(pictures, texts), matcher.score(pictures, texts), atol=1e-4, rtol=1e-4
    )


def equal(found: Any, right: Any, place: str = "") -> None:
    """Raises where answers differ by more than 1e-4."""
    assert type(found) is type(right), (place, found, right)
    if isinstance(right, dict):
        assert found.keys() == right.keys(), place
        for key in right:
            equal(found[key], right[key], f"{place} / {key}")
    elif isinstance(right, list):
        assert len(found) == len(right), place
        for number, pair in enumerate(zip(found, right, strict=True)):
            equal(*pair, f"{place} / {number}")
    elif isinstance(right, float):
        assert found == pytest.approx(right, abs=1e-4, rel=1e-4), place
    else:
        assert found == right, place


def test_a_process_without_torch_answers_as_torch_does() -> None:
    """Every similarity: hits, order, words, boxes, operators, similar pictures, reasons, captions."""
    indexes = [*map(search_models.index, search_models.KINDS), search_models.texts_index()]
    for index in indexes:
        before = manifest.identity(index.folder / MODEL)
        export_onnx(index.folder / MODEL)
        assert manifest.identity(index.folder / MODEL) == before
    picture, folders = search_models.path_of(3), [index.folder for index in indexes]
    right = [json.loads(json.dumps(search_answers.answers(folder, picture))) for folder in folders]
    found = search_answers.answers_without_torch(folders, picture)
    for kind, *pair in zip([*search_models.KINDS, "texts"], found, right, strict=True):
        equal(*pair, kind)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(search_models.model("cosine"), tmp_path / "model"))


def test_an_export_of_other_weights_is_refused(model: Path) -> None:
    export_onnx(model)
    weights = checkpoint.read_weights(model / checkpoint.WEIGHTS)
    checkpoint.save_weights(model / checkpoint.WEIGHTS, {name: one + 1 for name, one in weights.items()})
    with pytest.raises(InputError, match=r"belongs to other weights.*wordsight export"):
        OnnxMatcher.from_pretrained(model)


def test_a_model_without_an_export_says_how_to_make_one(model: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no ONNX export.*wordsight export"):
        OnnxMatcher.from_pretrained(model)


def test_a_failed_export_leaves_the_earlier_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_onnx(model)
    before = {path.name: path.read_bytes() for path in (model / FOLDER).iterdir()}
    monkeypatch.setattr(onnx_export, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(InputError, match="scores of the export differ from torch's by"):
        export_onnx(model)
    assert {path.name: path.read_bytes() for path in (model / FOLDER).iterdir()} == before
    assert not [path for path in model.iterdir() if path.name.startswith(".")]


def test_eight_bits_are_a_second_pair_of_files(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = export_onnx(model, tmp_path / "light", int8=True)
    assert not caplog.records  # onnxruntime's remarks on each tensor
    assert not has_export(model)
    assert set(read_export(tmp_path / "light").differences) == {"float32", "int8"}
    assert 0 < report.differences["int8"] < 0.1
    small = OnnxMatcher.from_pretrained(tmp_path / "light", precision="int8")
    right = Matcher.from_pretrained(model).encode_texts(["a red circle"])
    found = small.encode_texts(["a red circle"])
    assert torch.cosine_similarity(found.vectors[0, 0], right.vectors[0, 0], dim=0).item() > 0.99
    with pytest.raises(AlreadyExistsError, match="choose another --out"):
        export_onnx(model, tmp_path / "light")


@pytest.mark.parametrize("content", ["[]", '{"format": 1}', '{"format": 99}', "{"])
def test_a_damaged_description_is_an_error(model: Path, content: str) -> None:
    export_onnx(model)
    (model / FOLDER / "export.json").write_text(content)
    with pytest.raises(InputError):
        OnnxMatcher.from_pretrained(model)


def test_a_description_without_texts_is_damaged(model: Path) -> None:
    export_onnx(model)
    path = model / FOLDER / "export.json"
    path.write_text(path.read_text().replace('"text": [', '"txet": [', 1))
    with pytest.raises(InputError, match=r"damaged \(KeyError: 'text'\)"):
        OnnxMatcher.from_pretrained(model)
