"""A file is read when it has come to rest."""

from hypothesis import given
from hypothesis import strategies as st

from services.producer.listing import Stat
from services.producer.settling import EMPTIED_S, PATIENCE_S, TOGETHER_S, Settling

SETTLE = 0.03
CLOCK = 10**18


def stat(age_s: float, size: int = 1) -> Stat:
    at = CLOCK - int(age_s * 1e9)
    return Stat(size, at, at, 1)


def due(settling: Settling) -> float:
    return round(settling.next_due(), 6)


def test_an_edit_waits_for_what_is_left_of_the_settling_time():
    settling = Settling(SETTLE)
    settling.touch({"a": stat(0.02)}, 5.0, CLOCK)

    assert due(settling) == 5.01
    assert settling.take(5.0) == []
    assert settling.take(5.01) == ["a"]
    assert settling.take(9.0) == []


def test_an_old_file_that_was_moved_here_does_not_wait():
    settling = Settling(SETTLE)
    settling.touch({"a": stat(3600)}, 5.0, CLOCK)

    assert settling.take(5.0) == ["a"]


def test_a_clock_ahead_of_ours_costs_no_more_than_the_settling_time():
    assert Settling(SETTLE).rest_of(stat(-3600), CLOCK) == SETTLE


def test_an_emptied_file_gets_longer():
    settling = Settling(SETTLE)
    settling.touch({"a": stat(0, size=0)}, 5.0, CLOCK)

    assert due(settling) == round(5.0 + SETTLE + EMPTIED_S, 6)


def test_the_two_sides_of_a_move_are_looked_at_together():
    settling = Settling(SETTLE)
    settling.touch({"old": None, "new": stat(0)}, 5.0, CLOCK)

    assert sorted(settling.take(5.0 + SETTLE)) == ["new", "old"]


@given(st.lists(st.floats(0, 0.02), max_size=200))
def test_a_file_that_never_rests_is_looked_at_in_the_end(gaps):
    settling, now = Settling(SETTLE), 0.0
    for gap in gaps:
        now += gap
        settling.touch({"a": stat(0)}, now, CLOCK)
        assert settling.next_due() <= max(PATIENCE_S, now) + TOGETHER_S


def test_what_was_not_accepted_comes_again():
    settling = Settling(SETTLE)
    settling.again(["a"], 1.0, 0.5)

    assert settling.take(1.4) == []
    assert settling.take(1.5) == ["a"]


def test_a_listing_waits_for_its_youngest_file():
    settling = Settling(SETTLE)

    assert round(settling.longest_rest([stat(1), stat(0.01), None], CLOCK), 6) == 0.02
    assert settling.longest_rest([], CLOCK) == 0.0
