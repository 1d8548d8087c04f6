"""How many messages a process holds: as many as it has lately done."""

from shared.bus.delivery.pull import CALLS_HELD, LATELY_S, LEAST, Pace


def test_without_a_pace_it_holds_all_it_may():
    assert Pace(64, paced=False).room(0.0) == 64


def test_who_has_done_nothing_yet_holds_few():
    assert Pace(64, paced=True).room(0.0) == LEAST


def test_it_holds_as_many_as_were_done_lately_and_never_more_than_it_may():
    pace = Pace(64, paced=True)
    for n in range(20):
        pace.end(n / 20)
    before = pace.room(1.0)
    for n in range(100):
        pace.end(1.0 + n / 100)

    assert before == 20
    assert pace.room(2.0) == 64


def test_what_was_done_long_ago_does_not_count():
    pace = Pace(64, paced=True)
    for _ in range(20):
        pace.end(0.0)

    assert pace.room(LATELY_S + 0.01) == LEAST


def test_what_shared_a_call_is_held_for_the_next_ones_too_so_that_calls_can_grow():
    """A device of one second a call: what came in two seconds is what two calls had."""
    pace, waits, calls = Pace(160, paced=True), LEAST, []
    for second in range(8):
        calls.append(min(64, waits))
        for _ in range(calls[-1]):
            pace.end(float(second))
        waits = pace.room(float(second)) - calls[-1]  # as many are fetched, and join the next one

    assert calls == [8, 16, 32, 64, 64, 64, 64, 64]


def test_parts_that_each_fill_a_call_are_not_hoarded():
    pace = Pace(160, paced=True)
    for n in range(100):
        pace.end(n / 4)

    assert pace.room(25.0) <= LEAST


def test_a_steady_stream_is_not_taken_for_calls():
    pace = Pace(160, paced=True)
    for n in range(500):
        pace.end(n / 50)

    assert pace.room(10.0) <= LATELY_S * 50 + CALLS_HELD


def test_calls_of_long_ago_do_not_count():
    pace = Pace(160, paced=True)
    for _ in range(40):
        pace.end(0.0)

    assert pace.room(0.0) == 40 * CALLS_HELD
    assert pace.room(LATELY_S + 0.01) == LEAST


def test_a_small_stage_stays_small():
    assert Pace(2, paced=True).room(0.0) == 2
