"""Documents and batches judged over memory ports: ledger, store, cache, book."""

import asyncio
import contextlib
import hashlib
from base64 import b32encode
from datetime import UTC, datetime

import numpy as np
import pytest
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache
from structlog.testing import capture_logs

from services.validator import validate as validating
from services.validator.batches import complete as completing
from services.validator.batches import tracker as tracking
from services.validator.batches.complete import Complete
from services.validator.batches.tracker import Tracker
from services.validator.checks import SampleQuery
from services.validator.checkup import ValidateNow
from services.validator.observe import AskSamples, Observe
from services.validator.validate import (
    LAST_LOOK_S,
    LOOKS,
    SECOND_LOOK_S,
    Validate,
    linger_s,
    next_look_s,
)
from shared.batches.history import History
from shared.batches.members import BatchBook
from shared.domain.errors import BusUnavailable, NotYetIndexed
from shared.domain.events import (
    Batch,
    BatchCompleted,
    Document,
    DocumentIndexed,
    DocumentNotTaken,
    DocumentRemoved,
)
from shared.domain.ids import cache_key, doc_key
from shared.domain.ordering import Failed, Pending, Reason, Record, RowRef, Settled
from shared.ports import Delivery, Row
from shared.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT = NOW.timestamp()


class FewVectors:
    """Encodes the last number in a text as a direction."""

    fingerprint, dimensions = "f", 64

    async def encode(self, texts):
        return np.stack([direction(int(text.split()[-1])) for text in texts])


async def few_vectors():
    return FewVectors()


def direction(n: int) -> np.ndarray:
    vector = np.zeros(64, np.float32)
    vector[n % 64] = 1
    return vector


def chunk_key(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=").lower()


class Index:
    """An index that the test writes as the pipeline would."""

    def __init__(self) -> None:
        self.ledger, self.store, self.cache = MemoryLedger(), MemoryStore(64), MemoryCache()
        self.shelf = MemoryShelf()
        self.published: list = []
        self.observe = Observe("f", self.store, self.cache, 60.0)
        self.samples = AskSamples([], few_vectors, self.store, self.ledger)
        self.fresh_tracker()

    def fresh_tracker(self) -> None:
        """A new process."""
        self.book, self.history = BatchBook(self.shelf, "g1", lambda: AT), History(self.shelf)
        complete = Complete(
            "g1", "m", self.book, self.history, self.ledger, self.observe, self.publish,
            lambda: NOW, self.samples,
        )  # fmt: skip
        self.tracker = Tracker(self.book, self.ledger, complete)
        self.validate = self.validator(sample=20)

    def validator(self, *, sample) -> Validate:
        return Validate("g1", self.ledger, self.observe, self.tracker, lambda: NOW, sample)

    async def publish(self, event) -> None:
        self.published.append(event)

    def completed(self) -> list[str]:
        return [e.batch.id for e in self.published if isinstance(e, BatchCompleted)]

    async def settle(
        self, path: str, seq: int, *, outcome="indexed", rows=1, lost=0, took=0.5, **told
    ):
        key = doc_key("docs", path)
        refs = tuple(RowRef(chunk_key(f"{seq} {n}"), seq) for n in range(rows))
        settled = Settled(seq, outcome, refs, AT - took, AT, inserted=rows, encoded=rows, **told)
        await self.record(key, Record("docs", path, settled))
        for n, ref in enumerate(refs[lost:]):
            vector, text = direction(seq + n), f"text {seq + n}"
            await self.store.upsert(
                [Row(ref.id(key), key, "docs", path, seq, ref.chunk_key, "", (), text, {}, vector)]
            )
            await self.cache.put_many({cache_key("f", text): vector})
        return key

    async def record(self, key: str, record: Record) -> None:
        entry = await self.ledger.get(key)
        await self.ledger.update(key, record, expect=entry.at if entry else 0)

    @contextlib.asynccontextmanager
    async def tracked(self):
        task = asyncio.create_task(self.tracker.run())
        try:
            yield self.tracker
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def index():
    return Index()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(validating, "LINGER_S", 0.001)
    monkeypatch.setattr(tracking, "POLL_S", 0.01)
    monkeypatch.setattr(tracking, "RELOAD_S", 0.05)
    monkeypatch.setattr(completing, "RECHECK_S", 0.01)


def document(path: str, seq: int) -> Document:
    key = doc_key("docs", path)
    return Document(source="docs", path=path, doc_key=key, revision=seq, changed_at=NOW)


def batch(name: str = "b", count: int = 1) -> Batch:
    return Batch(id=name, count=count, source="docs", started_at=NOW)


def indexed(path: str, seq: int, rows: int = 1, of: str = "b") -> DocumentIndexed:
    return DocumentIndexed(
        document=document(path, seq),
        batch=batch(of),
        generation="g1",
        indexed_at=NOW,
        freshness_s=0.5,
        vector_count=rows,
    )


def removed(path: str, seq: int) -> DocumentRemoved:
    return DocumentRemoved(
        document=document(path, seq), batch=batch(), generation="g1", removed_at=NOW
    )


FIRST, LATE = Delivery(sequence=1), Delivery(sequence=1, attempt=3, age_s=70)
BEHIND = Delivery(sequence=1, age_s=5.0)
"""Of a backlog."""
HANDED_BACK = Delivery(sequence=1, attempt=7, age_s=500)
"""Six processes stopped before any of them looked."""


# -- documents -------------------------------------------------------------------------------------


async def test_a_document_whose_rows_are_there_and_found_by_their_vectors_passes(index):
    await index.settle("a.md", 5, rows=3)
    (event,) = await index.validate(indexed("a.md", 5, 3), FIRST)

    assert event.validation_passed
    assert (event.expected_count, event.vector_count, event.self_query_passed) == (3, 3, True)
    assert event.freshness_s == 0.5
    assert event.message_id == f"validated:g1:{doc_key('docs', 'a.md')}:5"


async def test_a_lost_row_fails_at_the_second_look(index):
    await index.settle("a.md", 5, rows=3, lost=1)
    with pytest.raises(NotYetIndexed):
        await index.validate(indexed("a.md", 5, 3), FIRST)
    (event,) = await index.validate(indexed("a.md", 5, 3), Delivery(1, attempt=2, age_s=0.4))

    assert not event.validation_passed
    assert (event.expected_count, event.vector_count) == (3, 2)


async def test_what_its_own_vector_did_not_find_is_asked_for_again_whatever_else_is_asked(
    index, monkeypatch
):
    async def finds_nothing(probes):
        return frozenset(probe.id for probe in probes)

    monkeypatch.setattr(index.store, "unsearchable", finds_nothing)
    index.validate = index.validator(sample=1)
    key = await index.settle("a.md", 5)
    await index.settle("b.md", 6)
    with pytest.raises(NotYetIndexed):
        await index.validate(indexed("a.md", 5), FIRST)
    (other,) = await index.validate(indexed("b.md", 6), Delivery(2, attempt=1, age_s=0.4))
    (event,) = await index.validate(indexed("a.md", 5), Delivery(1, attempt=2, age_s=0.4))
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert other.self_query_passed is None
    assert (event.validation_passed, event.self_query_passed) == (False, False)
    assert report.validation_passed is False


async def test_the_first_documents_of_each_batch_are_asked_for_by_their_own_vectors(
    index, monkeypatch
):
    monkeypatch.setattr(validating, "REMEMBERED", 2)
    handler = index.validator(sample=2)

    async def is_asked(path, number, of):
        await index.settle(path, number)
        (event,) = await handler(indexed(path, number, of=of), Delivery(number, 1, 1.0))
        return event.self_query_passed is not None

    first = [await is_asked(f"a{n}.md", n, "a") for n in range(1, 4)]
    others = [await is_asked(f"{of}.md", 10 + n, of) for n, of in enumerate("bcde")]
    forgotten = await is_asked("a4.md", 20, "a")

    assert first == [True, True, False]
    assert others == [True] * 4
    assert forgotten  # of that many batches a process does not remember all


async def test_batches_of_two_sources_with_one_id_each_have_samples_of_their_own(index):
    handler = index.validator(sample=1)

    async def is_asked(path, number, source):
        await index.settle(path, number)
        told = indexed(path, number)
        other = told.batch.model_copy(update={"source": source})
        event = told.model_copy(update={"batch": other})
        (found,) = await handler(event, Delivery(number, 1, 1.0))
        return found.self_query_passed is not None

    asked = [await is_asked(f"{n}.md", n + 1, s) for n, s in enumerate(("docs", "wiki", "docs"))]

    assert asked == [True, True, False]


async def test_rows_too_many_are_an_error_only_if_they_stay(index):
    await index.settle("a.md", 4, rows=2)
    await index.settle("a.md", 5, rows=1)
    for attempt, age in ((1, 0.0), (2, 0.4)):
        with pytest.raises(NotYetIndexed) as caught:
            await index.validate(indexed("a.md", 5), Delivery(1, attempt=attempt, age_s=age))
    (event,) = await index.validate(indexed("a.md", 5), LATE)

    assert caught.value.after_s > 60
    assert not event.validation_passed


async def test_a_message_that_was_handed_back_often_gets_its_second_look_all_the_same(index):
    await index.settle("a.md", 5, rows=3, lost=1)
    with pytest.raises(NotYetIndexed) as caught:
        await index.validate(indexed("a.md", 5, 3), HANDED_BACK)
    (event,) = await index.validate(indexed("a.md", 5, 3), HANDED_BACK)

    assert caught.value.after_s < 1
    assert not event.validation_passed


async def test_an_event_that_waited_for_long_is_not_dropped_before_its_settling(index):
    pending = Pending(5, "indexed", (), frozenset(), AT, AT)
    await index.record(doc_key("docs", "a.md"), Record("docs", "a.md", None, pending))
    with pytest.raises(NotYetIndexed):
        await index.validate(indexed("a.md", 5), HANDED_BACK)
    await index.settle("a.md", 5)
    (event,) = await index.validate(indexed("a.md", 5), HANDED_BACK)

    assert event.validation_passed


async def test_a_revision_that_never_settles_is_told_in_the_log(index):
    pending = Pending(5, "indexed", (), frozenset(), AT, AT)
    await index.record(doc_key("docs", "a.md"), Record("docs", "a.md", None, pending))
    with capture_logs() as lines:
        with pytest.raises(NotYetIndexed):
            await index.validate(indexed("a.md", 5), LATE)
        assert await index.validate(indexed("a.md", 5), LATE) == []

    assert [(line["event"], line["revision"]) for line in lines] == [("never_settled", 5)]


def test_a_clock_that_is_far_behind_ends_the_looks_all_the_same():
    looks = [next_look_s(None, looked, -3600.0) for looked in range(LOOKS)]

    assert looks == [SECOND_LOOK_S, LAST_LOOK_S, LAST_LOOK_S, None]


async def test_a_removed_document_passes_when_no_row_is_left(index):
    await index.settle("a.md", 6, outcome="removed", rows=0)
    (event,) = await index.validate(removed("a.md", 6), FIRST)

    assert event.validation_passed
    assert event.expected_count == event.vector_count == 0


async def test_an_overtaken_revision_is_left_to_the_newer_one(index):
    await index.settle("a.md", 6)

    assert await index.validate(indexed("a.md", 5), FIRST) == []


async def test_an_event_before_its_settling_comes_again_but_not_for_ever(index):
    pending = Pending(5, "indexed", (), frozenset(), AT, AT)
    await index.record(doc_key("docs", "a.md"), Record("docs", "a.md", None, pending))
    with pytest.raises(NotYetIndexed):
        await index.validate(indexed("a.md", 5), FIRST)
    with pytest.raises(NotYetIndexed) as caught:
        await index.validate(indexed("a.md", 5), Delivery(1, attempt=2, age_s=0.4))

    assert caught.value.after_s > 60
    assert await index.validate(indexed("a.md", 5), Delivery(1, attempt=4, age_s=80)) == []


async def test_refusals_are_not_judged(index):
    refusal = DocumentNotTaken(
        document=document("a.md", 5), batch=batch(), generation="g1", code="empty", reason="empty"
    )
    assert await index.validate(refusal, FIRST) == []


def test_only_what_was_told_just_now_waits_for_its_settling():
    assert linger_s(0.0) == validating.LINGER_S
    assert 0 < linger_s(validating.LINGER_S / 2) < validating.LINGER_S
    assert linger_s(validating.LINGER_S) == linger_s(BEHIND.age_s) == 0


async def test_many_documents_are_one_look(index, monkeypatch):
    calls = []
    ids = index.store.ids

    async def counting(documents):
        calls.append(len(documents))
        return await ids(documents)

    monkeypatch.setattr(index.store, "ids", counting)
    for n in range(50):
        await index.settle(f"{n}.md", n + 1)
    events = await asyncio.gather(
        *(index.validate(indexed(f"{n}.md", n + 1), BEHIND) for n in range(50))
    )

    assert calls == [50]
    assert all(e.validation_passed for (e,) in events)
    assert sum(e.self_query_passed is not None for (e,) in events) == 20


async def test_a_store_that_is_down_fails_every_delivery_that_waits(index, monkeypatch):
    async def down(doc_keys):
        raise BusUnavailable("down")

    monkeypatch.setattr(index.ledger, "get_many", down)
    found = await asyncio.gather(
        *(index.validate(indexed(f"{n}.md", 1), FIRST) for n in range(3)), return_exceptions=True
    )

    assert [type(e) for e in found] == [BusUnavailable] * 3


# -- batches ---------------------------------------------------------------------------------------


async def test_an_empty_batch_completes_at_once_and_says_so(index):
    async with index.tracked() as tracker:
        await index.book.announce(batch(count=0), {}, 12)
        report = await tracker.wait_complete("docs", "b")

    assert index.completed() == ["b"]
    assert report.documents.unchanged == 12
    assert report.validation_passed is None
    assert await index.history.reports("b") == {"docs": report}


async def test_a_batch_completes_when_every_revision_has_settled(index):
    a, b = await index.settle("a.md", 5, rows=2), doc_key("docs", "b.md")
    async with index.tracked() as tracker:
        await index.book.announce(batch(count=2), {a: 5, b: 6}, 1)
        await index.validate(indexed("a.md", 5, 2), FIRST)
        waiting = (tracker.open_count(), index.completed())
        await index.settle("b.md", 6, outcome="refused", rows=0)
        report = await tracker.wait_complete("docs", "b")
        await tracker.wait_complete("docs", "b")

    assert waiting == (1, [])
    assert tracker.open_count() == 0
    assert index.completed() == ["b"]
    assert report.summary.model_dump() == {
        "indexed": 1, "unchanged": 1, "removed": 0, "refused": 1, "failed": 0,
        "chunks": {"total": 2, "inserted": 2, "kept": 0, "removed": 0, "encoded": 2},
    }  # fmt: skip
    assert report.validation_passed is True
    assert report.freshness.p50_s == 0.5


async def test_events_that_come_before_the_announcement_cost_no_second_question(index, monkeypatch):
    members = {await index.settle(f"{n}.md", n + 1): n + 1 for n in range(30)}
    async with index.tracked() as tracker:
        await asyncio.gather(*(index.validate(indexed(f"{n}.md", n + 1), FIRST) for n in range(30)))
        asked = []
        get_many = index.ledger.get_many
        monkeypatch.setattr(
            index.ledger, "get_many", lambda keys: asked.append(keys) or get_many(keys)
        )
        await index.book.announce(batch(count=30), members, 0)
        report = await tracker.wait_complete("docs", "b")

    assert asked == []
    assert (report.checked.documents, report.checked.failed) == (30, 0)


async def test_lost_events_do_not_stop_a_batch(index):
    key = await index.settle("a.md", 5)
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert report.checked.documents == 1


async def test_a_newer_revision_ends_the_older_one(index):
    key = await index.settle("a.md", 9)
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert report.summary.indexed == 1
    assert report.summary.chunks.total == 0


async def test_a_failed_document_ends_too(index):
    key = doc_key("docs", "a.md")
    failed = Failed(5, "embed", Reason("model_failed", "x"))
    await index.record(key, Record("docs", "a.md", failed=failed))
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert report.summary.failed == 1


async def test_open_batches_survive_a_restart_and_batches_of_other_processes_are_seen(index):
    key = doc_key("docs", "a.md")
    async with index.tracked():
        await index.book.announce(batch(), {key: 5}, 0)
    await index.settle("a.md", 5)
    index.fresh_tracker()
    async with index.tracked() as tracker:
        await tracker.wait_complete("docs", "b")
        await BatchBook(index.shelf, "g1").announce(batch("c"), {key: 5}, 0)
        await tracker.wait_complete("docs", "c")

    assert index.completed() == ["b", "c"]


async def test_a_publishers_batch_waits_for_its_count(index):
    keys = [await index.settle(f"{n}.md", n + 1) for n in range(2)]
    async with index.tracked() as tracker:
        await index.book.join(batch(count=3), keys[0], 1)
        await index.book.join(batch(count=3), keys[1], 2)
        await index.book.announce(batch("other", 0), {}, 0)
        await tracker.wait_complete("docs", "other")
        before = (index.completed(), tracker.open_count())
        await index.book.join(batch(count=3), "!9", 0)
        report = await tracker.wait_complete("docs", "b")

    assert before == (["other"], 0)
    assert (report.summary.indexed, report.summary.refused) == (2, 1)


async def test_a_lost_row_is_in_the_report(index):
    key = await index.settle("a.md", 5, rows=3, lost=1)
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert report.validation_passed is False
    assert [(t.doc_key, t.state, t.code) for t in report.troubles] == [
        (key, "differs", "rows_missing")
    ]
    assert [e.validation_passed for e in index.published] == [False]


async def test_a_bus_that_fails_for_a_while_delays_a_batch_and_loses_nothing(index, monkeypatch):
    fails = [1, 1]
    publish = index.publish

    async def failing(event):
        if fails:
            fails.pop()
            raise BusUnavailable("down")
        await publish(event)

    index.tracker.complete.publish = failing
    async with index.tracked() as tracker:
        await index.book.announce(batch(count=0), {}, 0)
        await tracker.wait_complete("docs", "b")

    assert index.completed() == ["b"]


async def test_sample_queries_are_part_of_the_report(index):
    key = await index.settle("a.md", 5)
    index.samples = AskSamples(
        [SampleQuery("where is 5", "docs/a.md"), SampleQuery("where is 5", "docs/x.md")],
        few_vectors, index.store, index.ledger,
    )  # fmt: skip
    index.fresh_tracker()
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert [s.rank for s in report.samples] == [1, None]
    assert report.validation_passed is False


# -- now -------------------------------------------------------------------------------------------


def checkup(index: Index) -> ValidateNow:
    return ValidateNow(
        "g1", index.ledger, index.store, index.observe, index.history, index.samples, lambda: NOW
    )


async def test_a_whole_index_passes(index):
    for n in range(5):
        await index.settle(f"{n}.md", n + 1, rows=2)
    found = await checkup(index)(queries=[SampleQuery("where is 3", "docs/2.md")])

    assert found.passed
    assert (found.documents, found.rows, found.checked.expected_rows) == (5, 10, 10)
    assert found.checked.self_queries == 5
    assert found.as_dict()["passed"] is True


async def test_rows_of_a_document_that_the_ledger_does_not_know_fail_the_index(index):
    await index.settle("a.md", 5)
    row = Row("x", "z" * 26, "docs", "ghost.md", 1, "k", "", (), "text 9", {}, direction(9))
    await index.store.upsert([row])
    found = await checkup(index)()

    assert (found.passed, found.orphans) == (False, 1)


async def test_documents_that_come_while_the_index_is_looked_at_are_not_of_nobody(
    index, monkeypatch
):
    """One more at each look at the store; all of them in order."""
    await index.settle("a.md", 5)
    count, holdings, looks = index.store.count, index.store.holdings, 0

    async def another():
        nonlocal looks
        looks += 1
        await index.settle(f"new{looks}.md", 10 + looks, rows=3)

    async def counting():
        await another()
        return await count()

    async def holding(buckets):
        await another()
        return await holdings(buckets)

    monkeypatch.setattr(index.store, "count", counting)
    monkeypatch.setattr(index.store, "holdings", holding)
    found = await checkup(index)()

    assert (found.passed, found.orphans, looks) == (True, 0, 2)


async def test_rows_of_nobody_are_counted_though_others_go_meanwhile(index, monkeypatch):
    key = await index.settle("a.md", 5, rows=3)
    ghosts = [
        Row(f"x{n}", "z" * 26, "docs", "ghost.md", 1, "k", "", (), "text 9", {}, direction(9))
        for n in range(2)
    ]
    await index.store.upsert(ghosts)
    count = index.store.count

    async def counting():
        index.store.lose((await index.store.ids({key: 2**53}))[key])
        await index.settle("a.md", 6, outcome="removed", rows=0)
        return await count()

    monkeypatch.setattr(index.store, "count", counting)
    found = await checkup(index)()

    assert found.orphans == 2


async def test_rows_that_go_between_two_looks_were_not_of_nobody(index, monkeypatch):
    await index.settle("a.md", 5)
    row = Row("x", "z" * 26, "docs", "ghost.md", 1, "k", "", (), "text 9", {}, direction(9))
    await index.store.upsert([row])
    holdings = index.store.holdings

    async def holding(buckets):
        found = await holdings(buckets)
        index.store.lose(["x"])
        return found

    monkeypatch.setattr(index.store, "holdings", holding)
    found = await checkup(index)()

    assert (found.passed, found.orphans) == (True, 0)


async def test_rows_on_their_way_are_neither_missing_nor_orphans(index):
    key = await index.settle("a.md", 5)
    record = (await index.ledger.get(key)).record
    ref = RowRef(chunk_key("new"), 6)
    rows = (*record.settled.rows, ref)
    pending = Pending(6, "indexed", rows, frozenset(), AT, AT)
    await index.record(key, Record("docs", "a.md", record.settled, pending))
    await index.store.upsert(
        [Row(ref.id(key), key, "docs", "a.md", 6, ref.chunk_key, "", (), "t 6", {}, direction(6))]
    )
    found = await checkup(index)()

    assert (found.passed, found.pending, found.rows) == (True, 1, 2)


async def test_one_batch_is_checked_by_its_members(index):
    good = await index.settle("a.md", 5)
    await index.settle("b.md", 6, rows=2, lost=1)
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {good: 5}, 0)
        await tracker.wait_complete("docs", "b")
    members = (await index.history.members("b"))["docs"]
    of_batch, whole = await checkup(index)(members), await checkup(index)()

    assert (of_batch.passed, of_batch.documents, whole.passed) == (True, 1, False)


async def test_a_query_that_expects_an_inactive_document_is_not_asked(index):
    await index.settle("a.md", 5, is_active=False)
    await index.settle("b.md", 6)

    found = await checkup(index)(
        queries=[SampleQuery("where is 5", "docs/a.md"), SampleQuery("where is 6", "docs/b.md")]
    )

    assert [(sample.expect, sample.rank) for sample in found.samples] == [("docs/b.md", 1)]
    assert found.passed
    assert (found.documents, found.rows, found.checked.expected_rows) == (1, 2, 2)


async def test_a_query_is_answered_by_active_documents_however_many_inactive_ones_are_nearer(index):
    for n in range(100):
        await index.settle(f"{n}.md", 1000, is_active=False)
    await index.settle("a.md", 5)

    found = await checkup(index)(queries=[SampleQuery("where is 1000", "docs/a.md")])

    assert [sample.rank for sample in found.samples] == [1]


async def test_an_inactive_document_passes_its_validation_and_completes_its_batch(index):
    key = await index.settle("a.md", 5, is_active=False)
    async with index.tracked() as tracker:
        await index.book.announce(batch(), {key: 5}, 0)
        report = await tracker.wait_complete("docs", "b")

    assert (report.complete, report.validation_passed) == (True, True)
