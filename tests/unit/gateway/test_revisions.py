"""The known revisions of a document, and what the newest does to its chunks."""

import asyncio
from datetime import UTC, datetime
from unittest.mock import AsyncMock

import pytest
from gateway_world import NOW
from memory_results import MemoryResults

from services.cli.commands.show import diff_lines, history_lines
from services.cli.terminal import Terminal
from services.gateway.documents import revisions
from services.gateway.models import DiffRequest, HistoryRequest
from services.gateway.problems import Problem
from shared.domain.errors import BusUnavailable
from shared.domain.events import (
    Batch,
    Document,
    DocumentFailed,
    DocumentIndexed,
    DocumentNotTaken,
    DocumentRemoved,
)
from shared.domain.events.results import ChunkCounts
from shared.domain.ids import doc_key
from shared.domain.ordering import Reason

AT = datetime.fromtimestamp(NOW, UTC)
PLAIN = Terminal(width=100, color=False)


@pytest.fixture
def results(index):
    index.queries.results = made = MemoryResults()
    return made


def outcome(kind, path, revision, source="docs", **told):
    key = doc_key(source, path)
    return kind(
        document=Document(source=source, path=path, doc_key=key, revision=revision, changed_at=AT),
        batch=Batch(id="b", count=1, source=source, started_at=AT),
        generation="gtest",
        **told,
    )


def indexed(path, revision, source="docs", **counts):
    return outcome(
        DocumentIndexed,
        path,
        revision,
        source,
        indexed_at=AT,
        freshness_s=0.5,
        vector_count=1,
        chunks=ChunkCounts(**counts),
    )


async def history(index, name="docs/a.md"):
    return await index.queries.history(HistoryRequest(name=name))


async def diff(index, name="docs/a.md", **fields):
    return await index.queries.diff(DiffRequest(name=name, **fields))


async def test_revisions_of_ledger_log_and_events_are_told_once_newest_first(index, results):
    _, served = await index.put("a.md", ["one", "two"])
    _, pending = await index.begin("a.md", ["one", "three"])
    queued = await index.change("a.md")
    results.put(indexed("a.md", 1, total=3, inserted=3, encoded=2) if served != 1 else b"odd")
    results.put(indexed("b.md", 2))
    results.put(indexed("a.md", served, total=9))  # the ledger knows it better
    results.put(b"no event")
    results.put(outcome(DocumentNotTaken, "a.md", 10**6, code="empty", reason="no text"))
    results.put(outcome(DocumentFailed, "a.md", 10**6 + 1, stage="embed", code="x", reason="y"))
    results.put(outcome(DocumentRemoved, "a.md", 10**6 + 2, removed_at=AT))
    results.put(indexed("a.md", 10**6 + 3, source="wiki"))

    answer = await history(index)

    told = [(one.sequence, one.outcome) for one in answer.revisions]
    assert told[:3] == [(10**6 + 2, "removed"), (10**6 + 1, "failed"), (10**6, "refused")]
    assert told[3:6] == [(queued, "queued"), (pending, "working"), (served, "indexed")]
    by = {one.sequence: one for one in answer.revisions}
    assert (by[served].chunks, by[served].inserted) == (2, 2)
    assert by[10**6].reason.code == "empty"
    assert by[pending].started_at is not None
    assert answer.whole


async def test_a_failed_revision_says_why(index, results):
    await index.put("a.md", ["one"])
    _, failed = await index.begin("a.md", ["two"])
    await index.fail("a.md")

    first = (await history(index)).revisions[0]

    assert (first.sequence, first.outcome, first.reason.code) == (failed, "failed", "exhausted")


async def test_only_the_newest_outcomes_are_looked_through_and_that_is_told(
    index, results, monkeypatch
):
    monkeypatch.setattr(revisions, "LOOKED_BACK", 3)
    _, served = await index.put("a.md", ["one"])
    results.put(indexed("a.md", served + 1))
    for n in range(5):
        results.put(indexed("b.md", n + 1))

    answer = await history(index)
    results.lose(3)
    all_there_is = await history(index)

    assert [one.sequence for one in answer.revisions] == [served]
    assert (answer.whole, all_there_is.whole) == (False, True)
    assert results.asked <= 2 * 4


async def test_slices_are_read_at_once_newest_first_and_miss_and_repeat_nothing(
    index, results, monkeypatch
):
    monkeypatch.setattr(revisions, "SLICE", 3)
    monkeypatch.setattr(revisions, "AT_ONCE", 2)
    monkeypatch.setattr(revisions, "LOOKED_FOR_S", 5.0)
    pair, first = asyncio.Barrier(2), []
    read_one = results.next

    async def in_pairs(after, source=""):
        if len(first) < 2:
            first.append(after)
            await pair.wait()  # one reader alone would wait here until time is over
        return await read_one(after, source)

    monkeypatch.setattr(results, "next", in_pairs)
    for n in range(10):
        results.put(indexed("a.md", n + 1) if n % 2 else indexed("a.md", n + 1, source="wiki"))

    events, whole = await revisions.outcomes(results, "docs", doc_key("docs", "a.md"))

    assert ([one.document.revision for one in events], whole) == ([2, 4, 6, 8, 10], True)
    assert first == [7, 4]


async def test_what_was_found_until_time_is_over_is_told_and_that_it_is_not_all(
    results, monkeypatch
):
    monkeypatch.setattr(revisions, "SLICE", 2)
    monkeypatch.setattr(revisions, "AT_ONCE", 1)
    monkeypatch.setattr(revisions, "LOOKED_FOR_S", 0.01)
    for n in range(6):
        results.put(indexed("a.md", n + 1))
    read_one = results.next

    async def slow(after, source=""):
        if after < 4:
            await asyncio.Event().wait()
        return await read_one(after, source)

    monkeypatch.setattr(results, "next", slow)
    events, whole = await revisions.outcomes(results, "docs", doc_key("docs", "a.md"))

    assert ([one.document.revision for one in events], whole) == ([5, 6], False)


async def test_a_bus_that_goes_away_meanwhile_is_told(results):
    results.put(indexed("a.md", 1))
    results.bounds, results.away = AsyncMock(return_value=(1, 1)), True

    with pytest.raises(BusUnavailable):
        await revisions.outcomes(results, "docs", doc_key("docs", "a.md"))


async def test_without_a_bus_the_ledger_alone_is_told(index):
    await index.put("a.md", ["one"])

    answer = await history(index)

    assert ([one.outcome for one in answer.revisions], answer.whole) == (["indexed"], False)


async def test_while_a_revision_is_made_both_sides_are_known(index):
    _, served = await index.put("a.md", ["one", "two", "three"])
    _, pending = await index.begin("a.md", ["one", "new", "three"])

    answer = await diff(index)

    assert (answer.before, answer.revision, answer.pending) == (served, pending, True)
    assert (answer.kept, answer.added, answer.removed) == (2, 1, 1)
    assert [(one.n, one.text) for one in answer.added_chunks] == [(2, "new")]
    assert [(one.n, one.text) for one in answer.removed_chunks] == [(2, "two")]
    assert answer.removed_known


async def test_a_chunk_that_is_not_written_yet_has_no_text(index):
    await index.put("a.md", ["one"])
    key, _ = await index.begin("a.md", ["one", "new"])
    record = (await index.ledger.get(key)).record
    await index.store.delete([row.id(key) for row in record.pending.todo])

    (chunk,) = (await diff(index)).added_chunks

    assert (chunk.n, chunk.text) == (2, None)


async def test_of_a_searchable_revision_what_it_added_is_known_and_the_number_of_what_went(index):
    await index.put("a.md", ["one", "two", "three"])
    _, served = await index.put("a.md", ["one", "new"])

    answer = await diff(index)

    assert (answer.before, answer.revision, answer.pending) == (None, served, False)
    assert (answer.kept, answer.added, answer.removed) == (1, 1, 2)
    assert [one.text for one in answer.added_chunks] == ["new"]
    assert (answer.removed_chunks, answer.removed_known) == ((), False)


async def test_lists_are_limited_and_counts_are_not(index):
    await index.put("a.md", [f"old {n}" for n in range(8)])
    await index.begin("a.md", [f"new {n}" for n in range(9)])

    answer = await diff(index, limit=2)

    assert (answer.added, answer.removed) == (9, 8)
    assert [one.text for one in answer.added_chunks] == ["new 0", "new 1"]
    assert [one.text for one in answer.removed_chunks] == ["old 0", "old 1"]


async def test_a_deletion_takes_all_out_and_a_refusal_nothing(index):
    await index.put("a.md", ["one", "two"])
    await index.begin("a.md", [])
    await index.put("b.md", ["one"])
    await index.put("b.md", [], outcome="refused", reason=Reason("empty", "no text"))

    gone, refused = await diff(index), await diff(index, "docs/b.md")

    assert (gone.kept, gone.removed, len(gone.removed_chunks)) == (0, 2, 2)
    assert (refused.kept, refused.added, refused.removed) == (1, 0, 0)


async def test_a_document_that_is_only_queued_has_no_difference_yet(index):
    await index.change("a.md")

    answer = await diff(index)

    assert (answer.revision, answer.kept, answer.added, answer.removed) == (0, 0, 0, 0)
    with pytest.raises(Problem, match="no document"):
        await diff(index, "docs/none.md")


async def test_both_are_shown_in_lines(index, results):
    await index.put("a.md", ["one", "two"])
    await index.begin("a.md", ["one", "\x1b[31mnew"])

    told = (await history(index)).model_dump(mode="json")
    listed = history_lines(told, PLAIN, now=NOW)
    shown = diff_lines((await diff(index)).model_dump(mode="json"), PLAIN)

    assert ("working" in listed[2], "indexed" in listed[3]) == (True, True)
    assert "7 days" in listed[-1]
    assert shown[1].endswith("is being made: 1 kept, 1 added, 1 removed")
    assert [line[:1] for line in shown[2:]] == ["-", "+"]
    assert "\x1b" not in "".join(shown)
