"""Parts that no embedder sent: each is buried with a reason, and nothing of it is written."""

from datetime import UTC, datetime

import numpy as np
import pytest
from memory_ledger import MemoryLedger

from services.indexer.index import Index
from shared.domain.errors import MalformedEvent, PermanentError, UnknownRevision, VectorsRejected
from shared.domain.events import Batch, Document, EmbeddingsReady, PartRow
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Revision, revise
from shared.observe.progress import Progress
from shared.ports import Delivery
from shared.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY, OTHER = doc_key("docs", "a.md"), doc_key("docs", "b.md")
BATCH = Batch(id="b", count=1, source="docs", started_at=NOW)
K1, K2 = "a" * 26, "b" * 26
SECRET = "the secret text"


def row(chunk_key=K1, born=7, id_=None):
    return PartRow(
        id=id_ or row_id(KEY, chunk_key, born), chunk_key=chunk_key, born=born, text=SECRET
    )


def part(rows=None, vectors=None, **more):
    rows = (row(),) if rows is None else rows
    block = np.ones((len(rows), 4), np.float32) if vectors is None else vectors
    fields = {
        "document": Document(source="docs", path="a.md", doc_key=KEY, revision=7, changed_at=NOW),
        "batch": BATCH,
        "generation": "g1",
        "rows": rows,
        "fingerprint": "model",
        "dims": 4,
        "count": len(rows),
        "vectors": EmbeddingsReady.pack(block),
    }
    return EmbeddingsReady(**(fields | more))


def about(path, key, revision=7):
    return Document(source="docs", path=path, doc_key=key, revision=revision, changed_at=NOW)


@pytest.fixture
async def index():
    """Before a ledger in which revision 7 of a.md waits for its only row."""
    ledger, store, published = MemoryLedger(), MemoryStore(4), []

    async def publish(event):
        published.append(event)

    made = Index("g1", "model", ledger, store, publish, lambda: NOW, Progress())
    record = revise(None, Revision(7, "indexed", (K1,), 0.0), source="docs", path="a.md", now=0)
    await ledger.update(KEY, record, expect=0)
    return made


async def rows_of(index, key):
    return (await index.store.ids({key: 2**53}))[key]


def nan():
    return np.full((1, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("forged", "error"),
    [
        (lambda: part(fingerprint="other"), PermanentError),
        (lambda: part(dims=3), PermanentError),
        (lambda: part(dims=10**30), PermanentError),
        (lambda: part(vectors=np.ones((1, 3), np.float32), dims=3), VectorsRejected),
        (lambda: part(vectors=np.zeros((1, 4), np.float32)), VectorsRejected),
        (lambda: part(vectors=nan()), VectorsRejected),
        (lambda: part(vectors=np.full((1, 4), np.inf, np.float32)), VectorsRejected),
        (lambda: part().model_copy(update={"vectors": "%%%"}), PermanentError),
        (lambda: part((row(id_=row_id(OTHER, K1, 7)),)), MalformedEvent),
        (lambda: part((row(id_="not-an-id"),)), MalformedEvent),
        (lambda: part(document=about("b.md", KEY)), MalformedEvent),
        (lambda: part(document=about("a.md", KEY, revision=2**52)), UnknownRevision),
        (lambda: part(document=about("b.md", OTHER), rows=()), UnknownRevision),
    ],
    ids=range(13),
)
async def test_a_forged_part_writes_nothing_and_is_told_without_its_text(index, forged, error):
    with pytest.raises(error) as caught:
        await index(forged(), Delivery(1))

    assert SECRET not in str(caught.value)
    assert await rows_of(index, KEY) == frozenset()
    assert await rows_of(index, OTHER) == frozenset()
    assert (await index.ledger.get(KEY)).record.pending.todo


async def test_rows_that_the_ledger_does_not_list_are_not_written(index):
    await index(part((row(K2), row(K1, born=6))), Delivery(1))

    assert await rows_of(index, KEY) == frozenset()


async def test_the_true_part_is_taken_after_any_forged_one(index):
    for forged in (part(fingerprint="other"), part(vectors=nan())):
        with pytest.raises(PermanentError):
            await index(forged, Delivery(1))
    await index(part(), Delivery(1))

    assert await rows_of(index, KEY) == {row_id(KEY, K1, 7)}
    assert (await index.ledger.get(KEY)).record.settled.seq == 7
