"""Where things are in a chart. Pure geometry: y grows downwards, units are those of the viewBox."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEAST: Final = 1.0
"""Height of the smallest column that is not zero: what is there must be seen."""

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
