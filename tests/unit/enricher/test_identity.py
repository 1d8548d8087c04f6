"""Changes that name another document than their key does, and parts without rows."""

from datetime import UTC, datetime

import pytest
from memory_change_log import MemoryChangeLog
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.embedder.embed import Embed
from services.enricher.enrich import Enrich
from shared.domain.errors import MalformedEvent
from shared.domain.events import Batch, Document, DocumentChanged, DocumentEnriched
from shared.domain.ids import doc_key
from shared.observe.progress import Progress
from shared.ports import Delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = Batch(id="b", count=1, source="docs", started_at=NOW)


def deleted(path, key):
    document = Document(source="docs", path=path, doc_key=key, revision=7, changed_at=NOW)
    return DocumentChanged(document=document, batch=BATCH, op="deleted")


async def prepare(event):
    raise AssertionError


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def enrich(ledger):
    return Enrich("g1", ledger, MemoryChangeLog(), prepare, lambda: NOW, Progress())


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("secret.md", doc_key("docs", "b.md")),
        ("secret.md", doc_key("other", "secret.md")),
        ("../secret.md", doc_key("docs", "../secret.md")),
        ("/secret.md", doc_key("docs", "/secret.md")),
        ("a/../secret.md", doc_key("docs", "a/../secret.md")),
        ("secret\0.md", doc_key("docs", "secret\0.md")),
        ("", doc_key("docs", "")),
    ],
)
async def test_a_change_of_nobody_is_malformed_and_leaves_no_trace(enrich, ledger, path, key):
    with pytest.raises(MalformedEvent) as caught:
        await enrich(deleted(path, key), Delivery(1))

    assert "secret" not in str(caught.value)
    assert await ledger.get(key) is None


async def test_a_path_in_another_unicode_form_is_the_same_document(enrich, ledger):
    key = doc_key("docs", "\u00e4.md")
    await enrich(deleted("a\u0308.md", key), Delivery(1))

    assert (await ledger.get(key)).record.pending.seq == 7


async def test_a_part_without_rows_is_malformed(ledger):
    document = Document(
        source="docs", path="a.md", doc_key=doc_key("docs", "a.md"), revision=7, changed_at=NOW
    )
    part = DocumentEnriched(document=document, batch=BATCH, generation="g1", rows=())
    embed = Embed("g1", ledger, MemoryCache(), None, Progress())

    with pytest.raises(MalformedEvent):
        await embed(part, Delivery(1))
