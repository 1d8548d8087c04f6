"""How many messages a process holds: as many as it has lately done."""

from shared.bus.pace import LATELY_S, LEAST, Pace


def test_without_a_pace_it_holds_all_it_may():
    assert Pace(64, paced=False).room(0.0) == 64


def test_who_has_done_nothing_yet_holds_few():
    assert Pace(64, paced=True).room(0.0) == LEAST


def test_it_holds_as_many_as_were_done_lately_and_never_more_than_it_may():
    pace = Pace(64, paced=True)
    for _ in range(20):
        pace.end(0.0)

    assert pace.room(0.0) == 20
    for _ in range(100):
        pace.end(1.0)
    assert pace.room(1.0) == 64


def test_what_was_done_long_ago_does_not_count():
    pace = Pace(64, paced=True)
    for _ in range(20):
        pace.end(0.0)

    assert pace.room(LATELY_S + 0.01) == LEAST


def test_a_small_stage_stays_small():
    assert Pace(2, paced=True).room(0.0) == 2
