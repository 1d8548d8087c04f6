"""The ledger record of a document and its transitions. Pure: no I/O, no clock.

One record per document and generation holds the revision in the index (`settled`) and the one in
work (`pending`). It changes by compare-and-set only; these functions compute the next record. The
rules were model-checked: order is the revision alone; rows surely written are carried; everything
else is new with born = the revision that introduces it; the only delete is `clean`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from shared.domain.ids import row_id

Outcome = Literal["indexed", "removed", "refused"]
Word = Literal[
    "queued", "working", "searchable", "inactive", "refused", "failed", "dropped", "removed"
]

MALFORMED: Final = "malformed_event"
NEWER_SCHEMA: Final = "newer_schema"
"""Codes of changes that could not be read."""
ENRICH: Final = "enrich"
"""The stage that reads changes."""
MAX_ROWS: Final = 12_000
"""Rows of one document: two versions of the record then fit the bus's 1 MB message."""


class RowRef(NamedTuple):
    """A row without its document: its content, and the revision that introduced it."""

    chunk_key: str
    born: int

    def id(self, doc_key: str) -> str:
        return row_id(doc_key, self.chunk_key, self.born)


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code, and one sentence that explains it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The searchable revision; `rows` in the order of the document."""

    seq: int
    outcome: Outcome
    rows: tuple[RowRef, ...]
    changed_at: float
    """Unix time of the change at its source."""
    settled_at: float
    reason: Reason | None = None
    served: int = 0
    """Newest revision whose content is searchable; 0: none."""
    inserted: int = 0
    removed: int = 0
    encoded: int = 0
    is_active: bool = True
    """False: search leaves the rows out; they stay in the index, for the time after that."""
    static_score: float | None = None
    """The value of the document to its source, whatever the question; any finite number."""

    @property
    def effect(self) -> str:
        """`inserted`, `updated` or `unchanged` in the index; else the outcome.

        Inserted: every row is new, and none went.
        """
        if self.outcome != "indexed":
            return self.outcome
        if not self.inserted and not self.removed:
            return "unchanged"
        fresh = self.inserted == len(self.rows) and not self.removed
        return "inserted" if fresh else "updated"


@dataclass(frozen=True, slots=True)
class Pending:
    """The revision in work. `todo`: its rows that may not be written yet."""

    seq: int
    outcome: Outcome
    rows: tuple[RowRef, ...]
    todo: frozenset[RowRef]
    changed_at: float
    started_at: float
    reason: Reason | None = None
    inserted: int = 0
    encoded: int = 0
    is_active: bool = True
    static_score: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Information only: no decision depends on it."""

    seq: int
    stage: str
    reason: Reason
    dropped: bool = False
    """A person has dismissed it; the next change, or a retry, begins anew."""


@dataclass(frozen=True, slots=True)
class Record:
    """One document in one generation."""

    source: str
    path: str
    settled: Settled | None = None
    pending: Pending | None = None
    failed: Failed | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """The enricher's reading of a `documents.changed` message."""

    seq: int
    outcome: Outcome
    keys: tuple[str, ...]
    """Chunk keys in the order of the document; empty unless `indexed`."""
    changed_at: float
    version: int | None = None
    repair: bool = False
    """Write every row anew, also those that the ledger lists."""
    reason: Reason | None = None
    is_active: bool = True
    """Of a refused revision, too: it says whether search shows the last good version."""
    static_score: float | None = None


def newest_seq(record: Record | None) -> int:
    """Sequence of the newest revision that the ledger knows; 0 without one."""
    if record is None:
        return 0
    newest = record.pending or record.settled
    return newest.seq if newest else 0


def settled_seq(record: Record | None) -> int:
    return record.settled.seq if record and record.settled else 0


def is_pending(record: Record | None, seq: int) -> bool:
    return record is not None and record.pending is not None and record.pending.seq == seq


def is_over(record: Record | None, seq: int) -> bool:
    """Whether the work for a revision is over: it is overtaken, or settled already."""
    return newest_seq(record) > seq or settled_seq(record) == seq


def served_rows(record: Record | None) -> tuple[RowRef, ...]:
    """Rows that search shows: the settled ones, unless the document is not active."""
    settled = record.settled if record else None
    return settled.rows if settled and settled.is_active else ()


def keep(record: Record) -> frozenset[RowRef]:
    """Rows that `clean` must not touch."""
    settled = record.settled.rows if record.settled else ()
    pending = record.pending.rows if record.pending else ()
    return frozenset(settled) | frozenset(pending)


def base(record: Record | None) -> frozenset[RowRef]:
    """Rows surely written and surely kept, which a new revision may carry."""
    if record is None:
        return frozenset()
    if record.pending:
        return frozenset(record.pending.rows) - record.pending.todo
    return frozenset(record.settled.rows) if record.settled else frozenset()


def is_stale_version(record: Record | None, version: int | None) -> bool:
    """A guard for the time after a loss of DOCS only; order is the sequence alone."""
    known = record.version if record else None
    return version is not None and known is not None and version < known


def revise(
    record: Record | None, revision: Revision, *, source: str, path: str, now: float
) -> Record:
    """The record with the revision pending: rows written before are carried, the rest is new."""
    settled = record.settled if record else None
    if revision.outcome == "refused":
        rows = settled.rows if settled else ()
        todo: frozenset[RowRef] = frozenset()
    else:
        have = {} if revision.repair else {r.chunk_key: r for r in sorted(base(record))}
        rows = tuple(have.get(key) or RowRef(key, revision.seq) for key in revision.keys)
        todo = frozenset(rows) - frozenset(have.values())
    version = revision.version
    if version is None and record:
        version = record.version
    return Record(
        source=source,
        path=path,
        settled=settled,
        pending=Pending(
            seq=revision.seq,
            outcome=revision.outcome,
            rows=rows,
            todo=todo,
            changed_at=revision.changed_at,
            started_at=now,
            reason=revision.reason,
            inserted=len(todo),
            is_active=revision.is_active,
            static_score=revision.static_score,
        ),
        failed=_unread_since(record, revision.seq),
        version=version,
    )


def written(record: Record, rows: Collection[RowRef], encoded: int) -> Record:
    """The record after rows of its pending revision were written."""
    assert record.pending is not None  # callers have looked
    pending = record.pending
    return replace(
        record,
        pending=replace(
            pending, todo=pending.todo - frozenset(rows), encoded=pending.encoded + encoded
        ),
    )


def settle(record: Record, *, now: float) -> Record:
    """The record with its pending revision settled; a failure up to it is forgotten."""
    assert record.pending is not None  # callers have looked
    pending, before = record.pending, record.settled
    gone = frozenset(before.rows if before else ()) - frozenset(pending.rows)
    served = {"indexed": pending.seq, "removed": 0}.get(
        pending.outcome, before.served if before else 0
    )
    return replace(
        record,
        settled=Settled(
            seq=pending.seq,
            outcome=pending.outcome,
            rows=pending.rows,
            changed_at=pending.changed_at,
            settled_at=now,
            reason=pending.reason,
            served=served,
            inserted=pending.inserted,
            removed=len(gone),
            encoded=pending.encoded,
            is_active=pending.is_active,
            static_score=pending.static_score,
        ),
        pending=None,
        failed=_unread_since(record, pending.seq),
    )


def fail(record: Record | None, failed: Failed, *, source: str, path: str) -> Record | None:
    """The record with the failure noted; None when a newer revision or its end is known, or when
    a person has dropped it already.
    """
    if newest_seq(record) > failed.seq or settled_seq(record) == failed.seq:
        return None
    known = record.failed if record else None
    if known and (known.seq > failed.seq or (known.seq == failed.seq and known.dropped)):
        return None
    return replace(record or Record(source, path), failed=failed)


def _unread_since(record: Record | None, seq: int) -> Failed | None:
    """The failure of a change after `seq` that could not be read: no other revision ends it."""
    failed = record.failed if record else None
    return failed if failed and failed.seq > seq and is_unread(failed) else None


def is_unread(at: "Failed | State") -> bool:
    """Whether the failure is that the change itself could not be read.

    Such a change cannot be sent again; only another one takes its place.
    """
    codes = (MALFORMED, NEWER_SCHEMA)
    return at.stage == ENRICH and at.reason is not None and at.reason.code in codes


@dataclass(frozen=True, slots=True)
class State:
    """The one word for a document, and whether search serves an older version."""

    word: Word
    stale: bool = False
    stage: str | None = None
    reason: Reason | None = None


def _says_otherwise(record: Record) -> bool:
    """Whether the pending content differs from the served one; a repair writes the same anew."""
    settled, pending = record.settled, record.pending
    if settled is None or pending is None:
        return True
    if settled.is_active != pending.is_active:
        return True
    return sorted(r.chunk_key for r in settled.rows) != sorted(r.chunk_key for r in pending.rows)


def state(record: Record | None, newest: int = 0) -> State:
    """The state of a document.

    Args:
        record: its ledger record, or None.
        newest: sequence of its newest DOCS message, if known.
    """
    failed_seq = record.failed.seq if record and record.failed else 0
    if record is None or newest > max(newest_seq(record), failed_seq):
        return State("queued", stale=bool(served_rows(record)), stage="enrich")
    serves = bool(served_rows(record))
    if record.failed and failed_seq >= newest_seq(record):
        word: Word = "dropped" if record.failed.dropped else "failed"
        return State(word, serves, record.failed.stage, record.failed.reason)
    if record.pending:
        stage = "embed" if record.pending.todo else "confirm"
        return State("working", stale=serves and _says_otherwise(record), stage=stage)
    if record.settled is None:
        return State("queued", stage="enrich")
    return _settled_state(record.settled, serves=serves)


def _settled_state(settled: Settled, *, serves: bool) -> State:
    if settled.outcome == "refused":
        return State("refused", stale=serves, reason=settled.reason)
    if settled.outcome == "removed":
        return State("removed")
    return State("searchable" if settled.is_active else "inactive")
