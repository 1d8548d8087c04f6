"""Whether a curve of a soak is flat. Pure.

The growth of a curve is the slope of the straight line through it, after the warm-up, times the
time that was measured: a saw-tooth (a store that is compacted now and then) has none.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WARM_UP_S = 240.0
"""What no verdict looks at: caches and thread pools fill. At most half of a short run."""


def warm_up_s(length_s: float) -> float:
    return min(WARM_UP_S, length_s / 2)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured at one moment, seconds after the start."""

    at_s: float
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure and how much it may grow.

    Args:
        share: growth allowed, as a share of the level after the warm-up.
        absolute: growth allowed in any case, in the figure's unit.
        per: another figure; this one may grow with it, by `rate` for each of its units.
        why: told for a curve that grows by design.
    """

    name: str
    share: float = 0.0
    absolute: float = 0.0
    per: str = ""
    rate: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    passed: bool
    words: str


CURVES = (
    Curve("memory_mb", share=0.05, absolute=10),
    Curve("server_memory_mb", share=0.1, absolute=20),
    Curve("open_files", share=0.1, absolute=20),
    Curve("threads", absolute=4),
    Curve("processes"),
    Curve("consumers", absolute=2),
    Curve("store_mb", share=0.3, absolute=5),
    Curve("store_files", share=0.3, absolute=100),
    Curve("CHUNKS messages", absolute=20),
    Curve("VECTORS messages", absolute=20),
    Curve("INTAKE messages"),
    Curve("DLQ messages"),
    Curve("listings messages", absolute=256),
    Curve("listings kb", share=0.1, absolute=20),
    Curve(
        "OBJ_bodies kb",
        absolute=700,
        per="large_changes",
        rate=350,
        why="deleted an hour after the last one that needed it",
    ),
    Curve(
        "DOCS messages",
        absolute=2,
        per="paths_ever",
        rate=1,
        why="one for every path there ever was",
    ),
    Curve(
        "ledger messages",
        absolute=2,
        per="paths_ever",
        rate=1,
        why="one for every path there ever was",
    ),
    Curve("batches messages", absolute=50, per="changes", rate=1, why="1,000 reports are kept"),
    Curve("RESULTS kb", absolute=100, per="changes", rate=6, why="kept 7 days, at most 1 GB"),
    Curve("embcache kb", absolute=100, per="changes", rate=8, why="kept 30 days, at most 3 GB"),
    Curve("server_files", share=0.3, absolute=60),
    Curve("waiting", absolute=10),
)


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which the share `q` lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the line through (x, y) times the width of x; 0 for fewer than three points."""
    if len(points) < 3:
        return 0.0
    xs, ys = zip(*points, strict=True)
    if xs[0] == xs[-1]:
        return 0.0
    return statistics.linear_regression(xs, ys).slope * (xs[-1] - xs[0])


def judge(curve: Curve, samples: Sequence[Sample]) -> Verdict:
    """Args: samples: those after the warm-up."""
    name = curve.name
    points = [(s.at_s, s.figures[name]) for s in samples if name in s.figures]
    if not points:
        return Verdict(name, True, f"{name}: not there")
    grown = growth(points)
    level = statistics.median(y for _, y in points)
    allowed = max(curve.absolute, curve.share * level)
    said = f"{name}: {level:.0f}, grew by {grown:+.1f}"
    if curve.per:
        other = growth([(s.at_s, s.figures[curve.per]) for s in samples])
        allowed += curve.rate * other
        each = grown / other if other else 0.0
        said += f", {each:.2f} for each of {curve.per}; {curve.why}"
    return Verdict(name, grown <= allowed, f"{said} (allowed {allowed:+.1f})")


def steady(minutes: Sequence[dict[str, float]]) -> Verdict:
    """Freshness: p95 of the last third of the minutes against the first third after warm-up."""
    values = [minute["p95_s"] for minute in minutes[int(warm_up_s(60 * len(minutes)) / 60) :]]
    third = max(1, len(values) // 3)
    if len(values) < 2:
        return Verdict("freshness", True, "freshness: too short a run for a verdict")
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    said = f"freshness p95: {first * 1000:.0f} ms at first, {last * 1000:.0f} ms at last"
    return Verdict("freshness", last <= 1.5 * first + 0.1, f"{said} (allowed 1.5 times and 0.1 s)")


def none_of(name: str, samples: Sequence[Sample]) -> Verdict:
    count = samples[-1].figures[name] if samples else 0
    return Verdict(name, count == 0, f"{name}: {count:.0f} (allowed 0)")


def verdicts(samples: Sequence[Sample], minutes: Sequence[dict[str, float]]) -> list[Verdict]:
    """One for each curve."""
    since = warm_up_s(samples[-1].at_s) if samples else 0.0
    warm = [sample for sample in samples if sample.at_s >= since]
    return [
        *(judge(curve, warm) for curve in CURVES),
        steady(minutes),
        none_of("late", samples),
        none_of("missed", samples),
    ]
