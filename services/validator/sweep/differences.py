"""The sweep's comparison of DOCS, ledger and store. Pure: no I/O, no clock.

One pass over DOCS and ledger builds a census: every document that they know, and for each bucket of
documents a digest of the rows that the ledger promises. The sweep is done with buckets that agree
with the store, and judges the documents of the others one by one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shared.domain.ids import bucket_of, is_source, mark_of
from shared.domain.ids import doc_key as doc_key_of
from shared.domain.ordering import Record, is_unread, newest_seq
from shared.ports import Digest, Holding

NO_ROWS: Final[frozenset[str]] = frozenset()
HELD_FROM: Final = 20
"""Unknown documents that may always go (P7)."""
HELD_SHARE: Final = 0.5


class Head(NamedTuple):
    """The newest change of a document that the ledger does not know."""

    source: str
    seq: int


@dataclass(slots=True)
class Census:
    """Every document that DOCS or the ledger knows. `change` for all of DOCS first, then `record`.

    About 200 bytes for each document, whatever the number of its rows.

    taken: DOCS sequence up to which the enricher is done with every message.
    stuck_before: Unix time; revisions that have been pending for longer are suspected.
    """

    taken: int
    stuck_before: float
    carried: Collection[tuple[str, int]] = ()
    """doc_key and revision of parts that the bus still carries: however old, they are not stuck."""
    heads: dict[str, dict[str, Head | None]] = field(default_factory=dict)
    """By bucket and doc_key; None: the ledger has it, and no newer change is lost."""
    promised: dict[str, Digest] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    """Buckets with documents whose rows are changing: their digests are not comparable."""
    served: int = 0
    """Documents with promised rows."""
    rivals: dict[str, list[Head]] = field(default_factory=dict)
    """Heads of other sources under the key of a document."""
    garbage: set[str] = field(default_factory=set)
    """Keys of the ledger without a record that can be read, which DOCS does not know either."""

    def change(self, source: str, doc_key: str, seq: int) -> None:
        heads = self.heads.setdefault(bucket_of(doc_key), {})
        before = heads.get(doc_key)
        if before and before.source != source:  # a key is of one source, so one of them is garbage
            self.rivals.setdefault(doc_key, []).append(before)
        heads[doc_key] = Head(source, seq)

    def record(self, doc_key: str, record: Record) -> None:
        bucket = bucket_of(doc_key)
        heads = self.heads.setdefault(bucket, {})
        known = (heads.get(doc_key), *self.rivals.get(doc_key, ()))
        head = next((one for one in known if one and one.source == record.source), None)
        heads[doc_key] = head
        if head is None or not is_lost(record, head, self.taken):
            heads[doc_key] = None
        if record.pending:
            self.pending.add(bucket)
        if record.settled and record.settled.rows:
            self.served += 1
            total = sum(mark_of(row.id(doc_key)) for row in record.settled.rows)
            here = Digest(len(record.settled.rows), total % 2**64)
            self.promised[bucket] = self.promised.get(bucket, Digest()) + here

    @property
    def documents(self) -> int:
        return sum(map(len, self.heads.values()))

    def head(self, doc_key: str) -> Head | None:
        return self.heads.get(bucket_of(doc_key), {}).get(doc_key)

    def knows(self, doc_key: str) -> bool:
        return doc_key in self.heads.get(bucket_of(doc_key), {})

    def suspects(self, held: Mapping[str, Digest]) -> list[str]:
        """Buckets that the sweep must compare document by document."""
        found = {b for b in self.promised.keys() | held if self.promised.get(b) != held.get(b)}
        found |= self.pending
        for bucket, heads in self.heads.items():
            if any(head and head.seq <= self.taken for head in heads.values()):
                found.add(bucket)
        return sorted(found)


def is_failed(record: Record | None, seq: int = 0) -> bool:
    """Whether the newest revision, at least `seq`, was given up: such documents are a person's."""
    failed = record.failed if record else None
    return failed is not None and failed.seq >= max(newest_seq(record), seq)


def is_lost(record: Record | None, head: Head, taken: int) -> bool:
    """Whether the enricher is done with the newest change and the ledger does not know it.

    An unreadable one is lost until it can be read, or a person dismisses it: another version may
    have come since.
    """
    if not newest_seq(record) < head.seq <= taken:
        return False
    failed = record.failed if record else None
    return not is_failed(record, head.seq) or bool(
        failed and is_unread(failed) and not failed.dropped
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """The faults of one document; row ids by kind, revisions where no rows are concerned."""

    doc_key: str
    source: str
    path: str
    missing: frozenset[str] = NO_ROWS
    """Promised, and not in the store."""
    extra: frozenset[str] = NO_ROWS
    """In the store, and not promised."""
    damaged: frozenset[str] = NO_ROWS
    """Promised, and damaged or there twice."""
    lost: int = 0
    """Newest change, which the ledger does not know although the enricher is done with it."""
    stuck: int = 0
    """Revision that has been pending for too long."""
    unknown: bool = False
    """Neither DOCS nor the ledger knows the document; all its rows are extra."""
    helpless: bool = False
    """Its rows cannot be written again: DOCS lacks their content, or it waits for a person."""

    @property
    def found(self) -> bool:
        return bool(
            self.missing or self.extra or self.damaged or self.lost or self.stuck or self.unknown
        )

    @property
    def repairable(self) -> bool:
        """Whether a re-submission changes anything."""
        if self.unknown:
            return False
        rows = not self.helpless and (self.missing or self.damaged)
        return bool(rows or self.extra or self.lost or self.stuck)

    @property
    def foreign(self) -> bool:
        """Rows under a name that no document can have: no indexer wrote them."""
        named = is_source(self.source) and self.path
        return self.unknown and (not named or doc_key_of(self.source, self.path) != self.doc_key)

    @property
    def only_extra(self) -> bool:
        return not (self.missing or self.damaged or self.lost or self.stuck)

    @property
    def beyond_repair(self) -> bool:
        return self.helpless and bool(self.missing or self.damaged)


def judge(
    doc_key: str, census: Census, record: Record | None, holding: Holding | None
) -> Difference | None:
    """The faults of a document, or None."""
    head = census.head(doc_key)
    if record is None and not census.knows(doc_key):
        return _unknown(holding) if holding else None
    source = record.source if record else head.source if head else ""
    path = record.path if record else holding.path if holding else ""
    lost = head.seq if head and is_lost(record, head, census.taken) else 0
    if record is None:  # until its newest change is sent again, the right rows are not known
        return Difference(doc_key, source, path, lost=lost) if lost else None
    failed = is_failed(record)
    missing, extra, damaged = rows_amiss(doc_key, record, holding)
    found = Difference(
        doc_key,
        source,
        path,
        missing=missing,
        extra=NO_ROWS if failed else extra,
        damaged=damaged,
        lost=lost,
        stuck=0 if failed else _stuck(doc_key, record, census),
        helpless=not lost and (failed or _is_refused(record)),
    )
    return found if found.found else None


def rows_amiss(
    doc_key: str, record: Record, holding: Holding | None
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Ids of the missing, extra and damaged rows.

    While a revision is pending, rows of it may be there or not; settled and written rows must be
    there even then.
    """
    found = holding.ids if holding else NO_ROWS
    bad = holding.damaged if holding else NO_ROWS
    promised = {row.id(doc_key) for row in record.settled.rows} if record.settled else set()
    extra = NO_ROWS if record.pending else found - promised
    if record.pending:
        promised |= {
            row.id(doc_key) for row in record.pending.rows if row not in record.pending.todo
        }
    return frozenset(promised - found), extra, bad & promised


def confirm(first: Difference, second: Difference) -> Difference | None:
    """The faults that both looks have seen; None: it was only a change on its way."""
    both = Difference(
        second.doc_key,
        second.source,
        second.path,
        missing=first.missing & second.missing,
        extra=first.extra & second.extra,
        damaged=first.damaged & second.damaged,
        lost=second.lost if first.lost else 0,
        stuck=second.stuck if first.stuck == second.stuck else 0,
        unknown=first.unknown and second.unknown,
        helpless=second.helpless,
    )
    return both if both.found else None


def held(found: Iterable[Difference], served: int, listed: Collection[str]) -> list[Difference]:
    """Unknown documents whose rows wait for a person's decision (P7).

    Args:
        served: documents of the store that DOCS or the ledger knows.
        listed: sources that were listed as a whole; a listing enters every document of its folder.
    """
    unknown = [one for one in found if one.unknown]
    told = [one for one in unknown if one.foreign or one.source in listed]
    many = len(told) >= HELD_FROM and len(told) > HELD_SHARE * (len(told) + served)
    return [one for one in unknown if many or one not in told]


def groups(buckets: Iterable[str], rows: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """The buckets in lists of at most `most` rows together; a larger bucket goes alone."""
    group: list[str] = []
    size = 0
    for bucket in buckets:
        if group and size + rows.get(bucket, 0) > most:
            yield group
            group, size = [], 0
        group.append(bucket)
        size += rows.get(bucket, 0)
    if group:
        yield group


def unrepaired(revisions: Mapping[str, int], records: Mapping[str, Record]) -> dict[str, int]:
    """Those of the re-submitted documents that have neither settled nor failed since."""
    return {
        key: revision
        for key, revision in revisions.items()
        if (record := records.get(key)) is None or _ended(record) < revision
    }


def given_up(revisions: Mapping[str, int], records: Mapping[str, Record]) -> frozenset[str]:
    """Those of the re-submitted documents that failed."""
    return frozenset(
        key for key, revision in revisions.items() if is_failed(records.get(key), revision)
    )


def _unknown(holding: Holding) -> Difference:
    return Difference(
        holding.doc_key, holding.source, holding.path, extra=holding.ids, unknown=True
    )


def _ended(record: Record) -> int:
    settled = record.settled.seq if record.settled else 0
    return max(settled, record.failed.seq if record.failed else 0)


def _stuck(doc_key: str, record: Record, census: Census) -> int:
    pending = record.pending
    if pending is None or (doc_key, pending.seq) in census.carried:
        return 0
    return pending.seq if pending.started_at < census.stuck_before else 0


def _is_refused(record: Record) -> bool:
    newest = record.pending or record.settled
    return newest is not None and newest.outcome == "refused"
