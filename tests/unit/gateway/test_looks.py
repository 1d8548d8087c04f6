import asyncio
import gc

import pytest
from gateway_world import NOW
from memory_ledger import MemoryLedger

from services.gateway.status import snapshots as module
from services.gateway.status.snapshots import InstanceSnapshots
from services.gateway.status.status import Observation, StageSeen
from shared.domain.errors import BusUnavailable

BUSY = (StageSeen("indexer", 1, 0, oldest_at=NOW - 3),)
WAITING = (StageSeen("enricher", 1, 0, takes="changes", oldest_at=NOW - 3),)


class World:
    """A ledger and a flow that write down when they are read."""

    def __init__(self):
        self.read = []
        self.stages, self.held = (), 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.ledger = MemoryLedger()
        self.follow, self.ledger.follow = self.ledger.follow, self.followed

    async def observe(self):
        self.read.append("flow")
        return Observation(NOW, self.stages, held=self.held)

    async def followed(self):
        feed = await self.follow()
        more = feed.more

        async def watched():
            self.read.append("ledger")
            await self.gate.wait()
            return await more()

        feed.more = watched
        return feed


@pytest.fixture
def world():
    return World()


@pytest.fixture
def clock(monkeypatch):
    """Stands still: a box that is slow makes no look old."""
    monkeypatch.setattr(module, "monotonic", lambda: 1000.0)


async def test_the_flow_is_read_before_the_ledger(world):
    await InstanceSnapshots(world.observe, world.ledger).latest()

    assert world.read == ["flow", "ledger"]


async def test_a_recent_look_is_used_again_and_an_old_one_is_not(world, clock, monkeypatch):
    looks = InstanceSnapshots(world.observe, world.ledger)
    first = await looks.latest()
    again = await looks.latest()
    monkeypatch.setattr(module, "monotonic", lambda: first.ended + 3600)
    later = await looks.latest()

    assert again is first
    assert later is not first
    assert world.read.count("ledger") == 2


async def test_a_look_at_rest_is_not_used_again_when_work_has_come_since(world, clock):
    looks = InstanceSnapshots(world.observe, world.ledger)
    at_rest = await looks.latest()
    world.stages = BUSY
    at_work = await looks.latest()
    again = await looks.latest()

    assert (at_rest.seen.stages, at_work.seen.stages) == ((), BUSY)
    assert again is at_work


async def test_a_look_is_not_used_again_when_what_was_held_is_released(world, clock):
    world.held = 25
    looks = InstanceSnapshots(world.observe, world.ledger)
    held = await looks.latest()
    world.held = 0
    released = await looks.latest()

    assert (held.seen.held, released.seen.held) == (25, 0)


async def test_two_who_ask_at_once_after_work_has_come_are_both_told(world, clock):
    looks = InstanceSnapshots(world.observe, world.ledger)
    await looks.latest()
    world.stages = BUSY
    one, other = await asyncio.gather(looks.latest(), looks.latest())

    assert (one.seen.stages, other.seen.stages) == (BUSY, BUSY)


async def test_a_bus_that_is_away_does_not_take_the_last_look_away(world, clock):
    looks = InstanceSnapshots(world.observe, world.ledger)
    last = await looks.latest()

    async def away():
        raise BusUnavailable("no answer")

    looks.observe = away

    assert await looks.latest() is last


async def test_many_who_ask_at_once_share_one_reading(world):
    looks = InstanceSnapshots(world.observe, world.ledger)

    found = await asyncio.gather(*(looks.latest() for _ in range(20)))

    assert world.read.count("ledger") == 1
    assert len({id(look) for look in found}) == 1


async def test_one_who_gives_up_does_not_end_the_reading_of_the_others(world):
    looks = InstanceSnapshots(world.observe, world.ledger)
    world.gate.clear()
    impatient = asyncio.create_task(looks.latest())
    patient = asyncio.create_task(looks.latest())
    await asyncio.sleep(0)
    impatient.cancel()
    world.gate.set()

    assert (await patient).board.chunks == 0
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_freshness_costs_no_ledger_while_nothing_is_in_flight(world):
    behind = await InstanceSnapshots(world.observe, world.ledger).freshness()

    assert behind.pending_documents == 0
    assert behind.watermark.timestamp() == NOW
    assert world.read == ["flow"]


async def test_freshness_reads_the_ledger_while_something_is(world):
    world.stages = BUSY

    await InstanceSnapshots(world.observe, world.ledger).freshness()

    assert "ledger" in world.read


async def test_a_search_does_not_wait_long_for_a_look_when_it_has_one(world, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    world.stages = BUSY
    looks = InstanceSnapshots(world.observe, world.ledger)
    first = await looks.latest()
    monkeypatch.setattr(module, "monotonic", lambda: first.ended + 20)
    world.gate.clear()

    behind = await looks.freshness()  # would hang if it waited for the ledger

    assert behind.watermark.timestamp() == NOW
    world.gate.set()
    await looks._taking


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_recent_glance_serves_while_the_next_is_taken_and_an_old_one_does_not(
    world, monkeypatch
):
    now = 1000.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    looks = InstanceSnapshots(world.observe, world.ledger)
    await looks.freshness()
    world.stages, gate = WAITING, asyncio.Event()
    observe = looks.observe

    async def slow():
        await gate.wait()
        return await observe()

    looks.observe = slow
    now += 0.9 * module.SHORTEST_S
    recent = await looks.freshness()  # would hang if it waited
    now += 0.2 * module.SHORTEST_S
    asking = asyncio.create_task(looks.freshness())
    await settle()
    assert (recent.pending_documents, asking.done()) == (0, False)
    gate.set()

    assert (await asking).oldest_pending_s == 3


async def test_a_glance_that_nobody_waits_for_may_fail(world, monkeypatch):
    now, told = 1000.0, []
    monkeypatch.setattr(module, "monotonic", lambda: now)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    looks = InstanceSnapshots(world.observe, world.ledger)
    before = await looks.freshness()

    async def away():
        raise BusUnavailable("no answer")

    looks.observe = away
    now += 0.9 * module.SHORTEST_S
    assert await looks.freshness() == before
    await settle()
    looks.forget()
    gc.collect()

    assert not told
    with pytest.raises(BusUnavailable):
        await looks.freshness()


async def test_a_glance_from_before_a_command_does_not_come_back_after_it(world, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    looks = InstanceSnapshots(world.observe, world.ledger)
    observe, gate = looks.observe, asyncio.Event()

    async def slow():
        seen = await observe()
        await gate.wait()
        return seen

    looks.observe = slow
    asking = asyncio.create_task(looks.freshness())
    await settle()
    now += 0.01
    looks.forget()
    gate.set()
    before = await asking
    looks.observe, world.stages = observe, WAITING
    now += 0.01

    assert before.oldest_pending_s is None
    assert (await looks.freshness()).oldest_pending_s == 3


async def test_glances_that_overlap_leave_the_one_that_began_last(world, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    looks = InstanceSnapshots(world.observe, world.ledger)
    observe, gates = looks.observe, []

    async def slow():
        seen = await observe()
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return seen

    looks.observe = slow
    first = asyncio.create_task(looks.freshness())
    await settle()
    now += 1.1 * module.GLANCE_S
    world.stages = WAITING
    second = asyncio.create_task(looks.freshness())
    await settle()
    looks.observe = observe
    gates[1].set()
    assert (await second).oldest_pending_s == 3
    gates[0].set()
    await first

    assert (await looks.freshness()).oldest_pending_s == 3
