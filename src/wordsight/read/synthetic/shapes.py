"""Shape -> its outline: corners within the circle of radius 1, in a box centred on (0, 0); y downwards."""

import math
from collections.abc import Sequence
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
Outline: TypeAlias = list[Point]


def turned(outline: Sequence[Point], angle: float) -> Outline:
    """Turned clockwise by ``angle`` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in outline]


def extent(shape: str, angle: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the turned shape."""
    return _box(turned(OUTLINES[shape], angle))


def _box(outline: Sequence[Point]) -> tuple[float, float, float, float]:
    across, down = zip(*outline, strict=True)
    return min(across), min(down), max(across), max(down)


def _fitted(outline: Sequence[Point]) -> Outline:
    """Moved so that its box is centred, and scaled so that its farthest corner is at 1."""
    left, top, right, bottom = _box(outline)
    moved = [(x - (left + right) / 2, y - (top + bottom) / 2) for x, y in outline]
    farthest = max(math.hypot(x, y) for x, y in moved)
    return [(x / farthest, y / farthest) for x, y in moved]


def _arc(start: float, stop: float, radius: float = 1.0, x: float = 0.0) -> Outline:
    """40 corners from one angle (in degrees, clockwise from the right) to another around (x, 0)."""
    turns = [math.radians(start + (stop - start) * step / 39) for step in range(40)]
    return [(x + radius * math.cos(turn), radius * math.sin(turn)) for turn in turns]


def _polygon(corners: int, radii: tuple[float, ...] = (1.0,), turn: float = -math.pi / 2) -> Outline:
    """Corners at equal angles from ``turn`` (upwards) on, as far out as ``radii`` say in turn."""
    angles = [turn + 2 * math.pi * step / corners for step in range(corners)]
    reach = [radii[step % len(radii)] for step in range(corners)]
    return [(far * math.cos(angle), far * math.sin(angle)) for far, angle in zip(reach, angles, strict=True)]


def _cross(arm: float = 0.36) -> Outline:
    end = math.sqrt(1 - arm * arm)
    quarter = [(-arm, -end), (arm, -end), (arm, -arm)]
    return [corner for turns in range(4) for corner in turned(quarter, turns * math.pi / 2)]


def _heart() -> Outline:
    turns = [2 * math.pi * step / 40 for step in range(40)]
    across = [16 * math.sin(t) ** 3 for t in turns]
    up = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(x, -y) for x, y in zip(across, up, strict=True)]


def _crescent(bite: float = 0.82, x: float = 0.48) -> Outline:
    """A disc of radius 1 with a bite of another disc, whose centre is ``x`` to the right."""
    tip = (1 - bite**2 + x**2) / (2 * x)  # where the two circles cross
    outer, inner = math.degrees(math.acos(tip)), math.degrees(math.acos((tip - x) / bite))
    return _arc(outer, 360 - outer) + _arc(360 - inner, inner, bite, x)


OUTLINES: dict[str, Outline] = {
    "circle": _arc(0.0, 351.0),
    "square": _polygon(4, turn=math.pi / 4),
    "triangle": _fitted(_polygon(3)),
    "star": _fitted(_polygon(10, (1.0, 0.42))),
    "cross": _cross(),
    "ring": _arc(0.0, 351.0),
    "heart": _fitted(_heart()),
    "crescent": _fitted(_crescent()),
}
HOLES: dict[str, Outline] = {"ring": _arc(0.0, 351.0, 0.55)}
