"""Requests that bring documents in over HTTP, and their answers."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from services.gateway.models import Request, Response
from services.gateway.views import ReceiptAnswer


class UploadRequest(Request):
    """A document to be written or deleted; its content is the body of the request."""

    source: str
    path: str = Field(min_length=1)
    wait: float = Field(default=0.0, ge=0, le=60)
    """Seconds to wait until the document is searchable, or has failed."""


class UploadsRequest(Request):
    """Documents in one body: files of a form, or lines of JSON."""

    source: str
    receipts: Literal["", "all"] = ""
    """`all`: the answer is a line of JSON for each document instead of a summary."""


class BulkRequest(UploadsRequest):
    """Lines of JSON, or a table in CSV, whose further columns are metadata."""

    path_column: str = Field(default="path", min_length=1)
    """The column of a table that has the paths."""
    text_column: str = ""
    """The one that has the texts; empty: `text` or `content`."""


class DeleteRequest(Request):
    """Documents to be deleted: by `paths`, or all below a `prefix`."""

    source: str
    paths: tuple[str, ...] | None = None
    prefix: str | None = Field(default=None, min_length=1)
    dry_run: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.paths is None) == (self.prefix is None):
            raise ValueError("give either paths or prefix")
        return self


class UploadedDocument(Response):
    source: str
    path: str
    doc_key: str
    revision: int
    changed_at: datetime


class UploadAnswer(ReceiptAnswer):
    """The receipt of a document, which ends in `searchable`."""

    document: UploadedDocument
    detail: str = ""


class UploadError(Response):
    """A document that was not taken. Never holds its content."""

    line: int | None = None
    """Of the body, counting from 1."""
    file: str | None = None
    """As its form names it."""
    path: str
    code: str
    detail: str


class UploadLine(Response):
    """What became of one document of a request with `receipts=all`. Never holds its content."""

    line: int | None = None
    """Of the body, counting from 1."""
    file: str | None = None
    """As its form names it."""
    path: str
    status: int
    """Of HTTP, as if the document had come alone. 503: repeat the whole request, with its key."""
    state: str | None = None
    """`queued`, or `stale`: a newer change was accepted before."""
    receipt: str | None = None
    document: UploadedDocument | None = None
    batch: str | None = None
    """Its own, or that of the request."""
    code: str | None = None
    """Why it was not taken; None: it was."""
    detail: str | None = None


class UploadsAnswer(Response):
    """The outcome of many documents, which are one batch."""

    batch: str
    accepted: int
    refused: int
    errors: tuple[UploadError, ...] = ()
    truncated: bool = False
    """There are more errors than these."""


class DeleteAnswer(UploadsAnswer):
    matched: int
    """Documents that the request names."""
    remaining: int = 0
    """Documents below the prefix that this call leaves: repeat it."""
    dry_run: bool = False
