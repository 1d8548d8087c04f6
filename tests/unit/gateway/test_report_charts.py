"""Where things are in a chart."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.pages.drawing import (
    About,
    columns,
    edge,
    labels,
    nice_top,
    polyline,
    shares,
    trend,
)
from services.validator.batches.report import histogram
from shared.batches.reports import BINS_S

counts = st.lists(st.integers(0, 10**6), min_size=1, max_size=20)
amounts = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=40)
seconds = st.floats(0, 1e5)


def near(a, b):
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


# -- bins ------------------------------------------------------------------------------------------


@given(st.lists(seconds, max_size=200))
def test_every_document_is_in_the_one_bin_that_its_time_belongs_to(times):
    bins = histogram(times)

    assert sum(b.documents for b in bins) == len(times)
    lower = -1.0
    for b in bins:
        upper = math.inf if b.up_to_s is None else b.up_to_s
        assert b.documents == sum(lower < t <= upper for t in times)
        lower = upper


def test_the_limit_of_a_minute_ends_a_bin():
    within = edge(BINS_S, 60.0)

    assert within is not None
    bins = histogram([60.0, 60.001])
    assert [b.documents for b in bins[within - 1 : within + 1]] == [1, 1]
    assert edge(BINS_S, 61.0) is None


def test_the_words_of_the_bins_name_both_ends():
    words = labels(histogram([1.0]))

    assert words[0] == "up to 0.1 s"
    assert words[1] == "0.1 s to 0.25 s"
    assert words[9] == "1 min to 2 min"
    assert words[-1] == "more than 1 h"
    assert len(set(words)) == len(BINS_S) + 1


# -- columns ---------------------------------------------------------------------------------------


@given(counts)
def test_columns_stand_on_the_floor_side_by_side_in_proportion(values):
    boxes = columns(values, 360, 92, gap=3)

    assert len(boxes) == len(values)
    assert near(boxes[-1].x + boxes[-1].width, 360)
    for left, right in itertools.pairwise(boxes):
        assert near(left.x + left.width + 3, right.x)
    top = max(values)
    for value, box in zip(values, boxes, strict=True):
        assert near(box.y + box.height, 92)
        assert (box.height > 0) == (value > 0)
        if value and 92 * value / top > 1:
            assert near(box.height, 92 * value / top)
        assert box.height <= 92.000001


# -- shares ----------------------------------------------------------------------------------------


@given(counts)
def test_shares_fill_the_bar_without_a_gap_in_proportion(values):
    parts = shares(values, 360)

    end = 0.0
    for value, (start, length) in zip(values, parts, strict=True):
        assert near(start, end)
        assert near(length * sum(values), 360 * value)
        end = start + length
    assert near(end, 360 if sum(values) else 0)


# -- lines -----------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.001, 1e9), min_size=1, max_size=20))
def test_the_top_is_a_round_number_not_much_above_the_largest_value(values):
    top = nice_top(values)

    assert max(values) <= top <= 2.5 * max(values) * 1.000001
    mantissa = top / 10.0 ** math.floor(math.log10(top) + 1e-9)
    assert any(near(mantissa, step) for step in (1, 2, 5))


@given(amounts)
def test_a_line_goes_through_every_value_that_is_known_and_breaks_where_none_is(values):
    top = nice_top([v for v in values if v is not None])
    drawn = polyline(values, 300, 50, top)
    points = [point for line in drawn for point in line]
    known = [(n, v) for n, v in enumerate(values) if v is not None]

    assert len(points) == len(known)
    for (x, y), (n, value) in zip(points, known, strict=True):
        assert near(x, 300 * n / (len(values) - 1)) if len(values) > 1 else near(x, 150)
        assert near(y, 50 * (1 - value / top))
    breaks = "".join(" " if v is None else "x" for v in values).split()
    assert [len(line) for line in drawn] == [len(run) for run in breaks]


@pytest.mark.parametrize("values", [[], [None, None], [0.0]])
def test_nothing_and_zero_can_be_drawn(values):
    drawn = trend(About("t", "T", "said"), values)

    assert bool(drawn) == (values == [0.0])
    assert nice_top([]) == nice_top([0.0]) == 1.0
