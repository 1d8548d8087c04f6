"""What a dead letter means for its document."""

from datetime import UTC, datetime

from memory_ledger import MemoryLedger
from protocol_world import chunk_key

from services.validator.failures import Failure, RecordFailure
from shared.domain.events import Batch, Document
from shared.domain.ordering import Revision, revise, settle, state
from shared.observe.progress import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "a" * 26


def failure(seq):
    document = Document(source="docs", path="a.md", doc_key=KEY, revision=seq, changed_at=NOW)
    batch = Batch(id="b", count=1, source="docs", started_at=NOW)
    return Failure(document, batch, "embed", "poison", "its process died 5 times")


def pending(seq):
    return revise(
        None, Revision(seq, "indexed", (chunk_key(1),), 0.0), source="docs", path="a.md", now=0.0
    )


async def test_the_ledger_says_failed_and_the_world_is_told():
    ledger = MemoryLedger()
    await ledger.update(KEY, pending(7), expect=0)

    (event,) = await RecordFailure("g", ledger, Progress())(failure(7))

    at = state((await ledger.get(KEY)).record)
    assert (at.word, at.stage, at.reason.code) == ("failed", "embed", "poison")
    assert event.subject == "documents.failed.g.docs"


async def test_a_failure_before_the_ledger_knew_the_document_has_a_state_too():
    ledger = MemoryLedger()

    await RecordFailure("g", ledger, Progress())(failure(7))

    record = (await ledger.get(KEY)).record
    assert state(record).word == "failed"
    assert state(record, newest=8).word == "queued"


async def test_an_overtaken_or_settled_revision_did_not_fail():
    ledger = MemoryLedger()
    await ledger.update(KEY, pending(9), expect=0)

    assert await RecordFailure("g", ledger, Progress())(failure(7)) == []

    other = MemoryLedger()
    await other.update(KEY, settle(pending(7), now=0.0), expect=0)
    assert await RecordFailure("g", other, Progress())(failure(7)) == []


async def test_a_newer_revision_ends_the_failure():
    ledger = MemoryLedger()
    await ledger.update(KEY, pending(7), expect=0)
    await RecordFailure("g", ledger, Progress())(failure(7))
    entry = await ledger.get(KEY)

    after = revise(
        entry.record, Revision(8, "removed", (), 0.0), source="docs", path="a.md", now=0.0
    )

    assert after.failed is None
