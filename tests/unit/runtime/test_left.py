"""What an earlier process has left undone, as the progress of the next one counts it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.host.up import Left
from shared.domain.ordering import Failed, Reason, Revision, fail, revise, settle, written

KEYS = ("k1", "k2", "k3")


def planned(seq, record=None, outcome="indexed"):
    keys = KEYS if outcome == "indexed" else ()
    return revise(record, Revision(seq, outcome, keys, 0.0), source="s", path="p", now=0)


def settled(seq, outcome="indexed"):
    return settle(planned(seq, outcome=outcome), now=0)


def given_up(seq):
    return fail(planned(seq), Failed(seq, "embed", Reason("c", "t")), source="s", path="p")


def left(newest, records):
    found = Left()
    for key, seq in newest.items():
        found.change(key, seq)
    for key, record in records.items():
        found.record(key, record)
    return found.documents, found.rows


def test_what_has_not_reached_its_newest_revision_is_left():
    half = planned(5)
    half = written(half, half.pending.rows[:1], 1)

    assert left({"a": 5}, {}) == (1, 0)
    assert left({"a": 5}, {"a": planned(5)}) == (1, 3)
    assert left({"a": 5}, {"a": half}) == (1, 2)
    assert left({"a": 6}, {"a": settled(5)}) == (1, 0)
    assert left({"a": 6}, {"a": planned(5)}) == (1, 0)  # it will be planned anew
    assert left({"a": 6}, {"a": planned(6, settled(5))}) == (1, 0)  # it carries every row


def test_what_has_ended_is_not_left():
    for outcome in ("indexed", "removed", "refused"):
        assert left({"a": 5}, {"a": settled(5, outcome)}) == (0, 0)
    assert left({"a": 5}, {"a": given_up(5)}) == (0, 0)
    assert left({}, {"a": settled(5)}) == (0, 0)


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_documents_are_counted_one_by_one(some):
    newest = {key: seq for key, (seq, _) in some.items()}
    records = {key: replace(settled(known), path=key) for key, (_, known) in some.items()}

    assert left(newest, records) == (sum(known < seq for seq, known in some.values()), 0)
