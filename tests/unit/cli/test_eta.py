import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.eta import Estimate, describe


def run(samples, window_s=10.0):
    estimate = Estimate(window_s)
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


def test_only_what_is_gained_on_a_growing_total_counts():
    growing = run([(t, 100 * t, 1000 + 50 * t) for t in range(11)])
    losing = run([(t, 100 * t, 1000 + 200 * t) for t in range(11)])

    assert growing.left_s() == pytest.approx(500 / 50)
    assert losing.left_s() is None


def test_old_samples_are_forgotten():
    slow = [(t, t, 10_000) for t in range(100)]
    fast = [(100 + t, 100 + 100 * t, 10_000) for t in range(20)]

    assert run(slow + fast).rate() == pytest.approx(100)


@given(rate=st.floats(0.1, 1e4), total=st.integers(1, 10**6), until=st.integers(3, 40))
def test_the_estimate_of_a_steady_rate_is_right_and_never_negative(rate, total, until):
    samples = [(float(t), min(total, int(rate * t)), total) for t in range(until)]
    estimate = run(samples)

    left = estimate.left_s()
    if samples[-1][1] == total:
        assert left == 0
    elif left is not None:
        exact = (total - samples[-1][1]) / estimate.rate()
        assert left == pytest.approx(exact)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, ""),
        (0.2, "a moment left"),
        (31, "about 31 s left"),
        (89.6, "about 90 s left"),
        (360, "about 6 min left"),
        (2 * 3600, "about 2.0 h left"),
    ],
)
def test_it_is_said_in_round_words(left, said):
    assert describe(left) == said
