"""A detector's boxes become regions: the right boxes, none twice, what lies in them, one identity."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.published_backbones import photos, publish
from support.published_detectors import DETECTORS, publish_detector
from torch import Tensor
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.matcher import Matcher
from wordsight.pretrained import feature_maps
from wordsight.pretrained.models import MissingModel
from wordsight.read.features.extract import extract
from wordsight.read.features.store import FeatureStore
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.detectors import SAME, THIN, PublishedDetector, detect, distinct, open_detector
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

# Which boxes are kept


def shared(one: list[float], other: list[float]) -> float:
    """Of the union of two boxes, said plainly."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def kept_plainly(boxes: Tensor, sure: Tensor, most: int) -> list[list[float]]:
    kept: list[list[float]] = []
    for place in sorted(range(len(boxes)), key=lambda place: -float(sure[place])):
        box = [min(max(side, 0.0), 1.0) for side in boxes[place].tolist()]
        thin = min(box[2] - box[0], box[3] - box[1]) <= THIN
        if not thin and all(shared(box, other) <= SAME for other in kept) and len(kept) < most:
            kept.append(box)
    return kept


@pytest.mark.parametrize("seed", range(20))
def test_the_surest_boxes_are_kept_and_none_twice(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, most = 40, 1 + seed % 8
    corner, size = (
        torch.rand(count, 2, generator=generator) - 0.1,
        torch.rand(count, 2, generator=generator) / 2,
    )
    boxes, sure = torch.cat([corner, corner + size], 1), torch.rand(count, generator=generator)
    boxes[: count // 2] = boxes[count // 2 :] + 0.01  # each nearly twice
    ours = boxes[distinct(boxes, sure, most)].clamp(0, 1)
    torch.testing.assert_close(ours, torch.tensor(kept_plainly(boxes, sure, most)))


def test_no_box_is_an_answer() -> None:
    assert len(distinct(torch.zeros(0, 4), torch.zeros(0), 3)) == 0
    assert len(distinct(torch.tensor([[0.5, 0.5, 0.51, 0.9]]), torch.ones(1), 3)) == 0


# What lies in a box


def test_the_mean_of_a_box_counts_each_cell_as_far_as_it_lies_inside() -> None:
    features = torch.randn(2, 5, 4, 6)
    boxes = torch.tensor([[0.1, 0.2, 0.63, 0.9], [0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.31, 0.32]]).repeat(
        2, 1, 1
    )
    fine = features.repeat_interleave(200, 2).repeat_interleave(200, 3)  # 800 x 1200 points
    ours = feature_maps.averaged(features, boxes)
    for place, (left, top, right, bottom) in enumerate(boxes[0].tolist()):
        rows = slice(round(top * 800), round(bottom * 800))
        columns = slice(round(left * 1200), round(right * 1200))
        torch.testing.assert_close(
            ours[:, place], fine[:, :, rows, columns].mean((2, 3)), atol=1e-4, rtol=1e-4
        )


def test_a_box_of_a_grid_has_the_mean_of_the_grids_cell() -> None:
    features, sides = torch.randn(3, 5, 8, 8), [(1, 1), (2, 2), (4, 4)]
    boxes = feature_maps.boxes(sides, (8, 8)).expand(3, -1, -1)
    torch.testing.assert_close(feature_maps.averaged(features, boxes), feature_maps.pooled(features, sides))
    assert not feature_maps.averaged(features, torch.full((3, 1, 4), 0.5)).any()


# Published detectors


@pytest.mark.parametrize("family", DETECTORS)
def test_published_detectors_find_what_their_own_code_finds(tmp_path: Path, family: str) -> None:
    folder = publish_detector(tmp_path / family, family)
    detector = open_detector(str(folder))
    assert isinstance(detector, PublishedDetector)
    frames = [detector.pixels.prepare(photo) for photo in photos(3)]
    values = detector.pixels.stack(frames).values
    candidates = detector.candidates(frames)
    boxes, sure, kinds = candidates.boxes, candidates.sure, candidates.kinds
    assert candidates.chances.shape[-1] == detector.kind_count
    with torch.no_grad():
        told = type(DETECTORS[family]()).from_pretrained(folder)(pixel_values=values)
    for image in range(3):
        for query in range(12):
            x, y, w, h = told.pred_boxes[image, query].tolist()
            expected = torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            torch.testing.assert_close(boxes[image, query], expected, atol=1e-5, rtol=1e-4)
            logits = told.logits[image, query].tolist()
            if family == "rt-detr":
                best = max(1 / (1 + np.exp(-logit)) for logit in logits)
            else:
                best = max(np.exp(logits[:-1])) / sum(np.exp(logits))
            assert float(sure[image, query]) == pytest.approx(best, abs=1e-5)
            real = logits if family == "rt-detr" else logits[:-1]
            assert int(kinds[image, query]) == int(np.argmax(real))


@pytest.mark.parametrize("family", DETECTORS)
def test_a_saved_reader_holds_its_detector(tmp_path: Path, family: str) -> None:
    eye, eyes = publish(tmp_path / "eye", "resnet"), publish_detector(tmp_path / "finder", family)
    reader = BackboneReader(str(eye), grid=2, detector=str(eyes), detections=3)
    saved = reader.save(tmp_path / "model")
    shutil.rmtree(eye)
    shutil.rmtree(eyes)
    inside = {name: str(tmp_path / "model" / saved[name]) for name in ("model", "detector")}
    again = BackboneReader(**saved | inside)
    assert again.identity == reader.identity
    before, after = reader(photos(3)), again(photos(3))
    assert torch.equal(before.features, after.features)
    assert before.boxes is not None
    assert torch.equal(before.boxes, after.boxes)
    assert before.features.shape[1] == 4 + 3


def test_fewer_boxes_than_asked_for_are_said_to_be_fewer(tmp_path: Path) -> None:
    eye, eyes = publish(tmp_path / "eye", "resnet"), publish_detector(tmp_path / "finder", "yolos")
    regions = BackboneReader(str(eye), grid=1, detector=str(eyes), detections=50)(photos(2))
    assert regions.boxes is not None
    real = regions.mask.sum(1)
    assert regions.features.shape[1] == 51
    assert (real < 14).all()  # a whole, and at most its twelve queries
    assert not regions.features[~regions.mask].any()
    assert not regions.boxes[~regions.mask].any()
    assert extract_and_read(tmp_path, eye, eyes) == 51


def extract_and_read(tmp_path: Path, eye: Path, eyes: Path) -> int:
    """A store keeps which regions are real."""
    for number, photo in enumerate(photos(3)):
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    reader = BackboneReader(str(eye), grid=1, detector=str(eyes), detections=50)
    files = sorted(tmp_path.glob("*.png"))
    extract(reader, files, tmp_path / "store")
    stored, direct = FeatureStore.open(tmp_path / "store").read([0, 1, 2]), reader(files)
    assert torch.equal(stored.mask, direct.mask)
    torch.testing.assert_close(stored.features, direct.features, atol=2e-3, rtol=2e-3)
    return stored.features.shape[1]


def test_what_a_model_does_not_see_is_no_region_of_it(tmp_path: Path) -> None:
    """A model that sees the centre of a wide picture: boxes are cut off at its edges, others are dropped."""
    eye, eyes = publish(tmp_path / "eye", "clip"), publish_detector(tmp_path / "finder", "rt-detr")
    pictures = photos(4, width=400, height=50)
    whole = BackboneReader(str(eye), grid=1, detector=str(eyes), detections=12)(pictures)
    centre = BackboneReader(str(eye), grid=1, fit="published", detector=str(eyes), detections=12)(pictures)
    assert whole.boxes is not None
    assert centre.boxes is not None
    view = centre.boxes[0, 0]
    for image in range(4):
        for place in range(1, 13):
            left, top, right, bottom = whole.boxes[image, place].tolist()
            cut = [max(left, view[0]), max(top, view[1]), min(right, view[2]), min(bottom, view[3])]
            seen = bool(whole.mask[image, place]) and cut[0] < cut[2] and cut[1] < cut[3]
            assert bool(centre.mask[image, place]) == seen
            if seen:
                torch.testing.assert_close(
                    centre.boxes[image, place], torch.tensor(cut), atol=1e-5, rtol=1e-4
                )


def test_boxes_are_read_in_the_finer_of_two_sizes(tmp_path: Path) -> None:
    eye, eyes = (
        str(publish(tmp_path / "eye", "resnet")),
        str(publish_detector(tmp_path / "finder", "rt-detr")),
    )
    both = BackboneReader(eye, grid=2, high_res_size=64, high_res_grid=[], detector=eyes, detections=3)(
        photos(3)
    )
    fine = BackboneReader(eye, grid=1, size=64, detector=eyes, detections=3)(photos(3))
    assert both.boxes is not None
    assert fine.boxes is not None
    torch.testing.assert_close(both.features[:, 4:], fine.features[:, 1:])
    assert torch.equal(both.boxes[:, 4:], fine.boxes[:, 1:])
    torch.testing.assert_close(both.features[:, :4], BackboneReader(eye, grid=2)(photos(3)).features)


def test_identity_tells_the_detector(tmp_path: Path) -> None:
    eye, eyes = publish(tmp_path / "eye", "resnet"), publish_detector(tmp_path / "finder", "yolos")
    without = BackboneReader(str(eye), grid=2)
    assert "detector" not in without.settings  # stores that were made before there were detectors stay valid
    base = BackboneReader(str(eye), grid=2, detector=str(eyes)).identity
    fewer = BackboneReader(str(eye), grid=2, detector=str(eyes), detections=5).identity
    moved = shutil.copytree(eyes, tmp_path / "moved")
    assert BackboneReader(str(eye), grid=2, detector=str(moved)).identity == base
    other = publish_detector(tmp_path / "other", "rt-detr")
    another = BackboneReader(str(eye), grid=2, detector=str(other)).identity
    assert len({without.identity, base, fewer, another}) == 4


def test_an_index_holds_the_detector_and_says_which_box_a_word_found(tmp_path: Path) -> None:
    """The models that were trained with are gone; new pictures are still read, searched and explained."""
    eye, eyes = publish(tmp_path / "eye", "resnet"), publish_detector(tmp_path / "finder", "yolos")
    words = Vocabulary.learn(["a red green blue ball dog runs"], min_count=1)
    tables = {
        "reader": {"name": "backbone", "model": str(eye), "grid": 1, "detector": str(eyes), "detections": 20},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "regions", "dim": 8},
        "text_encoder": {"name": "recurrent", "dim": 8, "word_dim": 4},
        "similarity": {"name": "max-sim"},
    }
    Matcher.build(tables, vocabulary=words).save_pretrained(tmp_path / "model")
    reader = BackboneReader(str(eye), grid=1, detector=str(eyes), detections=20)
    (tmp_path / "pictures").mkdir()
    for number, photo in enumerate(photos(6)):
        Image.fromarray(photo).save(tmp_path / "pictures" / f"{number}.png")
    index = Index.create(tmp_path / "index", str(tmp_path / "model"))
    for gone in ("eye", "finder", "model"):
        shutil.rmtree(tmp_path / gone)
    index.update([tmp_path / "pictures"])
    searcher = Searcher(Index.open(tmp_path / "index"))
    hits = searcher.find_images("a red dog", k=6).hits
    assert len(hits) == 6
    for hit in hits:
        told = searcher.explain("a red dog", hit.item.id)
        expected = reader([hit.item.path])
        assert expected.boxes is not None
        real = expected.boxes[expected.mask]
        assert 1 < len(real) < 20  # a set of its own size for each picture
        torch.testing.assert_close(torch.tensor(told.regions), real, atol=1e-3, rtol=0)
        assert told.score == pytest.approx(hit.score, abs=2e-3)


# What is wrong is said


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    eye = publish(tmp_path / "eye", "resnet")
    with pytest.raises(ValueError, match=r"eye is no detector that transformers loads; take RT-DETR"):
        open_detector(str(eye))
    with pytest.raises(MissingModel, match=r"there is no folder"):
        open_detector(str(tmp_path / "nowhere"))
    with pytest.raises(
        MissingModel, match=r"there is no file .*nowhere.onnx; give the path of an .onnx file"
    ):
        open_detector(str(tmp_path / "nowhere.onnx"))
    with pytest.raises(ValueError, match=r"detections = 0; expected at least 1"):
        BackboneReader(str(eye), detector=str(eye), detections=0)
    eyes = publish_detector(tmp_path / "finder", "rt-detr")
    config = json.loads((eyes / "config.json").read_text())
    (eyes / "config.json").write_text(json.dumps(config | {"decoder_layers": 2}))
    with pytest.raises(ValueError, match=r"do not fit its config.json: \d+ missing"):
        open_detector(str(eyes))


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"onnxruntime; pip install onnxruntime"):
        open_detector(str(tmp_path / "some.onnx"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="YOLOX is read where wordsight[onnx] is installed")
    (tmp_path / "some.onnx").write_bytes(b"no model at all")
    with pytest.raises(ValueError, match=r"some.onnx cannot be read as ONNX \(.*\); fetch it again"):
        open_detector(str(tmp_path / "some.onnx"))


# YOLOX on real photographs

NANO = "yolox_nano_coco80.onnx"


def yolox_plainly(path: Path, photo: Path) -> list[tuple[float, list[float], int]]:
    """Sureness, box (fractions) and kind of every cell, one after the other."""
    import onnxruntime

    pixels = np.asarray(Image.open(photo).resize((416, 416), Image.Resampling.BILINEAR), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(path))
    output = session.run(None, {"images": pixels[None, :, :, ::-1].transpose(0, 3, 1, 2).copy()})[0][0]
    told, number = [], 0
    for stride in (8, 16, 32):
        for row in range(416 // stride):
            for column in range(416 // stride):
                x, y, log_width, log_height, thing, *kinds = output[number].tolist()
                centre_x, centre_y = (x + column) * stride, (y + row) * stride
                width, height = np.exp(log_width) * stride, np.exp(log_height) * stride
                box = [
                    centre_x - width / 2,
                    centre_y - height / 2,
                    centre_x + width / 2,
                    centre_y + height / 2,
                ]
                told.append((thing * max(kinds), [float(side) / 416 for side in box], int(np.argmax(kinds))))
                number += 1
    return told


@pytest.mark.data
class TestYolox:
    @pytest.fixture(autouse=True)
    def _runtime(self) -> None:
        pytest.importorskip("onnxruntime", reason="YOLOX is read where wordsight[onnx] is installed")

    @pytest.fixture
    def files(self, data: Path) -> list[Path]:
        names = ("1000268201_693b08cb0e.jpg", "1001773457_577c3a7d70.jpg", "1002674143_1b742ab4b8.jpg")
        return [data / "flickr8k" / "images" / name for name in names]

    def test_decodes_as_it_is_published(self, data: Path, files: list[Path]) -> None:
        detector = open_detector(str(data / "weights" / NANO))
        candidates = detector.candidates([detector.pixels.prepare(file) for file in files])
        boxes, sure, kinds = candidates.boxes, candidates.sure, candidates.kinds
        assert candidates.chances.shape[-1] == detector.kind_count == 80
        for image, photo in enumerate(files):
            told = yolox_plainly(data / "weights" / NANO, photo)
            expected = torch.tensor([box for _, box, _ in told], dtype=torch.float32)
            seen = sure[image] > 0.01  # below that, many kinds are as likely
            assert torch.equal(kinds[image][seen], torch.tensor([kind for _, _, kind in told])[seen])
            torch.testing.assert_close(boxes[image], expected, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(
                sure[image], torch.tensor([one for one, _, _ in told]), atol=1e-4, rtol=1e-3
            )

    def test_finds_two_dogs(self, data: Path, files: list[Path]) -> None:
        """A black and a white dog, one beside the other."""
        detector = open_detector(str(data / "weights" / NANO))
        boxes, found, chances = detect(detector, [detector.pixels.prepare(files[1])], 2)
        assert (chances.argmax(-1) == 16).any()  # "dog"; the other one passes for a horse
        assert found.all()
        centres = (boxes[0, :, :2] + boxes[0, :, 2:]) / 2
        assert (centres[0] - centres[1]).norm() > 0.15
        assert ((boxes[0, :, 2:] - boxes[0, :, :2]).prod(1) > 0.05).all()

    def test_from_photographs_to_a_word_in_its_box(
        self, data: Path, files: list[Path], tmp_path: Path
    ) -> None:
        """Extracted by the command; a store, and a model folder that was moved, read the same."""
        weights = data / "weights"
        (tmp_path / "photos").mkdir()
        for file in files:
            shutil.copy(file, tmp_path / "photos")
        out = tmp_path / "store"
        command = ["features", "extract", str(tmp_path / "photos"), "--out", str(out), "--grid", "1,2"]
        command += ["--model", str(weights / "mobilenet_v2_1.0_224"), "--signed-sqrt", "--size", "448"]
        ran = CliRunner().invoke(app, [*command, "--detector", str(weights / NANO), "--detections", "6"])
        assert ran.exit_code == 0, ran.output
        store = FeatureStore.open(out)
        stored = store.read([0, 1, 2])
        assert stored.features.shape == (3, 5 + 6, 1280)
        again = BackboneReader(**store.settings)
        store.check_reader(again.identity)
        saved = again.save(tmp_path / "model")
        inside = {name: str(tmp_path / "model" / saved[name]) for name in ("model", "detector")}
        direct = BackboneReader(**saved | inside)(files)
        assert direct.boxes is not None
        assert stored.boxes is not None
        torch.testing.assert_close(stored.boxes, direct.boxes)
        torch.testing.assert_close(stored.features, direct.features, atol=2e-3, rtol=2e-3)
