"""What a process waits for: growing pauses, a reason told once, a stop that is at once."""

import asyncio
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from services.host import startup
from services.host.startup import (
    LONGEST_PAUSE_S,
    Stopped,
    Waits,
    load_first,
    patiently,
    pause_s,
    unless,
)
from shared.domain.errors import BusUnavailable, ConfigurationError, StoreUnavailable
from shared.domain.services import service_of


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(startup, "pause_s", lambda _: 0.0)


def test_pauses_double_up_to_a_limit():
    pauses = [pause_s(tries) for tries in range(1, 200)]

    assert pauses[0] == 0.25
    assert all(later in (2 * earlier, LONGEST_PAUSE_S) for earlier, later in pairwise(pauses))
    assert 5.0 <= pauses[-1] == LONGEST_PAUSE_S <= 10.0


async def test_a_reason_is_logged_when_it_changes_and_when_it_is_over(at_once):
    waits = Waits()
    with capture_logs() as logs:
        for why in ("away", "away", "full", "full"):
            await waits.pause("bus", why)
        reasons = dict(waits.reasons)
        waits.over("bus")
        waits.over("bus")

    assert reasons == {"bus": "full"}
    assert waits.reasons == {}
    told = [(line["event"], line.get("reason")) for line in logs]
    assert told == [("waiting", "away"), ("waiting", "full"), ("waited", None)]


async def test_what_was_waited_for_once_begins_with_short_pauses_again(monkeypatch):
    tries = []
    monkeypatch.setattr(startup, "pause_s", lambda n: tries.append(n) or 0.0)
    waits = Waits()
    await waits.pause("bus", "away")
    await waits.pause("bus", "away")
    waits.over("bus")
    await waits.pause("bus", "away")

    assert tries == [1, 2, 1]


async def test_a_call_is_repeated_until_the_bus_is_there(at_once):
    waits, ends = Waits(), [BusUnavailable("away"), BusUnavailable("away")]

    async def call():
        if ends:
            raise ends.pop()
        return "there"

    assert await patiently(call, waits) == "there"
    assert waits.reasons == {}


async def test_what_only_a_person_can_put_right_is_not_waited_for(at_once):
    async def call():
        raise ConfigurationError("wrong key")

    with pytest.raises(ConfigurationError):
        await patiently(call, Waits())


async def test_a_stop_ends_the_work_that_it_finds():
    stopping, ended = asyncio.Event(), asyncio.Event()

    async def work():
        stopping.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(Stopped):
        await unless(stopping, work())
    assert ended.is_set()


async def test_without_a_stop_the_work_has_its_own_end():
    async def work():
        return 7

    async def fail():
        raise StoreUnavailable("away")

    assert await unless(asyncio.Event(), work()) == 7
    with pytest.raises(StoreUnavailable):
        await unless(asyncio.Event(), fail())


class Opening:
    """A generation whose store is away some times."""

    def __init__(self, away: int) -> None:
        self.away, self.opened = away, 0

    async def store(self):
        self.opened += 1
        if self.opened <= self.away:
            raise StoreUnavailable("it does not answer")


@pytest.mark.parametrize("name", ["indexer", "validator", "gateway"])
async def test_who_needs_the_store_waits_for_it(at_once, name):
    opened, waits = Opening(away=3), Waits()
    await load_first(service_of(name), opened, waits)

    assert opened.opened == 4
    assert waits.reasons == {}


@pytest.mark.parametrize("name", ["producer", "enricher", "embedder"])
async def test_who_needs_no_store_does_not_open_it(at_once, name):
    opened = Opening(away=3)
    await load_first(service_of(name), opened, Waits())

    assert opened.opened == 0
