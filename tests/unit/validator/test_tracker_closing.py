"""Every batch is closed: once, whoever dies on the way, and also when the rest never comes."""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.validator.batches import complete as completing
from services.validator.batches import tracker as tracking
from services.validator.batches.complete import Complete
from services.validator.batches.tracker import Poll, Tracker, next_poll, one_of_each
from services.validator.checks import SampleQuery
from services.validator.observe import AskSamples, Observe
from shared.batches.history import History
from shared.batches.members import DECLINED, BatchBook
from shared.domain.events import Batch, BatchCompleted
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, Settled
from shared.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Died(BaseException):
    """The process ends here."""


class DyingShelf(MemoryShelf):
    """Ends the process at its n-th write; `last_words`: the write is done all the same."""

    def __init__(self):
        super().__init__()
        self.left, self.last_words = None, False

    async def put(self, key, value):
        await self._write(super().put(key, value))

    async def delete(self, key):
        await self._write(super().delete(key))

    async def clear(self, folder):
        await self._write(super().clear(folder))

    async def _write(self, write):
        dies = self.left == 0
        if self.left is not None:
            self.left -= 1
        if not dies or self.last_words:
            await write
        else:
            write.close()
        if dies:
            raise Died


class World:
    """What survives a process, and processes over it."""

    def __init__(self):
        self.shelf, self.ledger = DyingShelf(), MemoryLedger()
        self.published, self.now, self.dies_publishing = [], NOW, False

    async def publish(self, event):
        if self.dies_publishing:
            self.dies_publishing = False
            raise Died
        self.published.append(event)

    def clock(self):
        return self.now.timestamp()

    def tracker(self, timeout_s=3600.0):
        book, history = BatchBook(self.shelf, "g1", self.clock), History(self.shelf)
        check = Observe("f", MemoryStore(4), MemoryCache(), 60.0)
        complete = Complete(
            "g1", "m", book, history, self.ledger, check, self.publish, lambda: self.now
        )
        return Tracker(book, self.ledger, complete, timeout_s=timeout_s)

    @contextlib.asynccontextmanager
    async def running(self, *trackers):
        tasks = [asyncio.create_task(tracker.run()) for tracker in trackers]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self, path, seq, at=NOW, outcome="removed", source="docs"):
        key, when = doc_key(source, path), at.timestamp()
        entry = await self.ledger.get(key)
        record = Record(source, path, Settled(seq, outcome, (), when - 1, when))
        await self.ledger.update(key, record, expect=entry.at if entry else 0)
        return key

    async def reports(self):
        lines, _ = await History(self.shelf).history()
        kept = [name for name in await self.shelf.keys("done.")]
        assert len(kept) == len(lines)
        return lines

    def told(self):
        """Batches that the world was told of, in order; a message that comes twice counts once."""
        ended = [event for event in self.published if isinstance(event, BatchCompleted)]
        told = {e.message_id: (e.batch.source, e.batch.id, e.missing) for e in ended}
        return sorted(told.values())


@pytest.fixture
def world():
    return World()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tracking, "POLL_S", 0.005)
    monkeypatch.setattr(tracking, "POLL_MOST_S", 0.02)
    monkeypatch.setattr(tracking, "RELOAD_S", 0.02)
    monkeypatch.setattr(completing, "RECHECK_S", 0.001)


def batch(name="b", count=1):
    return Batch(id=name, count=count, source="docs", started_at=NOW)


# -- once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last_words", [False, True])
@pytest.mark.parametrize("write", range(4))
async def test_a_process_that_dies_while_it_ends_a_batch_leaves_one_report(
    world, write, last_words
):
    key = await world.settle("a.md", 5)
    await world.tracker().book.announce(batch(), {key: 5}, 2)
    world.shelf.left, world.shelf.last_words = write, last_words
    with contextlib.suppress(Died):  # a late write may never come
        async with asyncio.timeout(60), world.running(first := world.tracker()) as tasks:
            while not tasks[0].done() and not await world.shelf.keys("line."):
                await asyncio.sleep(0)
            while not tasks[0].done() and first.open_count():
                await asyncio.sleep(0.001)
            if tasks[0].done():
                tasks[0].result()
    world.shelf.left = None
    async with asyncio.timeout(60), world.running(second := world.tracker()):
        report = await second.wait_complete("docs", "b")
        while second.open_count() or await world.shelf.keys("open."):
            await asyncio.sleep(0.001)

    assert [line.batch.id for line in await world.reports()] == ["b"]
    assert report.documents.removed == 1
    assert world.told() == [("docs", "b", 0)]
    assert not [n for n in await world.shelf.keys() if not n.startswith(("done.", "line."))]


async def test_a_process_that_dies_before_it_tells_the_world_is_made_up_for(world):
    key = await world.settle("a.md", 5)
    await world.tracker().book.announce(batch(), {key: 5}, 0)
    world.dies_publishing = True
    async with asyncio.timeout(60), world.running(world.tracker()) as tasks:
        with contextlib.suppress(Died):
            await tasks[0]
    before = world.told()
    world.now += timedelta(minutes=5)
    async with asyncio.timeout(60), world.running(second := world.tracker()):
        await second.wait_complete("docs", "b")
        while second.open_count() or await world.shelf.keys("open."):
            await asyncio.sleep(0.001)

    assert before == []
    assert world.told() == [("docs", "b", 0)]
    (line,) = await world.reports()
    assert line.completed_at == NOW  # the report that was kept, not another one


async def test_two_validators_keep_one_report_and_tell_one_fact(world):
    trackers = world.tracker(), world.tracker()
    async with asyncio.timeout(60), world.running(*trackers):
        for n in range(20):
            key = await world.settle(f"{n}.md", n + 1)
            await trackers[n % 2].book.announce(batch(f"b{n}"), {key: n + 1}, 0)
        for n in range(20):
            for tracker in trackers:
                assert (await tracker.wait_complete("docs", f"b{n}")).batch.id == f"b{n}"
        while await world.shelf.keys("open."):
            await asyncio.sleep(0.001)

    assert sorted(line.batch.id for line in await world.reports()) == sorted(
        f"b{n}" for n in range(20)
    )
    assert world.told() == sorted(("docs", f"b{n}", 0) for n in range(20))


async def test_the_batch_of_one_source_says_nothing_about_that_of_another_with_the_same_id(world):
    of_wiki = batch().model_copy(update={"source": "wiki"})
    done, open_one = await world.settle("a.md", 5), doc_key("wiki", "a.md")
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        await tracker.book.announce(of_wiki, {open_one: 6}, 0)
        await tracker.book.announce(batch(), {done: 5}, 0)
        first = await tracker.wait_complete("docs", "b")
        still = await tracker.complete.history.reports("b", "wiki")
        await world.settle("a.md", 6, source="wiki")
        second = await tracker.wait_complete("wiki", "b")
        await until(world, tracker)

    assert (first.batch.source, second.batch.source) == ("docs", "wiki")
    assert (first.documents.removed, second.documents.removed) == (1, 1)
    assert still == {}
    assert world.told() == [("docs", "b", 0), ("wiki", "b", 0)]


async def test_a_submission_that_is_delivered_again_after_the_end_changes_no_report(world):
    key = await world.settle("a.md", 5)
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        await tracker.book.join(batch(count=2), key, 5)
        await tracker.book.join(batch(count=2), "!9 empty", 0)
        first = await tracker.wait_complete("docs", "b")
        tracker.timeout_s = 0.05
        await BatchBook(world.shelf, "g1", world.now.timestamp).join(batch(count=2), key, 5)
        world.now += timedelta(hours=1)
        await until(world, tracker)

    assert first.complete
    assert [line.complete for line in await world.reports()] == [True]
    assert await tracker.complete.history.reports("b") == {"docs": first}


async def until(world, tracker):
    """Nothing is open any more, and the tracker has seen that."""
    while await world.shelf.keys("open.") or tracker._tracked:
        await asyncio.sleep(0.001)


async def test_a_batch_that_another_validator_heard_of_ends_while_other_documents_end(
    world, monkeypatch
):
    monkeypatch.setattr(tracking, "POLL_S", 0.1)
    other = await world.settle("other.md", 6)
    records = await world.ledger.get_many([other])
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        await tracker.book.announce(batch(), {doc_key("docs", "b.md"): 7}, 0)
        while tracker._poll == Poll(tracking.POLL_FEW, tracking.POLL_S):
            await asyncio.sleep(0)
        await world.settle("b.md", 7)
        while not world.told():
            tracker.observe(records, {})
            await asyncio.sleep(0)

    assert world.told() == [("docs", "b", 0)]


async def test_a_small_batch_is_not_hidden_by_the_thousands_of_another(world, monkeypatch):
    monkeypatch.setattr(tracking, "POLL_FEW", 4)
    monkeypatch.setattr(tracking, "CHECK_AT_ONCE", 4)
    key = doc_key("docs", "b.md")
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        slow = {doc_key("docs", f"{n}.md"): n + 1 for n in range(3000)}
        await tracker.book.announce(batch("a", 3000), slow, 0)
        while not tracker._tracked:
            await asyncio.sleep(0)
        await tracker.book.announce(batch("b"), {key: 5}, 0)
        while len(tracker._tracked) < 2:
            await asyncio.sleep(0)
        await world.settle("b.md", 5)
        await tracker.wait_complete("docs", "b")

    assert world.told() == [("docs", "b", 0)]


def test_a_poll_that_finds_much_is_followed_by_a_large_one_at_once():
    few, many = Poll(tracking.POLL_FEW, tracking.POLL_S), Poll(tracking.CHECK_AT_ONCE, 0.0)

    assert [next_poll(few, 64, ended) for ended in (64, 32, 31, 1)] == [many, many, few, few]
    assert next_poll(few, 64, 0).after_s == 2 * tracking.POLL_S
    assert next_poll(Poll(1, 99.0), 64, 0).after_s == tracking.POLL_MOST_S
    assert next_poll(many, 500, 0) == few


def test_members_of_all_batches_are_asked_for_in_turn():
    assert one_of_each([["a", "b", "c"], ["d"], []], 3) == {"a", "d", "b"}
    assert one_of_each([["a", "b"], ["a"]], 9) == {"a", "b"}
    assert one_of_each([], 9) == set()


# -- given up --------------------------------------------------------------------------------------


async def test_a_batch_whose_publisher_falls_silent_is_closed_and_says_what_is_missing(world):
    key = await world.settle("a.md", 5)
    async with asyncio.timeout(60), world.running(tracker := world.tracker(timeout_s=0.05)):
        await tracker.book.join(batch(count=10), key, 5)
        world.now += timedelta(seconds=1)
        report = await tracker.wait_complete("docs", "b")
        await until(world, tracker)

    assert (report.complete, report.documents.missing, report.documents.removed) == (False, 9, 1)
    (event,) = world.published
    assert (event.complete, event.missing, event.batch.id) == (False, 9, "b")


async def test_a_batch_of_which_nothing_was_accepted_is_closed_soon_and_opens_again(
    world, monkeypatch
):
    key = await world.settle("a.md", 5)
    async with asyncio.timeout(60), world.running(tracker := world.tracker(timeout_s=3600.0)):
        await tracker.book.join(batch("accepted", 3), key, 5)
        for n in (1, 2):
            await tracker.book.join(batch("refused", 3), f"{DECLINED}{n} invalid_request", 0)
        monkeypatch.setattr("services.validator.batches.outcomes.LEAST_WATCH_S", 0.05)
        report = await tracker.wait_complete("docs", "refused")
        left = [one.batch.id for one in (await tracker.book.open()).values()]
        await tracker.book.join(batch("refused", 3), key, 5)
        while len(world.published) < 2:
            await asyncio.sleep(0.001)

    found = report.documents
    assert (report.complete, found.refused, found.missing, left) == (False, 2, 1, ["accepted"])
    (again,) = await world.reports()
    assert (again.complete, again.documents.refused, again.documents.removed) == (True, 2, 1)


async def test_a_batch_is_not_given_up_while_its_documents_come(world):
    tracker = world.tracker(timeout_s=3600.0)
    async with asyncio.timeout(60), world.running(tracker):
        for n in range(5):
            await tracker.book.join(batch(count=9), await world.settle(f"{n}.md", n + 1), n + 1)
            await asyncio.sleep(0.03)
        await tracker.book.announce(batch("other", 0), {}, 0)
        await tracker.wait_complete("docs", "other")

    assert [line.batch.id for line in await world.reports()] == ["other"]


async def test_the_rest_that_comes_after_all_completes_the_same_report(world):
    keys = [await world.settle(f"{n}.md", n + 1) for n in range(3)]
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        await tracker.book.join(batch(count=3), keys[0], 1)
        await tracker.book.join(batch(count=3), keys[1], 2)
        tracker.timeout_s = 0.05
        short = await tracker.wait_complete("docs", "b")
        await until(world, tracker)
        left = await world.shelf.keys("left.")
        world.now += timedelta(seconds=2)
        await BatchBook(world.shelf, "g1", world.now.timestamp).join(batch(count=3), keys[2], 3)
        while len(world.published) < 2:
            await asyncio.sleep(0.001)
        await until(world, tracker)

    (line,) = await world.reports()
    assert (short.complete, short.documents.missing) == (False, 1)
    assert left
    assert (line.complete, line.documents.removed, line.documents.missing) == (True, 3, 0)
    assert world.told() == [("docs", "b", 0), ("docs", "b", 1)]
    assert await world.shelf.keys("left.") == []


async def test_a_document_that_never_ends_does_not_hold_a_batch_for_ever(world):
    done, lost = await world.settle("a.md", 5), doc_key("docs", "lost.md")
    async with asyncio.timeout(60), world.running(tracker := world.tracker(timeout_s=0.05)):
        await tracker.book.announce(batch(count=2), {done: 5, lost: 6}, 0)
        report = await tracker.wait_complete("docs", "b")
        await until(world, tracker)

    assert tracker.open_count() == 0
    assert (report.documents.waiting, report.documents.missing) == (1, 0)
    assert [(t.state, t.doc_key) for t in report.troubles][-1] == ("waiting", lost)


async def test_a_long_stop_is_no_rest(world):
    """What was sent meanwhile is handled first; nothing is closed in the first minute."""
    key = await world.settle("a.md", 5)
    await world.tracker().book.join(batch(count=10), key, 5)
    world.now += timedelta(days=1)
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        await tracker.book.announce(batch("other", 0), {}, 0)
        await tracker.wait_complete("docs", "other")

    assert [line.batch.id for line in await world.reports()] == ["other"]


async def test_documents_without_a_look_are_asked_for_by_their_own_vectors(world):
    """After a restart nobody remembers the looks of the process before."""
    asked = []
    tracker = world.tracker()

    async def check(records, sample=()):
        asked.append((len(records), set(sample)))
        return await Observe("f", MemoryStore(4), MemoryCache(), 60.0)(records, sample)

    check.freshness_warn_s = 60.0
    tracker.complete.check = check
    tracker.complete.sample = 3
    async with asyncio.timeout(60), world.running(tracker):
        keys = {await world.settle(f"{n}.md", n + 1): n + 1 for n in range(100)}
        for n in range(100, 1200):
            keys[await world.settle(f"{n}.md", n + 1, outcome="indexed")] = n + 1
        await tracker.book.announce(batch(count=1200), keys, 0)
        await tracker.wait_complete("docs", "b")

    assert [count for count, _ in asked] == [500, 500, 200]
    assert all(len(sample) == 3 and not sample & set(list(keys)[:100]) for _, sample in asked)


async def test_sample_queries_that_could_not_be_asked_are_asked_at_the_next_try(world):
    tries = []

    class Busy(AskSamples):
        async def __call__(self, queries=None):
            tries.append(1)
            if len(tries) == 1:
                raise tracking.TransientError("busy")
            return []

    tracker = world.tracker()
    tracker.complete.samples = Busy([SampleQuery("q", "docs/a.md")], None, None, None)
    async with asyncio.timeout(60), world.running(tracker):
        key = await world.settle("a.md", 5)
        await tracker.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert len(tries) == 2
    assert report.samples == ()


async def test_a_restart_reads_what_has_ended_without_a_pause(world, monkeypatch):
    monkeypatch.setattr(tracking, "POLL_S", 30.0)
    async with asyncio.timeout(60), world.running(tracker := world.tracker()):
        keys = {await world.settle(f"{n}.md", n + 1): n + 1 for n in range(1700)}
        await tracker.book.announce(batch(count=1700), keys, 0)
        report = await tracker.wait_complete("docs", "b")

    assert report.documents.removed == 1700


# -- many at once ----------------------------------------------------------------------------------


async def test_batches_that_are_over_are_closed_side_by_side_and_one_that_fails_holds_none_up(
    world, monkeypatch
):
    tracker, tried = world.tracker(), Counter()
    complete, together, done = tracker.complete, asyncio.Event(), []

    async def closing(judged):
        name = judged.open.batch.id
        tried[name] += 1
        if len(tried) == 3:
            together.set()
        await together.wait()  # for ever, if one were closed after the other
        if name == "b0" and len(done) < 7:
            raise tracking.TransientError("the bus was away")
        report = await complete(judged)
        done.append(name)
        return report

    monkeypatch.setattr(tracking, "CLOSED_AT_ONCE", 4)
    for n in range(8):
        key = await world.settle(f"{n}.md", n + 1)
        await tracker.book.announce(batch(f"b{n}"), {key: n + 1}, 0)
    closing.history = complete.history
    closing.now = complete.now
    tracker.complete = closing
    async with asyncio.timeout(60), world.running(tracker):
        for n in range(8):
            await tracker.wait_complete("docs", f"b{n}")

    assert tried.pop("b0") > 1
    assert set(tried.values()) == {1}
    assert not await world.shelf.keys("open.")
