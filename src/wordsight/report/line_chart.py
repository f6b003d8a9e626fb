"""The log of each epoch -> a figure with a curve as inline SVG, readable without colour."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 30  # margins around the plot


def line_chart(history: Sequence[Mapping[str, Any]], key: str, title: str, best: str = "max") -> str:
    """A figure of one quantity over the epochs (from 1), its best marked; "" if fewer than two logged it."""
    points = [
        (int(entry.get("epoch", row)) + 1, float(entry[key]))
        for row, entry in enumerate(history)
        if isinstance(entry.get(key), int | float) and isfinite(entry[key])
    ]
    if len(points) < 2:
        return ""
    ticks = _ticks(min(value for _, value in points), max(value for _, value in points))
    low, high = ticks[0], ticks[-1]
    first, last = points[0][0], points[-1][0]

    def place(epoch: int, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (epoch - first) / (last - first)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)
        return round(x, 1), round(y, 1)

    line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
    top_epoch, top = (max if best == "max" else min)(points, key=lambda point: point[1])
    x, y = place(top_epoch, top)
    summary = f"{points[0][1]:.4g} in epoch {first}, {points[-1][1]:.4g} in epoch {last}"
    marked = f"best {top:.4g} in epoch {top_epoch}"
    return (
        f"<figure><figcaption>{escape(title)} <span>● {marked}</span></figcaption>"
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}: {summary}, {marked}">{_axes(ticks, place, first, last)}'
        f'<polyline class="line" points="{line}"/>'
        f'<circle class="best" cx="{x}" cy="{y}" r="4"/></svg></figure>'
    )


def _axes(ticks: Sequence[float], place: Any, first: int, last: int) -> str:
    rules = "".join(
        f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="tick" x="{LEFT - 7}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
        for tick, y in ((tick, place(first, tick)[1]) for tick in ticks)
    )
    ends = "".join(
        f'<text class="tick" x="{x}" y="{HEIGHT - 11}" text-anchor="{anchor}">{epoch}</text>'
        for epoch, x, anchor in ((first, LEFT, "start"), (last, WIDTH - RIGHT, "end"))
    )
    return (
        f'{rules}{ends}<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 11}" '
        'text-anchor="middle">epoch</text>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that enclose all values."""
    spread = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-9)
    power = 10.0 ** _floor_log10(spread)
    step = next(size * power for size in (0.2, 0.5, 1, 2, 5) if spread / (size * power) <= 4)
    start = step * (low // step)
    count = 1
    while start + count * step < high - 1e-9 * spread:
        count += 1
    return [float(f"{start + n * step:.12g}") for n in range(count + 1)]


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".split("e")[1])
