"""Scene -> picture: uint8 [size size 3], things on a backdrop with gradient, lines, dots and noise."""

import colorsys
import random

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from wordsight.read.synthetic.scenes import Scene, Thing
from wordsight.read.synthetic.shapes import HOLES, OUTLINES, turned

FINER = 3  # drawn so many times larger and averaged down: smooth edges
Colour = tuple[int, int, int]

PAINT: dict[str, Colour] = {
    "red": (215, 30, 35),
    "orange": (250, 135, 15),
    "yellow": (250, 225, 40),
    "green": (30, 150, 55),
    "blue": (35, 85, 215),
    "purple": (135, 45, 170),
    "white": (248, 248, 248),
    "black": (18, 18, 20),
}


def draw(scene: Scene, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The picture of a scene; the same scene gives the same picture."""
    chance = random.Random(scene.backdrop)
    noise = np.random.default_rng(chance.getrandbits(64))
    canvas = _gradient(chance, size * FINER)
    _scatter(ImageDraw.Draw(canvas), chance, size)
    for thing in scene.things:
        _paint(canvas, thing, random.Random(f"{scene.backdrop}/{thing.shape}"))
    picture = np.asarray(canvas.reduce(FINER), dtype=np.float32)
    grain = noise.standard_normal(picture.shape, dtype=np.float32)
    picture += chance.uniform(1, 7) * grain
    pixels: np.ndarray = picture.clip(0, 255).astype(np.uint8)
    return pixels


# ------------------------------------------------------------------------------------------------- backdrop


def _gradient(chance: random.Random, width: int) -> Image.Image:
    """A muted colour in each corner, and all that lies between them."""
    corners = Image.new("RGB", (2, 2), _muted(chance))
    for corner in ((0, 1), (1, 0), (1, 1)):
        if chance.random() < 0.6:
            corners.putpixel(corner, _muted(chance))
    return corners.resize((width, width), Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))


def _muted(chance: random.Random) -> Colour:
    """Pale enough that no thing of a named colour disappears in it."""
    return _rgb(chance.random(), chance.uniform(0.05, 0.3), chance.uniform(0.42, 0.7))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _scatter(pen: ImageDraw.ImageDraw, chance: random.Random, size: int) -> None:
    """Thin lines and specks of any colour, the things' colours among them: neither is a thing."""
    width = size * FINER
    for _ in range(chance.randint(0, 5)):
        ends = [(chance.uniform(0, width), chance.uniform(0, width)) for _ in range(2)]
        pen.line(ends, fill=_any_colour(chance), width=round(width * chance.uniform(0.006, 0.014)))
    for _ in range(chance.randint(0, 14)):
        x, y, radius = (
            chance.uniform(0, width),
            chance.uniform(0, width),
            width * chance.uniform(0.006, 0.016),
        )
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_any_colour(chance))


def _any_colour(chance: random.Random) -> Colour:
    return _rgb(chance.random(), chance.uniform(0.1, 0.8), chance.uniform(0.25, 0.95))


# --------------------------------------------------------------------------------------------------- things


def _paint(canvas: Image.Image, thing: Thing, chance: random.Random) -> None:
    """Fill the thing's outline with its colour and texture, in its own corner of the canvas."""
    width = canvas.width
    left, top = round((thing.x - thing.radius) * width), round((thing.y - thing.radius) * width)
    side = round(2 * thing.radius * width)
    shade = chance.uniform(0.9, 1.08)  # no two reds are quite the same
    colour = _scaled(PAINT[thing.colour], shade)
    fill = Image.new("RGB", (side, side), colour)
    _texture(ImageDraw.Draw(fill), thing.texture, _contrast(colour), side)
    canvas.paste(fill, (left, top), _stencil(thing, side))


def _scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def _contrast(colour: Colour) -> Colour:
    """The colour of stripes and dots: a much darker tone, or grey on black."""
    return (150, 150, 155) if max(colour) < 60 else _scaled(colour, 0.45)


def _texture(pen: ImageDraw.ImageDraw, texture: str, colour: Colour, side: int) -> None:
    if texture == "striped":
        for start in range(-side, side, side // 4):
            pen.line([(start, side), (start + side, 0)], fill=colour, width=side // 11)
    elif texture == "dotted":
        step, radius = side / 4.5, side / 14
        for row in range(5):
            for column in range(-1, 6):
                x, y = (column + row % 2 / 2) * step, (row + 0.25) * step
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _stencil(thing: Thing, side: int) -> Image.Image:
    """255 inside the thing's outline."""
    stencil = Image.new("L", (side, side))
    pen = ImageDraw.Draw(stencil)
    for outline, inside in ((OUTLINES[thing.shape], 255), (HOLES.get(thing.shape, []), 0)):
        corners = [((x + 1) * side / 2, (y + 1) * side / 2) for x, y in turned(outline, thing.angle)]
        if corners:
            pen.polygon(corners, fill=inside)
    return stencil
