"""Detectors that read text: boxes of the true picture with their phrases, as transformers' own code says."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.published_backbones import photos, publish
from support.published_dual_encoders import CLIP_MEAN, CLIP_STD
from support.published_prompted import FAMILIES, PHRASES, WORDS, publish_prompted, published_processor

from wordsight.read.features.extract import extract
from wordsight.read.features.store import FeatureStore
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.detectors import detect, open_detector
from wordsight.read.pictures.phrases import phrases_of

SHAPES = [(90, 50), (40, 80), (64, 64)]  # width, height: landscape, portrait, square


def pictures() -> list[np.ndarray]:
    return [photos(1, width, height)[0] for width, height in SHAPES]


def frames_of(detector: Any, given: list[Any]) -> list[Any]:
    return [detector.pixels.prepare(picture) for picture in given]


def seen_by(detector: Any, frames: list[Any]) -> tuple[Any, Any, Any]:
    candidates = detector.candidates(frames)
    assert candidates.chances.shape[-1] == detector.kind_count
    return candidates.boxes, candidates.sure, candidates.kinds


def known_output(detector: Any, columns: int, count: int = 30) -> Any:
    """Boxes inside the upper left of the view, which every picture fills, and any logits."""
    generator = torch.Generator().manual_seed(7)
    boxes = torch.rand(1, count, 4, generator=generator) * 0.2 + 0.1
    return SimpleNamespace(
        pred_boxes=boxes, logits=torch.randn(1, count, columns, generator=generator) * 2 - 3
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_those_of_the_published_post_processing(
    tmp_path: Path, family: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known logits and boxes, through transformers' own code, are pixels of the picture."""
    folder = publish_prompted(tmp_path / "model", family)
    detector: Any = open_detector(str(folder), PHRASES)
    ids = detector.tokenizer("dog. red frisbee. cat.", return_tensors="pt")["input_ids"]
    one_text = "dino" in family
    output = known_output(detector, ids.shape[1] if one_text else len(PHRASES))
    if one_text:  # marks are never what a box shows
        marks = torch.isin(ids[0], torch.tensor([101, 102, 1012]))
        output.logits[..., marks] = -9.0
    monkeypatch.setattr(detector.network, "forward", lambda **_: output)
    boxes, sure, kinds = seen_by(detector, frames_of(detector, photos(1, *shape)))
    width, height = shape
    given = {"target_sizes": [(height, width)], "threshold": detector.threshold}
    processor = published_processor(folder, family)
    if one_text:
        told = processor.post_process_grounded_object_detection(output, ids, **given)[0]
    else:
        told = processor.post_process_grounded_object_detection(output, text_labels=[PHRASES], **given)[0]
    taken = sure[0] > detector.threshold
    assert 0 < int(taken.sum()) < 30
    pixels = boxes[0] * torch.tensor([width, height, width, height])
    torch.testing.assert_close(pixels[taken], told["boxes"], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(sure[0][taken], told["scores"])
    surest = output.logits[0][taken].argmax(-1).tolist()
    for kind, place, text in zip(kinds[0][taken].tolist(), surest, told["text_labels"], strict=True):
        if one_text:  # the phrase around the surest token, which is a part of the published text
            assert kind == int((ids[0, :place] == 1012).sum())
            assert detector.tokenizer.decode([ids[0, place]]).strip("#") in text
        else:
            assert PHRASES[kind] == text


def published_input(processor: Any, picture: np.ndarray, family: str) -> Any:
    """Pixels and text as transformers prepares them; for OWLv2, whose code needs SciPy, here."""
    if family != "owlv2":
        return processor(images=Image.fromarray(picture), text=[PHRASES], return_tensors="pt")
    text = processor.tokenizer(PHRASES, padding="max_length", return_tensors="pt")
    canvas = torch.zeros(3, 64, 64)
    canvas[:, : picture.shape[0], : picture.shape[1]] = torch.tensor(picture).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (CLIP_MEAN, CLIP_STD))
    return {**text, "pixel_values": ((canvas - mean) / std)[None]}


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_and_text_are_given_as_published(tmp_path: Path, family: str) -> None:
    """From a file on: the boxes and logits of transformers' processor and network."""
    folder = publish_prompted(tmp_path / "model", family)
    detector: Any = open_detector(str(folder), ["Dog", "red  frisbee.", "cat"])
    processor = published_processor(folder, family)
    for picture in pictures() if "dino" in family else [photos(1, 64, 40)[0], photos(1, 30, 64)[0]]:
        given = published_input(processor, picture, family)
        with torch.no_grad():
            told = detector.network(**given)
        [frame] = frames_of(detector, [picture])
        seen = detector.pixels.stack([frame]).values
        torch.testing.assert_close(seen, given["pixel_values"], atol=2e-2, rtol=0)
        boxes, logits = detector.logits(given["pixel_values"])
        torch.testing.assert_close(boxes, told.pred_boxes, atol=1e-5, rtol=1e-4)
        expected = told.logits.sigmoid().amax(-1) if "dino" not in family else None
        if expected is not None:
            torch.testing.assert_close(logits.sigmoid().amax(-1), expected)
            continue
        tokens = given["input_ids"][0].tolist()
        for n, phrase in enumerate(PHRASES):
            ids = detector.tokenizer(phrase, add_special_tokens=False)["input_ids"]
            start = next(at for at in range(len(tokens)) if tokens[at : at + len(ids)] == ids)
            torch.testing.assert_close(logits[..., n], told.logits[..., start : start + len(ids)].amax(-1))


def test_phrases_beyond_one_text_are_read_in_several(tmp_path: Path) -> None:
    """Grounding DINO cuts a text at its limit; every phrase is read all the same."""
    folder = publish_prompted(tmp_path / "model", "grounding-dino", most_tokens=8)
    many = ["dog", "red ball", "frisbee", "cat", "ball", "red dog"]
    detector: Any = open_detector(str(folder), many)
    frames = frames_of(detector, pictures()[:1])
    boxes, sure, kinds = seen_by(detector, frames)
    assert boxes.shape[1] == 12 * 3
    assert set(kinds.flatten().tolist()) >= {0, 5} or len(set(kinds.flatten().tolist())) > 2
    alone: Any = open_detector(str(folder), many[:2])
    first = alone.candidates(frames)
    torch.testing.assert_close(boxes[:, :12], first.boxes)
    torch.testing.assert_close(sure[:, :12], first.sure)
    with pytest.raises(ValueError, match=r'"(red ){9}dog" has 10 tokens; the detector reads 1 to 5'):
        open_detector(str(folder), ["red " * 9 + "dog"])


def test_regions_of_a_reader_have_the_phrases_that_found_them(tmp_path: Path) -> None:
    """Cells have none; a store, and a saved reader without its models, say the same."""
    eye = publish(tmp_path / "eye", "resnet")
    eyes = publish_prompted(tmp_path / "finder", "grounding-dino")
    given = {"grid": 2, "detector": str(eyes), "detections": 5, "detector_threshold": 0.0}
    reader = BackboneReader(str(eye), detect="dog, Red Frisbee, cat", **given)
    assert reader.settings["detect"] == PHRASES
    regions = reader(pictures())
    assert regions.labels is not None
    assert regions.features.shape[1] == 4 + 5
    assert not regions.labels[:, :4].any()
    found = regions.mask[:, 4:]
    assert found.any()
    assert ((regions.labels[:, 4:] > 0) == found).all()
    one = detect(open_detector(str(eyes), PHRASES, 0.0), frames_of(reader._detector, pictures()), 5)
    torch.testing.assert_close(regions.labels[:, 4:], (one.chances.argmax(-1) + 1) * found)
    saved = reader.save(tmp_path / "model")
    shutil.rmtree(eye)
    shutil.rmtree(eyes)
    inside = {name: str(tmp_path / "model" / saved[name]) for name in ("model", "detector")}
    again = BackboneReader(**saved | inside)
    assert again.identity == reader.identity
    assert torch.equal(again(pictures()).labels, regions.labels)
    for number, picture in enumerate(pictures()):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.glob("*.png"))
    extract(again, files, tmp_path / "store")
    store = FeatureStore.open(tmp_path / "store")
    assert store.settings["detect"] == PHRASES
    read = store.read([2, 0, 1])
    assert read.labels is not None
    assert torch.equal(read.labels, regions.labels[[2, 0, 1]])


def test_other_phrases_or_another_threshold_are_another_reader(tmp_path: Path) -> None:
    eye, eyes = publish(tmp_path / "eye", "resnet"), publish_prompted(tmp_path / "finder", "owlv2")

    def identity(**settings: Any) -> str:
        return BackboneReader(str(eye), grid=1, detector=str(eyes), **settings).identity

    base = identity(detect="dog, cat")
    assert identity(detect=["dog", "cat"]) == base
    assert len({base, identity(detect="dog"), identity(detect="dog, cat", detector_threshold=0.3)}) == 3


def test_without_phrases_the_kinds_of_coco_are_looked_for() -> None:
    assert len(phrases_of(None)) == 80
    assert {"person", "frisbee", "teddy bear"} <= set(phrases_of(None))
    assert phrases_of(" Dog,red  frisbee,dog. ") == ("dog", "red frisbee")


# What is wrong is said


def test_words_in_the_place_of_a_model_say_what_to_add(tmp_path: Path) -> None:
    eye = str(publish(tmp_path / "eye", "resnet"))
    for words in ("dog, frisbee", "dog", "red dog"):
        with pytest.raises(
            ValueError, match=rf'detector = "{words}" is no model.* --detect "{words}"; MODEL may'
        ):
            BackboneReader(eye, detector=words)
    with pytest.raises(ValueError, match=r"no detector is given to find it; add one that reads text"):
        BackboneReader(eye, detect="dog")
    for phrase in ("a. b", "dog?", "...", ""):
        with pytest.raises(ValueError, match=r"expected words to find, with commas between"):
            phrases_of([phrase])
    with pytest.raises(ValueError, match=r"detect holds 0 phrases; expected 1 to"):
        phrases_of([])


def test_a_detector_that_reads_no_text_says_so(tmp_path: Path) -> None:
    fixed = publish(tmp_path / "eye", "resnet")
    for settings in ({"detect": "dog"}, {"threshold": 0.2}):
        with pytest.raises(
            ValueError, match=r"reads no text: .* take Grounding DINO, MM Grounding DINO, OWLv2"
        ):
            open_detector(str(fixed), **settings)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = publish_prompted(tmp_path / "model", "owlv2")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"do not fit its config.json: \d+ missing"):
        open_detector(str(folder), WORDS[:1])
