"""The indexer's handler: upsert, check, confirm, announce, settle, clean.

The order of these steps is the protocol; a model checker found the failures of any other order
(ARCHITECTURE.md, "The protocol"). The store needs no condition: row ids are single-use, so a late
upsert or a late delete can never hurt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import structlog

from shared.domain.errors import (
    LedgerConflict,
    MalformedEvent,
    NotYetIndexed,
    PermanentError,
    UnknownRevision,
)
from shared.domain.events import (
    ChunkCounts,
    DocumentIndexed,
    DocumentRemoved,
    EmbeddingsReady,
    Event,
)
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import (
    Pending,
    Record,
    RowRef,
    is_pending,
    keep,
    newest_seq,
    settle,
    written,
)
from shared.domain.priority import EXPRESS
from shared.observe.progress import Activity, Progress
from shared.ports import Delivery, Entry, Ledger, Now, Probe, Publish, Row, VectorStore

Handle = Callable[[EmbeddingsReady, Delivery], Awaitable[Sequence[Event]]]


def by_lane(express: Handle, bulk: Handle) -> Handle:
    """Each part to the handler of its lane: they differ in how long their store gathers rows."""

    async def handle(part: EmbeddingsReady, delivery: Delivery) -> Sequence[Event]:
        return await (express if part.lane == EXPRESS else bulk)(part, delivery)

    return handle


class InTurn:
    """Handles the parts of one document one after the other, of others beside them.

    Only for speed, correctness does not rely on it: the parts of a large document would else lose
    the compare-and-set of its record to each other, and read and write that record, which is as
    large as the document, as often as the square of their number.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, part: EmbeddingsReady, delivery: Delivery) -> Sequence[Event]:
        turn = self._turns.setdefault(part.document.doc_key, asyncio.Lock())
        async with turn:
            return await self._handle(part, delivery)


FIRST_LOOK_S = 0.02


def probes(doc_key: str, wanted: Sequence[RowRef], in_hand: Mapping[RowRef, Row]) -> list[Probe]:
    """All rows of the revision must be there; a row whose vector is at hand is searched for by it.

    Rows carried from an older revision were found by their own vector when they were new.
    """
    sample = next((ref for ref in wanted if ref in in_hand), None)
    return [
        Probe(ref.id(doc_key), in_hand[ref].vector if ref == sample else None) for ref in wanted
    ]


def next_look_s(age_s: float, longest_s: float) -> float:
    """Seconds until the next look at the store: half the age so far, 20 ms at first."""
    return min(longest_s, max(FIRST_LOOK_S, age_s / 2))


log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Index:
    generation: str
    fingerprint: str
    ledger: Ledger
    store: VectorStore
    publish: Publish
    """Announcing comes before the settling compare-and-set, so it cannot wait for the return."""
    now: Now
    progress: Progress
    poll_s: float = 30.0
    """Longest interval between two checks whether the store finds a revision."""

    async def __call__(self, part: EmbeddingsReady, delivery: Delivery) -> Sequence[Event]:
        rows = self._rows(part)
        entry = await self._known(part)
        wrote: frozenset[RowRef] = frozenset()
        while is_pending(entry.record, part.document.revision):
            try:
                entry, wrote = await self._write(part, rows, entry, wrote)
                assert entry.record.pending is not None
                if entry.record.pending.todo:
                    return []  # other parts are missing; the last of them finishes
                entry = await self._finish(part, rows, entry, delivery)
            except LedgerConflict:
                entry = await self._known(part)
        return await self._clean(part, entry.record)

    async def _known(self, part: EmbeddingsReady) -> Entry:
        entry = await self.ledger.get(part.document.doc_key)
        if entry is None or newest_seq(entry.record) < part.document.revision:
            raise UnknownRevision("the ledger does not know this revision")
        return entry

    async def _write(
        self,
        part: EmbeddingsReady,
        rows: dict[RowRef, Row],
        entry: Entry,
        wrote: frozenset[RowRef],
    ) -> tuple[Entry, frozenset[RowRef]]:
        """Upsert the missing rows of the pending revision, then account for them: the check."""
        assert entry.record.pending is not None
        mine = frozenset(rows) & entry.record.pending.todo
        if not mine:
            return entry, wrote
        if mine - wrote:
            await self.store.upsert([rows[ref] for ref in sorted(mine - wrote)])
            wrote |= mine
        record = written(entry.record, mine, part.encoded)
        at = await self.ledger.update(part.document.doc_key, record, expect=entry.at)
        self.progress.rows_written += len(mine)
        return Entry(record, at), wrote

    async def _finish(
        self, part: EmbeddingsReady, rows: dict[RowRef, Row], entry: Entry, delivery: Delivery
    ) -> Entry:
        """Confirm that all rows are searchable, announce it, settle."""
        pending = entry.record.pending
        assert pending is not None
        if pending.outcome == "indexed":
            missing = await self.store.unsearchable(
                probes(part.document.doc_key, pending.rows, rows)
            )
            if missing:
                after = next_look_s(delivery.age_s, self.poll_s)
                log.warning(
                    "not_searchable_yet",
                    doc_key=part.document.doc_key,
                    rows=len(pending.rows),
                    missing=len(missing),
                    age_s=round(delivery.age_s, 1),
                )
                raise NotYetIndexed(f"{len(missing)} of {len(pending.rows)} rows", after_s=after)
            await self.publish(self._indexed(part, entry.record))
        record = settle(entry.record, now=self.now().timestamp())
        at = await self.ledger.update(part.document.doc_key, record, expect=entry.at)
        self._count(part, entry.record, record)
        return Entry(record, at)

    async def _clean(self, part: EmbeddingsReady, record: Record) -> Sequence[Event]:
        """The only delete in the system: rows that a record read after our writes does not keep."""
        doc_key = part.document.doc_key
        found = await self.store.ids({doc_key: newest_seq(record)})
        extra = found[doc_key] - {ref.id(doc_key) for ref in keep(record)}
        if extra:
            await self.store.delete(extra)
            self.progress.rows_deleted += len(extra)
        settled = record.settled
        if settled and settled.seq == part.document.revision and settled.outcome == "removed":
            return [
                DocumentRemoved(
                    document=part.document,
                    batch=part.batch,
                    generation=self.generation,
                    removed_at=self.now(),
                    chunks=ChunkCounts(removed=settled.removed),
                )
            ]
        return []

    def _rows(self, part: EmbeddingsReady) -> dict[RowRef, Row]:
        if not part.rows:
            return {}
        if part.fingerprint != self.fingerprint:
            raise PermanentError("the vectors are of another model than the index")
        try:
            vectors = part.unpack()
        except (ValueError, OverflowError):
            raise PermanentError("the block of vectors has the wrong length") from None
        document = part.document
        if doc_key(document.source, document.path) != document.doc_key:
            raise MalformedEvent("document.doc_key: not that of its source and path")
        if any(row.id != row_id(document.doc_key, row.chunk_key, row.born) for row in part.rows):
            raise MalformedEvent("rows: an id is not that of its document, key and revision")
        return {
            RowRef(row.chunk_key, row.born): Row(
                id=row.id,
                doc_key=document.doc_key,
                source=document.source,
                path=document.path,
                born=row.born,
                chunk_key=row.chunk_key,
                title=row.title,
                heading=row.heading,
                text=row.text,
                metadata=row.metadata,
                vector=np.asarray(vector, np.float32),
            )
            for row, vector in zip(part.rows, vectors, strict=True)
        }

    def _indexed(self, part: EmbeddingsReady, record: Record) -> DocumentIndexed:
        assert record.pending is not None
        now, pending = self.now(), record.pending
        return DocumentIndexed(
            document=part.document,
            batch=part.batch,
            generation=self.generation,
            indexed_at=now,
            freshness_s=max(0.0, now.timestamp() - pending.changed_at),
            vector_count=len(pending.rows),
            chunks=counts(record, pending),
            is_active=pending.is_active,
        )

    def _count(self, part: EmbeddingsReady, before: Record, record: Record) -> None:
        settled, progress = record.settled, self.progress
        assert settled is not None
        progress.indexed += settled.outcome == "indexed"
        progress.removed += settled.outcome == "removed"
        progress.refused += settled.outcome == "refused"
        if settled.outcome == "indexed":
            known = before.settled is not None and before.settled.served > 0
            progress.updated += known
            progress.inserted += not known
        took = settled.settled_at - settled.changed_at
        if settled.outcome != "refused":
            if before.settled is None or before.settled.changed_at != settled.changed_at:
                progress.freshness.add(took)  # a repair is no change
            kind = "changed" if settled.outcome == "indexed" else "removed"
            detail = f"{settled.encoded} of {len(settled.rows)} chunks embedded"
            self.progress.say(Activity(kind, part.document.path, detail, took))
        log.info(
            "document_settled",
            doc_key=part.document.doc_key,
            revision=settled.seq,
            outcome=settled.outcome,
            rows=len(settled.rows),
            encoded=settled.encoded,
            freshness_s=round(took, 3),
        )


def counts(record: Record, pending: Pending) -> ChunkCounts:
    """The effect of the pending revision on the rows of its document."""
    before = frozenset(record.settled.rows) if record.settled else frozenset()
    return ChunkCounts(
        total=len(pending.rows),
        inserted=pending.inserted,
        kept=len(pending.rows) - pending.inserted,
        removed=len(before - frozenset(pending.rows)),
        encoded=pending.encoded,
    )
