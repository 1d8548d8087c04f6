"""What became of the documents of a batch."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.validator.batches.outcomes import (
    LEAST_WATCH_S,
    Listed,
    Rest,
    count,
    is_given_up,
    outcome_of,
    summarise,
)
from shared.domain.ordering import Failed, Pending, Reason, Record, RowRef, Settled

FAILED = Failed(5, "embed", Reason("x", "y"))


def settled(seq=5, outcome="indexed", rows=2, **fields) -> Settled:
    refs = tuple(RowRef(f"{n}" * 26, seq) for n in range(rows))
    return Settled(seq, outcome, refs, changed_at=100.0, settled_at=101.5, **fields)


@pytest.mark.parametrize(
    ("record", "seq", "word", "exact"),
    [
        (Record("docs", "a", settled(5)), 5, "indexed", True),
        (Record("docs", "a", settled(7, "removed")), 5, "removed", False),
        (Record("docs", "a", settled(5, "refused")), 5, "refused", True),
        (Record("docs", "a", settled(3), failed=FAILED), 5, None, True),
        (Record("docs", "a", settled(5), failed=replace(FAILED, seq=4)), 5, "indexed", True),
    ],
)  # fmt: skip
def test_an_outcome_is_that_of_the_revision_or_of_a_newer_one(record, seq, word, exact):
    found = outcome_of(record, seq)

    assert found is not None
    assert (found.outcome, found.exact) == (word, exact)


def test_what_is_older_or_on_its_way_has_no_outcome():
    pending = Pending(5, "indexed", (), frozenset(), 0, 0)

    assert outcome_of(None, 5) is None
    assert outcome_of(Record("docs", "a", settled(4)), 5) is None
    assert outcome_of(Record("docs", "a", settled(4), pending), 5) is None


def test_a_summary_counts_documents_by_outcome_and_chunks_of_the_batch_itself():
    mine = outcome_of(Record("d", "a", settled(5, rows=4, inserted=3, encoded=2, removed=1)), 5)
    newer = outcome_of(Record("d", "b", settled(9, "removed", rows=0, inserted=8)), 5)
    assert mine is not None
    assert newer is not None
    summary = summarise([mine, newer], unchanged=7, declined=2)

    assert summary.model_dump() == {
        "indexed": 1, "unchanged": 7, "removed": 1, "refused": 2, "failed": 0,
        "chunks": {"total": 4, "inserted": 3, "kept": 1, "removed": 1, "encoded": 2},
    }  # fmt: skip


# -- outcomes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (settled(rows=3, inserted=3), "inserted"),
        (settled(rows=3, inserted=3, removed=2), "updated"),  # every row written anew
        (settled(rows=3, inserted=1), "updated"),
        (settled(rows=3, removed=1), "updated"),
        (settled(rows=3), "unchanged"),
        (settled(outcome="removed", rows=0, removed=3), "removed"),
        (settled(outcome="refused", rows=3), "refused"),
    ],
)
def test_a_document_counts_as_what_its_batch_meant_for_it(record, kind):
    found = outcome_of(Record("docs", "a.md", record), 5)

    assert found is not None
    assert found.kind == kind
    assert found.document == "docs/a.md"


def test_a_failed_document_says_where_and_why():
    found = outcome_of(Record("docs", "a.md", failed=FAILED), 5)

    assert found is not None
    assert (found.kind, found.stage, found.reason) == ("failed", "embed", FAILED.reason)


KINDS = {
    "inserted": settled(rows=2, inserted=2),
    "updated": settled(rows=2, inserted=1),
    "unchanged": settled(rows=2),
    "removed": settled(outcome="removed", rows=0),
    "refused": settled(outcome="refused", rows=0),
    "failed": None,
}


@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), max_size=30),
    unchanged=st.integers(0, 9),
    declined=st.integers(0, 9),
    moved=st.integers(0, 9),
    waiting=st.integers(0, 9),
    late=st.integers(0, 9),
)
def test_every_document_is_counted_once_and_a_move_is_two_changes(
    kinds, unchanged, declined, moved, waiting, late
):
    records = [Record("d", "p", KINDS[k], failed=None if KINDS[k] else FAILED) for k in kinds]
    outcomes = [outcome_of(record, 5) for record in records]
    members = len(kinds) + declined + waiting
    listed = Listed(
        count=members + unchanged + late,
        members=members,
        unchanged=unchanged,
        declined=declined,
        moved=moved,
        waiting=waiting,
        whole=False,
    )
    found = count(outcomes, listed)

    words = found.model_dump(exclude={"superseded"})
    assert min(words.values()) >= 0
    assert sum(words.values()) + found.moved == listed.count
    assert found.moved == min(moved, kinds.count("inserted"), kinds.count("removed"))
    assert found.missing == late
    assert found.failed == kinds.count("failed")


def test_a_batch_that_was_announced_whole_misses_nothing():
    assert Listed(count=9, members=2, whole=True).missing == 0


# -- rest ------------------------------------------------------------------------------------------

HOUR = 3600.0


@pytest.mark.parametrize(
    ("rest", "timeout_s", "given_up"),
    [
        # its publisher is silent, and what came has ended
        (Rest(HOUR, LEAST_WATCH_S, 0.0, False), HOUR, True),
        (Rest(HOUR - 1, LEAST_WATCH_S, HOUR, False), HOUR, False),
        (Rest(10 * HOUR, LEAST_WATCH_S - 1, HOUR, False), HOUR, False),  # just started
        (Rest(-HOUR, HOUR, HOUR, False), HOUR, True),  # the clock was set back
        # its documents wait: while anything moves, they are only waiting for their turn
        (Rest(10 * HOUR, 10 * HOUR, HOUR - 1, True), HOUR, False),
        (Rest(10 * HOUR, HOUR, HOUR, True), HOUR, True),
        (Rest(10 * HOUR, HOUR - 1, 2 * HOUR, True), HOUR, False),
        # all that came was refused
        (Rest(0.0, LEAST_WATCH_S, 0.0, False, accepted=False), HOUR, True),
        (Rest(HOUR, LEAST_WATCH_S - 1, HOUR, False, accepted=False), HOUR, False),
        # a short limit needs no long watch
        (Rest(2.0, 2.0, 2.0, False), 2.0, True),
        (Rest(9.0, 1.0, 9.0, False), 2.0, False),
    ],
)
def test_a_batch_is_given_up_after_a_long_rest_only(rest, timeout_s, given_up):
    assert is_given_up(rest, timeout_s) is given_up


@given(
    noted=st.floats(-1e4, 1e4), watched=st.floats(0, 1e4), anywhere=st.floats(0, 1e4),
    waiting=st.booleans(), more=st.floats(0, 1e4),
)  # fmt: skip
def test_what_is_given_up_stays_given_up(noted, watched, anywhere, waiting, more):
    now = Rest(noted, watched, anywhere, waiting)
    later = replace(now, noted_s=noted + more, watched_s=watched + more, anywhere_s=anywhere + more)

    assert is_given_up(later, 100.0) or not is_given_up(now, 100.0)
