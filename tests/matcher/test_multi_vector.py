"""ColPali and ColQwen2 as matchers: the published scores, cells as evidence, prompts that are no words."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.published_dual_encoders import photos
from support.published_multi_vector import publish_multi_vector, published_scores

from wordsight.exporters.onnx_export import export_onnx
from wordsight.matcher import Matcher
from wordsight.runs.opening import open_matcher
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

FAMILIES = ("colpali", "colqwen2")
TEXTS = ["a dog runs", "the red ball on a bench", "dogs!"]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, family: str) -> Path:
    return publish_multi_vector(tmp_path / "published", family)


def pictures() -> list[Image.Image]:
    """Of several shapes, large and small."""
    return [*photos(3), photos(1)[0].resize((30, 90)), photos(1)[0].resize((9, 8))]


def test_scores_are_those_of_the_published_processor(folder: Path, family: str) -> None:
    """Texts of several lengths, pictures of several shapes, all in one batch."""
    matcher = Matcher.from_published(folder)
    ours = matcher.score([np.asarray(picture) for picture in pictures()], TEXTS)
    told = published_scores(folder, family, pictures(), TEXTS).T
    assert float(told.std(0).min()) > 1e-3
    torch.testing.assert_close(ours, told, atol=2e-3, rtol=1e-3)


def test_cells_have_boxes_and_the_instruction_has_none(folder: Path, family: str) -> None:
    matcher = Matcher.from_published(folder)
    wide = np.asarray(photos(1)[0].resize((120, 40)))
    encoded = matcher.encode_images([wide])
    assert encoded.boxes is not None
    sizes = encoded.boxes[0, :, 2:] - encoded.boxes[0, :, :2]
    placed = sizes.amin(1) > 0
    assert bool(encoded.mask.all())
    assert 0 < int(placed.sum()) < len(placed)
    assert float(sizes[placed].prod(1).sum()) == pytest.approx(1)
    columns, rows = (1 / sizes[placed][0]).round().int().tolist()
    assert (columns, rows) == ((4, 4) if family == "colpali" else (6, 2))
    first, second = encoded.boxes[0][placed][:2].tolist()
    assert first[:2] == [0, 0]
    assert second[0] == pytest.approx(first[2])  # from left to right


def test_words_are_those_of_the_text(folder: Path) -> None:
    """Prompt, padding and line end are tokens that count, and no words."""
    tokenizer = Matcher.from_published(folder).tokenizer
    ids, words = tokenizer([TEXTS[1]]).ids[0].tolist(), tokenizer.words(TEXTS[1])
    assert len(words) == 6
    assert ids == tokenizer.finish(words)
    labels = tokenizer.labels(TEXTS[1])
    assert len(labels) == len(ids)
    spelt = "".join(labels[len(tokenizer._before) : len(ids) - len(tokenizer._after)])
    assert spelt == TEXTS[1].replace(" ", "")
    assert ids.count(tokenizer._pad) == 10
    with pytest.raises(ValueError, match=r'the text " " has no words'):
        tokenizer([" "])


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_an_index_is_searched_and_explained(
    tmp_path: Path, folder: Path, precision: str, monkeypatch: Any
) -> None:
    """By the name of a published folder, which is then gone: the index has its own copy."""
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / "photos" / f"{number}.png")
    matcher = open_matcher(str(folder))
    matcher.save_pretrained(tmp_path / "model")
    index = Index.create(tmp_path / "index", tmp_path / "model", precision=precision)
    expected = matcher.score(sorted((tmp_path / "photos").glob("*.png")), TEXTS[:1])[:, 0]
    for gone in ("published", "model", "cache"):
        shutil.rmtree(tmp_path / gone, ignore_errors=True)
    index.update([tmp_path / "photos"])
    searcher = Searcher(Index.open(tmp_path / "index"))
    hits = searcher.find_images(TEXTS[0], k=5).hits
    assert len(hits) == 5
    for hit in hits:
        truth = float(expected[int(Path(hit.item.path).stem)])
        assert hit.score == pytest.approx(truth, abs=0.3 if precision == "int8" else 0.02)
        told = searcher.explain(TEXTS[0], hit.item.id)
        assert told.kind == "cell"
        assert [one.word.word for one in told.words] == ["a", "dog", "runs"]
        assert told.score == pytest.approx(hit.score, abs=2e-3)
        for one in told.words:
            best = told.regions[max(range(len(one.shares)), key=lambda n: one.shares[n])]
            assert one.word.box == (best if best[2] > best[0] else None)


def test_both_sides_share_one_network(tmp_path: Path, folder: Path) -> None:
    """A saved model has the published files once, and no weights of its own."""
    matcher = Matcher.from_published(folder)
    assert matcher.image_encoder.network is matcher.text_encoder.network
    matcher.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "published" / "model.safetensors").is_file()
    again = Matcher.from_pretrained(tmp_path / "model").to("cpu")
    assert again.image_encoder.network is again.text_encoder.network
    given = [np.asarray(picture) for picture in pictures()]
    assert torch.equal(again.score(given, TEXTS), matcher.score(given, TEXTS))


def test_an_export_is_refused_in_one_sentence(tmp_path: Path, folder: Path) -> None:
    Matcher.from_published(folder).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"share one language model .* search this model with torch"):
        export_onnx(tmp_path / "model")
    assert not (tmp_path / "model" / "onnx").exists()


def test_bfloat16_halves_the_network(tmp_path: Path, folder: Path) -> None:
    Matcher.from_published(folder).save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    for side in ("image_encoder", "text_encoder"):
        config["parts"][side]["precision"] = "bfloat16"
    path.write_text(json.dumps(config))
    half, whole = Matcher.from_pretrained(tmp_path / "model"), Matcher.from_published(folder)
    assert next(half.text_encoder.parameters()).dtype == torch.bfloat16
    given = [np.asarray(picture) for picture in pictures()]
    exact = whole.score(given, TEXTS)
    torch.testing.assert_close(half.score(given, TEXTS), exact, atol=float(exact.abs().max()) * 0.1, rtol=0)


def test_files_that_do_not_fit_are_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vlm_config"]["text_config"]["num_hidden_layers"] = 3
    config["vlm_config"]["text_config"].pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"do not fit its config.json: \d+ missing"):
        Matcher.from_published(folder)


def test_a_published_model_that_opens_as_no_matcher_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "colmodernvbert", "vlm_config": {}}))
    with pytest.raises(
        ValueError, match=r'"colmodernvbert", which opens as no matcher; known: CLIP .*ColQwen2'
    ):
        open_matcher(str(tmp_path))
