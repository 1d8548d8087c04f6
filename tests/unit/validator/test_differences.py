"""What counts as a difference: pure decisions over records, holdings and digests."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_world import chunk_key

from services.validator.sweep.differences import (
    Census,
    Difference,
    confirm,
    groups,
    held,
    is_failed,
    judge,
    unrepaired,
)
from shared.domain.ids import bucket_of, doc_key, mark_of
from shared.domain.ordering import Failed, Reason, Record, Revision, revise, settle, written
from shared.ports import Digest, Holding

KEY = doc_key("docs", "a.md")
KEYS = (chunk_key(1), chunk_key(2))


def planned(seq=10, keys=KEYS, before=None, now=0.0):
    return revise(before, Revision(seq, "indexed", keys, 0.0), source="docs", path="a.md", now=now)


def settled(seq=10, keys=KEYS, before=None):
    record = planned(seq, keys, before)
    return settle(written(record, record.pending.todo, 0), now=0.0)


def ids(record):
    return frozenset(row.id(KEY) for row in record.settled.rows)


def holding(of, damaged=()):
    return Holding(KEY, "docs", "a.md", frozenset(of), frozenset(damaged))


def census(record=None, newest=0, taken=10**9, stuck_before=0.0):
    made = Census(taken=taken, stuck_before=stuck_before)
    if newest:
        made.change("docs", KEY, newest)
    if record:
        made.record(KEY, record)
    return made


def digest_of(of):
    return Digest(len(of), sum(map(mark_of, of)) % 2**64)


def test_a_bucket_that_agrees_is_not_looked_at():
    record = settled()

    assert census(record, 10).suspects({bucket_of(KEY): digest_of(ids(record))}) == []


@pytest.mark.parametrize("broken", ["less", "more", "other", "none", "elsewhere"])
def test_a_bucket_that_differs_in_any_way_is_looked_at(broken):
    record = settled()
    rows = sorted(ids(record))
    theirs = {
        "less": {bucket_of(KEY): digest_of(rows[:1])},
        "more": {bucket_of(KEY): digest_of([*rows, "0" * 8 + rows[0][8:]])},
        "other": {bucket_of(KEY): digest_of(["0" * 8 + rows[0][8:], rows[1]])},
        "none": {},
        "elsewhere": {bucket_of(KEY): digest_of(rows), "zz": digest_of(rows[:1])},
    }[broken]

    assert census(record, 10).suspects(theirs) == [
        "zz" if broken == "elsewhere" else bucket_of(KEY)
    ]


def test_a_bucket_with_something_pending_is_looked_at():
    record = planned(11, (*KEYS, chunk_key(3)), settled())

    assert census(record, 11).suspects({bucket_of(KEY): digest_of(ids(record))}) == [bucket_of(KEY)]


def test_rows_that_are_there_are_no_difference():
    record = settled()

    assert judge(KEY, census(record, 10), record, holding(ids(record))) is None


def test_missing_extra_and_damaged_rows_are_told_apart():
    record = settled()
    first, second = sorted(ids(record))

    found = judge(KEY, census(record, 10), record, holding({first, "extra"}, {first, "extra"}))

    assert (found.missing, found.extra, found.damaged) == ({second}, {"extra"}, {first})
    assert found.repairable
    assert not found.beyond_repair


def test_rows_of_a_pending_revision_may_be_there_or_not():
    record = planned(11, (*KEYS, chunk_key(3)), settled())
    new = next(iter(record.pending.todo)).id(KEY)
    all_known = census(record, 11, stuck_before=-1.0)

    assert judge(KEY, all_known, record, holding(ids(record))) is None
    assert judge(KEY, all_known, record, holding(ids(record) | {new})) is None


def test_a_row_that_is_marked_written_must_be_there():
    record = planned(11, (*KEYS, chunk_key(3)), settled())
    marked = written(record, record.pending.todo, 0)
    new = next(iter(record.pending.todo)).id(KEY)

    found = judge(KEY, census(marked, 11, stuck_before=-1.0), marked, holding(ids(record)))

    assert found.missing == {new}


@pytest.mark.parametrize(("newest", "taken", "lost"), [(10, 99, 0), (12, 99, 12), (12, 11, 0)])
def test_a_change_is_lost_when_the_enricher_is_done_with_it_and_the_ledger_is_not(
    newest, taken, lost
):
    record = settled()
    found = judge(KEY, census(record, newest, taken), record, holding(ids(record)))

    assert (found.lost if found else 0) == lost


def test_a_document_without_a_record_is_lost_and_its_rows_are_not_judged():
    found = judge(KEY, census(newest=12), None, holding({"row"}))

    assert (found.lost, found.extra, found.source) == (12, frozenset(), "docs")


@pytest.mark.parametrize(("started", "stuck"), [(4.0, 11), (6.0, 0)])
def test_a_revision_is_stuck_after_some_time(started, stuck):
    record = planned(11, (*KEYS, chunk_key(3)), settled(), now=started)
    found = judge(KEY, census(record, 11, stuck_before=5.0), record, holding(ids(record)))

    assert (found.stuck if found else 0) == stuck


def failed(record, seq):
    return replace(record, failed=Failed(seq, "embed", Reason("exhausted", "no")))


def test_a_failed_document_is_a_persons_whatever_it_is():
    record = failed(planned(11, (*KEYS, chunk_key(3)), settled()), 11)
    everything = ids(record) | {"extra"}

    assert is_failed(record)
    assert judge(KEY, census(record, 11, stuck_before=9.0), record, holding(everything)) is None


def test_a_failed_document_that_lost_promised_rows_is_reported_only():
    record = failed(planned(11, (*KEYS, chunk_key(3)), settled()), 11)
    found = judge(KEY, census(record, 11), record, holding(()))

    assert found.beyond_repair
    assert not found.repairable


def test_a_change_that_failed_before_it_was_planned_is_a_persons_too():
    record = failed(settled(), 12)

    assert judge(KEY, census(record, 12), record, holding(ids(record))) is None
    assert judge(KEY, census(record, 12), record, holding(ids(record) | {"extra"})) is None


def test_a_newer_change_after_a_failure_is_lost_again():
    record = failed(settled(), 12)

    assert judge(KEY, census(record, 13), record, holding(ids(record))).lost == 13


def test_a_record_whose_failure_was_forgotten_is_tried_again():
    record = Record("docs", "a.md")

    assert judge(KEY, census(record, 12), record, None).lost == 12


def test_two_looks_must_see_the_same():
    one = Difference(KEY, "docs", "a.md", missing=frozenset("ab"), extra=frozenset("x"))
    two = Difference(KEY, "docs", "a.md", missing=frozenset("b"), extra=frozenset("y"))

    assert confirm(one, two) == Difference(KEY, "docs", "a.md", missing=frozenset("b"))
    assert confirm(replace(one, missing=frozenset()), two) is None
    assert confirm(Difference(KEY, "", "", stuck=3), Difference(KEY, "", "", stuck=4)) is None
    assert confirm(Difference(KEY, "", "", lost=3), Difference(KEY, "", "", lost=3)).lost == 3


def unknown(n, source="docs"):
    path = f"{n}.md"
    return Difference(doc_key(source, path), source, path, extra=frozenset("r"), unknown=True)


@pytest.mark.parametrize(
    ("count", "served", "kept"), [(19, 0, 0), (20, 19, 20), (20, 20, 0), (21, 20, 21)]
)
def test_more_than_half_of_the_store_and_at_least_twenty_wait(count, served, kept):
    assert len(held([unknown(n) for n in range(count)], served, ["docs"])) == kept


def test_unknown_documents_of_a_source_that_nobody_listed_wait():
    one, other = unknown(1), unknown(2, "push")

    assert held([one, other], 100, ["docs"]) == [other]


def test_rows_under_a_name_that_cannot_be_ours_need_no_listing():
    foreign = replace(unknown(1), doc_key="a" * 26)

    assert foreign.foreign
    assert replace(unknown(1), source="Not a source").foreign
    assert not unknown(1).foreign
    assert held([foreign], 100, []) == []


@given(st.dictionaries(st.text("ab", min_size=1, max_size=4), st.integers(0, 50)), st.integers(1))
def test_groups_hold_every_bucket_once_and_no_more_rows_than_wanted(rows, most):
    found = list(groups(sorted(rows), rows, most))

    assert [bucket for group in found for bucket in group] == sorted(rows)
    assert all(len(g) == 1 or sum(rows[b] for b in g) <= most for g in found)


def test_a_repair_is_open_until_it_has_settled_or_failed():
    done, newer, bad = settled(12), settled(13), failed(settled(10), 12)
    revisions = dict.fromkeys(("done", "newer", "failed", "old", "none"), 12)
    records = {"done": done, "newer": newer, "failed": bad, "old": settled(11)}

    assert unrepaired(revisions, records) == {"old": 12, "none": 12}
