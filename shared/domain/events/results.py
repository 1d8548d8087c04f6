"""RESULTS: the outcomes of documents and batches."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from shared.domain.events.base import Batch, Document, Event, Listed, Model
from shared.domain.ids import batch_key, short_digest


class ChunkCounts(Model):
    """The effect of a revision on the rows of its document (C2)."""

    total: int = 0
    inserted: int = 0
    kept: int = 0
    removed: int = 0
    encoded: int = 0
    """Texts that the model read for it; the rest of `inserted` came from the cache."""


class Result(Event):
    """The base of events about the outcome of a revision."""

    stream: ClassVar[str] = "RESULTS"
    word: ClassVar[str]

    document: Document
    batch: Batch
    generation: str

    @property
    def subject(self) -> str:
        return f"documents.{self.word}.{self.generation}.{self.document.source}"

    @property
    def message_id(self) -> str:
        return f"{self.word}:{self.generation}:{self.document.doc_key}:{self.document.revision}"


class DocumentIndexed(Result):
    """The whole revision is searchable: a search of the store has found it."""

    word: ClassVar[str] = "indexed"

    indexed_at: AwareDatetime
    freshness_s: float
    document_count: int = 1
    vector_count: int
    chunks: ChunkCounts = ChunkCounts()
    is_active: bool = True
    """False: the rows are in the index, and search leaves them out."""


class DocumentRemoved(Result):
    """No row of the document is left in the index."""

    word: ClassVar[str] = "removed"

    removed_at: AwareDatetime
    chunks: ChunkCounts = ChunkCounts()


class DocumentNotTaken(Result):
    """The revision was refused; the last good version, if any, stays searchable."""

    word: ClassVar[str] = "refused"

    code: str
    reason: str


class DocumentFailed(Result):
    """No retry helped: the event is in the dead letters, `instep retry` sends it again."""

    word: ClassVar[str] = "failed"

    stage: str
    code: str
    reason: str


class DocumentValidated(Result):
    """The validator compared search results with the ledger (F1-F3)."""

    word: ClassVar[str] = "validated"

    validated_at: AwareDatetime
    validation_passed: bool
    expected_count: int
    vector_count: int
    self_query_passed: bool | None = None
    """None: no samples were taken."""
    freshness_s: float | None = None
    warnings: Listed[str] = ()


class BatchSummary(Model):
    """Documents of a batch by outcome, and their cost."""

    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    refused: int = 0
    failed: int = 0
    chunks: ChunkCounts = ChunkCounts()


class BatchCompleted(Event):
    """Every document of the batch has an outcome, or `complete` is false: instep gave up."""

    stream: ClassVar[str] = "RESULTS"

    batch: Batch
    generation: str
    completed_at: AwareDatetime
    summary: BatchSummary = BatchSummary()
    validation_passed: bool | None = None
    complete: bool = True
    """False: the batch made no progress for `validation.batch_timeout`. If the rest comes later,
    instep publishes the event again."""
    missing: int = Field(default=0, ge=0)
    """Documents that were announced and never sent, and documents without an outcome."""

    @property
    def subject(self) -> str:
        return f"batches.completed.{self.generation}.{self.batch.source}"

    @property
    def message_id(self) -> str:
        short = "" if self.complete else f":{self.missing} missing"
        batch = batch_key(self.generation, self.batch.source, self.batch.id)
        return f"completed:{batch}:{short_digest(self.batch.started_at.isoformat())}{short}"


RESULTS: dict[str, type[Result]] = {
    kind.word: kind
    for kind in (
        DocumentIndexed,
        DocumentRemoved,
        DocumentNotTaken,
        DocumentFailed,
        DocumentValidated,
    )
}


def parse_result(subject: str, data: bytes) -> Result:
    """The event of a RESULTS message about a document. Raises ValidationError, KeyError."""
    return RESULTS[subject.split(".")[1]].model_validate_json(data)
