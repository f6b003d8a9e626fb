"""Maps of a picture with values in [0, 1] -> layers over it: bright where they are high, dark elsewhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wordsight.pairs import Picture
from wordsight.read.pictures.decode import open_picture
from wordsight.report.overlay import INK, PAPER, HeatMap, WordMatch, font_of, places_of

if TYPE_CHECKING:
    from PIL.Image import Image

DARK, TINT = 0.62, 0.28  # how much of the picture is covered at 0 (with black) and at 1 (with the hue)
WHOLE, WHOLE_HUE = "whole sentence", "#ffffff"
COLUMNS = 3  # of panels


class Panel(NamedTuple):
    """A small copy of the picture with one map."""

    label: str
    heat: HeatMap
    hue: str


def panels_of(words: Sequence[WordMatch], text: HeatMap) -> list[Panel]:
    """The map of the text, and those of the words that are found, in the colours of their boxes."""
    hues = {number: place.colour for place in places_of(words) for number in place.words}
    shown = [
        Panel(word.label, word.heat, hues.get(n, WHOLE_HUE)) for n, word in enumerate(words) if word.heat
    ]
    return [*([Panel(WHOLE, text, WHOLE_HUE)] if text else []), *shown]


def heat_layer(heat: HeatMap, hue: str) -> "Image":
    """RGBA with a pixel for each value; stretched over the picture it shows both."""
    from PIL import Image

    values = np.asarray(heat, np.float32)[..., None]
    colour = np.array([int(hue[place : place + 2], 16) for place in (1, 3, 5)], np.float32)
    covered = DARK * (1 - values) + TINT * values
    pixels = np.concatenate([colour * TINT * values / covered, 255 * covered], -1)
    return Image.fromarray(np.round(pixels).astype(np.uint8))


def with_panels(sheet: "Image", picture: Picture, panels: Sequence[Panel]) -> "Image":
    """The sheet, and below it the picture once for each map."""
    from PIL import Image, ImageDraw

    if not panels:
        return sheet
    gap, font = max(4, sheet.width // 80), font_of(sheet.width)
    shown = open_picture(picture)
    width = (sheet.width - gap * (COLUMNS + 1)) // COLUMNS
    height = max(1, round(width * shown.height / shown.width))
    shown = shown.resize((width, height), Image.Resampling.LANCZOS)
    step = height + 2 * sheet.width // 30
    rows = -(-len(panels) // COLUMNS)
    whole = Image.new("RGB", (sheet.width, sheet.height + rows * step + gap), PAPER)
    whole.paste(sheet)
    pencil = ImageDraw.Draw(whole)
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        x, y = gap + column * (width + gap), sheet.height + gap + row * step
        layer = heat_layer(panel.heat, panel.hue).resize(shown.size, Image.Resampling.BICUBIC)
        whole.paste(Image.alpha_composite(shown.convert("RGBA"), layer).convert("RGB"), (x, y))
        label = panel.label
        while label and font.getlength(label) > width:
            label = label[:-2].rstrip() + "…" if len(label) > 2 else ""
        pencil.text((x, y + height + gap // 2), label, fill=INK, font=font)
    return whole
