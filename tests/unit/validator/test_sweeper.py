"""When the sweep runs, and what is kept of it."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from memory_kv import MemoryShelf

from services.validator.sweep import sweeper as sweeping
from services.validator.sweep.sweeper import KEPT, LONGEST_REST_S, Filled, Sweeper, rest_s
from services.validator.sweep.swept import Swept
from shared.domain.errors import BusUnavailable, ConfigurationError, StoreUnavailable
from shared.ports import Audit


class Sweeps:
    """Stands for the sweep itself; `hold` keeps it from ending."""

    generation = "g1"

    def __init__(self):
        self.calls = []
        self.hold = None
        self.most = self.now = 0
        self.error = None
        self.unsent = 0

    async def __call__(self, **options):
        self.calls.append(options)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.hold:
                await self.hold.wait()
            await asyncio.sleep(0)
            if self.error:
                raise self.error
        finally:
            self.now -= 1
        return Swept(
            documents=3, rows=6, missing=1, resubmitted={"a": 7}, processed=1, unsent=self.unsent
        )


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(sweeping, "WATCH_S", 0.0)
    monkeypatch.setattr(sweeping, "FIRST_S", 0.0)


@pytest.fixture
def world():
    class World:
        time = datetime(2026, 1, 1, tzinfo=UTC)
        sweeps = Sweeps()
        shelf = MemoryShelf()
        waiting = 0
        missing = False
        someone = True
        looks = 0
        away = staticmethod(lambda look: None)

        async def restore(self):
            """`away`: what the look at the bus of this number raises, if anything."""
            self.looks += 1
            if error := self.away(self.looks):
                raise error
            was, self.missing = self.missing, False
            return was

        async def backlog(self):
            return self.waiting

        async def consumed(self):
            return self.someone

        def now(self):
            self.time += timedelta(seconds=1)
            return self.time

        def sweeper(self, every_s=0.0, **fields):
            return Sweeper(
                self.sweeps, self.shelf, self.now, every_s, self.restore, self.backlog,
                self.consumed, **fields,
            )  # fmt: skip

    return World()


@contextlib.asynccontextmanager
async def running(sweeper):
    task = asyncio.create_task(sweeper.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(what):
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0)


async def turns(count):
    """Let the others go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_sweep_is_noted_and_the_newest_is_known(world):
    sweeper = world.sweeper()
    await sweeper()
    done = await sweeper(batch_size=7)

    assert await world.sweeper().last() == done.note()
    assert next(note["at"] for note in await sweeper.history()) == done.at.isoformat()
    assert (done.note()["missing"], done.note()["resubmitted"]) == (1, 1)
    assert world.sweeps.calls[-1] == {"dry_run": False, "force": False, "batch_size": 7}


async def test_a_dry_run_is_not_noted(world):
    await world.sweeper()(dry_run=True)

    assert await world.sweeper().last() is None


async def test_only_the_last_notes_are_kept(world):
    sweeper = world.sweeper()
    for _ in range(KEPT + 5):
        await sweeper()

    assert len(await world.shelf.keys("sweep.")) == KEPT
    assert (await sweeper.history())[0] == await sweeper.last()


async def test_two_sweeps_never_run_at_once(world):
    sweeper = world.sweeper()
    await asyncio.gather(sweeper(), sweeper(), sweeper(dry_run=True))

    assert (len(world.sweeps.calls), world.sweeps.most) == (3, 1)


async def test_a_task_in_the_background_is_one_until_it_ends(world):
    sweeper = world.sweeper()
    world.sweeps.hold = asyncio.Event()
    first = sweeper.start(batch_size=50)
    again = sweeper.start(batch_size=60)
    world.sweeps.hold.set()
    await until(sweeper._task[1].done)
    third = sweeper.start(batch_size=70)
    await until(sweeper._task[1].done)

    assert first == again != third
    assert [call["batch_size"] for call in world.sweeps.calls] == [50, 70]


async def test_where_nobody_works_repairs_are_not_awaited(world):
    world.someone = False
    await world.sweeper()(batch_size=50)

    assert world.sweeps.calls[0]["batch_size"] == 0


async def test_the_files_are_compared_first_and_reported(world):
    async def auditor(*, dry_run):
        assert not world.sweeps.calls
        return [Audit("docs", 9, submitted=2)]

    done = await world.sweeper(auditor=auditor)()

    assert done.audits == [Audit("docs", 9, submitted=2)]
    assert done.note()["audits"][0]["submitted"] == 2
    assert not done.needs_you


async def test_by_the_clock_it_sweeps_again_and_again(world):
    async with running(world.sweeper(every_s=0.001)):
        await until(lambda: len(world.sweeps.calls) >= 3)


async def test_without_an_interval_it_sweeps_when_asked_only(world):
    sweeper = world.sweeper(every_s=0.0)
    async with running(sweeper):
        for _ in range(20):
            await asyncio.sleep(0)
        before = len(world.sweeps.calls)
        sweeper.ask()
        await until(lambda: world.sweeps.calls)

    assert before == 0


async def test_a_sweep_by_the_clock_waits_while_much_is_on_its_way(world):
    world.waiting = 10_000
    sweeper = world.sweeper(every_s=1_000.0)
    async with running(sweeper):
        for _ in range(50):
            await asyncio.sleep(0)
        before = len(world.sweeps.calls)
        world.waiting = 0
        await until(lambda: world.sweeps.calls)

    assert before == 0


async def test_what_somebody_deleted_on_the_bus_is_made_anew_and_swept_at_once(world):
    async with running(world.sweeper(every_s=0.0)):
        world.missing = True
        await until(lambda: world.sweeps.calls)

    assert not world.missing


@pytest.mark.parametrize("every_s", [0.0, 1_000.0])
async def test_a_sweep_that_is_owed_is_tried_until_it_succeeds(world, every_s, monkeypatch):
    monkeypatch.setattr(sweeping, "FIRST_S", 1_000.0)
    world.sweeps.error = BusUnavailable("it has just come back")
    sweeper = world.sweeper(every_s)
    async with running(sweeper):
        world.missing = True
        await until(lambda: len(world.sweeps.calls) >= 2)
        world.sweeps.error = None
        await until(lambda: sweeper._last is not None)
        done = len(world.sweeps.calls)
        await turns(20)

    assert len(world.sweeps.calls) == done


async def test_what_was_asked_for_is_not_forgotten_when_it_fails(world):
    world.sweeps.error = BusUnavailable("no answer")
    sweeper = world.sweeper()
    async with running(sweeper):
        sweeper.ask()
        await until(lambda: len(world.sweeps.calls) >= 2)


async def test_a_sweep_from_elsewhere_that_restores_and_fails_leaves_it_to_the_next(world):
    world.sweeps.error, world.missing = BusUnavailable("no answer"), True
    sweeper = world.sweeper()
    with pytest.raises(BusUnavailable):
        await sweeper()
    async with running(sweeper):
        await until(lambda: len(world.sweeps.calls) >= 2)


async def test_who_asks_during_a_sweep_gets_another_one(world):
    world.sweeps.hold = asyncio.Event()
    sweeper = world.sweeper()
    async with running(sweeper):
        sweeper.ask()
        await until(lambda: world.sweeps.calls)
        sweeper.ask()
        world.sweeps.hold.set()
        await until(lambda: len(world.sweeps.calls) == 2)


async def test_what_only_the_admin_may_make_anew_is_swept_after_he_has(world):
    world.away = lambda look: ConfigurationError("a stream is gone") if look < 5 else None
    async with running(world.sweeper(every_s=0.0)):
        await until(lambda: world.sweeps.calls)

    assert world.looks >= 5


async def test_a_bus_that_blinks_does_not_put_the_sweep_off(world, monkeypatch):
    monkeypatch.setattr(sweeping, "WATCH_S", 0.001)
    monkeypatch.setattr(sweeping, "FIRST_S", 0.02)
    world.away = lambda look: BusUnavailable("blink") if look % 3 == 0 else None
    async with running(world.sweeper(every_s=0.02)):
        await until(lambda: len(world.sweeps.calls) >= 3)


class Index:
    """A store that somebody may lose; it is made anew as `made` says. None: it is away."""

    made: str | None = "first"

    async def incarnation(self):
        if self.made is None:
            raise StoreUnavailable("away")
        return self.made


def filled_of(world):
    index = Index()
    return index, Filled(index, world.shelf, "g1")


async def test_an_index_that_is_new_here_is_left_to_the_first_sweep(world, monkeypatch):
    monkeypatch.setattr(sweeping, "FIRST_S", 1_000.0)
    _, filled = filled_of(world)
    async with running(world.sweeper(every_s=1_000.0, filled=filled)):
        await until(lambda: world.looks >= 5)

    assert world.sweeps.calls == []
    assert not await filled.is_another("first")


async def test_an_index_that_was_made_anew_is_filled_once(world, monkeypatch):
    monkeypatch.setattr(sweeping, "FIRST_S", 1_000.0)
    index, filled = filled_of(world)
    await filled.note("first")
    index.made = "second"
    sweeper = world.sweeper(filled=filled)
    async with running(sweeper):
        await until(lambda: world.sweeps.calls)
        looks = world.looks
        await until(lambda: world.looks >= looks + 5)

    assert len(world.sweeps.calls) == 1


async def test_an_index_that_was_made_anew_before_the_process_began_is_filled_by_its_next_sweep(
    world,
):
    index, filled = filled_of(world)
    await filled.note("first")
    index.made = "second"
    world.sweeps.error = BusUnavailable("it ends before the sweep does")
    with pytest.raises(BusUnavailable):
        await world.sweeper(filled=filled)()
    world.sweeps.error = None
    async with running(world.sweeper(filled=filled)):
        await until(lambda: len(world.sweeps.calls) == 2)


async def test_an_index_that_a_sweep_did_not_fill_to_the_end_is_swept_again(world):
    index, filled = filled_of(world)
    await filled.note("first")
    index.made, world.sweeps.unsent = "second", 9_800
    async with running(world.sweeper(filled=filled)):
        await until(lambda: len(world.sweeps.calls) >= 4)
        unfilled = await filled.is_another("second")
        world.sweeps.unsent = 0
        looks = world.looks
        await until(lambda: world.looks >= looks + 5)
        calls, looks = len(world.sweeps.calls), world.looks
        await until(lambda: world.looks >= looks + 5)

    assert unfilled
    assert not await filled.is_another("second")
    assert len(world.sweeps.calls) == calls


async def test_an_index_of_which_nothing_is_noted_is_swept_if_any_was_swept_before(world):
    _, filled = filled_of(world)
    await world.sweeper()()
    async with running(world.sweeper(filled=filled)):
        await until(lambda: len(world.sweeps.calls) == 2)
        looks = world.looks
        await until(lambda: world.looks >= looks + 2)

    assert not await filled.is_another("first")


async def test_an_index_that_is_lost_during_a_sweep_is_filled_by_another_one(world):
    index, filled = filled_of(world)
    world.sweeps.hold = asyncio.Event()
    async with running(world.sweeper(filled=filled)):
        first = asyncio.create_task(world.sweeper(filled=filled)())
        await until(lambda: world.sweeps.calls)
        index.made = "second"
        world.sweeps.hold.set()
        await first
        await until(lambda: len(world.sweeps.calls) == 2)


async def test_a_store_that_is_away_keeps_nobody_from_watching_the_bus(world):
    index, filled = filled_of(world)
    index.made = None
    async with running(world.sweeper(filled=filled)):
        world.missing = True
        await until(lambda: world.sweeps.calls)


def test_a_sweep_that_fails_again_and_again_is_tried_less_and_less(monkeypatch):
    monkeypatch.setattr(sweeping, "WATCH_S", 5.0)

    assert [rest_s(n) for n in (1, 2, 3)] == [5.0, 10.0, 20.0]
    assert rest_s(10_000) == LONGEST_REST_S


async def test_a_bus_that_is_away_ends_nothing(world):
    world.sweeps.error = BusUnavailable("no answer")
    sweeper = world.sweeper(every_s=0.001)
    async with running(sweeper):
        await until(lambda: len(world.sweeps.calls) >= 2)
        world.sweeps.error = None
        await until(lambda: sweeper._last is not None)


async def test_it_is_due_when_no_process_has_swept_for_long(world):
    sweeper = world.sweeper(every_s=600.0)
    new = await sweeper.if_due()
    fresh = await world.sweeper(every_s=600.0).if_due()
    world.time += timedelta(seconds=700)

    assert (new is not None, fresh) == (True, None)
    assert await world.sweeper(every_s=600.0).if_due() is not None
    world.time += timedelta(seconds=700)
    assert await world.sweeper(every_s=0.0).if_due() is None
