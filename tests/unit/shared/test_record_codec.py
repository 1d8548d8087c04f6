"""The ledger record as bytes: nothing is lost, it stays small, old values are read for ever."""

import json
import math
from base64 import b32encode
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.codecs.record_codec import from_bytes, read, to_bytes
from shared.domain.ordering import (
    MAX_ROWS,
    Failed,
    Pending,
    Reason,
    Record,
    Revision,
    RowRef,
    Settled,
    newest_seq,
    revise,
    state,
)
from shared.domain.topology import MAX_MESSAGE_BYTES

GOLDEN = Path(__file__).parents[2] / "golden/v1/ledger_record.json"
INACTIVE = GOLDEN.with_name("ledger_record-inactive.json")


def chunk_key(digest):
    return b32encode(digest).decode().rstrip("=").lower()


sequences = st.integers(0, 2**53 - 1)
counts = st.integers(0, 10**6)
times = st.floats(0, 4e9, allow_nan=False)
words = st.text(max_size=30)
reasons = st.none() | st.builds(Reason, words, words)
rows = st.lists(
    st.builds(RowRef, st.binary(min_size=16, max_size=16).map(chunk_key), sequences),
    unique=True,
    max_size=20,
).map(tuple)
scores = st.none() | st.floats(allow_nan=False, allow_infinity=False)
outcomes = st.sampled_from(["indexed", "removed", "refused"])
settled = st.builds(
    Settled,
    seq=sequences,
    outcome=outcomes,
    rows=rows,
    changed_at=times,
    settled_at=times,
    reason=reasons,
    served=sequences,
    inserted=counts,
    removed=counts,
    encoded=counts,
    is_active=st.booleans(),
    static_score=scores,
)


@st.composite
def pendings(draw):
    listed = draw(rows)
    todo = draw(st.sets(st.sampled_from(listed))) if listed else set()
    return Pending(
        seq=draw(sequences),
        outcome=draw(outcomes),
        rows=listed,
        todo=frozenset(todo),
        changed_at=draw(times),
        started_at=draw(times),
        reason=draw(reasons),
        inserted=draw(counts),
        encoded=draw(counts),
        is_active=draw(st.booleans()),
        static_score=draw(scores),
    )


records = st.builds(
    Record,
    source=st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True),
    path=st.text(min_size=1, max_size=50),
    settled=st.none() | settled,
    pending=st.none() | pendings(),
    failed=st.none()
    | st.builds(Failed, sequences, words, st.builds(Reason, words, words), dropped=st.booleans()),
    version=st.none() | st.integers(-(2**63), 2**63),
)


@given(records)
def test_a_record_comes_back_as_it_was_written(record):
    assert from_bytes(to_bytes(record)) == record


@given(records)
def test_equal_records_are_equal_bytes(record):
    assert to_bytes(from_bytes(to_bytes(record))) == to_bytes(record)


ROW, OTHER = RowRef("a" * 26, 7), RowRef("a" * 26, 8)
WHY = Reason("code", "text")
WHOLE = Record(
    "docs",
    "a.md",
    Settled(7, "indexed", (ROW,), 1.0, 2.0),
    Pending(9, "indexed", (OTHER,), frozenset([OTHER]), 1.0, 2.0),
    Failed(9, "embed", WHY),
)
COMMON = {
    "seq": 5,
    "outcome": "refused",
    "rows": (ROW, OTHER),
    "changed_at": 1.5,
    "reason": WHY,
    "inserted": 3,
    "encoded": 4,
    "is_active": False,
    "static_score": 0.5,
}
CHANGES = {
    Settled: COMMON | {"settled_at": 2.5, "served": 6, "removed": 5},
    Pending: COMMON | {"todo": frozenset(), "started_at": 2.5},
    Failed: {"seq": 5, "stage": "index", "reason": Reason("code", "other"), "dropped": True},
    Record: {
        "source": "wiki",
        "path": "b.md",
        "version": 1,
        "settled": None,
        "pending": None,
        "failed": None,
    },
}


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, f.name) for kind in CHANGES for f in fields(kind)]
)
def test_every_field_alone_makes_another_value_and_comes_back(kind, field):
    change = {field: CHANGES[kind][field]}
    if kind is Record:
        changed = replace(WHOLE, **change)
    else:
        place = kind.__name__.lower()
        changed = replace(WHOLE, **{place: replace(getattr(WHOLE, place), **change)})

    assert to_bytes(changed) != to_bytes(WHOLE)
    assert from_bytes(to_bytes(changed)) == changed


@given(records, st.text(min_size=1).filter(lambda name: name not in vars(Record)))
def test_a_field_of_a_newer_writer_is_ignored(record, name):
    raw = json.loads(to_bytes(record))
    known = {"schema", "source", "path", "settled", "pending", "failed", "version"}

    newer = json.dumps(raw | ({} if name in known else {name: 1})).encode()

    assert from_bytes(newer) == record


def test_the_order_of_rows_is_the_order_of_the_document():
    listed = tuple(RowRef(chunk_key(bytes([n] * 16)), 7) for n in (3, 1, 2))
    record = Record("docs", "a.md", Settled(7, "indexed", listed, 1.0, 2.0))

    assert from_bytes(to_bytes(record)).settled.rows == listed


def test_two_versions_of_the_largest_document_fit_a_message():
    listed = [chunk_key(n.to_bytes(16, "big")) for n in range(2 * MAX_ROWS)]
    old = tuple(RowRef(key, 2**52 + n % 999) for n, key in enumerate(listed[:MAX_ROWS]))
    new = tuple(RowRef(key, 2**52 + n % 999) for n, key in enumerate(listed[MAX_ROWS:]))
    record = Record(
        "docs",
        "a" * 1024,
        Settled(2**52, "indexed", old, 1.5, 2.5),
        Pending(2**52 + 1, "indexed", new, frozenset(new[::2]), 1.5, 2.5),
        Failed(2**52 + 1, "embed", Reason("x" * 40, "y" * 200)),
    )

    value = to_bytes(record)

    assert len(value) < MAX_MESSAGE_BYTES - 4096  # headers count, too
    assert from_bytes(value) == record


@pytest.mark.parametrize("value", [b"", b"{}", b'{"source": "docs"}', b"\xff"])
def test_what_is_no_record_is_told_apart(value):
    with pytest.raises((ValueError, KeyError)):
        from_bytes(value)


def test_a_record_written_by_the_first_version_is_read():
    first, second = RowRef("a" * 26, 1793184000000001), RowRef("b" * 24 + "ba", 1793184000000009)

    record = from_bytes(GOLDEN.read_bytes())

    assert record.path == "guide/install.md"
    assert record.version == 7
    assert record.settled == Settled(
        seq=1793184000000001,
        outcome="indexed",
        rows=(first,),
        changed_at=1795262586.25,
        settled_at=1795262587.25,
        served=1793184000000001,
        inserted=1,
        encoded=1,
    )
    assert record.pending == Pending(
        seq=1793184000000009,
        outcome="indexed",
        rows=(second, first),
        todo=frozenset([second]),
        changed_at=1795262600.5,
        started_at=1795262600.75,
        inserted=1,
    )
    assert record.failed == Failed(
        1793184000000009, "embed", Reason("exhausted", "gave up after 5 deliveries")
    )
    assert replace(from_bytes(to_bytes(record)), failed=None) == replace(record, failed=None)


def test_a_record_of_a_version_without_activity_and_score_is_active_and_has_none():
    record = from_bytes(GOLDEN.read_bytes())

    assert (record.settled.is_active, record.settled.static_score) == (True, None)
    assert (record.pending.is_active, record.pending.static_score) == (True, None)


def test_activity_and_score_of_both_revisions_are_read():
    record = from_bytes(INACTIVE.read_bytes())

    assert (record.settled.is_active, record.settled.static_score) == (False, 0.75)
    assert (record.pending.is_active, record.pending.static_score) == (True, 3.0)
    assert state(replace(record, pending=None, failed=None)).word == "inactive"


def test_an_active_document_without_a_score_is_written_as_versions_before_wrote_it():
    assert "is_active" not in to_bytes(WHOLE).decode()
    assert "static_score" not in to_bytes(WHOLE).decode()


@pytest.mark.parametrize("odd", ["0.5", True, [], {}, math.nan, math.inf])
def test_a_record_whose_score_is_no_finite_number_is_none(odd):
    raw = json.loads(INACTIVE.read_text())
    raw["settled"]["static_score"] = odd

    assert read(json.dumps(raw).encode()) is None


WRITTEN = json.loads(INACTIVE.read_text())


def places(value, at=()):
    """Every place in a record at which something else could lie."""
    yield at
    items = value.items() if isinstance(value, dict) else ()
    for name, below in items:
        yield from places(below, (*at, name))


def spoilt(value, at, odd):
    if not at:
        return odd
    return {**value, at[0]: spoilt(value[at[0]], at[1:], odd)}


@pytest.mark.parametrize("odd", ["x", -1e300, [], {}, None, [[1]], math.nan, 1.5, True])
@pytest.mark.parametrize("at", list(places(WRITTEN)), ids=".".join)
def test_a_record_with_anything_odd_in_it_is_none_or_can_be_shown_and_written(at, odd):
    record = read(json.dumps(spoilt(WRITTEN, at, odd)).encode())

    if record is not None:
        state(record)
        newest_seq(record) + 1
        for time in times_of(record):
            datetime.fromtimestamp(time, UTC)
        assert read(to_bytes(record)) == record


@pytest.mark.parametrize(
    "changed_at",
    [
        datetime(9999, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
        datetime.min.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
    ],
    ids=str,
)
def test_whatever_time_a_change_may_carry_its_record_can_be_read_and_shown(changed_at):
    revision = Revision(7, "removed", (), changed_at.timestamp())
    record = revise(None, revision, source="docs", path="a.md", now=2.0)

    found = from_bytes(to_bytes(record))

    shown = datetime.fromtimestamp(found.pending.changed_at, UTC)
    assert abs(shown.timestamp() - changed_at.timestamp()) <= timedelta(days=1).total_seconds()
    assert found.pending.seq == 7


def times_of(record):
    for version in (record.settled, record.pending):
        if version:
            yield version.changed_at
    if record.settled:
        yield record.settled.settled_at
    if record.pending:
        yield record.pending.started_at
