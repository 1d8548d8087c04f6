"""Submissions of outside systems, and the receipts that answer them."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.domain.events.base import Batch, Document, Event, Listed, Metadata, Model
from shared.domain.ids import PIECE_PATTERN

CONTENTS: Final = ("text", "data_base64", "chunks", "pieces", "ref")
"""The fields of a submission that hold its content."""


PieceName = Annotated[str, StringConstraints(pattern=PIECE_PATTERN)]


class SubmittedChunk(Model):
    """A chunk that its publisher has cut already."""

    text: str
    heading: Listed[str] = ()


class Reference(Model):
    """Content that instep reads at its place: a file when it is cut, a page of the web at once."""

    url: str
    """`file:///…`, `https://…` or `http://…`."""
    etag: str | None = None
    size: int | None = Field(default=None, ge=0)


class DocumentSubmitted(Event):
    """A command to instep: put this document into the index, or take it out.

    A `piece` is a part of the content of a document that is too large for one message. It changes
    nothing until an upsert of the same source names it.
    """

    stream: ClassVar[str] = "INTAKE"

    op: Literal["upsert", "delete", "piece", "upsert_if", "delete_if"] = "upsert"
    """The last two are the first two with a condition, `if_revision`. They have names of their own
    because versions before them ignore unknown fields, and refuse unknown operations."""
    path: str
    text: str | None = None
    data_base64: str | None = None
    """Content as bytes, of any format; `text` is for text."""
    chunks: Listed[SubmittedChunk] | None = None
    pieces: Listed[PieceName] | None = None
    """The content, as the names of pieces in their order; each is in the receipt of its piece."""
    ref: Reference | None = None
    media_type: str | None = None
    """Default: by the ending of the path."""
    title: str | None = None
    metadata: Metadata = Field(default={})
    static_score: float | None = None
    """The value of the document to its publisher, whatever the question; any finite number."""
    is_active: bool = True
    """False: search leaves the document out. The index keeps it, so that nothing is embedded when
    it is active again."""
    source_version: int | None = None
    """A number that grows with every change of the document, if the publisher has one."""
    batch: Batch | None = None
    if_revision: int | None = Field(default=None, ge=0, lt=2**53)
    """Take it only if the newest accepted change of the document is this revision; 0: if there is
    none."""

    @property
    def deletes(self) -> bool:
        return self.op in ("delete", "delete_if")

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        given = [name for name in CONTENTS if getattr(self, name) is not None]
        has = f"this one has {' and '.join(given) or 'none'}"
        if self.op in ("upsert", "upsert_if") and len(given) != 1:
            raise ValueError(f"an upsert has exactly one of {', '.join(CONTENTS)}; {has}")
        if self.deletes and given:
            raise ValueError(f"a delete has no content; {has}")
        if (self.if_revision is not None) != self.op.endswith("_if"):
            raise ValueError("upsert_if and delete_if have if_revision, and no other op has it")
        if self.op == "piece" and given != ["data_base64"]:
            raise ValueError(f"a piece has data_base64 only; {has}")
        return self


class Receipt(Model):
    """The answer to a submission: `doc_key-sequence`, or why it was refused."""

    state: Literal["queued", "unchanged", "stale", "refused", "stored"]
    """stored: a piece is."""
    receipt: str | None = None
    piece: str | None = None
    """The name of a piece, for the upsert that it belongs to."""
    document: Document | None = None
    code: str | None = None
    detail: str | None = None
