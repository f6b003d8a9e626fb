"""Commands where torch is not installed: they index, search and measure with an exported model."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_verbs import verbs
from support.command_without_torch import all_without_torch, without_torch
from support.published_dual_encoders import photos, publish
from support.small_index import small_model
from support.small_problem import wordsight

from wordsight.exporters.onnx_export import export_onnx
from wordsight.matcher import Matcher
from wordsight.read.features.store import FeatureStore


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and an exported model."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "pictures").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "pictures" / f"{number}.png")
    export_onnx(small_model(folder))
    return folder


def test_pictures_are_indexed_searched_and_compared(home: Path) -> None:
    made = without_torch("index", home / "pictures", "--model", home / "model", "--out", home / "index")
    assert made.returncode == 0, made.stderr
    found = without_torch("search", home / "index", "a red ball", "--json")
    assert len([json.loads(line) for line in found.stdout.splitlines()]) == 4, found.stderr
    like = without_torch("similar", home / "index", home / "pictures" / "1.png", "--json")
    assert len(like.stdout.splitlines()) == 3, like.stderr


YOLOX = Path(os.environ.get("WORDSIGHT_DATA", "../shared/data")).resolve() / "weights/yolox_nano_coco80.onnx"


@pytest.mark.skipif(not YOLOX.is_file(), reason="needs the shared detector")
def test_a_network_and_a_detector_in_onnx_read_regions_as_with_torch(home: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    images, means = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        for name, sizes in (("images", ["n", 3, 8, 8]), ("map", [None] * 4))
    )
    node = helper.make_node("AveragePool", ["images"], ["map"], kernel_shape=[2, 2], strides=[2, 2])
    opset = [helper.make_opsetid("", 13)]
    save(
        helper.make_model(
            helper.make_graph([node], "means", [images], [means]), opset_imports=opset, ir_version=8
        ),
        tmp_path / "means.onnx",
    )
    options = ("--model", tmp_path / "means.onnx", "--detector", YOLOX, "--mirrored")
    made = without_torch("features", "extract", home / "pictures", *options, "--out", tmp_path / "light")
    assert made.returncode == 0, made.stderr
    assert (
        wordsight("features", "extract", home / "pictures", *options, "--out", tmp_path / "torch").exit_code
        == 0
    )
    light, torch = (FeatureStore.open(tmp_path / kind) for kind in ("light", "torch"))
    for read in (FeatureStore.read, FeatureStore.read_mirrored):
        found, right = read(light, range(4)), read(torch, range(4))
        np.testing.assert_allclose(found.features, right.features, atol=1e-3)
        np.testing.assert_allclose(found.boxes, right.boxes, atol=1e-3)


def test_stored_scores_are_measured(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.eye(8, dtype=np.float32).repeat(5, 1))
    measured = without_torch("evaluate", "--scores", tmp_path / "scores.npy", "--json")
    assert json.loads(measured.stdout)["rsum"] == 600, measured.stderr


INSTALL = r"pip install 'wordsight\[train\]'"
NEEDS_TORCH = {
    "train", "demo", "config show", "evaluate", "calibrate", "compare", "audit", "labels", "import", "export",
    "features extract", "features encode",
}  # fmt: skip


def test_every_verb_works_or_says_in_one_sentence_what_it_needs(home: Path, tmp_path: Path) -> None:
    pictures, model, new = home / "pictures", home / "model", tmp_path
    (new / "captions.csv").write_text("image,caption\n0.png,a red ball\n1.png,a dog runs\n")
    for picture in pictures.iterdir():
        (new / picture.name).write_bytes(picture.read_bytes())
    pairs, index = new / "captions.csv", new / "index"
    np.save(new / "scores.npy", np.eye(8, dtype=np.float32))
    commands: dict[str, tuple[object, ...]] = {
        "train": ("chan-flickr8k",),
        "demo": ("--out", new / "demo"),
        "config show": ("chan-flickr8k",),
        "evaluate": (model,),
        "calibrate": (model,),
        "compare": (new / "grid.toml",),
        "audit": (pairs, "--model", model),
        "features extract": (pictures, "--model", "owner/name", "--out", new / "features"),
        "features export": (new / "features", pairs, "--out", new / "exported"),
        "features encode": (model, "--out", new / "vectors"),
        "data check": (pairs,),
        "data world": (new, "--images", 1),
        "data convert": (new / "features.tsv", "--out", new / "converted"),
        "data records": (pairs, "--out", new / "records"),
        "vocab build": (pairs, "--out", new / "words.json"),
        "vocab labels": (pairs, "--out", new / "labels.json"),
        "import": (new / "model.pth", "--from", "chan", "--out", new / "imported"),
        "export": (model,),
        "labels": (model, "a red ball"),
        "index": (pictures, "--model", model, "--out", index),
        "search": (index, "a red ball"),
        "similar": (index, pictures / "1.png"),
        "captions": (index, pictures / "1.png"),
        "explain": (index, "a red ball", 1),
        "serve": (new / "no-index",),
        "engine start": (pairs,),
        "engine stop": (new / "engine",),
        "engine status": (new / "engine",),
        "doctor": (index, "--no-network"),
    }
    assert set(commands) == set(verbs())
    answers = all_without_torch([(*verb.split(), *rest) for verb, rest in commands.items()])
    for verb, answer in zip(commands, answers, strict=True):
        assert "internal error" not in answer.err + answer.out, (verb, answer)
        if verb in NEEDS_TORCH:
            sentence = (
                rf"wordsight: {verb} needs (torch|huggingface_hub), which is not installed: {INSTALL}\n"
            )
            assert answer.code == 1, verb
            assert re.fullmatch(sentence, answer.err), (verb, answer)
        elif answer.code:
            assert answer.err.count("\n") == 1 or "Error: " in answer.err or answer.out, (verb, answer)
        assert "torch" not in answer.err or verb in NEEDS_TORCH, (verb, answer)


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2", "tipsv2"])
def test_a_published_dual_encoder_indexes_and_searches(family: str, tmp_path: Path) -> None:
    matcher = Matcher.from_published(publish(tmp_path / "published", family), "patches")
    matcher.save_pretrained(tmp_path / "model")
    export_onnx(tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(photos(4)):
        picture.save(tmp_path / "pictures" / f"{number}.png")
    made = without_torch(
        "index", tmp_path / "pictures", "--model", tmp_path / "model", "--out", tmp_path / "i"
    )
    assert made.returncode == 0, made.stderr
    query = "the red dog's ball, on a café!"
    found = without_torch("search", tmp_path / "i", query, "--json")
    hits = {Path(hit["path"]).stem: hit["score"] for hit in map(json.loads, found.stdout.splitlines())}
    scores = matcher.score(photos(4), [query])[:, 0].tolist()
    assert [hits[str(n)] for n in range(4)] == pytest.approx(scores, abs=0.05), found.stderr  # of float16
