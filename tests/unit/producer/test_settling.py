"""A file is read when it has come to rest."""

import math
import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.producer.retry_queue import FIRST_S, LONGEST_S, OVERDUE_S, Blocked, Restless
from services.producer.schedule import (
    EMPTIED_S,
    PATIENCE_S,
    RETRY_S,
    RUSH,
    RUSH_S,
    TOGETHER_S,
    WAVE_S,
    Schedule,
    Settling,
)
from services.producer.sources.port import SourceUnavailable, Version

SETTLE = 0.03
CLOCK = 10**18


def stat(age_s: float, size: int = 1) -> Version:
    at = CLOCK - int(age_s * 1e9)
    return Version(size, at, at, 1)


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


def rushed(gap_s: float, count: int) -> list[tuple[float, list[str]]]:
    """When files are taken, as soon as that may be, that are saved one after the other."""
    settling, taken, now = Settling(SETTLE), [], 0.0
    saves = [(n * gap_s, f"f{n}") for n in range(count)]
    while saves or settling.next_due() < math.inf:
        now = min([settling.next_due(), *(at for at, _ in saves[:1])])
        if saves and saves[0][0] <= now:
            settling.touch({saves.pop(0)[1]: stat(0)}, now, CLOCK)
        elif some := settling.take(now):
            taken.append((now, some))
    return taken


def test_edits_now_and_then_are_taken_one_by_one_without_delay():
    taken = rushed(1.05 * RUSH_S / (RUSH - 1), 100)

    assert [len(some) for _, some in taken] == [1] * 100
    assert all(math.isclose(b - a, taken[1][0] - taken[0][0]) for (a, _), (b, _) in pairwise(taken))


def test_edits_that_rush_in_are_taken_in_waves():
    taken = rushed(0.01, 200)
    waves = taken[RUSH + 1 :]

    assert sorted(path for _, some in taken for path in some) == sorted(f"f{n}" for n in range(200))
    assert all(b - a >= WAVE_S - 1e-9 for (a, _), (b, _) in pairwise(waves))
    assert max(len(some) for _, some in waves) <= WAVE_S / 0.01 + 1


def test_files_that_are_always_busy_delay_no_other():
    settling, now, delays = Settling(SETTLE), 0.0, []
    while now < 20:
        now += 0.04
        settling.touch({f"log{n}": stat(1) for n in range(RUSH - 2)}, now, CLOCK)
        assert len(settling.take(now)) == RUSH - 2
        if round(now / 0.04) % 50 == 0:
            settling.touch({f"edit{now}": stat(1)}, now, CLOCK)
            delays.append(settling.next_due() - now)
            settling.take(now)

    assert len(delays) >= 9
    assert max(delays) <= 0


def test_the_first_edit_after_a_rush_is_not_delayed():
    settling = Settling(SETTLE)
    for n in range(RUSH):
        settling.touch({f"f{n}": stat(1)}, 0.0, CLOCK)
    assert len(settling.take(0.0)) == RUSH
    settling.touch({"in the rush": stat(1)}, 0.01, CLOCK)
    assert settling.take(0.01) == []
    assert settling.next_due() == WAVE_S
    assert settling.take(WAVE_S) == ["in the rush"]

    settling.touch({"later": stat(1)}, 3.0, CLOCK)

    assert settling.take(3.0) == ["later"]


def test_what_was_not_accepted_comes_again():
    settling = Settling(SETTLE)
    settling.again(["a"], 1.0, 0.5)

    assert settling.take(1.4) == []
    assert settling.take(1.5) == ["a"]


def test_a_listing_waits_for_its_youngest_file():
    settling = Settling(SETTLE)

    assert round(settling.longest_rest([stat(1), stat(0.01), None], CLOCK), 6) == 0.02
    assert settling.longest_rest([], CLOCK) == 0.0


def test_what_is_left_alone_waits_whatever_happens_to_it_unless_it_may_be_gone():
    settling = Settling(SETTLE)
    settling.leave_alone("a", 1.0, 30.0)
    settling.leave_alone("b", 1.0, 30.0)
    settling.touch({"a": stat(0), "b": stat(0)}, 2.0, CLOCK)
    waiting = due(settling)
    settling.touch({"b": None}, 3.0, CLOCK)

    assert waiting == 31.0
    assert (settling.is_left_alone("a"), settling.is_left_alone("b")) == (True, False)
    assert settling.take(4.1) == ["b"]
    assert settling.take(31.0) == ["a"]
    assert not settling.is_left_alone("a")


def test_a_file_that_never_rests_is_tried_less_and_less_often():
    restless, now, tries = Restless(), 0.0, 0
    waits = []
    while now < 600:
        restless.changed("a", now)
        waits.append(restless.wait_s("a"))
        now, tries = now + waits[-1], tries + 1

    assert tries < 25
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (FIRST_S, LONGEST_S)
    restless.forget(["a"])
    assert restless.wait_s("a") == FIRST_S


def test_a_file_is_taken_as_it_is_after_some_seconds_and_told_when_that_fails():
    restless = Restless()
    restless.changed("a", 1.0)
    restless.changed("a", 1.0 + OVERDUE_S - 0.1)
    soon = restless.is_due("a", 5.9), restless.is_new("a", 5.9)
    due = restless.is_due("a", 1.0 + OVERDUE_S), restless.is_overdue("a")
    restless.changed("a", 1.0 + OVERDUE_S)

    assert (soon, due) == ((False, True), (True, False))
    assert (restless.is_overdue("a"), restless.is_new("a", 6.0)) == (True, False)
    assert not restless.is_due("b", 99.0)


def test_what_is_blocked_is_tried_soon_then_seldom_and_soon_again_when_there_is_more():
    blocked, now, at = Blocked(), 0.0, []
    blocked.plan(now, 2.0)
    at.append(blocked.next_at)
    blocked.add({"a", "b"})
    for _ in range(10):
        blocked.plan(now, 2.0)
        at.append(blocked.next_at - now)
        now = blocked.next_at
        blocked.tried(now, 300.0)
        blocked.add({"a"})
    blocked.add({"c"})
    blocked.plan(now, 2.0)
    again = blocked.next_at - now
    blocked.listed({"c"}, {"b"})
    left = set(blocked.paths)
    blocked.listed((), ())
    blocked.plan(now, 2.0)

    assert at == [math.inf, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
    assert (again, left, blocked.next_at) == (2.0, {"b", "c"}, math.inf)


def test_a_document_of_a_source_that_is_away_is_not_asked_for_at_once():
    schedule = Schedule(0.02)
    began = time.monotonic()

    schedule.again({"a.md": SourceUnavailable("the server asks for fewer requests")}, Restless())

    assert schedule.settling.next_due() >= began + RETRY_S
