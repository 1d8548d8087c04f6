"""The revisions of a document that are still known, and what the newest does to its chunks.

The ledger has the served and the pending revision; RESULTS has the outcomes of some days. Texts are
those of rows that the store has: of chunks that are gone, only the number is known.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.gateway.documents.documents import pending_view, reason_view, settled_view
from services.gateway.views import DiffAnswer, DiffChunk, RevisionView
from shared.domain.errors import GARBAGE
from shared.domain.events import DocumentFailed, DocumentIndexed, DocumentNotTaken, DocumentRemoved
from shared.domain.events.results import ChunkCounts, Result, parse_result
from shared.domain.ordering import Record, RowRef
from shared.ports import Hit, Newest, Results, StoredResult

LOOKED_BACK: Final = 2_000
"""Newest messages of RESULTS that are looked through, by one request for each of the source."""
LOOKED_FOR_S: Final = 2.0
"""So long at most; an answer then tells what was found until then."""
SLICE: Final = 100
"""Messages that are looked through one after the other, beside other slices."""
AT_ONCE: Final = 8
"""Slices, and so requests, at one time."""


async def outcomes(results: Results, source: str, key: str) -> tuple[list[Result], bool]:
    """The outcomes of a document among the newest messages, oldest first; whether these are all
    that the stream has.

    Newer messages are read before older ones, for when time is over first.

    Raises:
        BusUnavailable: the bus does not answer.
    """
    oldest, newest = await results.bounds()
    begin = max(oldest - 1, newest - LOOKED_BACK)
    whole, found = begin == oldest - 1, dict[int, Result]()
    slices = iter([(max(begin, end - SLICE), end) for end in range(newest, begin, -SLICE)])

    async def read() -> None:
        for after, last in slices:  # each is taken by one reader
            async for stored in _between(results, source, after, last):
                event = _parsed(stored)
                if event is not None and event.document.doc_key == key:
                    found[stored.sequence] = event

    readers = [asyncio.ensure_future(read()) for _ in range(AT_ONCE)]
    try:
        async with asyncio.timeout(LOOKED_FOR_S):
            await asyncio.gather(*readers)
    except TimeoutError:
        whole = False
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return [found[sequence] for sequence in sorted(found)], whole


async def _between(
    results: Results, source: str, after: int, last: int
) -> AsyncIterator[StoredResult]:
    """The messages of a source above `after` up to `last`. Raises BusUnavailable."""
    while after < last and (stored := await results.next(after, source)) is not None:
        after = stored.sequence
        if after <= last:
            yield stored


def _parsed(stored: StoredResult) -> Result | None:
    """None: an event of a batch, or one that this version cannot read."""
    try:
        return parse_result(stored.subject, stored.data)
    except GARBAGE:
        return None


def history(
    record: Record, newest: Newest | None, events: Iterable[Result]
) -> tuple[RevisionView, ...]:
    """The known revisions, newest first; the ledger's word counts before that of an event. Pure."""
    views = (view for event in events if (view := _of_event(event)) is not None)
    found = {view.sequence: view for view in views}
    change = newest.readable if newest else None
    if change is not None:
        queued = _bare(change.document.revision, "queued", change.document.changed_at)
        found.setdefault(queued.sequence, queued)
    if record.pending is not None:
        view = pending_view(record.pending)
        found[view.sequence] = view.model_copy(update={"outcome": "working"})
    failed = record.failed
    if failed is not None and failed.seq in found:
        told = {"outcome": "failed", "reason": reason_view(failed.reason)}
        found[failed.seq] = found[failed.seq].model_copy(update=told)
    if record.settled is not None:
        found[record.settled.seq] = settled_view(record.settled)
    return tuple(found[sequence] for sequence in sorted(found, reverse=True))


def _bare(sequence: int, outcome: str, changed_at: datetime) -> RevisionView:
    return RevisionView(sequence=sequence, outcome=outcome, changed_at=changed_at)


def _of_event(event: Result) -> RevisionView | None:
    """The revision of an outcome; None: it is none of a revision."""
    document = event.document
    if not document.revision:
        return None
    view = _bare(document.revision, event.word, document.changed_at)
    match event:
        case DocumentIndexed():
            told = {
                "settled_at": event.indexed_at,
                "freshness_s": event.freshness_s,
                "is_active": event.is_active,
                **_counts(event.chunks),
            }
        case DocumentRemoved():
            told = {"settled_at": event.removed_at, **_counts(event.chunks)}
        case DocumentNotTaken() | DocumentFailed():
            told = {"reason": {"code": event.code, "text": event.reason}}
        case _:
            return None
    return RevisionView.model_validate(view.model_dump() | told)


def _counts(chunks: ChunkCounts) -> dict[str, object]:
    return {
        "chunks": chunks.total,
        "inserted": chunks.inserted,
        "kept": chunks.kept,
        "removed": chunks.removed,
        "encoded": chunks.encoded,
    }


def rows_of_diff(record: Record) -> tuple[list[RowRef], list[RowRef]]:
    """The rows that the newest revision adds, and those that it takes out as far as they are known,
    each in the order of its document. Pure.

    Of a pending revision both are known. A settled one has the rows that it has introduced; those
    that it took out are gone.
    """
    settled, pending = record.settled, record.pending
    before = settled.rows if settled else ()
    if pending is None:
        return [row for row in before if settled and row.born == settled.seq], []
    had = {row.chunk_key for row in before}
    wants = {row.chunk_key for row in pending.rows}
    added = [row for row in pending.rows if row.chunk_key not in had]
    return added, [row for row in before if row.chunk_key not in wants]


def diff(
    key: str, record: Record, stored: Mapping[str, Hit], *, limit: int, generation: str
) -> DiffAnswer:
    """What the newest revision does to the chunks of its document. Pure.

    Args:
        stored: the rows of both lists that the store has.
        limit: chunks of each list that are shown.
    """
    added, removed = rows_of_diff(record)
    settled, pending = record.settled, record.pending
    newest = pending or settled
    before = settled.seq if settled and pending else None
    gone = len(removed) if pending else settled.removed if settled else 0
    total = len(newest.rows) if newest else 0
    rows = newest.rows if newest else ()
    return DiffAnswer(
        source=record.source,
        path=record.path,
        doc_key=key,
        generation=generation,
        before=before,
        revision=newest.seq if newest else 0,
        pending=pending is not None,
        kept=total - len(added),
        added=len(added),
        removed=gone,
        added_chunks=_shown(key, added[:limit], rows, stored),
        removed_chunks=_shown(key, removed[:limit], settled.rows if settled else (), stored),
        removed_known=pending is not None or not gone,
    )


def _shown(
    key: str, some: Sequence[RowRef], rows: Sequence[RowRef], stored: Mapping[str, Hit]
) -> tuple[DiffChunk, ...]:
    places = {row: n for n, row in enumerate(rows, 1)}
    hits = [(row, stored.get(row.id(key))) for row in some]
    return tuple(
        DiffChunk(
            n=places[row],
            heading=tuple(hit.heading) if hit else (),
            text=hit.text if hit else None,
        )
        for row, hit in hits
    )
