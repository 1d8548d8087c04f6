"""Optional fields of the client's methods; `services.gateway.models` explains them.

An absent field is not sent, so the gateway's own default counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class SearchFields(TypedDict, total=False):
    """Of a search; the settings give the values of absent fields."""

    mode: Literal["vector", "keyword", "hybrid"]
    limit: int
    filter: str | Mapping[str, Any]
    source: Sequence[str]
    weights: Mapping[str, float]
    group_by: Literal["document", "content", "chunk"]
    facets: Sequence[str]
    rerank: bool
    explain: bool
    highlight: bool
    after: str
    wait: float


class DocumentsFields(TypedDict, total=False):
    """Which documents to list."""

    state: str
    source: str
    prefix: str
    stale: bool
    limit: int
    cursor: str


class NameFields(TypedDict, total=False):
    """What a name may mean besides."""

    file: str
    """Absolute path, when asked from the machine of the instance."""


class SimilarFields(NameFields, total=False):
    """Which similar documents to list."""

    limit: int
    filter: str
    source: Sequence[str]
    copies: bool
    """Also documents that are equal to it, chunk by chunk."""
    explain: bool


class DiffFields(NameFields, total=False):
    """How many chunks of each list to show."""

    limit: int


class DocumentFields(NameFields, total=False):
    """What to tell of a document."""

    chunks: bool


class ReceiptFields(TypedDict, total=False):
    """Seconds to wait for the outcome."""

    wait: float


class FailuresFields(TypedDict, total=False):
    """Which failures to list."""

    source: str
    code: str
    stage: str
    path: str
    state: Literal["", "refused", "failed", "dropped"]
    limit: int


class Choice(TypedDict, total=False):
    """Failures to act on: by id, by what they have in common, or all."""

    source: str
    code: str
    stage: str
    path: str
    ids: Sequence[str]
    lenient: bool
    all: bool
    dry_run: bool


class PageFields(TypedDict, total=False):
    """A part of a list, newest first."""

    source: str
    limit: int
    cursor: str


class ReportFields(TypedDict, total=False):
    """The source of the batch, where several have one of its id."""

    source: str


class EndedFields(ReportFields, total=False):
    """The same, and the seconds to wait for its end."""

    wait: float


class ValidateFields(TypedDict, total=False):
    """A batch, and questions whose answers are known."""

    batch: str
    source: str
    queries: Sequence[Mapping[str, str]]


class SweepFields(TypedDict, total=False):
    """How to compare and repair."""

    dry_run: bool
    batch_size: int
    force: bool


class GenerateFields(TypedDict, total=False):
    """Documents that are sent again at a time."""

    batch_size: int


class ChecksFields(TypedDict, total=False):
    """Whether to compare the store with the ledger too."""

    deep: bool


class WriteFields(TypedDict, total=False):
    """Of a document that is written or deleted."""

    wait: float
    """Seconds to wait until it is searchable, or has failed."""
    if_revision: int
    """Only if this is its revision; 0: only if there is no such document."""
    idempotency_key: str
    """Names the request, so that it may be repeated."""


class PutFields(WriteFields, total=False):
    """Of a content."""

    media_type: str
    """Absent: the ending of the path tells."""


class TableFields(TypedDict, total=False):
    """Of a table of documents."""

    path_column: str
    text_column: str
    """Absent: `text` or `content`."""
    idempotency_key: str
    """Names the request, so that it may be repeated."""


class DeleteFields(TypedDict, total=False):
    """Which documents to delete: `paths` or `prefix`."""

    paths: Sequence[str]
    prefix: str
    dry_run: bool


class ListenFields(TypedDict, total=False):
    """Which events to hear."""

    types: str
    """Types with commas between: `document`, `validation`, `batch`; absent: all."""
    source: str
    after: int
    """Id of the last event that was heard; absent: only what comes from now on."""


class KeyFields(TypedDict, total=False):
    """What a new key is for."""

    sources: Sequence[str]
    """What it may see, write and count; absent: all sources, also those that come later."""
    expires_s: float
    """Seconds until it opens nothing any more; absent: never."""
    name: str
