"""Known boxes, as Flickr30k Entities or anyone writes them, stand at the words that they are told of."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.entity_files import WEDDING, annotation, entities, thing

from wordsight.pairs import PairSet, PictureFiles, WordBox
from wordsight.read.annotations.load import with_objects
from wordsight.read.text.align_words import counterparts, letters
from wordsight.read.text.word_rules import RULES, split_words

TEXTS = [  # as Karpathy's JSON has them
    "A bearded man, and a girl in a red dress wed.",
    "The group of people are assembling for a wedding.",
    "A man and woman dressed for a wedding function.",
    "A woman holds a man's arm at an event.",
    "There, two T-shirts on the man's arm",
]


def pairs_of(texts: Sequence[Sequence[str]], names: Sequence[str] = ("65567.jpg",)) -> PairSet:
    return PairSet(
        images=PictureFiles([Path("photos") / name for name in names]),
        names=names,
        texts=[text for own in texts for text in own],
        image_of=torch.tensor([row for row, own in enumerate(texts) for _ in own]),
        identities=torch.arange(len(names)),
        source="some photos",
    )


def named(pairs: PairSet) -> list[list[tuple[str | None, int]]]:
    """Of each text, the words with boxes and how many."""
    assert pairs.objects is not None
    return [
        [
            (None if known.word is None else split_words(text)[known.word], 1 + len(known.others))
            for known in sorted(objects, key=lambda known: (known.word is None, known.word))
        ]
        for text, objects in zip(pairs.texts, pairs.objects, strict=True)
    ]


ALL = [
    [("man", 2), ("girl", 1), ("dress", 1)],
    [("people", 2)],
    [("man", 2), ("woman", 1)],
    [("woman", 1), ("arm", 1)],
    [("t-shirts", 1), ("man", 2)],
]


class TestEntities:
    def test_the_last_word_of_a_phrase_has_all_boxes_of_its_chain(self, tmp_path: Path) -> None:
        assert named(with_objects(pairs_of([TEXTS]), entities(tmp_path))) == ALL

    def test_corners_count_from_one_and_the_last_pixel_belongs_to_the_box(self, tmp_path: Path) -> None:
        found = with_objects(pairs_of([TEXTS]), entities(tmp_path)).objects
        assert found is not None
        assert found[0][0] == WordBox(2, (0.0, 0.0, 0.2, 1.0), ((0.2, 0.0, 0.4, 1.0),))
        assert found[0][1] == WordBox(6, (0.4, 0.25, 1.0, 1.0))
        assert found[3][1] == WordBox(6, (0.3, 0.25, 0.32, 0.3))

    def test_agrees_with_the_releases_own_reading(self, tmp_path: Path) -> None:
        """Token by token and object by object, as its README says."""
        folder = entities(tmp_path)
        found = with_objects(pairs_of([TEXTS]), folder)
        assert named(found) == [
            [(head.lower(), count) for head, count in own] for own in read_plainly(folder, "65567")
        ]

    def test_sentences_may_come_in_any_order_and_be_cut_otherwise(self, tmp_path: Path) -> None:
        precomp = [" ".join(split_words(text, "karpathy")) for text in TEXTS]
        found = named(with_objects(pairs_of([precomp[::-1]]), entities(tmp_path)))
        expected = [[(word.replace("t-shirts", "shirts"), n) for word, n in own] for own in ALL[::-1]]
        expected[0][1] = ("mans", 2)
        assert found == expected

    def test_numbered_pictures_are_found_by_their_sentences(self, tmp_path: Path) -> None:
        folder = entities(tmp_path)
        entities(folder, "0", "[/EN#1/animals A dog] runs .\n", annotation(thing([1], 1, 1, 5, 5)))
        pairs = pairs_of([["A dog runs."], TEXTS], ["1", "0"])  # 0 is the name of another picture
        assert named(with_objects(pairs, folder)) == [[("dog", 1)], *ALL]

    def test_a_sentence_that_two_pictures_share_tells_neither(self, tmp_path: Path) -> None:
        dog, box = "[/EN#1/animals A dog] runs .\n", annotation(thing([1], 1, 1, 5, 5))
        folder = entities(entities(tmp_path, "1", dog, box), "2", dog, box)
        with pytest.raises(ValueError, match=r"tells of none of the 1 pictures of some photos.*such as 9\)"):
            with_objects(pairs_of([["A dog runs."]], ["9.jpg"]), folder)

    def test_what_a_text_does_not_say_is_counted(self, tmp_path: Path) -> None:
        changed = [*TEXTS[:3], "A woman holds a man's leg at an event.", "Nothing of that is here"]
        found = named(with_objects(pairs_of([changed]), entities(tmp_path)))
        assert found == [*ALL[:3], [("woman", 1), (None, 1)], [(None, 1), (None, 2)]]

    def test_fewer_texts_than_sentences_ask_less(self, tmp_path: Path) -> None:
        assert named(with_objects(pairs_of([[TEXTS[3]]]), entities(tmp_path))) == [ALL[3]]

    def test_the_letters_of_a_phrase_without_words_are_nowhere(self, tmp_path: Path) -> None:
        folder = entities(tmp_path, sentences="[/EN#255543/people ,] a girl runs\n")
        assert named(with_objects(pairs_of([["A girl runs"]]), folder)) == [[(None, 1)]]

    @pytest.mark.parametrize(
        ("sentences", "boxes", "message"),
        [
            ("[/EN#255542/people A man runs .\n", None, "txt line 1: the phrase at '.*' is not marked as"),
            ("A dog .\n\n[/EN#7 A man] runs .\n", None, "txt line 3: the phrase at '.*EN#7' is not marked"),
            (WEDDING, "<annotation>", "65567.xml: no element found"),
            (WEDDING, "<annotation></annotation>", "65567.xml.*expected size with width and height"),
            (WEDDING, annotation(thing([1], 1, 1, 5, 5), width=0), "65567.xml.*division by zero"),
            (WEDDING, annotation(thing([1], 9, 1, 5, 5)), "object 1 ends before it begins: 9 1 5 5"),
            (
                WEDDING,
                annotation(thing([1]), thing([2], 1, 1, 2, 2).replace("ymax", "y")),
                "object 2 has a bndbox without all of its four sides",
            ),
            (WEDDING, annotation(thing([1], 1, 1, 5, 5).replace(">1<", ">one<")), "65567.xml.*expected size"),
        ],
    )
    def test_malformed_files_are_named(
        self, sentences: str, boxes: str | None, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=message):
            with_objects(pairs_of([TEXTS]), entities(tmp_path, sentences=sentences, boxes=boxes))

    def test_absent_folders_and_files_are_named(self, tmp_path: Path) -> None:
        folder = entities(tmp_path / "entities")
        (folder / "Annotations" / "65567.xml").unlink()
        with pytest.raises(FileNotFoundError, match=r"65567\.xml does not exist"):
            with_objects(pairs_of([TEXTS]), folder)
        shutil.rmtree(folder / "Annotations")
        with pytest.raises(FileNotFoundError, match=r"no folder Annotations.*unpack annotations\.zip"):
            with_objects(pairs_of([TEXTS]), folder)
        with pytest.raises(FileNotFoundError, match=r"no known boxes at .*nowhere; give the folder"):
            with_objects(pairs_of([TEXTS]), tmp_path / "nowhere")


def read_plainly(folder: Path, name: str) -> list[list[tuple[str, int]]]:
    """The last word of each phrase that has boxes, and their number, read a token at a time."""
    text = (folder / "Annotations" / f"{name}.xml").read_text()
    counts: dict[str, int] = {}
    for one in text.split("<object>")[1:]:
        for part in one.split("<name>")[1:]:
            chain = part.split("<")[0]
            counts[chain] = counts.get(chain, 0) + one.count("<bndbox>")
    told: list[list[tuple[str, int]]] = []
    for line in (folder / "Sentences" / f"{name}.txt").read_text().splitlines():
        told.append([])
        chain = ""
        for token in line.split():
            if token.startswith("[/EN#"):
                chain = token.split("#")[1].split("/")[0]
            elif token.endswith("]") and counts.get(chain, 0):
                told[-1].append((token[:-1], counts[chain]))
    return told


SAID = ["A man's dog and a black-and-white dog run.", "Two dogs, one ball"]
LINE = {"picture": "a.jpg", "sentence": 0, "word": "man", "fractions": [0.1, 0.2, 0.3, 0.4]}


def own_pairs(folder: Path) -> PairSet:
    (folder / "photos").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((50, 200, 3), np.uint8)).save(folder / "photos" / "a.jpg")
    pairs = pairs_of([SAID, SAID], ["photos/a.jpg", "b.jpg"])
    return replace(pairs, images=PictureFiles([folder / name for name in pairs.names]))


def boxes_of(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "boxes.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


class TestOwnBoxes:
    def test_words_and_sentences_by_text_or_number(self, tmp_path: Path) -> None:
        path = boxes_of(
            tmp_path,
            LINE,
            "",
            LINE | {"picture": "photos/a.jpg", "sentence": "two dogs one BALL!", "word": "Dogs"},
            LINE | {"sentence": 1, "word": 1, "fractions": [0, 0, 1, 1]},
            LINE | {"word": 6},
            LINE | {"picture": "of another split.jpg"},
        )
        found = with_objects(own_pairs(tmp_path), path).objects
        assert found == [
            [WordBox(1, (0.1, 0.2, 0.3, 0.4)), WordBox(7, (0.1, 0.2, 0.3, 0.4))],
            [WordBox(1, (0.1, 0.2, 0.3, 0.4), ((0.0, 0.0, 1.0, 1.0),))],
            [],
            [],
        ]
        assert [split_words(SAID[0])[place] for place in (1, 7)] == ["man", "dog"]

    def test_pixels_are_divided_by_the_size_given_or_the_pictures_own(self, tmp_path: Path) -> None:
        pixels = {key: value for key, value in LINE.items() if key != "fractions"} | {
            "pixels": [0, 5, 100, 50]
        }
        path = boxes_of(tmp_path, pixels, pixels | {"size": [400, 100]})
        found = with_objects(own_pairs(tmp_path), path).objects
        assert found is not None
        assert found[0] == [WordBox(1, (0.0, 0.1, 0.5, 1.0), ((0.0, 0.05, 0.25, 0.5),))]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("{", r"boxes\.jsonl line 2 column 2: not valid JSON"),
            ("[]", "line 2: expected a JSON object"),
            ({"box": 1}, "line 2: box is not known; known: picture, sentence, word, fractions, pixels, size"),
            ({"pixels": [1, 2, 3, 4]}, "line 2: the box is given in both of fractions and pixels"),
            (
                {"fractions": None},
                r"line 2: fractions is None; expected the numbers \[left, top, right, bott",
            ),
            ({"fractions": [0, 0, True, 1]}, "line 2: fractions is .*expected the numbers"),
            ({"fractions": [0, 0, 1]}, "line 2: fractions is .*expected the numbers"),
            (
                {"fractions": [0.5, 0, 0.5, 1]},
                "ends before it begins; expected left, top, right, bottom, not",
            ),
            ({"fractions": [0, 0, 1, 1.5]}, "outside of the picture: fractions lie between 0 and 1$"),
            ({"fractions": [0, 0, 100, 50]}, "fractions lie between 0 and 1; are these pixels"),
            ({"picture": 3}, "line 2: picture is 3; expected text"),
            ({"sentence": 2}, r"sentence is 2, but photos/a\.jpg has 2 sentences; the first is number 0"),
            ({"sentence": "A cat"}, "is none of the 2 of photos/a.jpg; the first is \"A man's dog"),
            ({"word": "cat"}, 'line 2: "cat" is no word of .*; its words are a, man, \'s, dog'),
            ({"word": "dog"}, '"dog" stands 2 times .*; give its number among the words between spaces'),
            ({"word": 8}, 'word is 8, but ".*" has 8 words; the first is number 0'),
            ({"word": 1.5}, "line 2: word is 1.5; expected text or a number"),
        ],
    )
    def test_what_is_wrong_is_named_by_its_line(self, change: Any, message: str, tmp_path: Path) -> None:
        wrong = change if isinstance(change, str) else LINE | change
        with pytest.raises(ValueError, match=message):
            with_objects(own_pairs(tmp_path), boxes_of(tmp_path, LINE, wrong))

    @pytest.mark.parametrize("key", ["picture", "sentence", "word", "fractions"])
    def test_what_is_missing_is_named(self, key: str, tmp_path: Path) -> None:
        short = {name: value for name, value in LINE.items() if name != key}
        message = "the box is given in neither" if key == "fractions" else f"line 1: {key} is missing"
        with pytest.raises(ValueError, match=message):
            with_objects(own_pairs(tmp_path), boxes_of(tmp_path, short))

    def test_pixels_lie_in_their_picture(self, tmp_path: Path) -> None:
        pixels = {"picture": "a.jpg", "sentence": 0, "word": 0, "pixels": [0, 0, 201, 50]}
        with pytest.raises(ValueError, match="reaches outside of the picture: it has 200 x 50"):
            with_objects(own_pairs(tmp_path), boxes_of(tmp_path, pixels))
        with pytest.raises(
            ValueError, match=r"size is \[0\.0, 50\.0\]; expected a width and a height above 0"
        ):
            with_objects(own_pairs(tmp_path), boxes_of(tmp_path, pixels | {"size": [0, 50]}))
        with pytest.raises(ValueError, match=r"b\.jpg"):  # which does not exist
            with_objects(own_pairs(tmp_path), boxes_of(tmp_path, pixels | {"picture": "b.jpg"}))

    def test_other_pictures_and_other_files_are_refused(self, tmp_path: Path) -> None:
        pairs = own_pairs(tmp_path)
        with pytest.raises(
            ValueError, match=r"tells of none of the 2 pictures of some photos.*photos/a\.jpg"
        ):
            with_objects(pairs, boxes_of(tmp_path, LINE | {"picture": "c.jpg"}))
        (tmp_path / "boxes.csv").write_text("a,b\n")
        with pytest.raises(ValueError, match=r"boxes\.csv is not known as a file of boxes"):
            with_objects(pairs, tmp_path / "boxes.csv")
        twice = replace(pairs, names=["x/a.jpg", "y/a.jpg"])
        with pytest.raises(ValueError, match=r"'a\.jpg' may be x/a\.jpg and y/a\.jpg; give the whole name"):
            with_objects(twice, boxes_of(tmp_path, LINE))


TEXT = "The old man's T-shirt, cannot be seen: 'Zoë & Co.' in 3-D!"


@pytest.mark.parametrize("word_splitter", sorted(RULES))
def test_every_rule_holds_every_word(word_splitter: str) -> None:
    words, others = split_words(TEXT), split_words(TEXT, word_splitter)
    found = counterparts(words, others)
    for word, place in zip(words, found, strict=True):
        assert (place is None) == (not letters(word)), word
        assert place is None or letters(word)[-1] in letters(others[place])
    assert others[found[words.index("man")] or 0].lower() in ("man", "mans")
    assert others[found[words.index("t-shirt")] or 0].lower() in ("t-shirt", "shirt", "tshirt")


@given(st.text("ab -'.é", max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_counterparts_are_those_of_counting_letters(text: str, cuts: list[int]) -> None:
    """However the same text is cut: the n-th letter of one is the n-th letter of the other."""
    ends = [*sorted(cuts), len(text)]
    others = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    words = text.split()
    expected: list[int | None] = []
    counted = 0
    for word in words:
        counted += len(letters(word))
        sums = [sum(len(letters(other)) for other in others[: n + 1]) for n in range(len(others))]
        expected.append(
            next(n for n, total in enumerate(sums) if total >= counted) if letters(word) else None
        )
    assert counterparts(words, others) == expected
