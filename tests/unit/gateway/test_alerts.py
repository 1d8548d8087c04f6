"""A stream that fills, and failures that nobody noted, are said."""

import pytest

from services.gateway.status.status import alerts
from shared.ports import StreamCapacity


def stream(name, share, refuses=True):
    return StreamCapacity(name, int(1000 * share), 1000, refuses)


@pytest.mark.parametrize(
    ("share", "refuses", "level"),
    [(0.5, True, "ok"), (0.85, True, "WARN"), (0.99, True, "FAIL"), (0.99, False, "ok")],
)
def test_a_stream_that_refuses_what_does_not_fit_is_told_of_in_time(share, refuses, level):
    [room] = alerts([stream("CHUNKS", share, refuses), stream("DOCS", 0.1)], unrecorded=0)

    assert room.level == level
    assert ("CHUNKS" in room.text) == (level != "ok")
    assert bool(room.fix) == (level != "ok")


def test_dead_letters_that_are_not_noted_yet_are_told_of():
    found = {check.name: check for check in alerts([], unrecorded=3)}

    assert found["failures"].level == "WARN"
    assert "3 dead letters" in found["failures"].text
