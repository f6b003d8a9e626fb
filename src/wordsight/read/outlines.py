"""Shape -> its outline: corners within the circle of radius 1 around (0, 0), y downwards."""

import math
from collections.abc import Sequence
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]


def turned(outline: Sequence[Point], angle: float) -> list[Point]:
    """Turned clockwise by ``angle`` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in outline]


def extent(shape: str, angle: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the turned shape."""
    across, down = zip(*turned(OUTLINES[shape][0], angle), strict=True)
    return min(across), min(down), max(across), max(down)


def _circle(radius: float = 1.0, x: float = 0.0, y: float = 0.0) -> list[Point]:
    turns = [2 * math.pi * step / 40 for step in range(40)]
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]


def _polygon(corners: int, radii: tuple[float, ...] = (1.0,), turn: float = -math.pi / 2) -> list[Point]:
    """Corners at equal angles from ``turn`` (upwards) on, as far out as ``radii`` say in turn."""
    angles = [turn + 2 * math.pi * step / corners for step in range(corners)]
    reach = [radii[step % len(radii)] for step in range(corners)]
    return [(far * math.cos(angle), far * math.sin(angle)) for far, angle in zip(reach, angles, strict=True)]


def _cross(arm: float = 0.36) -> list[Point]:
    end = math.sqrt(1 - arm * arm)
    quarter = [(-arm, -end), (arm, -end), (arm, -arm)]
    points = []
    for _ in range(4):
        points += quarter
        quarter = [(-y, x) for x, y in quarter]
    return points


def _heart() -> list[Point]:
    turns = [2 * math.pi * step / 40 for step in range(40)]
    waves = [
        (
            16 * math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) - 2.5,
        )
        for t in turns
    ]
    return [(x / 17.2, y / 17.2) for x, y in waves]


# the solid part, and the hole in it
OUTLINES: dict[str, tuple[list[Point], list[Point]]] = {
    "circle": (_circle(), []),
    "square": (_polygon(4, turn=math.pi / 4), []),
    "triangle": (_polygon(3), []),
    "star": (_polygon(10, (1.0, 0.42)), []),
    "cross": (_cross(), []),
    "ring": (_circle(), _circle(0.55)),
    "heart": (_heart(), []),
    "crescent": (_circle(), _circle(0.82, x=0.48)),
}
