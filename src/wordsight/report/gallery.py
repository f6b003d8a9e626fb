"""Examples -> cards with a picture, its sentence as chips, and the regions that the chips light up."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from wordsight.read.pictures.decode import open_picture
from wordsight.report.examples import Example
from wordsight.report.heat import WHOLE, WHOLE_HUE, heat_layer
from wordsight.report.overlay import HeatMap, PointedRegion, WordMatch, places_of, strength

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 640  # most pixels of a side of an embedded picture
LOSSLESS = 128  # up to so many pixels a side, a picture is embedded as PNG and shown with square pixels

_WHOLE_NUMBER = -1  # of the map of the whole sentence, among those of its words
_WHOLE_CHIP = (
    f'<button type="button" class="chip" data-heat="{_WHOLE_NUMBER}" '
    f'style="--hue:var(--quiet);--found:0">{WHOLE}</button>'
)


def gallery(examples: Sequence[Example]) -> str:
    """The section, or nothing without examples; raises UnreadablePicture."""
    if not examples:
        return ""
    cards = "".join(_card(example, number) for number, example in enumerate(examples, start=1))
    return (
        '<section aria-labelledby="gallery"><h2 id="gallery">Where each word looks</h2>'
        '<p class="note">Point at a word, tap it or reach it with the Tab key: the region that it picked '
        "lights up, and where the picture answers the word or the whole sentence it stays bright. "
        "The number on a word is the number in the picture, the decimal is how well the word is found there "
        "(a cosine). A crossed-out word is not found: most other pictures answer it as well.</p>"
        f'<div class="gallery">{cards}</div></section>'
    )


def _card(example: Example, number: int) -> str:
    picture = open_picture(example.picture)
    picture.thumbnail((SHOWN, SHOWN))
    places = places_of(example.words)
    place_of = {word: place for place in places for word in place.words}
    chips = [_chip(word, place_of.get(n), n) for n, word in enumerate(example.words)]
    layers = [
        _layer(n, word.heat, place_of.get(n), picture.size)
        for n, word in enumerate(example.words)
        if word.heat
    ]
    if example.heat:
        chips.append(_WHOLE_CHIP)
        layers.append(_layer(_WHOLE_NUMBER, example.heat, None, picture.size))
    small = max(picture.size) <= LOSSLESS
    alt = escape(f"Picture {example.name or number}, described as: {example.text}")
    return (
        f'<article class="example" aria-label="Example {number}">'
        f'<div class="picture{" pixels" if small else ""}">'
        f'<img src="{data_uri(picture)}" width="{picture.width}" height="{picture.height}" alt="{alt}">'
        f"{_overlay(places, picture.size, layers)}</div>"
        f'<p class="rank {_verdict(example)}">{_ranked(example)}'
        f'<span class="score">score {example.score:.2f}</span></p>'
        f'<p class="sentence">{" ".join(chips)}</p></article>'
    )


def _verdict(example: Example) -> str:
    if example.rank == 0:
        return "top"
    if example.relevant is not None:
        return "first" if example.relevant else "late"
    return "first" if example.rank == 1 else "top" if example.rank <= 10 else "late"


def _ranked(example: Example) -> str:
    if example.rank == 0:
        return ""
    among = f" of {example.pictures:,}" if example.pictures else ""
    below = ", no match" if example.relevant is False else ""
    return f"<strong>Rank {example.rank:,}</strong>{among}{below}"


def _chip(word: WordMatch, place: PointedRegion | None, number: int) -> str:
    label, shown = escape(word.label), strength(word.found)
    level = f"--found:{max(0.0, min(1.0, word.found)):.2f}"
    if place is None:
        return (
            f'<button type="button" class="chip missing" aria-label="{label}: not found, {shown}">'
            f'<s>{label}</s><span class="strength">{shown}</span></button>'
        )
    heat = f' data-heat="{number}"' if word.heat else ""
    return (
        f'<button type="button" class="chip" data-place="{place.number}"{heat} '
        f'style="--hue:{place.colour};{level}" '
        f'aria-label="{label}: found with {shown} in region {place.number}, {_whereabouts(place)}">'
        f'{label}<sup>{place.number}</sup><span class="strength">{shown}</span></button>'
    )


def _whereabouts(place: PointedRegion) -> str:
    """The part of the picture in words, for those who do not see it."""
    left, top, right, bottom = place.box
    across, down = (left + right) / 2, (top + bottom) / 2
    row = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else "middle"
    column = "left" if across < 1 / 3 else "right" if across > 2 / 3 else "centre"
    return f"{row} {column}"


def _layer(number: int, heat: HeatMap, place: PointedRegion | None, size: tuple[int, int]) -> str:
    """A map, shown while the chip of the same number is pointed at."""
    layer = data_uri(heat_layer(heat, place.colour if place else WHOLE_HUE))
    return (
        f'<image data-heat="{number}" href="{layer}" width="{size[0]}" height="{size[1]}" '
        'preserveAspectRatio="none"/>'
    )


def _overlay(places: Sequence[PointedRegion], size: tuple[int, int], layers: Sequence[str]) -> str:
    """The maps, and one group per region: a veil over all else, the frame and its number."""
    width, height = size
    scale = max(size) / 100  # what a percent of the longer side is
    groups = "".join(_region(place, width, height, scale) for place in places)
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(layers)}{groups}</svg>'


def _region(place: PointedRegion, width: int, height: int, scale: float) -> str:
    left, top, right, bottom = (
        round(side * length, 2) for side, length in zip(place.box, (width, height) * 2, strict=True)
    )
    wide, high, side = round(right - left, 2), round(bottom - top, 2), round(6 * scale, 2)
    at_x, at_y = round(min(left, width - side), 2), round(min(top, height - side), 2)
    return (
        f'<g data-place="{place.number}" style="--hue:{place.colour}">'
        f'<path class="veil" fill-rule="evenodd" '
        f'd="M0 0H{width}V{height}H0ZM{left} {top}h{wide}v{high}h-{wide}Z"/>'
        f'<rect class="halo" x="{left}" y="{top}" width="{wide}" height="{high}"/>'
        f'<rect class="frame" x="{left}" y="{top}" width="{wide}" height="{high}"/>'
        f'<rect class="plate" x="{at_x}" y="{at_y}" width="{side}" height="{side}"/>'
        f'<text x="{at_x + side / 2:.2f}" y="{at_y + 0.73 * side:.2f}" font-size="{0.68 * side:.2f}">'
        f"{place.number}</text></g>"
    )


def data_uri(picture: "Image") -> str:
    buffer = io.BytesIO()
    kind = "png" if max(picture.size) <= LOSSLESS or picture.mode == "RGBA" else "jpeg"
    picture.save(buffer, kind, **({"quality": 85} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
