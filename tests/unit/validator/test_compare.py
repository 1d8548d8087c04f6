"""The store against the ledger, and what is sent again."""

from datetime import UTC, datetime

import numpy as np
import pytest
from protocol_world import chunk_key

from services.producer.memory_log import MemoryChangeLog
from services.validator import compare as comparing
from services.validator.compare import CompareStore
from shared.events import Batch, Document, DocumentChanged, Inline
from shared.identity import doc_key
from shared.ledgers.memory import MemoryLedger
from shared.ordering import Revision, keep, revise, settle, written
from shared.ports import Row
from shared.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = (chunk_key(1), chunk_key(2))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(comparing, "SECOND_LOOK_S", 0.0)


@pytest.fixture
async def world():
    ledger, store, log = MemoryLedger(), MemoryStore(2), MemoryChangeLog()
    for name in ("one.md", "two.md"):
        key = doc_key("docs", name)
        change = DocumentChanged(
            document=Document(source="docs", path=name, doc_key=key, changed_at=NOW),
            batch=Batch(id="b", count=1, source="docs", started_at=NOW),
            op="upserted",
            content=Inline(data="x"),
        )
        seq = await log.append(change, expect=0, message_id=name)
        record = revise(
            None, Revision(seq, "indexed", KEYS, 0.0), source="docs", path=name, now=0.0
        )
        await store.upsert([row(key, name, ref) for ref in record.pending.rows])
        record = settle(written(record, record.pending.todo, 0), now=0.0)
        await ledger.update(key, record, expect=0)
    return ledger, store, log


def row(key, path, ref):
    return Row(
        id=ref.id(key), doc_key=key, source="docs", path=path, born=ref.born,
        chunk_key=ref.chunk_key, title="", heading=(), text="t", metadata={},
        vector=np.array([1, 0], np.float32),
    )  # fmt: skip


async def newest_repairs(log):
    found = [await log.newest("docs", doc_key("docs", n)) for n in ("one.md", "two.md")]
    return [newest.change.repair for newest in found]


async def test_what_agrees_is_left_alone(world):
    ledger, store, log = world

    compared = await CompareStore("g", ledger, store, log, second_look_s=0)()

    assert (compared.documents, compared.differing) == (2, 0)
    assert await newest_repairs(log) == [None, None]


async def test_a_document_that_lost_a_row_is_sent_again_as_a_repair(world):
    ledger, store, log = world
    key = doc_key("docs", "two.md")
    await store.delete([sorted((await store.ids({key: 2**53}))[key])[0]])

    compared = await CompareStore("g", ledger, store, log, second_look_s=0)()

    assert list(compared.resubmitted) == [key]
    assert await newest_repairs(log) == [None, "g"]


async def test_a_wiped_store_is_sent_again_as_a_whole(world):
    ledger, _, log = world

    compared = await CompareStore("g", ledger, MemoryStore(2), log, second_look_s=0)()

    assert len(compared.resubmitted) == 2
    assert await newest_repairs(log) == ["g", "g"]


async def test_a_refused_document_that_lost_rows_is_reported_not_looped(world):
    ledger, _, log = world
    key = doc_key("docs", "one.md")
    entry = await ledger.get(key)
    refused = revise(
        entry.record, Revision(2**40, "refused", (), 0.0), source="docs", path="one.md", now=0.0
    )
    await ledger.update(key, settle(refused, now=0.0), expect=entry.at)

    compared = await CompareStore("g", ledger, MemoryStore(2), log, second_look_s=0)()

    assert (compared.beyond_repair, len(compared.resubmitted)) == (1, 1)


class StoreBesideAnIndexer(MemoryStore):
    """After its first answer an indexer ends what it was doing."""

    def __init__(self, then):
        super().__init__(2)
        self._then = then

    async def ids(self, documents):
        found = await super().ids(documents)
        then, self._then = self._then, None
        if then:
            await then(self)
        return found


async def copied(store, ledger, then):
    busy = StoreBesideAnIndexer(then)
    for key in [key async for key, _ in ledger.entries()]:
        ids = (await store.ids({key: 2**53}))[key]
        record = (await ledger.get(key)).record
        await busy.upsert(
            [row(key, record.path, ref) for ref in keep(record) if ref.id(key) in ids]
        )
    return busy


async def test_rows_that_are_cleaned_between_two_looks_were_no_difference(world):
    ledger, store, log = world
    key = doc_key("docs", "one.md")
    entry = await ledger.get(key)

    async def clean(busy):
        await busy.delete((await busy.ids({key: 2**53}))[key])

    busy = await copied(store, ledger, clean)
    removed = settle(
        revise(
            entry.record, Revision(2**40, "removed", (), 0.0), source="docs", path="one.md", now=0.0
        ),
        now=0.0,
    )
    await ledger.update(key, removed, expect=entry.at)  # settled, not cleaned yet

    compared = await CompareStore("g", ledger, busy, log, second_look_s=0)()

    assert (compared.differing, compared.resubmitted) == (0, {})
    assert await newest_repairs(log) == [None, None]


async def test_a_record_that_changed_since_it_was_read_is_no_difference(world):
    ledger, store, log = world
    key = doc_key("docs", "one.md")
    entry = await ledger.get(key)
    removal = Revision(2**40, "removed", (), 0.0)
    planned = revise(entry.record, removal, source="docs", path="one.md", now=0.0)
    at = await ledger.update(key, planned, expect=entry.at)

    async def settle_it(busy):
        await ledger.update(key, settle(planned, now=0.0), expect=at)

    busy = await copied(store, ledger, settle_it)
    await busy.delete([ref.id(key) for ref in keep(planned)])

    compared = await CompareStore("g", ledger, busy, log, second_look_s=0)()

    assert (compared.differing, compared.resubmitted) == (0, {})
