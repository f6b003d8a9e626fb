"""The generated world: pictures show what they are said to, and every sentence is true of its own alone."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.synthetic.captions import ADJECTIVES, NOUNS, Sentence
from wordsight.read.synthetic.dataset import World, WorldSplit, generate
from wordsight.read.synthetic.export import write_world
from wordsight.read.synthetic.render import draw
from wordsight.read.synthetic.scenes import COLOURS, SHAPES, Scene, Thing, draw_scene, near_misses
from wordsight.read.synthetic.semantics import Fact, Meaning, Phrase, holds, readings
from wordsight.read.text.word_rules import split_words


@pytest.fixture(scope="module")
def train() -> WorldSplit:
    return generate("train", seed=3, images=60)


@pytest.fixture(scope="module")
def test_split() -> WorldSplit:
    return generate("test", seed=3, images=60)


def told(world: WorldSplit) -> list[tuple[int, Sentence]]:
    return [(row, sentence) for row, five in enumerate(world.sentences) for sentence in five]


# ------------------------------------------------------------------------------------------------- the judge


def thing(shape: str, colour: str, x: float, y: float, size: str = "small") -> Thing:
    return Thing(shape, colour, size, "plain", x, y, radius=0.1, angle=0.0)


ROOM = Scene(
    (
        thing("circle", "red", 0.2, 0.5),
        thing("square", "blue", 0.8, 0.55, size="large"),
        thing("circle", "blue", 0.5, 0.5),
        thing("star", "red", 0.25, 0.15),
    ),
    backdrop="any",
)
RED_CIRCLE, BLUE_SQUARE, BLUE_CIRCLE = (
    Phrase("circle", "red"),
    Phrase("square", "blue"),
    Phrase("circle", "blue"),
)


@pytest.mark.parametrize(
    ("phrases", "facts", "expected"),
    [
        ((RED_CIRCLE,), (), True),
        ((Phrase("square", "red"),), (), False),  # there is a square and there is red, but no red square
        ((Phrase("circle"), Phrase("circle")), (), True),
        ((Phrase("star"), Phrase("star")), (), False),  # two phrases name two things
        ((RED_CIRCLE, BLUE_SQUARE), (Fact("left", (0, 1)),), True),
        ((RED_CIRCLE, BLUE_SQUARE), (Fact("right", (0, 1)),), False),
        ((BLUE_SQUARE, RED_CIRCLE), (Fact("right", (0, 1)),), True),
        ((Phrase("star"), RED_CIRCLE), (Fact("above", (0, 1)),), True),
        ((Phrase("star"), RED_CIRCLE), (Fact("below", (0, 1)),), False),
        ((BLUE_CIRCLE, RED_CIRCLE, BLUE_SQUARE), (Fact("between", (0, 1, 2)),), True),
        ((RED_CIRCLE, BLUE_CIRCLE, BLUE_SQUARE), (Fact("between", (0, 1, 2)),), False),
        ((BLUE_SQUARE, BLUE_CIRCLE), (Fact("bigger", (0, 1)),), True),
        ((BLUE_SQUARE, BLUE_CIRCLE), (Fact("smaller", (0, 1)),), False),
        ((BLUE_CIRCLE, RED_CIRCLE), (Fact("next", (0, 1)),), True),
        ((BLUE_SQUARE, RED_CIRCLE), (Fact("next", (0, 1)),), False),
        ((Phrase("star"),), (Fact("at top left", (0,)),), True),
        ((Phrase("star"),), (Fact("at bottom left", (0,)),), False),
        ((BLUE_CIRCLE,), (Fact("in middle", (0,)),), True),
        ((BLUE_SQUARE,), (Fact("in middle", (0,)),), False),
    ],
)
def test_the_judge_knows_true_from_false(
    phrases: tuple[Phrase, ...], facts: tuple[Fact, ...], expected: bool
) -> None:
    assert holds(Meaning(phrases, facts), ROOM) is expected


def test_doubtful_is_neither_clearly_true_nor_false() -> None:
    hardly = Scene((thing("circle", "red", 0.45, 0.2), thing("square", "blue", 0.5, 0.8)), "any")
    meaning = Meaning((RED_CIRCLE, BLUE_SQUARE), (Fact("left", (0, 1)),))
    assert holds(meaning, hardly)
    assert not holds(meaning, hardly, clearly=True)


def test_the_number_of_things_counts_all_of_them() -> None:
    assert holds(Meaning((RED_CIRCLE,), total=4), ROOM)
    assert not holds(Meaning((RED_CIRCLE,), total=3), ROOM)


def test_readings_name_every_thing_that_may_be_meant() -> None:
    assert readings(Meaning((Phrase("circle"),)), ROOM) == [(0,), (2,)]


# --------------------------------------------------------------------------------------------- the sentences


@pytest.mark.parametrize("split", ["train", "test_split"])
def test_sentences_are_clearly_true_and_have_one_reading(split: str, request: pytest.FixtureRequest) -> None:
    world: WorldSplit = request.getfixturevalue(split)
    for row, sentence in told(world):
        [reading] = readings(sentence.meaning, world.scenes[row])
        assert [reading] == readings(sentence.meaning, world.scenes[row], clearly=True)
        assert sorted(reading) == sorted(thing for _, thing in sentence.named), sentence.text


def test_test_sentences_are_false_of_every_other_picture(test_split: WorldSplit) -> None:
    for row, sentence in told(test_split):
        true_of = [other for other, scene in enumerate(test_split.scenes) if holds(sentence.meaning, scene)]
        assert true_of == [row], sentence.text


def test_words_say_what_is_meant(train: WorldSplit) -> None:
    """Whatever shape, colour, size or texture is meant is in the text, by one of its names, and no other."""
    names = ADJECTIVES | {shape: nouns for shape, nouns in NOUNS.items() if shape is not None}
    for _, sentence in told(train):
        said = [(p.shape, p.colour, p.size, p.texture) for p in sentence.meaning.phrases]
        meant = [value for values in said for value in values if value is not None]
        words = set(split_words(sentence.text))
        assert all(words & set(names[value]) for value in meant), sentence.text
        unsaid = (set(SHAPES) | set(COLOURS)) - set(meant)
        assert not any(words & set(names[value]) for value in unsaid), sentence.text


def test_object_words_are_the_nouns_of_their_things(train: WorldSplit) -> None:
    for row, sentence in told(train):
        words = split_words(sentence.text)
        for position, index in sentence.named:
            nouns = (*NOUNS[train.scenes[row].things[index].shape], *NOUNS[None])
            assert words[position] in nouns, sentence.text


def test_sentences_vary(train: WorldSplit) -> None:
    texts = [sentence.text for _, sentence in told(train)]
    openings = {" ".join(text.split()[:2]) for text in texts}
    assert len(set(texts)) > 0.95 * len(texts)
    assert len(openings) > 60


# ----------------------------------------------------------------------------------- the scenes and pictures


def test_near_misses_differ_as_promised() -> None:
    for seed in range(20):
        first, colours, places, word = near_misses(str(seed))
        (one, other), rest = first.things[:2], first.things[2:]
        assert one.shape != other.shape
        assert colours.things == (replace(one, colour=other.colour), replace(other, colour=one.colour), *rest)
        assert places.things == (
            replace(one, x=other.x, y=other.y),
            replace(other, x=one.x, y=one.y),
            *rest,
        )
        changed = [
            name
            for name in ("shape", "colour", "texture")
            if getattr(word.things[0], name) != getattr(one, name)
        ]
        assert len(changed) == 1
        assert word.things[1:] == (other, *rest)
        assert {scene.backdrop for scene in (first, colours, places, word)} == {first.backdrop}


def test_things_lie_apart_and_inside() -> None:
    for seed in range(50):
        scene = draw_scene(str(seed))
        for one, other in combinations(scene.things, 2):
            assert np.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius
            assert (one.shape, one.colour) != (other.shape, other.colour)
        assert all(0 <= edge <= 1 for thing in scene.things for edge in thing.box)


@pytest.mark.parametrize("angle", [-0.25, 0.0, 0.2])
@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_hold_what_is_drawn(shape: str, angle: float) -> None:
    """With the thing, the picture changes inside its box only, and up to each of its sides."""
    size = 128
    drawn = replace(thing(shape, "yellow", 0.4, 0.55, "large"), radius=0.16, angle=angle)
    with_it, without = (draw(Scene(things, "any"), size).astype(int) for things in ((drawn,), ()))
    rows, columns = np.nonzero(np.abs(with_it - without).max(2) > 24)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.array(seen) - size * np.array(drawn.box)).max() < 2.5


def test_same_seed_same_world_another_seed_another() -> None:
    generate.cache_clear()
    one = World(seed=5, images=8).read("val")
    generate.cache_clear()
    again, another = World(seed=5, images=8).read("dev"), World(seed=6, images=8).read("val")
    assert one.texts == again.texts
    assert np.array_equal(one.images.read([3, 1]), again.images.read([3, 1]))
    assert not set(one.texts) & set(another.texts)


def test_training_pictures_do_not_depend_on_how_many_follow() -> None:
    few, many = World(seed=5, images=4).read("train"), World(seed=5, images=6).read("train")
    assert list(few.texts) == list(many.texts)[: len(few.texts)]
    assert np.array_equal(few.images.read([3]), many.images.read([3]))


def test_pair_set_is_complete() -> None:
    pairs = World(seed=3, images=10, size=48).read("test")
    assert len(pairs) == 50
    assert pairs.image_of.bincount().tolist() == [5] * 10
    [picture] = pairs.images.read([7])
    assert (picture.shape, picture.dtype) == ((48, 48, 3), np.uint8)
    assert pairs.objects is not None
    assert all(pairs.objects)


def test_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match='no split "tset"; known: train, val, test'):
        World().read("tset")


# -------------------------------------------------------------------------------------------- as a folder


def test_folder_reads_back_as_it_was_generated(tmp_path: Path) -> None:
    said = write_world(tmp_path / "world", seed=3, images=6, size=48, held_out=4)
    assert "14 pictures (6 train, 4 val, 4 test) of 48 x 48" in said
    for split, count in {"train": 6, "val": 4, "test": 4}.items():
        written = Karpathy(tmp_path / "world" / "dataset_world.json").read(split)
        direct = World(seed=3, images=count, size=48).read(split)
        assert list(written.texts) == list(direct.texts)
        assert written.image_of.tolist() == direct.image_of.tolist()
        for path, picture in zip(
            written.images.read(range(count)), direct.images.read(range(count)), strict=True
        ):
            assert np.array_equal(np.asarray(Image.open(path)), picture)


def test_folder_holds_the_boxes_of_things_and_which_words_name_them(tmp_path: Path) -> None:
    write_world(tmp_path / "world", seed=3, images=6, size=48, held_out=4)
    pairs = World(seed=3, images=6).read("train")
    boxes = json.loads((tmp_path / "world" / "boxes.json").read_text())
    assert pairs.objects is not None
    for text, objects in enumerate(pairs.objects):
        of_picture = boxes[pairs.names[int(pairs.image_of[text])]]
        sentence = of_picture["sentences"][text % 5]
        assert sentence["raw"] == pairs.texts[text]
        found = [
            (named["word"], tuple(of_picture["things"][named["thing"]]["box"])) for named in sentence["words"]
        ]
        assert found == [(known.word, known.box) for known in objects]


def test_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="name a new folder"):
        write_world(tmp_path, images=2, held_out=2)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save: Callable[..., None] = Image.Image.save

    def full_at_third(picture: Image.Image, path: Path) -> None:
        if path.name == "train-00002.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(picture, path)

    monkeypatch.setattr(Image.Image, "save", full_at_third)
    with pytest.raises(OSError, match="No space left"):
        write_world(tmp_path / "world", images=4, held_out=4)
    assert list(tmp_path.iterdir()) == []
