from dataclasses import replace

import pytest
from gateway_world import NOW
from hypothesis import given
from hypothesis import strategies as st
from ledger_reading import index_of

from services.cli.text.status import WORDS
from services.gateway.models import STATES, SourceView
from services.gateway.status.status import (
    EMPTY,
    Observation,
    StageSeen,
    freshness,
    percentile,
    status,
)
from shared.domain.ordering import Failed, Reason, Revision, RowRef, revise, settle
from shared.observe.progress import SourceHealth

STAGES = (
    StageSeen("accept", 0, 0, "submissions", 5),
    StageSeen("embedder", 2, 16, "parts", 100, oldest_at=NOW - 1.5),
)


def record(path="a.md", *, seq=1, outcome="indexed", settled=True, keys=("a" * 26,)):
    rows = keys if outcome == "indexed" else ()
    wanted = Revision(seq, outcome, rows, changed_at=NOW - 2, reason=Reason("corrupt", "x"))
    begun = revise(None, wanted, source="docs", path=path, now=NOW - 1)
    return settle(begun, now=NOW - 0.5) if settled else begun


async def test_an_idle_instance_is_in_step_up_to_the_look(index):
    await index.put("a.md", ["one", "two"])

    answer = await index.queries.status()

    assert answer.in_step
    assert answer.pending_documents == 0
    assert answer.watermark.timestamp() == NOW + 10
    assert answer.documents["searchable"] == 1
    assert answer.chunks == 2
    assert answer.freshness_p50_s == 0.5


async def test_a_pending_document_holds_the_watermark_back(index):
    await index.put("a.md", ["one"])
    await index.begin("a.md", ["two"])

    answer = await index.queries.status()

    assert not answer.in_step
    assert answer.pending_documents == 1
    assert answer.oldest_pending_s == 10
    assert answer.watermark.timestamp() == NOW
    assert answer.documents["stale"] == 1


@pytest.mark.parametrize("name", ["listed", "held", "stages"])
async def test_unlisted_folders_holds_and_busy_stages_are_not_in_step(index, name):
    value = {"listed": False, "held": 1, "stages": [StageSeen("indexer", 1, 0)]}[name]
    setattr(index, name, value)

    answer = await index.queries.status()

    assert not answer.in_step
    assert (answer.watermark is None) == (name == "listed")


def test_the_validator_s_queue_does_not_hold_anything_back():
    seen = Observation(NOW, (StageSeen("validator", 9, 1, "results"),))

    assert status(EMPTY, seen).in_step


def test_words_chunks_and_sources_are_counted():
    failed = replace(
        record("f.md", settled=False), failed=Failed(1, "embed", Reason("model_failed", "x"))
    )
    records = [
        record(),
        record("r.md", outcome="refused"),
        record("d.md", outcome="removed"),
        record("w.md", settled=False),
        failed,
    ]

    board = index_of(*records).board(NOW)
    answer = status(board, Observation(NOW, STAGES), sources=[SourceView(name="x", kind="push")])

    assert answer.documents["searchable"] == 1
    assert answer.documents["refused"] == 1
    assert answer.documents["removed"] == 1
    assert answer.documents["working"] == 1
    assert answer.documents["failed"] == 1
    assert answer.chunks == 1
    assert [(s.name, s.documents) for s in answer.sources] == [("docs", 4), ("x", 0)]


def test_the_table_counts_states_stale_documents_and_holds_and_promises_nothing_else():
    answer = status(EMPTY, Observation(NOW))

    assert set(answer.documents) == {*STATES, "stale", "held", "unreadable"}
    assert {word for word, _ in WORDS} <= set(answer.documents)


def test_a_failed_document_is_not_pending():
    failed = replace(
        record("f.md", settled=False), failed=Failed(1, "embed", Reason("model_failed", "x"))
    )

    behind = freshness(index_of(failed).board(NOW), Observation(NOW))

    assert behind.pending_documents == 0
    assert behind.watermark.timestamp() == NOW


def test_stages_have_rates_from_two_looks_and_lag_from_the_oldest_message():
    before = Observation(NOW - 2, STAGES)
    later = tuple(replace(s, done=s.done + 50) for s in STAGES)

    rows = status(EMPTY, Observation(NOW, later), before).stages

    assert [(r.stage, r.per_second, r.lag_s) for r in rows] == [
        ("accept", 25.0, None),
        ("embedder", 25.0, 1.5),
    ]
    assert status(EMPTY, Observation(NOW, later)).stages[0].per_second is None


def test_only_the_last_hour_counts_for_freshness():
    old = record()
    old = replace(old, settled=replace(old.settled, settled_at=NOW - 7200, changed_at=NOW - 9999))

    assert index_of(old, record()).board(NOW).freshness_s == (1.5,)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_with_enough_below_it(values, share):
    values = sorted(round(value, 3) for value in values)

    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_a_percentile_of_nothing_is_nothing():
    assert percentile([], 0.5) is None


def test_row_refs_of_the_records_are_as_the_ledger_has_them():
    assert record().settled.rows == (RowRef("a" * 26, 1),)


def test_what_is_wrong_with_a_source_is_told_with_it():
    wrong, left = {f"{n}.md": "permission denied" for n in range(9)}, {".png": 3}
    seen = Observation(NOW, STAGES, sources={"x": SourceHealth("/x: gone", wrong, 0, left)})
    sources = [SourceView(name="x", kind="folder"), SourceView(name="y", kind="folder")]

    x, y = status(index_of().board(NOW), seen, sources=sources).sources

    assert (x.error, x.problem_count, len(x.problems)) == ("/x: gone", 9, 5)
    assert (y.error, y.problem_count, y.problems) == ("", 0, {})
    assert (x.left_out, y.left_out) == ({".png": 3}, {})
