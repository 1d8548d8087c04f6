"""The parts of a pending revision. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.domain.errors import DocumentRefused
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    EmbeddingsReady,
    Event,
    Metadata,
    PartRow,
    json_bytes,
)
from shared.domain.metadata import with_embedded
from shared.domain.ordering import Pending, Reason, Revision, RowRef
from shared.domain.topology import MAX_PART_BYTES, MAX_PART_ROWS

_ROW_OVERHEAD_BYTES = 256
"""An upper bound of the names of a row's fields, its id, key and revision."""


@dataclass(frozen=True, slots=True)
class KeyedChunk:
    """A chunk with the key of everything that its row will store."""

    key: str
    text: str
    heading: tuple[str, ...] = ()
    context: tuple[str, str] | None = None
    """What a template puts before and after the text; None: title and headings are its context."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document cut into pieces, in its order."""

    title: str
    metadata: Metadata
    pieces: tuple[KeyedChunk, ...]


def revision_of(
    event: DocumentChanged, prepared: Prepared | DocumentRefused | None, generation: str
) -> Revision:
    """The change as the ledger sees it; None: a deletion."""
    seq, changed_at = event.document.revision, event.document.changed_at.timestamp()
    repair = generation in event.repaired
    gone = Revision(seq, "removed", (), changed_at, event.source_version, repair=repair)
    if prepared is None:
        return gone
    score = event.static_score
    finite = score if score is not None and math.isfinite(score) else None
    told = replace(gone, is_active=event.is_active, static_score=finite)
    if isinstance(prepared, DocumentRefused):
        reason = Reason(prepared.code, prepared.reason)
        return replace(told, outcome="refused", repair=False, reason=reason)
    return replace(told, outcome="indexed", keys=tuple(piece.key for piece in prepared.pieces))


def is_same_plan(pending: Pending, revision: Revision) -> bool:
    """Whether chunks made anew equal those that the ledger has pending for this revision."""
    if pending.outcome != revision.outcome:
        return False
    if pending.outcome == "refused":
        return True
    return tuple(row.chunk_key for row in pending.rows) == revision.keys


def parts(
    document: Document,
    batch: Batch,
    generation: str,
    pending: Pending,
    prepared: Prepared | DocumentRefused | None,
    *,
    dimensions: int,
) -> list[Event]:
    """The parts of `todo`, or one empty part."""
    if not pending.todo or not isinstance(prepared, Prepared):
        return [EmbeddingsReady(document=document, batch=batch, generation=generation)]
    pieces = {piece.key: piece for piece in prepared.pieces}
    wanted = [row for row in pending.rows if row in pending.todo]
    rows = [_part_row(document.doc_key, row, pieces, prepared) for row in wanted]
    return [
        DocumentEnriched(document=document, batch=batch, generation=generation, rows=some)
        for some in cut(rows, vector_bytes=dimensions * 16 // 3)
    ]


def cut(rows: Sequence[PartRow], *, vector_bytes: int) -> Iterator[tuple[PartRow, ...]]:
    """Rows in parts of at most MAX_PART_ROWS and MAX_PART_BYTES; a larger row goes alone.

    Args:
        vector_bytes: the size of a row's vector in the same message.
    """
    some: list[PartRow] = []
    size = 0
    for row in rows:
        bytes_ = json_bytes(row) + vector_bytes
        if some and (len(some) >= MAX_PART_ROWS or size + bytes_ > MAX_PART_BYTES):
            yield tuple(some)
            some, size = [], 0
        some.append(row)
        size += bytes_
    if some:
        yield tuple(some)


def check_rows(prepared: Prepared) -> None:
    """Refuse rows that fit no part: title and metadata are in the row of every chunk.

    Raises:
        DocumentRefused: `too_large`.
    """
    common = _ROW_OVERHEAD_BYTES + json_bytes((prepared.title, prepared.metadata))
    if any(
        common + json_bytes((p.text, p.heading, p.context)) > MAX_PART_BYTES
        for p in prepared.pieces
    ):
        raise DocumentRefused(
            "too_large",
            f"a chunk with its headings and metadata has more than {MAX_PART_BYTES:,} bytes",
        )


def _part_row(
    doc_key: str, row: RowRef, pieces: Mapping[str, KeyedChunk], prepared: Prepared
) -> PartRow:
    piece = pieces[row.chunk_key]
    return PartRow(
        id=row.id(doc_key),
        chunk_key=row.chunk_key,
        born=row.born,
        text=piece.text,
        heading=piece.heading,
        title=prepared.title,
        metadata=with_embedded(prepared.metadata, piece.context),
    )
