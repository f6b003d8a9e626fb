"""Do words point at what they name: against a slow loop, and from known boxes to what evaluate prints."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.entity_files import annotation, entities, thing
from support.small_problem import RowCache, small_matcher, small_pairs, untrained_run, wordsight

from wordsight.builder import Builder
from wordsight.config import CONFIG, load_config
from wordsight.evaluation import Pointing, pointing_accuracy
from wordsight.matcher import Matcher
from wordsight.pairs import Box, PairSet, WordBox
from wordsight.read.synthetic.dataset import World
from wordsight.read.text.align_words import counterparts
from wordsight.read.text.base import spelled_words
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_rules import split_words
from wordsight.read.text.word_tokenizer import Words
from wordsight.read.text.wordpiece_tokenizer import WordPieces

PHOTOS = ("1000268201_693b08cb0e", "1001773457_577c3a7d70")  # a girl on stairs; two dogs, 224 x 224 pixels
GIRL = """\
[/EN#1/people A child] in [/EN#2/clothing a pink dress] is climbing up [/EN#3/other a set of stairs] in an entry way .
[/EN#1/people A girl] going into [/EN#4/scene a wooden building] .
[/EN#1/people A little girl] climbing into [/EN#4/scene a wooden playhouse] .
[/EN#1/people A little girl] climbing [/EN#3/other the stairs] to [/EN#4/scene her playhouse] .
[/EN#1/people A little girl] in [/EN#2/clothing a pink dress] going into [/EN#4/scene a wooden cabin] .
"""  # noqa: E501
ON_STAIRS = annotation(
    thing([1], 5, 68, 62, 151),
    thing([2], 5, 83, 52, 133),
    thing([3], 1, 146, 66, 224),
    thing([4], 30, 1, 224, 180),
    width=224,
    height=224,
)
DOGS = """\
[/EN#5/animals A black dog] and [/EN#6/animals a spotted dog] are fighting
[/EN#5/animals A black dog] and [/EN#6/animals a tri-colored dog] playing with [/EN#0/notvisual each other] on [/EN#7/scene the road] .
[/EN#5/animals A black dog] and [/EN#6/animals a white dog] with [/EN#6/animals brown spots] are staring at each other .
[/EN#8/animals Two dogs] of different breeds looking at each other on [/EN#7/scene the road] .
[/EN#8/animals Two puppies] on pavement moving toward each other .
"""  # noqa: E501
ON_A_ROAD = annotation(
    thing([5, 8], 1, 1, 82, 90),
    thing([6, 8], 106, 60, 188, 224),
    thing([7], scene=1),
    width=224,
    height=224,
)


def random_matcher() -> Matcher:
    torch.manual_seed(0)
    return small_matcher(dropout=0).eval()


def random_pairs(images: int = 12) -> PairSet:
    """Regions with boxes anywhere; two words of each text have one to three boxes, one word is not there."""
    pairs = small_pairs(images)
    regions = pairs.images.regions  # type: ignore[attr-defined]
    corners = torch.rand(*regions.features.shape[:2], 2, 2).sort(2).values  # left, top; right, bottom
    pairs = pairs.with_images(RowCache(replace(regions, boxes=corners.flatten(2))))
    objects = []
    for text in pairs.texts:
        words = [0, len(split_words(text)) - 1]
        objects.append([WordBox(word, *_boxes(1 + word % 3)) for word in words] + [WordBox(None, *_boxes(1))])
    return replace(pairs, objects=objects)


def _boxes(count: int) -> tuple[Box, tuple[Box, ...]]:
    sides = torch.rand(count, 2, 2).sort(1).values.flatten(1).tolist()
    first, *others = [(left, top, right, bottom) for left, top, right, bottom in sides]
    return first, tuple(others)


def point_plainly(matcher: Matcher, pairs: PairSet) -> tuple[list[bool], list[float], list[bool]]:
    """One text at a time: whether each object word hits, its chance to, and whether the centre does."""
    hits, chances, centres = [], [], []
    assert pairs.objects is not None
    for text, objects in enumerate(pairs.objects):
        images = matcher.encode_images(matcher.read_images(pairs.images.read([int(pairs.image_of[text])])))
        (alignment,) = matcher.similarity.align(images, matcher.encode_texts([pairs.texts[text]]))
        assert images.boxes is not None
        for known in objects:
            if known.word is None:
                continue
            good = []
            for region, real in enumerate(images.mask[0].tolist()):
                left, top, right, bottom = images.boxes[0, region].tolist()
                x, y = (left + right) / 2, (top + bottom) / 2
                good.append(real and any(_holds(box, x, y) for box in (known.box, *known.others)))
            shares = alignment.shares[0, :, known.word + 1].tolist()  # after <start>
            hits.append(good[shares.index(max(shares))])
            chances.append(sum(good) / int(images.mask.sum()))
            centres.append(any(_holds(box, 0.5, 0.5) for box in (known.box, *known.others)))
    return hits, chances, centres


def _holds(box: Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def test_any_box_counts_and_words_that_are_not_there_do_not() -> None:
    matcher = random_matcher()
    pairs = random_pairs()
    with torch.no_grad():
        hits, chances, centres = point_plainly(matcher, pairs)
    pointing = pointing_accuracy(matcher, pairs, batch_size=5)
    assert pointing.words == len(hits)
    assert pointing.unplaced == len(pairs.texts)
    assert pointing.share == pytest.approx(sum(hits) / len(hits))
    assert pointing.chance == pytest.approx(sum(chances) / len(chances))
    assert pointing.centre == pytest.approx(sum(centres) / len(centres))
    assert 0 < pointing.centre < 1


def test_the_generated_world_points_as_it_always_did(tmp_path: Path) -> None:
    matcher = Matcher.from_pretrained(untrained_run(tmp_path) / "best")
    world = World(images=8).read("test")
    with torch.no_grad():
        hits, chances, centres = point_plainly(matcher, world)
    pointing = pointing_accuracy(matcher, world)
    assert (pointing.words, pointing.unplaced, pointing.unknown) == (len(hits), 0, 0)
    assert pointing.share == pytest.approx(sum(hits) / len(hits))
    assert pointing.chance == pytest.approx(sum(chances) / len(chances))
    assert pointing.centre == pytest.approx(sum(centres) / len(centres))


def test_what_is_left_out_is_said() -> None:
    pointing = Pointing(0.5, 0.25, 0.375, 8, unplaced=3, unknown=2)
    assert pointing.to_text().splitlines() == [
        "pointing accuracy 50.0 % of 8 object words (a region picked at random: 25.0 %, "
        "the picture's centre: 37.5 %)",
        "left out: words with boxes that are not in their texts (3), pictures without known boxes (2)",
    ]
    assert pointing.to_dict() == {
        "share": 0.5, "chance": 0.25, "centre": 0.375, "words": 8, "unplaced": 3, "unknown": 2
    }  # fmt: skip


def test_words_that_the_model_cuts_off_are_counted() -> None:
    matcher = random_matcher()
    pairs = random_pairs()
    vocabulary = matcher.tokenizer.vocabulary  # type: ignore[attr-defined]
    matcher.tokenizer = Words(vocabulary, max_length=3, truncate=True)  # <start>, the first word, <end>
    pointing = pointing_accuracy(matcher, pairs)
    assert (pointing.words, pointing.unplaced) == (len(pairs.texts), 2 * len(pairs.texts))


def test_nothing_found_is_an_error() -> None:
    matcher = random_matcher()
    pairs = random_pairs()
    lost = replace(pairs, objects=[[WordBox(None, (0.0, 0.0, 1.0, 1.0))] for _ in pairs.texts])
    with pytest.raises(ValueError, match=r"none of the \d+ words with known boxes is in its text"):
        pointing_accuracy(matcher, lost)


def photo_run(folder: Path, data: Path, **image_encoder: Any) -> Path:
    """An untrained model of the demo's kind on two photographs, as if a run had left it."""
    captions = json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    mine = [one | {"split": "test"} for one in captions if one["filename"].removesuffix(".jpg") in PHOTOS]
    folder.mkdir()
    (folder / "photos.json").write_text(json.dumps({"images": mine}))
    tables: Mapping[str, Any] = load_config("demo").tables | {
        "data": {
            "name": "karpathy",
            "path": str(folder / "photos.json"),
            "pictures": str(data / "flickr8k" / "images"),
            "train": "test",
        }
    }
    config = replace(load_config("demo"), tables=tables)
    config = replace(config, tables=tables | {"image_encoder": {**tables["image_encoder"], **image_encoder}})
    torch.manual_seed(0)
    Builder(config).matcher(Builder(config).pairs("train")).save_pretrained(folder / "best")
    config.save(folder / CONFIG)
    return folder


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """The two photographs as Flickr30k Entities would tell of them; no caption says "puppies"."""
    folder = entities(tmp_path / "flickr30k_entities", "1000268201", GIRL, ON_STAIRS)
    return entities(folder, "1001773457", DOGS, ON_A_ROAD)


@pytest.mark.data
class TestPhotographs:
    def test_evaluate_tells_where_words_point(self, tmp_path: Path, data: Path, known: Path) -> None:
        run = photo_run(tmp_path / "run", data)
        told = wordsight("evaluate", run, "--objects", known, "--protocol", "all", "--json")
        assert told.exit_code == 0, told.stderr
        pointing = json.loads(told.stdout)["pointing"]
        assert (pointing["words"], pointing["unplaced"], pointing["unknown"]) == (21, 1, 0)
        # the centre lies in the playhouse (4 words) and, just, in the white dog (5)
        assert pointing["centre"] == pytest.approx(9 / 21, abs=1e-6)
        matcher, pairs = Matcher.from_pretrained(run / "best"), objects_of(run, known)
        with torch.no_grad():
            hits, chances, _ = point_plainly(matcher, pairs)
        assert pointing["share"] == pytest.approx(sum(hits) / 21, abs=1e-6)
        assert pointing["chance"] == pytest.approx(sum(chances) / 21, abs=1e-6)

    def test_the_line_and_the_page(self, tmp_path: Path, data: Path, known: Path) -> None:
        run, page = photo_run(tmp_path / "run", data), tmp_path / "page.html"
        told = wordsight("evaluate", run, "--objects", known, "--protocol", "all", "--report", page)
        assert told.exit_code == 0, told.stderr
        assert "of 21 object words (a region picked at random: " in told.stdout
        assert "left out: words with boxes that are not in their texts (1)\n" in told.stdout
        assert "picture's centre 42.9 % · 21 object words" in page.read_text()
        assert "pointing" not in wordsight("evaluate", run, "--protocol", "all").stdout

    def test_own_boxes_in_the_data_table(self, tmp_path: Path, data: Path) -> None:
        run = photo_run(tmp_path / "run", data)
        line = {"picture": f"{PHOTOS[1]}.jpg", "sentence": 3, "word": "dogs", "pixels": [0, 0, 82, 90]}
        other = line | {"pixels": [105, 59, 188, 224]}
        (tmp_path / "boxes-test.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n")
        config = load_config(str(run), [f"data.objects={tmp_path}/boxes-{{split}}.jsonl"])
        pairs = Builder(config).measured_pairs("test")
        assert pairs.objects is not None
        (found,) = [known for objects in pairs.objects for known in objects]
        assert found == WordBox(1, (0.0, 0.0, 82 / 224, 90 / 224), ((105 / 224, 59 / 224, 188 / 224, 1.0),))
        assert Builder(config).pairs("test").objects is None  # what is learned from needs no boxes
        config.save(run / CONFIG)
        told = wordsight("evaluate", run, "--protocol", "all", "--json")
        assert json.loads(told.stdout)["pointing"] | {"share": 0, "chance": 0} == {
            "share": 0, "chance": 0, "centre": 1.0, "words": 1, "unplaced": 0, "unknown": 1
        }  # fmt: skip

    def test_a_model_of_one_vector_says_that_it_cannot(self, tmp_path: Path, data: Path, known: Path) -> None:
        run = photo_run(tmp_path / "run", data, pool="mean")
        told = wordsight("evaluate", run, "--objects", known, "--protocol", "all", "--json")
        assert told.exit_code == 0, told.stderr
        assert "pointing" not in json.loads(told.stdout)
        assert "one vector of all regions or words, so no word points" in told.stderr

    def test_boxes_of_other_pictures_are_an_error(self, tmp_path: Path, data: Path) -> None:
        run = photo_run(tmp_path / "run", data)
        told = wordsight("evaluate", run, "--objects", entities(tmp_path / "other"))
        assert told.exit_code == 1
        assert "tells of none of the 2 pictures" in str(told.exception)


def objects_of(run: Path, known: Path) -> PairSet:
    return Builder(load_config(str(run), [f"data.objects={known}"])).measured_pairs("test")


@pytest.mark.parametrize(
    "arguments",
    [("a", "b"), ("--scores", "s.npy"), ("a", "--relevance", "cxc", "--annotations", "folder")],
)
def test_objects_are_asked_of_one_model(arguments: tuple[str, ...]) -> None:
    told = wordsight("evaluate", *arguments, "--objects", "boxes.jsonl")
    assert told.exit_code == 2
    assert "where the words of one MODEL point" in " ".join(told.stderr.split())


@pytest.mark.parametrize("word_splitter", ["treebank", "karpathy", "cmpl"])
def test_a_word_is_found_however_the_model_cuts_texts(word_splitter: str) -> None:
    matcher = random_matcher()
    pairs = random_pairs(images=1)
    text = "Blue, the red's green"
    matcher.tokenizer = Words(
        Vocabulary.learn([text], min_count=1, word_splitter=word_splitter), word_splitter=word_splitter
    )
    matcher.text_encoder = random_matcher().text_encoder
    words = split_words(text)
    objects = [[WordBox(words.index(word), (0.0, 0.0, 1.0, 1.0)) for word in ("blue", "red", "green")]]
    one = replace(pairs, texts=[text], image_of=torch.tensor([0]), objects=objects)
    pointing = pointing_accuracy(matcher, one)
    assert (pointing.words, pointing.unplaced) == (3, 0)


def test_a_word_of_several_pieces_is_spelled_whole(tmp_path: Path) -> None:
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "rid", "##ing", "t", "-", "shirt", "cafe")
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    read = spelled_words(WordPieces(tmp_path), "A riding T-shirt, Café")
    assert [start for start, _ in read] == [1, 2, 4, 5, 6, 7, 8]
    found = counterparts(split_words("A riding T-shirt, Café"), [spelling for _, spelling in read])
    assert [None if place is None else read[place][0] for place in found] == [1, 2, 6, None, 8]
