"""A batch that was announced is open at every moment until it has its report."""

import asyncio
import contextlib
from datetime import UTC, datetime

from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.validator.batches.complete import Complete
from services.validator.batches.tracker import Tracker
from services.validator.observe import Observe
from shared.batches.history import History
from shared.batches.members import BatchBook
from shared.domain.errors import BusUnavailable
from shared.domain.events import Batch
from shared.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class SlowBook(BatchBook):
    """Answers when it is let; after `failures` refusals."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__(MemoryShelf(), "g1")
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.failures = failures

    async def open(self):
        self.asked.set()
        await self.may_answer.wait()
        if self.failures:
            self.failures -= 1
            raise BusUnavailable("no answer")
        return await super().open()


@contextlib.asynccontextmanager
async def tracked(book: BatchBook):
    async def publish(event) -> None:
        pass

    store, ledger = MemoryStore(2), MemoryLedger()
    check = Observe("f", store, MemoryCache(), 60.0)
    history = History(book._shelf)
    complete = Complete("g1", "m", book, history, ledger, check, publish, lambda: NOW)
    tracker = Tracker(book, ledger, complete)
    running = asyncio.create_task(tracker.run())
    try:
        yield tracker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def announce(book: BatchBook, members: dict[str, int]) -> None:
    batch = Batch(id="b", count=len(members), source="docs", started_at=NOW)
    await book.announce(batch, members, 0)


async def test_a_batch_counts_as_open_while_the_book_is_being_read():
    book = SlowBook()
    async with tracked(book) as tracker:
        before_the_first_read = tracker.open_count()
        await announce(book, {"k" * 26: 5})
        announced = tracker.open_count()
        await book.asked.wait()
        being_read = tracker.open_count()
        book.may_answer.set()
        async with asyncio.timeout(60):
            while not tracker._tracked:
                await asyncio.sleep(0)
        known = tracker.open_count()

    assert before_the_first_read == announced == being_read == 1
    assert known == 1


async def test_a_batch_counts_as_open_when_the_book_could_not_be_read():
    book = SlowBook(failures=1)
    async with tracked(book) as tracker:
        await announce(book, {"k" * 26: 5})
        book.may_answer.set()
        async with asyncio.timeout(60):
            while book.failures:
                await asyncio.sleep(0)

        assert tracker.open_count() == 1


async def test_an_empty_batch_is_open_no_more_once_it_has_its_report():
    book = SlowBook()
    book.may_answer.set()
    async with tracked(book) as tracker:
        await announce(book, {})
        async with asyncio.timeout(60):
            await tracker.wait_complete("docs", "b")
            while tracker.open_count():
                await asyncio.sleep(0.01)

        assert (await tracker.complete.history.reports("b"))["docs"].batch.id == "b"
