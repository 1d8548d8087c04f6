"""What is published for a pending revision, and which rows a revision carries."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_world import chunk_key

from services.enricher.parts import KeyedChunk, Prepared, cut, is_same_plan, parts, revision_of
from shared.domain.errors import DocumentRefused
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    EmbeddingsReady,
    Inline,
    PartRow,
)
from shared.domain.ids import doc_key
from shared.domain.ordering import Revision, RowRef, base, keep, revise, settle, written
from shared.domain.topology import MAX_PART_BYTES, MAX_PART_ROWS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENT = Document(source="docs", path="a.md", doc_key=doc_key("docs", "a.md"), changed_at=NOW)
BATCH = Batch(id="b", count=1, source="docs", started_at=NOW)

numbers = st.lists(st.integers(0, 9), max_size=8, unique=True)


def revision(seq, chunks, **more):
    return Revision(seq, "indexed", tuple(map(chunk_key, chunks)), 0.0, **more)


def plan(record, what):
    return revise(record, what, source="docs", path="a.md", now=0.0)


def settled(chunks, seq=1):
    record = plan(None, revision(seq, chunks))
    return settle(written(record, record.pending.todo, 0), now=0.0)


@given(old=numbers, new=numbers)
def test_rows_that_stay_keep_their_ids_and_the_rest_is_to_be_written(old, new):
    before = settled(old)

    pending = plan(before, revision(2, new)).pending

    assert [row.chunk_key for row in pending.rows] == [chunk_key(n) for n in new]
    assert {row for row in pending.rows if row.born == 1} == {
        RowRef(chunk_key(n), 1) for n in set(old) & set(new)
    }
    assert pending.todo == {row for row in pending.rows if row.born == 2}
    assert pending.inserted == len(pending.todo)


@given(old=numbers, middle=numbers, wrote=st.integers(0, 8), new=numbers)
def test_a_revision_that_overtakes_carries_only_what_was_surely_written(old, middle, wrote, new):
    record = plan(settled(old), revision(2, middle))
    done = sorted(record.pending.todo)[:wrote]
    record = written(record, done, 0)

    pending = plan(record, revision(3, new)).pending

    assert set(pending.rows) - pending.todo <= base(record) <= keep(record)


@given(chunks=numbers)
def test_a_repair_writes_every_row_anew(chunks):
    pending = plan(settled(chunks), revision(2, chunks, repair=True)).pending

    assert all(row.born == 2 for row in pending.rows)
    assert pending.todo == set(pending.rows)


@given(chunks=numbers)
def test_there_and_back_makes_new_rows(chunks):
    away = plan(settled(chunks), revision(2, []))
    gone = settle(away, now=0.0)

    pending = plan(gone, revision(3, chunks)).pending

    assert all(row.born == 3 for row in pending.rows)


@given(chunks=numbers)
def test_a_refusal_keeps_the_settled_rows_and_writes_nothing(chunks):
    before = settled(chunks)

    pending = plan(before, Revision(2, "refused", (), 0.0)).pending

    assert pending.rows == before.settled.rows
    assert not pending.todo


def changed(op="upserted", **more):
    content = Inline(data="x") if op == "upserted" else None
    return DocumentChanged(document=DOCUMENT, batch=BATCH, op=op, content=content, **more)


def test_a_repair_of_another_generation_is_none():
    assert revision_of(changed(repair="g1"), Prepared("", {}, ()), "g1").repair
    assert not revision_of(changed(repair="g2"), Prepared("", {}, ()), "g1").repair


def test_a_deletion_and_a_refusal_are_revisions():
    assert revision_of(changed("deleted"), None, "g").outcome == "removed"
    refused = revision_of(changed(), DocumentRefused("empty", "it is empty"), "g")
    assert (refused.outcome, refused.reason.code) == ("refused", "empty")


def test_chunks_made_otherwise_the_second_time_are_another_plan():
    first = plan(None, revision(2, [1, 2])).pending

    assert is_same_plan(first, revision(2, [1, 2]))
    assert not is_same_plan(first, revision(2, [2, 1]))
    assert not is_same_plan(first, Revision(2, "refused", (), 0.0))


def test_nothing_to_write_is_one_empty_part_that_passes_by_the_embedder():
    record = plan(settled([1]), revision(2, [1]))
    prepared = Prepared("", {}, (KeyedChunk(chunk_key(1), "one"),))

    (event,) = parts(DOCUMENT, BATCH, "g", record.pending, prepared, dimensions=8)

    assert isinstance(event, EmbeddingsReady)
    assert event.rows == ()


def test_parts_hold_what_is_to_be_written_and_nothing_else():
    record = plan(settled([1]), revision(2, [1, 2, 3]))
    prepared = Prepared(
        "Title", {"a": 1}, tuple(KeyedChunk(chunk_key(n), f"text {n}", ("H",)) for n in (1, 2, 3))
    )

    (event,) = parts(DOCUMENT, BATCH, "g", record.pending, prepared, dimensions=8)

    assert isinstance(event, DocumentEnriched)
    assert [row.text for row in event.rows] == ["text 2", "text 3"]
    assert event.rows[0].embedded_text == "Title > H\ntext 2"
    assert {row.id for row in event.rows} == {
        ref.id(DOCUMENT.doc_key) for ref in record.pending.todo
    }


@given(sizes=st.lists(st.integers(0, 60_000), max_size=150))
def test_parts_are_small_enough_and_lose_nothing(sizes):
    rows = [PartRow(id=str(n), chunk_key="k", born=1, text="x" * s) for n, s in enumerate(sizes)]

    cuts = list(cut(rows, vector_bytes=2048))

    assert [row for some in cuts for row in some] == rows
    assert all(len(some) <= MAX_PART_ROWS for some in cuts)
    assert all(len(some) == 1 or sum(len(r.text) for r in some) <= MAX_PART_BYTES for some in cuts)


@pytest.mark.parametrize(
    "prepared", [Prepared("", {}, ()), DocumentRefused("empty", "it is empty")]
)
def test_a_revision_has_activity_and_score_of_its_change(prepared):
    event = changed().model_copy(update={"is_active": False, "static_score": 0.5})

    revision = revision_of(event, prepared, "g")

    assert (revision.is_active, revision.static_score) == (False, 0.5)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_finite_number_is_none(score):
    event = changed().model_copy(update={"static_score": score})

    assert revision_of(event, Prepared("", {}, ()), "g").static_score is None
