"""Values are counted by the smallest bound that they do not exceed."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from shared.observe.distribution import Distribution


def test_a_value_at_a_bound_does_not_exceed_it():
    seen = Distribution((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        seen.add(value)

    assert list(seen.cumulative()) == [(1.0, 2), (2.0, 3), (inf, 4)]
    assert seen.sum == 12.0
    assert seen.count == 4


@given(st.lists(st.floats(0, 100)))
def test_each_bound_counts_what_does_not_exceed_it(values):
    seen = Distribution((0.5, 1.0, 50.0))
    for value in values:
        seen.add(value)

    assert list(seen.cumulative()) == [
        (bound, sum(value <= bound for value in values)) for bound in (0.5, 1.0, 50.0, inf)
    ]
