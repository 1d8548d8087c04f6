"""Activity and score of a document belong to a revision, and change without its rows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.ordering import (
    Failed,
    Pending,
    Reason,
    Record,
    Revision,
    RowRef,
    Settled,
    is_over,
    keep,
    revise,
    served_rows,
    settle,
    state,
    written,
)

KEYS = ("a" * 26, "b" * 26, "c" * 26)

revisions = st.lists(
    st.builds(
        Revision,
        seq=st.integers(1, 20),
        outcome=st.sampled_from(["indexed", "removed", "refused"]),
        keys=st.sampled_from([(), KEYS[:1], KEYS[:2], KEYS]),
        changed_at=st.just(1.0),
        is_active=st.booleans(),
        static_score=st.none() | st.floats(-9, 9),
    ),
    unique_by=lambda revision: revision.seq,
    min_size=1,
    max_size=8,
)


def planned(record, revision):
    """As the enricher does with a delivery."""
    if is_over(record, revision.seq):
        return record
    return revise(record, revision, source="docs", path="a.md", now=2.0)


def settled(record):
    assert record.pending is not None
    return settle(written(record, record.pending.rows, 0), now=3.0)


def told(version):
    return version.seq, version.is_active, version.static_score


@given(revisions, st.lists(st.booleans(), min_size=8, max_size=8))
def test_an_older_revision_never_overwrites_activity_and_score_of_a_newer_one(arriving, settling):
    record, newest, shown = None, None, None
    for revision, settles in zip(arriving, settling, strict=False):
        newest = revision if newest is None or revision.seq > newest.seq else newest
        record = planned(record, revision)
        if settles and record.pending:
            record, shown = settled(record), newest
        assert told(record.pending or record.settled) == told(newest)
        if shown is not None:
            assert told(record.settled) == told(shown)


@given(st.booleans(), st.none() | st.floats(-9, 9))
def test_a_change_of_activity_and_score_alone_has_no_row_to_write(is_active, score):
    first = Revision(1, "indexed", KEYS, 1.0, is_active=not is_active)
    before = settled(planned(None, first))
    again = replace(first, seq=2, is_active=is_active, static_score=score)

    after = planned(before, again)

    assert after.pending.todo == frozenset()
    assert after.pending.rows == before.settled.rows
    assert settled(after).settled.effect == "unchanged"


def test_rows_of_an_inactive_document_are_kept_and_not_served():
    record = settled(planned(None, Revision(1, "indexed", KEYS, 1.0, is_active=False)))

    assert served_rows(record) == ()
    assert keep(record) == frozenset(record.settled.rows)
    assert state(record).word == "inactive"


def test_the_last_good_version_of_a_document_that_was_refused_as_inactive_is_not_served():
    good = settled(planned(None, Revision(1, "indexed", KEYS, 1.0)))

    record = settled(planned(good, Revision(2, "refused", (), 1.0, is_active=False)))

    assert record.settled.rows == good.settled.rows
    assert served_rows(record) == ()
    assert (state(record).word, state(record).stale) == ("refused", False)


ROWS = (RowRef(KEYS[0], 1),)
ACTIVE = Settled(1, "indexed", ROWS, 1.0, 2.0)
INACTIVE = replace(ACTIVE, is_active=False)


def test_an_active_document_is_stale_while_it_becomes_inactive():
    pending = Pending(2, "indexed", ROWS, frozenset(), 1.0, 2.0, is_active=False)

    assert state(Record("docs", "a.md", ACTIVE, pending)).stale
    assert not state(Record("docs", "a.md", ACTIVE, replace(pending, is_active=True))).stale


def test_an_inactive_document_serves_nothing_that_could_be_stale():
    pending = Pending(2, "indexed", ROWS, frozenset(), 1.0, 2.0)
    failed = Failed(2, "index", Reason("exhausted", "the store is down"))

    assert not state(Record("docs", "a.md", INACTIVE, pending)).stale
    assert not state(Record("docs", "a.md", INACTIVE, pending, failed)).stale
    assert not state(Record("docs", "a.md", INACTIVE), newest=3).stale
