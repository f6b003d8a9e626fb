"""A picture and what its words found -> the picture with numbered boxes and a legend, ready to save."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from wordsight.errors import InputError
from wordsight.pairs import Picture
from wordsight.read.pictures.decode import open_picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font: TypeAlias = FreeTypeFont | ImageFont

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; fractions of the picture

# Okabe and Ito's colours, told apart with any kind of colour vision; the number in the box says the same.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#bbbbbb")
INK, PAPER, QUIET = "#1b1b22", "#ffffff", "#5c5c66"


HeatMap: TypeAlias = Sequence[Sequence[float]]  # rows from the top, in [0, 1]


class WordMatch(NamedTuple):
    """The region that one word found in the picture."""

    label: str
    found: float  # how well, in [-1, 1]
    box: Box | None  # where; None if the word is not found
    heat: HeatMap = ()  # where, in degrees; empty where that is unknown


@dataclass(frozen=True)
class PointedRegion:
    """One region and the words that picked it."""

    number: int  # from 1, in the order of the words
    box: Box
    words: tuple[int, ...]

    @property
    def colour(self) -> str:
        return COLOURS[(self.number - 1) % len(COLOURS)]


def places_of(words: Sequence[WordMatch]) -> list[PointedRegion]:
    """The regions that words picked; words with the same box share one."""
    chosen: dict[Box, list[int]] = {}
    for number, word in enumerate(words):
        if word.box is not None:
            chosen.setdefault(word.box, []).append(number)
    return [PointedRegion(n, box, tuple(those)) for n, (box, those) in enumerate(chosen.items(), start=1)]


def strength(found: float) -> str:
    """ ".82", "-.10", "1.00": short enough for a badge."""
    rounded = round(found, 2) + 0.0  # no minus before a zero
    return f"{rounded:.2f}".replace("0.", ".")


def draw_alignment(
    picture: Picture,
    boxes: Sequence[Box | None],
    labels: Sequence[str],
    found: Sequence[float],
    width: int = 640,
    note: str = "",
) -> "Image":
    """The picture ``width`` pixels wide, a numbered box per region, and below it which words are there.

    ``boxes``, ``labels`` and ``found`` have one entry per word; words without a box are listed as not found.
    ``note``: a short sentence that stands below them.
    Raises ValueError when their lengths differ, UnreadablePicture when the picture cannot be opened.
    """
    from PIL import Image, ImageDraw

    if not len(boxes) == len(labels) == len(found):
        raise InputError(
            f"{len(boxes)} boxes, {len(labels)} labels and {len(found)} strengths; expected equal"
        )
    words = [WordMatch(*word) for word in zip(labels, found, boxes, strict=True)]
    shown = open_picture(picture)
    height = max(1, round(width * shown.height / shown.width))
    sharp = Image.Resampling.NEAREST if shown.width * 3 <= width else Image.Resampling.LANCZOS
    shown = shown.resize((width, height), sharp)
    font, places = font_of(width), places_of(words)
    pencil = ImageDraw.Draw(shown)
    for place in places:
        _draw_box(pencil, place, shown.size, font)
    lines = _legend(words, places, font, width)
    if note:
        lines.append([_Entry(None, note, _line_height(font) // 2)])
    sheet = Image.new(
        "RGB", (width, height + _line_height(font) * len(lines) + _line_height(font) // 2), PAPER
    )
    sheet.paste(shown)
    _draw_legend(ImageDraw.Draw(sheet), lines, height, font)
    return sheet


def font_of(width: int) -> "Font":
    from PIL import ImageFont

    return ImageFont.load_default(max(13, width // 36))


def _draw_box(pencil: "ImageDraw", place: PointedRegion, size: tuple[int, int], font: "Font") -> None:
    """A coloured line between two dark ones, seen on any picture, with its number in a corner."""
    width, height = size
    left, top, right, bottom = (
        round(side * length) for side, length in zip(place.box, (width, height) * 2, strict=True)
    )
    right, bottom = max(left, min(right, width) - 1), max(top, min(bottom, height) - 1)
    line = max(2, width // 200)
    for inset, colour, thickness in ((0, INK, 3 * line), (line, place.colour, line)):
        corners = (
            left + inset,
            top + inset,
            max(left + inset, right - inset),
            max(top + inset, bottom - inset),
        )
        pencil.rectangle(corners, outline=colour, width=thickness)
    _draw_badge(pencil, (left + line, top + line), place, font)


def _draw_badge(pencil: "ImageDraw", corner: tuple[int, int], place: PointedRegion, font: "Font") -> int:
    """The number on a plate; returns the plate's width in pixels."""
    text, pad = str(place.number), _line_height(font) // 5
    width = round(font.getlength(text)) + 2 * pad
    x, y = corner
    pencil.rectangle((x, y, x + width, y + _line_height(font) - pad), fill=place.colour, outline=INK)
    ink = PAPER if place.colour in ("#0072b2", "#009e73", "#d55e00") else INK
    pencil.text((x + pad, y + (_line_height(font) - pad) / 2), text, fill=ink, font=font, anchor="lm")
    return width


class _Entry(NamedTuple):
    """One piece of the legend."""

    place: PointedRegion | None
    text: str
    x: int


def _legend(
    words: Sequence[WordMatch], places: Sequence[PointedRegion], font: "Font", width: int
) -> list[list[_Entry]]:
    """Lines of "number word strength", no wider than the picture."""
    pieces: list[tuple[PointedRegion | None, str]] = []
    for place in places:
        line = ", ".join(f"{words[n].label} {strength(words[n].found)}" for n in place.words)
        pieces.append((place, line))
    missing = [f"{word.label} {strength(word.found)}" for word in words if word.box is None]
    if missing:
        pieces.append((None, "not found: " + ", ".join(missing)))
    gap = _line_height(font) // 2
    lines: list[list[_Entry]] = [[]]
    x = gap
    for owner, line in pieces:
        badge = round(font.getlength(str(owner.number))) + gap if owner else 0
        needed = badge + round(font.getlength(line)) + 2 * gap
        if lines[-1] and x + needed > width:
            lines.append([])
            x = gap
        lines[-1].append(_Entry(owner, line, x))
        x += needed
    return lines


def _draw_legend(pencil: "ImageDraw", lines: Sequence[Sequence[_Entry]], top: int, font: "Font") -> None:
    step = _line_height(font)
    for row, line in enumerate(lines):
        y = top + step // 3 + row * step
        for place, text, x in line:
            after = x + _draw_badge(pencil, (x, y), place, font) + step // 4 if place else x
            ink = INK if place else QUIET
            pencil.text((after, y + (step - step // 5) / 2), text, fill=ink, font=font, anchor="lm")


def _line_height(font: "Font") -> int:
    _, top, _, bottom = font.getbbox("Áy")
    return round(1.5 * (bottom - top))
