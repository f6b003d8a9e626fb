"""A meaning and a scene -> whether it is true there, and of which things; judges every generated sentence."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wordsight.read.synthetic.scenes import RADII, Scene, Thing, is_clear

# Fractions of the picture, for what is said; half or twice that for what may be doubted.
NEAR = 0.12  # the widest gap between two things that lie next to each other
EDGE = 0.42  # a thing at the left has its centre left of this
MIDDLE = 0.13  # how far from the centre a thing in the middle may be


@dataclass(frozen=True)
class Phrase:
    """The properties that a sentence gives one thing; None where it gives none."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    texture: str | None = None

    def fits(self, thing: Thing) -> bool:
        return (
            self.shape in (None, thing.shape)
            and self.colour in (None, thing.colour)
            and self.size in (None, thing.size)
            and self.texture in (None, thing.texture)
        )


@dataclass(frozen=True)
class Fact:
    """How the named things lie: ``Fact("left", (0, 1))`` is "the first is left of the second"."""

    relation: str
    things: tuple[int, ...]  # which phrases of the meaning

    def fits(self, things: list[Thing], clearly: bool = False) -> bool:
        true: bool = RELATIONS[self.relation](*[things[index] for index in self.things], clearly)
        return true


@dataclass(frozen=True)
class Meaning:
    """All that a sentence claims. Different phrases name different things."""

    phrases: tuple[Phrase, ...]
    facts: tuple[Fact, ...] = ()
    total: int | None = None  # of things in the picture


def readings(meaning: Meaning, scene: Scene, clearly: bool = False) -> list[tuple[int, ...]]:
    """Every way to read the meaning: which thing of the scene each phrase may name; empty if it is false.

    ``clearly`` asks for what nobody would dispute, which is how a sentence is true of its own picture.
    Without it a doubtful relation counts as true ("left of" by a hair), which is how a sentence is false
    of the other pictures.
    """
    if meaning.total not in (None, len(scene.things)):
        return []
    return list(_extend((), meaning, scene, clearly))


def holds(meaning: Meaning, scene: Scene, clearly: bool = False) -> bool:
    """Whether the meaning is true of the scene."""
    return bool(readings(meaning, scene, clearly))


def _extend(
    named: tuple[int, ...], meaning: Meaning, scene: Scene, clearly: bool
) -> Iterator[tuple[int, ...]]:
    """Name one more thing, and go on as long as every fact about the things named so far is true."""
    if len(named) == len(meaning.phrases):
        yield named
        return
    phrase = meaning.phrases[len(named)]
    for index, thing in enumerate(scene.things):
        if index not in named and phrase.fits(thing):
            longer = (*named, index)
            things = [scene.things[chosen] for chosen in longer]
            due = [fact for fact in meaning.facts if max(fact.things) == len(named)]
            if all(fact.fits(things, clearly) for fact in due):
                yield from _extend(longer, meaning, scene, clearly)


# ------------------------------------------------- relations: with ``clearly`` beyond dispute, else just so


def _before(ahead: float, aside: float, clearly: bool) -> bool:
    return is_clear(ahead, aside) if clearly else ahead > 0


def _left(one: Thing, other: Thing, clearly: bool) -> bool:
    return _before(other.x - one.x, other.y - one.y, clearly)


def _above(one: Thing, other: Thing, clearly: bool) -> bool:
    return _before(other.y - one.y, other.x - one.x, clearly)


def _next(one: Thing, other: Thing, clearly: bool) -> bool:
    gap = math.hypot(one.x - other.x, one.y - other.y) - one.radius - other.radius
    return gap < (NEAR if clearly else 3 * NEAR)


def _between(one: Thing, first: Thing, last: Thing, clearly: bool) -> bool:
    """Its centre is near the line from first to last, and not at its ends."""
    x, y = last.x - first.x, last.y - first.y
    length = math.hypot(x, y)
    along = ((one.x - first.x) * x + (one.y - first.y) * y) / length**2
    aside = abs((one.x - first.x) * y - (one.y - first.y) * x) / length
    return 0.2 < along < 0.8 and aside < 0.12 if clearly else 0 < along < 1 and aside < 0.3


def _bigger(one: Thing, other: Thing, _clearly: bool) -> bool:
    return list(RADII).index(one.size) > list(RADII).index(other.size)


def _at_left(one: Thing, clearly: bool) -> bool:
    return one.x < (EDGE if clearly else 0.55)


def _at_top(one: Thing, clearly: bool) -> bool:
    return one.y < (EDGE if clearly else 0.55)


def _at_right(one: Thing, clearly: bool) -> bool:
    return one.x > (1 - EDGE if clearly else 0.45)


def _at_bottom(one: Thing, clearly: bool) -> bool:
    return one.y > (1 - EDGE if clearly else 0.45)


def _in_middle(one: Thing, clearly: bool) -> bool:
    return math.hypot(one.x - 0.5, one.y - 0.5) < (MIDDLE if clearly else 2 * MIDDLE)


RELATIONS: dict[str, Callable[..., bool]] = {
    "left": _left,
    "above": _above,
    "right": lambda one, other, clearly: _left(other, one, clearly),
    "below": lambda one, other, clearly: _above(other, one, clearly),
    "next": _next,
    "between": _between,
    "bigger": _bigger,
    "smaller": lambda one, other, clearly: _bigger(other, one, clearly),
    "at left": _at_left,
    "at right": _at_right,
    "at top": _at_top,
    "at bottom": _at_bottom,
    "at top left": lambda one, clearly: _at_top(one, clearly) and _at_left(one, clearly),
    "at top right": lambda one, clearly: _at_top(one, clearly) and _at_right(one, clearly),
    "at bottom left": lambda one, clearly: _at_bottom(one, clearly) and _at_left(one, clearly),
    "at bottom right": lambda one, clearly: _at_bottom(one, clearly) and _at_right(one, clearly),
    "in middle": _in_middle,
}
