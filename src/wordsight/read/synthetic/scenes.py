"""Seed -> scenes of the generated world: which things are where, and near misses that differ in one word."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from wordsight.read.synthetic.shapes import extent

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; fractions of the picture

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
TEXTURES = ("plain", "striped", "dotted")
RADII = {"small": (0.095, 0.11), "large": (0.145, 0.17)}  # fractions of the picture; nothing in between
MOST_THINGS = 5
GAP = 0.03  # between the bounding circles of two things, so that none hides another
CLEAR = 0.15  # a step to the side by less than this is not worth telling
TRIES = 200  # placements before a scene is begun anew


@dataclass(frozen=True)
class Thing:
    """One coloured object; position and radius are fractions of the picture."""

    shape: str
    colour: str
    size: str
    texture: str
    x: float
    y: float
    radius: float  # of the circle that bounds it
    angle: float  # radians

    @cached_property
    def box(self) -> Box:
        """The smallest box around its outline."""
        left, top, right, bottom = (side * self.radius for side in extent(self.shape, self.angle))
        return self.x + left, self.y + top, self.x + right, self.y + bottom


@dataclass(frozen=True)
class Scene:
    """The things and the backdrop of one picture."""

    things: tuple[Thing, ...]  # no two share both shape and colour
    backdrop: str  # the seed of the background and of what lies about on it


def draw_scene(seed: str, fewest: int = 2) -> Scene:
    """A random scene of ``fewest`` to MOST_THINGS things, the same for the same seed."""
    chance = random.Random(seed)
    while True:
        things = _place(chance, chance.randint(fewest, MOST_THINGS))
        if things is not None:
            return Scene(things, seed)


def _place(chance: random.Random, count: int) -> tuple[Thing, ...] | None:
    things: list[Thing] = []
    for _ in range(TRIES):
        thing = _draw_thing(chance)
        if all(_apart(thing, other) and _kind(thing) != _kind(other) for other in things):
            things.append(thing)
        if len(things) == count:
            return tuple(things)
    return None


def _draw_thing(chance: random.Random) -> Thing:
    size = chance.choice(list(RADII))
    radius = chance.uniform(*RADII[size])
    return Thing(
        shape=chance.choice(SHAPES),
        colour=chance.choice(COLOURS),
        size=size,
        texture=chance.choices(TEXTURES, (4, 1, 1))[0] if size == "large" else "plain",  # readable at 64 px
        x=chance.uniform(radius, 1 - radius),
        y=chance.uniform(radius, 1 - radius),
        radius=radius,
        angle=chance.uniform(-0.25, 0.25),
    )


def _kind(thing: Thing) -> tuple[str, str]:
    return thing.shape, thing.colour


def _apart(one: Thing, other: Thing) -> bool:
    return math.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius + GAP


def is_clear(ahead: float, aside: float) -> bool:
    """Whether going so far ahead and so far aside is beyond dispute a step in that direction."""
    return ahead > max(CLEAR, 1.2 * abs(aside))


# ---------------------------------------------------------------------------------------------- near misses

Change: TypeAlias = Callable[[Scene, random.Random], Scene]


def near_misses(seed: str) -> list[Scene]:
    """Four scenes all but alike: the first; two colours swapped; two places swapped; one word changed.

    The backdrop is the same in all four, so that nothing but the things tells them apart.
    """
    for attempt in range(TRIES):
        first = draw_scene(f"{seed}/{attempt}", fewest=3)
        chance = random.Random(f"{seed}/{attempt}/changes")
        scenes = [first, *(change(first, chance) for change in (_swap_colours, _swap_places, _change_one))]
        if all(_is_possible(scene) for scene in scenes) and len(set(scenes)) == len(scenes):
            return scenes
    raise RuntimeError(f"no scene with three near misses in {TRIES} attempts from seed {seed}")


def _swap_colours(scene: Scene, _chance: random.Random) -> Scene:
    """The first two things exchange their colours."""
    one, other = scene.things[:2]
    return _with(scene, replace(one, colour=other.colour), replace(other, colour=one.colour))


def _swap_places(scene: Scene, _chance: random.Random) -> Scene:
    """The first two things exchange their places, and with them every relation between the two."""
    one, other = scene.things[:2]
    return _with(scene, replace(one, x=other.x, y=other.y), replace(other, x=one.x, y=one.y))


def _change_one(scene: Scene, chance: random.Random) -> Scene:
    """The first thing gets another colour, shape or texture."""
    one, other = scene.things[:2]
    choices: dict[str, Sequence[str]] = {"colour": COLOURS, "shape": SHAPES}
    if one.texture != "plain":
        choices["texture"] = TEXTURES[1:]  # "plain" goes without saying, so no sentence could tell it
    what = chance.choice(list(choices))
    others = [value for value in choices[what] if value != getattr(one, what)]
    changed: dict[str, Any] = {what: chance.choice(others)}
    return _with(scene, replace(one, **changed), other)


def _with(scene: Scene, one: Thing, other: Thing) -> Scene:
    return replace(scene, things=(one, other, *scene.things[2:]))


def _is_possible(scene: Scene) -> bool:
    """No two things alike, none touching another, none over the edge, the first two clearly related."""
    things = scene.things
    one, other = things[:2]
    pairs = [(a, b) for i, a in enumerate(things) for b in things[i + 1 :]]
    inside = all(t.radius <= t.x <= 1 - t.radius and t.radius <= t.y <= 1 - t.radius for t in things)
    distinct = one.shape != other.shape and one.colour != other.colour
    across, down = abs(one.x - other.x), abs(one.y - other.y)
    related = is_clear(across, down) or is_clear(down, across)
    return inside and distinct and related and all(_apart(a, b) and _kind(a) != _kind(b) for a, b in pairs)
