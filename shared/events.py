"""Every fact that crosses the bus: past tense, immutable, safe to receive twice.

JSON, one object per message. Readers ignore fields that they do not know (an older reader meets a
newer writer); writers never rename or retype a field. Golden copies live under `tests/golden/`.
"""

import base64
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.identity import SOURCE_PATTERN, cache_key, short_digest

Source = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
DocKey = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{26}$")]
Scalar = str | int | float | bool | None
Metadata = dict[str, Scalar]


class Model(BaseModel):
    """Frozen, lenient when reading, aliases when writing."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True
    )


class Document(Model):
    """Which document, at which revision. Every event about it carries this."""

    source: Source
    path: str
    doc_key: DocKey
    revision: int = Field(default=0, ge=0, lt=2**53)
    """Sequence of its `documents.changed` message, the one order of changes; 0: not stored yet."""
    changed_at: AwareDatetime
    """When the change was seen at its source; freshness counts from here."""


class Batch(Model):
    """Metadata of the batch of changes that a document came with (B5)."""

    id: str
    count: int = Field(ge=0)
    """Documents in the batch."""
    source: Source
    format: str = "mixed"
    started_at: AwareDatetime


class Event(Model):
    """What all events have in common."""

    stream: ClassVar[str]

    schema_: Literal[1] = Field(default=1, alias="schema")

    @property
    def subject(self) -> str:
        """The subject that the event is published on."""
        raise NotImplementedError  # each event says

    @property
    def message_id(self) -> str:
        """`Nats-Msg-Id`. A fresh one names the publish call: the same fact may be sent again."""
        return uuid.uuid4().hex

    @property
    def work(self) -> str | None:
        """Names what is to be done, the same in every copy of the event; None: copies are rare."""
        return None


# -- what outside systems send ---------------------------------------------------------------------


class SubmittedChunk(Model):
    """A chunk that its publisher has cut already."""

    text: str
    heading: tuple[str, ...] = ()


class Reference(Model):
    """Content that stays where it is until the enricher reads it."""

    url: str
    """`file:///…`; buckets follow."""
    etag: str | None = None
    size: int | None = Field(default=None, ge=0)


class DocumentSubmitted(Event):
    """A command to instep: put this document into the index, or take it out."""

    stream: ClassVar[str] = "INTAKE"

    op: Literal["upsert", "delete"] = "upsert"
    path: str
    text: str | None = None
    data_base64: str | None = None
    """Bytes of any format, for what is not text."""
    chunks: tuple[SubmittedChunk, ...] | None = None
    ref: Reference | None = None
    media_type: str | None = None
    """Default: by the ending of the path."""
    title: str | None = None
    metadata: Metadata = {}
    source_version: int | None = None
    """A number that grows with every change of the document, if the publisher has one."""
    batch: Batch | None = None

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        given = [x for x in (self.text, self.data_base64, self.chunks, self.ref) if x is not None]
        if self.op == "upsert" and len(given) != 1:
            raise ValueError("an upsert has exactly one of text, data_base64, chunks and ref")
        if self.op == "delete" and given:
            raise ValueError("a delete has no content")
        return self


class Receipt(Model):
    """The answer to a submission: `doc_key-sequence`, or why it was not taken."""

    state: Literal["queued", "unchanged", "stale", "refused"]
    receipt: str | None = None
    document: Document | None = None
    code: str | None = None
    detail: str | None = None


# -- DOCS ------------------------------------------------------------------------------------------


class Inline(Model):
    """Content inside the event, at most 256 KB."""

    kind: Literal["inline"] = "inline"
    encoding: Literal["utf-8", "base64"] = "utf-8"
    data: str

    @classmethod
    def of(cls, data: bytes) -> "Inline":
        try:
            return cls(data=data.decode("utf-8"))
        except UnicodeDecodeError:
            return cls(encoding="base64", data=base64.b64encode(data).decode())

    def bytes(self) -> bytes:
        return base64.b64decode(self.data) if self.encoding == "base64" else self.data.encode()


class Stored(Model):
    """Content in the object store `bodies`, under its hash."""

    kind: Literal["stored"] = "stored"
    hash: str


class Linked(Model):
    """Content behind a reference."""

    kind: Literal["linked"] = "linked"
    ref: Reference


class Ready(Model):
    """Chunks that the publisher has cut already."""

    kind: Literal["chunks"] = "chunks"
    chunks: tuple[SubmittedChunk, ...]


Content = Annotated[Inline | Stored | Linked | Ready, Field(discriminator="kind")]


class DocumentChanged(Event):
    """The newest state of a document at its source; the stream keeps one per document."""

    stream: ClassVar[str] = "DOCS"

    document: Document
    batch: Batch
    op: Literal["upserted", "deleted"]
    content: Content | None = None
    content_hash: str | None = None
    """sha256 of the content; what decides that nothing has changed."""
    size: int = Field(default=0, ge=0)
    media_type: str | None = None
    title: str | None = None
    metadata: Metadata = {}
    source_version: int | None = None
    intake: int = Field(default=0, ge=0)
    """INTAKE sequence of the submission that this, or the change before it, came from."""
    repair: str | None = None
    """Generation whose rows of this document are all written anew."""

    @property
    def subject(self) -> str:
        return f"documents.changed.{self.document.source}.{self.document.doc_key}"

    @model_validator(mode="after")
    def _content_matches_op(self) -> Self:
        if (self.content is None) == (self.op == "upserted"):
            raise ValueError("content is required for 'upserted' and forbidden for 'deleted'")
        return self


# -- CHUNKS and VECTORS ----------------------------------------------------------------------------


class PartRow(Model):
    """A row to be written: everything that the index stores about a chunk, but its vector."""

    id: str
    chunk_key: str
    born: int
    text: str
    heading: tuple[str, ...] = ()
    title: str = ""
    metadata: Metadata = {}

    @property
    def embedded_text(self) -> str:
        """What the model reads: title and heading path as context, then the chunk."""
        return with_context(self.title, self.heading, self.text)


def with_context(title: str, heading: tuple[str, ...], text: str) -> str:
    """One context line `title > heading > heading`, then the text; the title is not repeated."""
    path = [part for part in (title, *heading) if part]
    if len(path) > 1 and path[0] == path[1]:
        path = path[1:]
    context = " > ".join(path)
    return f"{context}\n{text}" if context else text


class DocumentEnriched(Event):
    """A part of a pending revision: rows that are still to be encoded and written."""

    stream: ClassVar[str] = "CHUNKS"

    document: Document
    batch: Batch
    generation: str
    rows: tuple[PartRow, ...]

    @property
    def subject(self) -> str:
        return f"documents.enriched.{self.generation}.{self.document.source}"

    @property
    def work(self) -> str:
        return _work(self.document, self.rows)


class EmbeddingsReady(Event):
    """The same part with vectors; empty when a revision has nothing to write."""

    stream: ClassVar[str] = "VECTORS"

    document: Document
    batch: Batch
    generation: str
    rows: tuple[PartRow, ...] = ()
    fingerprint: str = ""
    dims: int = 0
    count: int = 0
    vectors: str = ""
    """Base64 of `count` x `dims` row-major little-endian float32."""
    encoded: int = 0
    """Texts of this part that the model read; the others came from the cache."""

    @property
    def subject(self) -> str:
        return f"embeddings.ready.{self.generation}.{self.document.source}"

    @property
    def work(self) -> str:
        return _work(self.document, self.rows)

    @staticmethod
    def pack(vectors: NDArray[np.float32]) -> str:
        """Base64 of a float32 array of shape (count, dims)."""
        return base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode()

    def unpack(self) -> NDArray[np.float32]:
        """float32, shape (count, dims). Raises ValueError when the block has another length."""
        block = np.frombuffer(base64.b64decode(self.vectors), "<f4")
        return block.reshape(self.count, self.dims) if self.count else block.reshape(0, 0)

    @model_validator(mode="after")
    def _one_vector_per_row(self) -> Self:
        if self.count != len(self.rows):
            raise ValueError("count is not the number of rows")
        return self


# -- RESULTS ---------------------------------------------------------------------------------------


class ChunkCounts(Model):
    """What a revision did to the rows of its document (C2)."""

    total: int = 0
    inserted: int = 0
    kept: int = 0
    removed: int = 0
    encoded: int = 0
    """Texts that the model read for it; the rest of `inserted` came from the cache."""


class Result(Event):
    """An event for the world: what became of a revision."""

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
    """The whole revision is searchable: the store, asked as a searcher would, has found it."""

    word: ClassVar[str] = "indexed"

    indexed_at: AwareDatetime
    freshness_s: float
    document_count: int = 1
    vector_count: int
    chunks: ChunkCounts = ChunkCounts()


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
    """What a searcher gets was compared with what the ledger promises (F1-F3)."""

    word: ClassVar[str] = "validated"

    validated_at: AwareDatetime
    validation_passed: bool
    expected_count: int
    vector_count: int
    self_query_passed: bool | None = None
    """None: not sampled."""
    freshness_s: float | None = None
    warnings: tuple[str, ...] = ()


class BatchSummary(Model):
    """Documents of a batch by outcome, and what they cost."""

    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    refused: int = 0
    failed: int = 0
    chunks: ChunkCounts = ChunkCounts()


class BatchCompleted(Event):
    """Every document of the batch has an outcome; or it was given up, and `complete` is false."""

    stream: ClassVar[str] = "RESULTS"

    batch: Batch
    generation: str
    completed_at: AwareDatetime
    summary: BatchSummary = BatchSummary()
    validation_passed: bool | None = None
    complete: bool = True
    """False: nothing of the batch moved for `validation.batch_timeout`. Should the rest come after
    all, the event comes again."""
    missing: int = Field(default=0, ge=0)
    """Documents that were announced and never sent, and documents without an outcome."""

    @property
    def subject(self) -> str:
        return f"batches.completed.{self.generation}.{self.batch.source}"

    @property
    def message_id(self) -> str:
        short = "" if self.complete else f":{self.missing} missing"
        return f"completed:{self.generation}:{self.batch.id}{short}"


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


def _work(document: Document, rows: Sequence[PartRow]) -> str:
    """26 characters, of the revision and the rows of a part of it."""
    names = (document.doc_key, str(document.revision), *sorted(row.id for row in rows))
    return short_digest("\n".join(names), 26)


def parse_result(subject: str, data: bytes) -> Result:
    """The event of a RESULTS message about a document. Raises ValidationError, KeyError."""
    return RESULTS[subject.split(".")[1]].model_validate_json(data)


def cache_keys(part: DocumentEnriched, fingerprint: str) -> list[str]:
    """Keys of the vectors of a part's rows, in their order."""
    return [cache_key(fingerprint, row.embedded_text) for row in part.rows]


EVENTS: tuple[type[Event], ...] = (
    DocumentSubmitted,
    DocumentChanged,
    DocumentEnriched,
    EmbeddingsReady,
    *RESULTS.values(),
    BatchCompleted,
)


def example_json(event: Event) -> dict[str, Any]:
    """The event as the JSON object that is published."""
    return event.model_dump(mode="json")
