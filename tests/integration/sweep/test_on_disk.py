"""The sweep with a real server and a real store: every fault of a row is seen, nothing else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from services.validator.sweep.sweep import Sweep, SweepLimits
from shared.bus.admin.provision import provision
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.monitor.in_flight import JetRoad
from shared.domain.events import Batch, Document, DocumentChanged, Inline
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Revision, revise, settle, written
from shared.ports import Row
from shared.stores.lance.store import LanceStore

pytestmark = pytest.mark.nats
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ("a" * 26, "e" * 25 + "a")
NAMES = [f"n{n}.md" for n in range(30)]


def row(path, key, ref):
    vector = np.random.default_rng(ref.born).standard_normal(8).astype(np.float32)
    return Row(
        id=ref.id(key), doc_key=key, source="docs", path=path, born=ref.born,
        chunk_key=ref.chunk_key, title="T", heading=("H",), text="text", metadata={"a": 1},
        vector=vector / np.linalg.norm(vector),
    )  # fmt: skip


@pytest.fixture
async def sweep(js, tmp_path):
    await provision(js, generation="g1")
    ledger, log = KvLedger(js, "g1"), JetChangeLog(js)
    await ledger.open()
    store = await LanceStore.open(tmp_path, table="chunks_g1", dimensions=8)
    rows = []
    for name in NAMES:
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
        rows += [row(name, key, ref) for ref in record.pending.rows]
        await ledger.update(key, settle(written(record, record.pending.todo, 0), now=0.0), expect=0)
    await store.upsert(rows)
    yield Sweep(
        "g1", ledger, store, log, JetRoad(js, "g1"), lambda: datetime.now(UTC), lambda: ["docs"],
        SweepLimits(second_look_s=0.0),
    )  # fmt: skip
    await store.close()


async def ids_of(sweep, name):
    key = doc_key("docs", name)
    return sorted((await sweep.store.ids({key: 2**53}))[key])


async def test_what_agrees_is_left_alone(sweep):
    found = await sweep(batch_size=0)

    assert found.clean
    assert (found.documents, found.rows) == (30, 60)


async def test_every_fault_is_found_at_once_and_told_apart(sweep):
    lost, altered, moved = [await ids_of(sweep, name) for name in NAMES[:3]]
    table = await sweep.store._table.now()
    await sweep.store.delete(lost[:1])
    await table.update({"text": "altered"}, where=f"id = '{altered[0]}'")
    await table.update({"path": "other.md"}, where=f"id = '{moved[1]}'")
    key = doc_key("docs", NAMES[3])
    ref = row(NAMES[3], key, settled_row(await sweep.ledger.get(key)))
    await sweep.store.upsert([renamed(ref, key)])
    gone = doc_key("docs", "gone.md")
    await sweep.store.upsert([renamed(ref, gone, path="gone.md")])

    found = await sweep(batch_size=0)

    assert (found.missing, found.damaged, found.extra, found.unknown) == (1, 2, 1, 1)
    assert found.resubmitted.keys() == {
        *(doc_key("docs", name) for name in NAMES[:4]),
        gone,
    }
    newest = await sweep.changes.newest("docs", doc_key("docs", NAMES[0]))
    assert newest.change.repair == "g1"
    assert (await sweep.changes.newest("docs", gone)).change.op == "deleted"


async def test_two_sweeps_at_once_send_no_more_than_one(sweep):
    await sweep.store.delete((await ids_of(sweep, NAMES[0]))[:1])

    found = await asyncio.gather(sweep(batch_size=0), sweep(batch_size=0))

    assert sum(len(one.resubmitted) for one in found) <= 2
    newest = await sweep.changes.newest("docs", doc_key("docs", NAMES[0]))
    assert newest.sequence == max(max(one.resubmitted.values(), default=0) for one in found)


def settled_row(entry):
    return entry.record.settled.rows[0]


def renamed(row, key, **changes):
    chunk = "i" * 25 + "a"
    return replace(row, id=row_id(key, chunk, row.born), doc_key=key, chunk_key=chunk, **changes)
