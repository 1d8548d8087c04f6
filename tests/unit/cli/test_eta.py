import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.up.frame import FIRST_S, MEMORY_S, Estimate, describe


def run(samples):
    estimate = Estimate()
    for sample in samples:
        estimate.add(*sample)
    return estimate


def test_a_steady_rate_tells_the_time_left():
    estimate = run([(t, 100 * t, 5000) for t in range(11)])

    assert estimate.rate() == pytest.approx(100)
    assert estimate.left_s() == pytest.approx(40)


def test_nothing_is_told_before_something_was_seen():
    assert Estimate().rate() is None
    assert Estimate().left_s() is None
    assert run([(0, 0, 10), (0.5, 5, 10)]).rate() is None
    assert run([(0, 0, 10), (5, 0, 10)]).left_s() is None


def test_the_time_before_the_first_piece_is_no_slow_work():
    """The model loads."""
    loading = [(t, 0, 5000) for t in range(120)]
    work = [(120 + t, 100 * t, 5000) for t in range(11)]

    assert run(loading + work).left_s() == pytest.approx(40)


def test_the_end_cannot_be_told_while_the_total_grows_as_fast_as_the_work():
    growing = [(t, 100 * t, 1000 + 50 * t) for t in range(11)]
    known = [(11 + t, 1100 + 100 * t, 5000) for t in range(12)]

    assert run(growing).left_s() is None
    assert run(growing + known).left_s() == pytest.approx(28)


def test_a_rate_of_long_ago_is_forgotten():
    slow = [(t, t, 100_000) for t in range(600)]
    fast = [(600 + t, 600 + 100 * t, 100_000) for t in range(400)]

    assert run(slow + fast).rate() == pytest.approx(100, rel=0.05)


@given(rate=st.floats(0.5, 1e4), total=st.integers(1, 10**6), until=st.integers(8, 200))
def test_the_estimate_of_a_steady_rate_is_right_and_never_negative(rate, total, until):
    samples = [(float(t), min(total, int(rate * t)), total) for t in range(until)]
    estimate = run(samples)

    left = estimate.left_s()
    if samples[-1][1] == total:
        assert left == 0
    elif left is not None:
        assert left == pytest.approx((total - samples[-1][1]) / rate, rel=0.5, abs=2 / rate)


work = st.lists(st.tuples(st.floats(0.05, 3), st.integers(0, 200)), min_size=5, max_size=60)
"""Seconds and pieces, again and again."""
TOTAL = 10**6


def after(work):
    """An estimate after such work, and when and where it ended."""
    estimate, at, done = run([(0.0, 0, TOTAL)]), 0.0, 0
    for took, pieces in work:
        at, done = at + took, done + pieces
        estimate.add(at, done, TOTAL)
    return estimate, at, done


@given(work=work, stall_s=st.floats(0, 3600), pieces=st.integers(0, 500))
def test_a_stall_makes_the_estimate_longer_in_proportion_at_most(work, stall_s, pieces):
    estimate, at, done = after([*work, (0.1, 1)])
    before = estimate.left_s()
    rests_on = min(estimate._worked_s, MEMORY_S)
    estimate.add(at + stall_s, done, TOTAL)
    during = estimate.left_s()
    estimate.add(at + stall_s, done + pieces, TOTAL)
    afterwards = estimate.left_s()

    if before is None:
        return
    longest = before * (1 + stall_s / rests_on) * 1.000001
    assert before * 0.999999 <= during <= longest
    assert afterwards <= longest


def test_ten_seconds_of_another_process_do_not_make_hours_of_minutes():
    steady = [(t / 10, 2 * t, 12_000) for t in range(3_000)]
    stalled = [(300 + t / 10, 5_998, 12_000) for t in range(100)]
    before, during = run(steady).left_s(), run(steady + stalled).left_s()

    assert before == pytest.approx(300, rel=0.02)
    assert during <= 1.2 * before


@given(work)
def test_what_is_told_rests_on_some_seconds_of_work(work):
    estimate, _, _ = after(work)

    assert (estimate.left_s() is None) == (estimate._worked_s < FIRST_S)


def test_nothing_to_do_is_no_stall():
    busy = [(t, 100 * t, 1000) for t in range(11)]
    idle = [(11 + t, 1000, 1000) for t in range(600)]
    again = [(611 + t, 1000 + 100 * t, 9000) for t in range(12)]

    assert run(busy + idle + again).rate() == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, ""),
        (0.2, "a moment left"),
        (4, "about 5 s left"),
        (31, "about 30 s left"),
        (58, "about 1 min left"),
        (360, "about 6 min left"),
        (23 * 60, "about 25 min left"),
        (2 * 3600, "about 2 h left"),
        (3.6 * 3600, "about 3.5 h left"),
    ],
)
def test_it_is_said_in_round_words(left, said):
    assert describe(left) == said


@given(st.floats(3, 1e6), st.floats(3, 1e6))
def test_more_is_never_said_to_be_less(one, other):
    low, high = sorted((one, other))

    assert _seconds(describe(low)) <= _seconds(describe(high))


def _seconds(said):
    _, number, unit, _ = said.split()
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]
