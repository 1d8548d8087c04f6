"""Messages of RESULTS as listeners over HTTP get them. Pure."""

from datetime import datetime
from typing import Final, Literal

from pydantic import ValidationError

from services.gateway.models import Response
from services.gateway.views import ReasonView
from shared.domain.events import (
    BatchCompleted,
    DocumentFailed,
    DocumentIndexed,
    DocumentNotTaken,
    DocumentRemoved,
    DocumentValidated,
)
from shared.domain.events.results import BatchSummary, ChunkCounts, Result, parse_result
from shared.ports import StoredResult

EventType = Literal["document", "validation", "batch"]
EVENT_TYPES: Final[tuple[EventType, ...]] = ("document", "validation", "batch")


class EventView(Response):
    """The base of events: one outcome."""

    generation: str
    source: str
    batch: str
    at: datetime


class DocumentEvent(EventView):
    """A revision of a document has its outcome."""

    path: str
    doc_key: str
    receipt: str | None
    """DOC_KEY-REVISION, for `/receipts/{receipt}`; None: it was refused without a revision."""
    state: Literal["searchable", "inactive", "removed", "refused", "failed"]
    freshness_s: float | None = None
    """From the change to the time at which search showed it."""
    chunks: ChunkCounts = ChunkCounts()
    reason: ReasonView | None = None


class ValidationEvent(EventView):
    """The validator has compared what search shows of a document with the ledger."""

    path: str
    doc_key: str
    receipt: str | None
    passed: bool
    warnings: tuple[str, ...] = ()


class BatchEvent(EventView):
    """Every document of a batch has an outcome, or instep gave up waiting for the rest."""

    count: int
    """Documents of the batch, as its publisher announced it."""
    complete: bool
    missing: int
    passed: bool | None = None
    """Of its validation."""
    summary: BatchSummary


def type_of(view: EventView) -> EventType:
    """The type that a listener chooses it by."""
    if isinstance(view, DocumentEvent):
        return "document"
    return "batch" if isinstance(view, BatchEvent) else "validation"


def view_of(stored: StoredResult) -> EventView | None:
    """The event of a message; None: this version cannot read it."""
    try:
        if stored.subject.startswith("batches."):
            return _batch(BatchCompleted.model_validate_json(stored.data))
        return _of_document(parse_result(stored.subject, stored.data))
    except (ValidationError, LookupError):
        return None


def _of_document(event: Result) -> EventView | None:
    document = event.document
    named = {
        "generation": event.generation,
        "source": document.source,
        "batch": event.batch.id,
        "path": document.path,
        "doc_key": document.doc_key,
        "receipt": f"{document.doc_key}-{document.revision}" if document.revision else None,
    }
    match event:
        case DocumentIndexed():
            return DocumentEvent(
                **named,
                at=event.indexed_at,
                state="searchable" if event.is_active else "inactive",
                freshness_s=event.freshness_s,
                chunks=event.chunks,
            )
        case DocumentRemoved():
            return DocumentEvent(**named, at=event.removed_at, state="removed", chunks=event.chunks)
        case DocumentNotTaken() | DocumentFailed():
            return DocumentEvent(
                **named,
                at=document.changed_at,
                state="failed" if isinstance(event, DocumentFailed) else "refused",
                reason=ReasonView(code=event.code, text=event.reason),
            )
        case DocumentValidated():
            return ValidationEvent(
                **named,
                at=event.validated_at,
                passed=event.validation_passed,
                warnings=event.warnings,
            )
    return None


def _batch(event: BatchCompleted) -> BatchEvent:
    return BatchEvent(
        generation=event.generation,
        source=event.batch.source,
        batch=event.batch.id,
        at=event.completed_at,
        count=event.batch.count,
        complete=event.complete,
        missing=event.missing,
        passed=event.validation_passed,
        summary=event.summary,
    )
