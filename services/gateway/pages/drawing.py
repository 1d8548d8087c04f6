"""Charts as inline SVG, each with a title and a description for readers who cannot see it. Pure.

y grows downwards; units are those of the viewBox.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.gateway.pages.markup import Markup, number, text
from shared.batches.reports import BINS_S, Bin, Documents

LEAST: Final = 1.0
"""Height of the smallest column above zero: a reader must see it."""

TINY: Final = 1e-6
"""Less than this is drawn as nothing."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


def columns(values: Sequence[int], width: float, height: float, gap: float) -> list[Box]:
    """A column for each value, side by side over the whole width, the largest as high as can be.

    Args:
        values: not negative.
        gap: between two columns.
    """
    if not values:
        return []
    step = (width + gap) / len(values)
    top = max(values)
    boxes = []
    for n, value in enumerate(values):
        tall = max(LEAST, height * value / top) if value else 0.0
        boxes.append(Box(n * step, height - tall, step - gap, tall))
    return boxes


def shares(values: Sequence[int], width: float) -> list[tuple[float, float]]:
    """(start, length) of each value's part of a bar; lengths add up to the width, unless all are 0.

    Args:
        values: not negative.
    """
    whole = sum(values)
    parts, before = [], 0
    for value in values:
        start = width * before / whole if whole else 0.0
        before += value
        end = width * before / whole if whole else 0.0
        parts.append((start, end - start))
    return parts


def nice_top(values: Sequence[float]) -> float:
    """The smallest of 1, 2, 5, 10, 20, … (or 0.5, 0.2, …) that no value is above; 1 without any."""
    most = max(values, default=0.0)
    if most < TINY:
        return 1.0
    size = 10.0 ** math.floor(math.log10(most))
    return next(step * size for step in (1.0, 2.0, 5.0, 10.0, 20.0) if most <= step * size)


def polyline(
    values: Sequence[float | None], width: float, height: float, top: float
) -> list[list[tuple[float, float]]]:
    """Lines through the values from left to right, broken where one is None.

    Args:
        values: 0 is at the bottom, `top` at the upper edge; a single value is in the middle.
    """
    step = width / (len(values) - 1) if len(values) > 1 else 0.0
    lines: list[list[tuple[float, float]]] = [[]]
    for n, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        x = n * step if step else width / 2
        lines[-1].append((x, height * (1 - min(max(value / top, 0.0), 1.0))))
    return [line for line in lines if line]


def edge(ends: Sequence[float], value: float) -> int | None:
    """How many bins end at or below the value, if one ends exactly there."""
    return ends.index(value) + 1 if value in ends else None


WIDTH: Final = 360.0
"""Of every viewBox: a phone shows it about as it is."""
OUTCOMES: Final = (
    ("inserted", "f1"),
    ("updated", "f2"),
    ("moved", "f4"),
    ("removed", "f5"),
    ("refused", "f6"),
    ("failed", "f7"),
    ("waiting", "f8"),
    ("missing", "f8"),
    ("unchanged", "f3"),
)
"""Documents by outcome, and the class of its colour, in the order of the bar."""
_TICKS: Final = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "1m", "2m", "5m", "15m", "1h")


@dataclass(frozen=True, slots=True)
class About:
    """The title of a chart, and one sentence about it; `id` is unique on the page."""

    id: str
    title: str
    said: str


def _svg(about: About, height: float, content: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-labelledby="{about.id}-t {about.id}-d" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{about.id}-t">{text(about.title)}</title>'
        f'<desc id="{about.id}-d">{text(about.said)}</desc>{content}</svg>'
    )


def outcome_bar(documents: Documents) -> Markup:
    """One bar, a part of it for each outcome; empty without documents."""
    values = [getattr(documents, name) for name, _ in OUTCOMES]
    if not any(values):
        return Markup()
    said = ", ".join(f"{v:,} {n}" for v, (n, _) in zip(values, OUTCOMES, strict=True) if v)
    parts = "".join(
        f'<rect class="{kind}" x="{x:.2f}" y="0" width="{max(0.4, wide - 0.6):.2f}" height="22"/>'
        for (x, wide), (_, kind) in zip(shares(values, WIDTH), OUTCOMES, strict=True)
        if wide
    )
    return _svg(About("outcomes", "Documents by outcome", said), 22, parts)


def histogram(bins: Sequence[Bin], warn_s: float) -> Markup:
    """A column for each bin of freshness, with the limit where a bin ends there."""
    values = [b.documents for b in bins]
    if not any(values):
        return Markup()
    top, floor = 14.0, 106.0
    boxes = columns(values, WIDTH, floor - top, gap=3.0)
    content = []
    for box, value, tick in zip(boxes, values, (*_TICKS, "more"), strict=True):
        middle = box.x + box.width / 2
        content.append(
            f'<rect class="f2" x="{box.x:.2f}" y="{box.y + top:.2f}" '
            f'width="{box.width:.2f}" height="{box.height:.2f}"/>'
            f'<text x="{middle:.2f}" y="{floor + 12:g}" text-anchor="middle">{tick}</text>'
        )
        if value:
            content.append(
                f'<text class="v" x="{middle:.2f}" y="{box.y + top - 3:.2f}" '
                f'text-anchor="middle">{_short(value)}</text>'
            )
    content.append(f'<line class="axis" x1="0" x2="{WIDTH:g}" y1="{floor:g}" y2="{floor:g}"/>')
    limit = edge(BINS_S, warn_s)
    if limit is not None:
        x = boxes[limit].x - 1.5
        content.append(f'<line class="limit" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{floor:g}"/>')
    said = ", ".join(f"{n:,} {words}" for n, words in zip(values, labels(bins), strict=True) if n)
    about = About("freshness", "Documents by time from change to searchable", said)
    return _svg(about, floor + 16, "".join(content))


def trend(about: About, values: Sequence[float | None], unit: str = "") -> Markup:
    """A line through the values, oldest first, with the largest and the last one written."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup()
    top, floor, right = 12.0, 62.0, WIDTH - 56.0
    most = nice_top(known)
    lines = polyline(values, right - 4, floor - top, most)
    drawn = "".join(
        f'<polyline class="line" points="'
        f'{" ".join(f"{x + 2:.2f},{y + top:.2f}" for x, y in line)}"/>'
        for line in lines
        if len(line) > 1
    )
    dots = "".join(
        f'<circle class="dot" cx="{line[0][0] + 2:.2f}" cy="{line[0][1] + top:.2f}" r="2.2"/>'
        for line in lines
        if len(line) == 1
    )
    x, y = lines[-1][-1]
    last = f'<circle class="dot" cx="{x + 2:.2f}" cy="{y + top:.2f}" r="2.6"/>'
    axis = "".join(
        f'<line class="axis" x1="0" x2="{right:g}" y1="{at:g}" y2="{at:g}"/>' for at in (top, floor)
    )
    words = (
        f'<text x="{right + 4:g}" y="{top + 3:g}">{_amount(most)}{unit}</text>'
        f'<text x="{right + 4:g}" y="{floor + 3:g}">0</text>'
    )
    return _svg(about, floor + 6, axis + drawn + dots + last + words)


def labels(bins: Sequence[Bin]) -> list[str]:
    """`up to 0.1 s`, `0.1 s to 0.25 s`, … `more than 1 h`."""
    words, before = [], ""
    for bin_ in bins:
        end = "" if bin_.up_to_s is None else _end(bin_.up_to_s)
        words.append(f"{before} to {end}" if before and end else f"up to {end}")
        if not end:
            words[-1] = f"more than {before}"
        before = end
    return words


def _end(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} s"


def _short(value: int) -> str:
    """At most four characters."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return (
                f"{value / size:.1f}{letter}" if value < 10 * size else f"{value // size}{letter}"
            )
    return str(value)


def _amount(value: float) -> str:
    return number(value) if value < 1 else f"{value:,.0f}"
