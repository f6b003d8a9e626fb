"""The report is one page that needs nothing else, says all it shows in words too, and is written whole."""

import os
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.small_problem import SpacedWords
from torch import nn

from wordsight.encode.pool import MeanPool, pooled
from wordsight.evaluation import Pointing, Recalls, evaluate_scores
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet, Picture, PictureFiles
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.report.examples import Example, make_examples
from wordsight.report.gallery import gallery
from wordsight.report.heat import panels_of, with_panels
from wordsight.report.html import write_report
from wordsight.report.line_chart import _ticks, line_chart
from wordsight.report.overlay import COLOURS, WordMatch, draw_alignment, places_of, strength
from wordsight.sets import EmbeddingSet, Pixels, Tokens
from wordsight.similarity.max_sim import MaxSim

TOP_LEFT, RIGHT_HALF = (0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 1.0)
WORDS = [
    WordMatch("red", 0.91, TOP_LEFT),
    WordMatch("on", -0.02, None),
    WordMatch("<blue>", 0.4, RIGHT_HALF),
    WordMatch("box", 0.73, TOP_LEFT),
]


def grey(height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def some_recalls(**settings: Any) -> Recalls:
    scores = np.random.default_rng(0).standard_normal((20, 100)) + 2 * np.repeat(np.eye(20), 5, axis=1)
    return evaluate_scores(scores, split="generated world, test", **settings)


def some_examples() -> list[Example]:
    return [
        Example(grey(), "red on <blue> box", WORDS, 3.21, 1, 20, "a.png"),
        Example(grey(300, 200), "box", [WORDS[3]], -0.5, 12, 20, "b&c.jpg"),
    ]


HISTORY = [{"epoch": epoch, "loss": 9.0 / (epoch + 1), "rsum": 100.0 + 30 * epoch} for epoch in range(6)]


class Page(HTMLParser):
    """Every tag with its attributes, and the text between."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    settings = {"similarity": {"name": "max-sim", "pooling": {"name": "log-sum-exp"}}, "seed": 3}
    path = write_report(
        tmp_path / "report.html", "CHAN & co", some_recalls(), Pointing(0.9, 0.08, 0.2, 77), HISTORY,
        some_examples(), settings,
    )  # fmt: skip
    return Page(path)


def test_the_page_loads_nothing(page: Page) -> None:
    assert not re.search(r"https?:|//|url\(|@import|\bfetch\b", re.sub(r'src="data:[^"]*"', "", page.source))
    assert not page.all("link")
    assert all(attributes["src"].startswith("data:image/") for attributes in page.all("img"))  # type: ignore[union-attr]
    assert all("src" not in attributes for attributes in page.all("script"))
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.all("meta"))


def test_the_page_is_told_to_those_who_do_not_see_it(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert "<title>CHAN &amp; co</title>" in page.source
    assert [image["alt"] for image in page.all("img")] == [
        "Picture a.png, described as: red on <blue> box",
        "Picture b&c.jpg, described as: box",
    ]
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 3
    assert [chip["aria-label"] for chip in page.all("button")] == [
        "red: found with .91 in region 1, top left",
        "on: not found, -.02",
        "<blue>: found with .40 in region 2, middle right",
        "box: found with .73 in region 1, top left",
        "box: found with .73 in region 1, top left",
    ]
    curves = [figure["aria-label"] for figure in page.all("svg") if figure.get("role") == "img"]
    assert curves[0] == "Validation rsum: 100 in epoch 1, 250 in epoch 6, best 250 in epoch 6"


def test_each_chip_has_its_region(page: Page) -> None:
    regions = [group["data-place"] for group in page.all("g")]
    assert regions == ["1", "2", "1"]
    chips = [chip.get("data-place") for chip in page.all("button")]
    assert chips == ["1", None, "2", "1", "1"]
    frames = [box for box in page.all("rect") if box["class"] == "frame"]
    assert {name: frames[1][name] for name in ("x", "y", "width", "height")} == {
        "x": "40.0", "y": "0.0", "width": "40.0", "height": "60.0",
    }  # fmt: skip


def test_every_number_has_its_protocol(page: Page) -> None:
    recalls = some_recalls()
    assert recalls.headline[1:] in page.text
    assert page.text.count("protocol all") >= 3
    assert f"{recalls.rsum:.1f}" in page.text
    assert "chance 8.0 % · picture's centre 20.0 % · 77 object words" in page.text
    assert "1000 resamples of the images" in page.text
    assert "similarity.pooling.name" in page.text


def test_what_is_not_the_protocol_is_said(tmp_path: Path) -> None:
    recalls = some_recalls(protocol="f30k", strict=False)
    page = Page(write_report(tmp_path / "r.html", "x", recalls))
    assert "Not the protocol. 20 images with 100 captions were given" in page.text


def test_what_is_empty_has_no_section(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "r.html", "x", some_recalls(intervals=False)))
    assert len(page.all("section")) == 2
    assert "Pointing" not in page.text
    assert "95 %" not in page.text


def test_an_unreadable_picture_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("the page of yesterday")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    with pytest.raises(UnreadablePicture, match=r"broken\.jpg"):
        write_report(path, "x", some_recalls(), examples=[Example(broken, "box", [WORDS[3]], 0.0, 1)])
    assert path.read_text() == "the page of yesterday"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.jpg", "report.html"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, opened = os.open("/dev/full", os.O_WRONLY), os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda descriptor, mode: opened(os.dup2(full, descriptor), mode))
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path / "report.html", "x", some_recalls())
    assert list(tmp_path.iterdir()) == []


def test_words_with_one_box_share_one_number() -> None:
    places = places_of(WORDS)
    assert [(place.number, place.box, place.words) for place in places] == [
        (1, TOP_LEFT, (0, 3)),
        (2, RIGHT_HALF, (2,)),
    ]


def test_the_overlay_draws_each_box_where_it_is() -> None:
    labels, found, boxes, _ = zip(*WORDS, strict=True)
    drawn = draw_alignment(grey(), boxes, labels, found, width=640)
    pixels = np.asarray(drawn)
    assert drawn.width == 640
    assert drawn.height > 480  # the legend stands below
    for place in places_of(WORDS):
        colour = tuple(int(place.colour[at : at + 2], 16) for at in (1, 3, 5))
        rows, columns = np.nonzero((pixels[:480] == colour).all(-1))
        left, top, right, bottom = (side * size for side, size in zip(place.box, (640, 480) * 2, strict=True))
        assert columns.min() == pytest.approx(left, abs=5)
        assert columns.max() == pytest.approx(right, abs=5)
        assert rows.min() == pytest.approx(top, abs=5)
        assert rows.max() == pytest.approx(bottom, abs=5)
    assert (pixels[200, 100] == 128).all()  # what is inside a box stays visible


def test_the_legend_tells_missing_words_and_grows() -> None:
    def height(words: Sequence[WordMatch]) -> int:
        labels, found, boxes, _ = zip(*words, strict=True)
        return draw_alignment(grey(), boxes, labels, found).height

    assert height(WORDS * 8) > height(WORDS)
    missing, blank = [WordMatch("on", 0.0, None)], [WordMatch("", 0.0, None)]
    labels, found, boxes, _ = zip(*missing, strict=True)
    with_word = np.asarray(draw_alignment(grey(), boxes, labels, found))
    labels, found, boxes, _ = zip(*blank, strict=True)
    assert (with_word[480:] != np.asarray(draw_alignment(grey(), boxes, labels, found))[480:]).any()


def test_an_overlay_takes_any_picture_and_any_box(tmp_path: Path) -> None:
    Image.new("CMYK", (9, 500)).save(tmp_path / "tall.jpg")
    edge = [(0.0, 0.0, 1.0, 1.0), (0.999, 0.999, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5), None]
    drawn = draw_alignment(tmp_path / "tall.jpg", edge, ["a", "b", "c", "d"], [1.0, 0.5, 0.0, -1.0], width=90)
    assert drawn.mode == "RGB"
    with pytest.raises(ValueError, match="4 boxes, 1 labels and 1 strengths; expected equal"):
        draw_alignment(grey(), edge, ["a"], [1.0])


def test_more_regions_than_colours_differ_by_number() -> None:
    words = [WordMatch(str(n), 0.5, (n / 20, 0.0, (n + 1) / 20, 1.0)) for n in range(2 * len(COLOURS))]
    assert [place.number for place in places_of(words)] == list(range(1, 2 * len(COLOURS) + 1))


@pytest.mark.parametrize(
    ("found", "shown"), [(0.824, ".82"), (-0.1, "-.10"), (1.0, "1.00"), (-0.001, ".00"), (-1.0, "-1.00")]
)
def test_a_strength_is_short(found: float, shown: str) -> None:
    assert strength(found) == shown


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_enclose_and_are_few(low: float, spread: float) -> None:
    ticks = _ticks(low, low + spread)
    slack = 1e-6 * (spread + abs(low) + 1e-9)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + spread - slack
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))


def test_a_curve_needs_two_finite_epochs() -> None:
    assert line_chart(HISTORY[:1], "loss", "Loss") == ""
    assert line_chart([*HISTORY[:1], {"epoch": 1, "loss": float("nan")}], "loss", "Loss") == ""
    assert "best 4.5 in epoch 2" in line_chart(HISTORY[:2], "loss", "Loss", best="min")


HALVES = (("red", "green"), ("green", "blue"), ("white", "white"), ("blue", "blue"), ("blue", "green"))
NAMES = ("red", "green", "blue", "white")


def one_piece(word: str) -> list[int]:
    """Four colours have an id each; anything else has one together."""
    return [3 + NAMES.index(word) if word in NAMES else 7]


class Quarters(nn.Module):
    """A quarter's mean colour is its vector: the four names' colours are tellable apart."""

    def forward(self, pixels: Pixels) -> EmbeddingSet:
        means = nn.functional.adaptive_avg_pool2d(pixels.values, 2).flatten(2).transpose(1, 2)
        boxes = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])
        count = len(means)
        return EmbeddingSet(means, torch.ones(count, 4).bool(), boxes.expand(count, 4, 4))


class Names(nn.Module):
    """Each colour word is its colour; specials and other words are black."""

    def __init__(self) -> None:
        super().__init__()
        colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
        self.vectors = nn.Embedding.from_pretrained(
            torch.cat([-torch.ones(3, 3), colours, -torch.ones(1, 3)])
        )

    def forward(self, tokens: Tokens) -> EmbeddingSet:
        return EmbeddingSet(self.vectors(tokens.ids), tokens.mask)


def read_quarters(pictures: Sequence[Picture]) -> Pixels:
    values = np.stack([np.asarray(Image.open(picture)) for picture in pictures])  # type: ignore[arg-type]
    return Pixels(torch.as_tensor(values).permute(0, 3, 1, 2) / 127.5 - 1)


@pytest.fixture
def coloured(tmp_path: Path) -> PairSet:
    """Five pictures in two halves, three texts."""
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    for number, (left, right) in enumerate(HALVES):
        picture = Image.new("RGB", (8, 8), colours[left])
        picture.paste(colours[right], (4, 0, 8, 8))
        picture.save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    return PairSet(
        images=PictureFiles(paths),
        names=[path.name for path in paths],
        texts=["red and green", "blue", "red here"],
        image_of=torch.tensor([0, 1, 2]),
        identities=torch.arange(5),
    )


@pytest.mark.parametrize("direction", ["word", "region"])
def test_examples_tell_where_each_word_looks_and_what_is_missing(coloured: PairSet, direction: Any) -> None:
    matcher = Matcher(
        read_quarters, SpacedWords(one_piece, size=8), Quarters(), Names(), MaxSim(direction, "mean")
    ).eval()
    first, second, third = make_examples(matcher, coloured, [0, 1, 2])
    assert [word.label for word in first.words] == ["red", "and", "green"]
    assert first.words[0].box == (0, 0, 0.5, 0.5)
    assert first.words[0].found == pytest.approx(1)
    assert first.words[1].box is None  # "and" is found no better here than elsewhere
    assert first.words[2].box == (0.5, 0, 1, 0.5)
    assert (first.rank, first.pictures, first.name) == (1, 5, "0.png")
    assert second.words[0].box == (0.5, 0, 1, 0.5)
    if direction == "word":
        assert third.words[0].box is None  # nothing red in the white picture
        assert third.rank == 5


class Pooled(nn.Module):
    """The mean of what another encoder returns."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, read: Pixels | Tokens) -> EmbeddingSet:
        return pooled(self.encoder(read), MeanPool())


def test_a_text_of_one_vector_looks_at_the_whole_of_a_picture_of_one_vector(coloured: PairSet) -> None:
    tokenizer = SpacedWords(one_piece, size=8)
    matcher = Matcher(read_quarters, tokenizer, Pooled(Quarters()), Pooled(Names()), MaxSim("word", "mean"))
    (first,) = make_examples(matcher.eval(), coloured, [0])
    (word,) = first.words
    assert (word.label, word.box) == ("red and green", (0, 0, 1, 1))
    assert word.found == pytest.approx(first.score)
    parts = Matcher(read_quarters, tokenizer, Quarters(), Pooled(Names()), MaxSim("word", "mean")).eval()
    assert make_examples(parts, coloured, [0])[0].words[0].box in ((0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5))


def test_examples_of_features_need_pictures_to_show(coloured: PairSet, tmp_path: Path) -> None:
    class RowCache:
        def __len__(self) -> int:
            return 5

        def read(self, rows: Sequence[int]) -> Pixels:
            return read_quarters([tmp_path / f"{row}.png" for row in rows])

    matcher = Matcher(
        None, SpacedWords(one_piece, size=8), Quarters(), Names(), MaxSim("word", "mean")
    ).eval()
    features = coloured.with_images(RowCache())
    with pytest.raises(ValueError, match="hold features and no pictures to show; pass pictures="):
        make_examples(matcher, features, [0])
    shown = make_examples(matcher, features, [0], pictures=[tmp_path / f"{row}.png" for row in range(5)])
    assert shown[0].picture == tmp_path / "0.png"


HEAT = ((0.0, 1.0), (0.0, 0.0))  # bright in the top right quarter
SEEN = [WordMatch("red", 0.9, (0.5, 0.0, 1.0, 0.5), HEAT), WordMatch("on", -0.02, None)]


def test_a_panel_is_bright_where_its_map_is_high() -> None:
    sheet = Image.new("RGB", (640, 100))
    panels = panels_of(SEEN, HEAT)
    assert [panel.label for panel in panels] == ["whole sentence", "red"]
    pixels = np.asarray(with_panels(sheet, grey(), panels).convert("L")).astype(int)
    panel = pixels[100:, : 640 // 3][8:140, 8:]
    assert panel[10, -10] > 1.5 * panel[10, 10]
    assert panel[10, -10] > 1.5 * panel[-10, -10]


def test_a_chip_lights_its_map_in_the_page() -> None:
    source = gallery([Example(grey(), "red on", SEEN, 0.5, 1, heat=HEAT)])
    assert re.findall(r'<button[^>]*data-heat="(-?\d+)"', source) == ["0", "-1"]
    assert re.findall(r'<image data-heat="(-?\d+)"', source) == ["0", "-1"]
    assert "data-heat" not in gallery([Example(grey(), "red on", WORDS, 0.5, 1)])
