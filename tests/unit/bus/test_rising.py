"""Numbers that must never come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.admin.clock_sequence import above
from shared.domain.errors import ConfigurationError

micros = st.integers(0, 2**53)


@given(micros, micros)
def test_a_stream_begins_above_what_was_given_and_never_before_the_clock(given_before, now):
    begins = above(given_before, now, skew_s=2**53)

    assert begins > given_before
    assert begins >= now


def test_a_clock_that_is_behind_is_refused_with_what_to_do():
    with pytest.raises(ConfigurationError, match=r"3,600 s behind.*set the clock"):
        above(7_200_000_000, 3_600_000_000)


def test_clocks_of_several_machines_may_differ_a_little():
    begins = above(60_000_000, 0, skew_s=60.0)

    assert begins == 60_000_001
    with pytest.raises(ConfigurationError):
        above(60_000_001, 0, skew_s=60.0)
