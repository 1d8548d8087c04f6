"""Answers about documents: hits, lines of lists, revisions, receipts, failures."""

from datetime import datetime

from pydantic import Field

from services.gateway.models import Response, SourceView
from shared.batches.reports import Counted, Documents, FreshnessLine, ReportLine, Validation
from shared.domain.events import Batch, ChunkCounts, Scalar
from shared.domain.ordering import Word
from shared.ports import Mode


class SourcesAnswer(Response):
    """All sources: given ones, and those that were watched once."""

    sources: tuple[SourceView, ...]


class ReasonView(Response):
    """A stable code, and one sentence that explains it."""

    code: str
    text: str


class HitDocument(Response):
    source: str
    path: str
    doc_key: str
    title: str
    state: Word
    stale: bool = False
    """A newer version is known than the one that is served."""
    stale_since: datetime | None = None
    reason: ReasonView | None = None
    static_score: float | None = None
    """Of the version that is served; None: its source gives none."""
    revision: int | None = None
    """Of the version that is served, as receipts and `If-Match` have it; higher is newer."""


class HitChunk(Response):
    id: str
    n: int
    """Position in its document, counting from 1."""
    heading: tuple[str, ...]
    text: str


class PartView(Response):
    """The part of one list or signal, or the loss of a text that repeats on pages of its source.

    The parts of a hit sum to its score as displayed.
    """

    raw: float | None
    normalised: float
    weight: float
    adds: float


class CopyView(Response):
    """A document that is equal to the one of the hit, chunk by chunk."""

    source: str
    path: str
    doc_key: str


class HitView(Response):
    document: HitDocument
    chunk: HitChunk
    score: float
    parts: dict[str, PartView] | None = None
    highlights: tuple[tuple[int, int], ...] | None = None
    copies: tuple[CopyView, ...] = ()
    """The first of them, where equal documents are one hit."""
    copy_count: int = 0
    """Of those that were ranked: at least so many where the total is not exact."""


class Total(Response):
    value: int
    exact: bool


class Freshness(Response):
    """How far behind an answer can be."""

    watermark: datetime | None
    """Every change known before this moment is included; None: the folders are not listed yet."""
    pending_documents: int
    oldest_pending_s: float | None = None
    after_met: bool | None = None
    """Whether the receipt of `after` was reached; None: there was none."""


class QuestionLanguage(Response):
    """The language of a question that the model does not know, so that it finds by words mostly."""

    question: str
    """ISO 639-1 code, or `unknown`."""
    model: tuple[str, ...]
    """Languages that it knows."""


class SearchAnswer(Response):
    hits: tuple[HitView, ...]
    total: Total
    mode: Mode
    took_ms: float
    timings: dict[str, float] | None = None
    """With `explain`, milliseconds of its parts, waits included: `freshness`, `encode` (of the
    question), `vectors` and `words` (of the store, side by side), `ledger`, `rank`, `rerank`."""
    weights: dict[str, float] | None = None
    """With `explain`, those that the request or the settings give, before they are scaled to sum to
    1; of lists and signals that the mode and the question leave out, too."""
    generation: str
    freshness: Freshness
    phrases: tuple[str, ...] = ()
    """Of the question, which every hit holds."""
    excluded: tuple[str, ...] = ()
    """Words and phrases of the question that no hit holds."""
    facets: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Documents by value, the most frequent 50, of those that were ranked: 100 rows of each list or
    more, or all that match."""
    hint: str = ""
    """Why nothing was found, where the request itself may be the reason."""
    reranked: bool | None = None
    """Whether a reranker has judged the best hits; False: it did not answer in its time. None: it
    was not asked."""
    language: QuestionLanguage | None = None
    """None: the model may know the question's language, or is not asked."""


class DocumentLine(Response):
    source: str
    path: str
    doc_key: str
    state: Word
    stage: str | None = None
    stale: bool = False
    reason: ReasonView | None = None
    chunk_count: int = 0
    """Chunks in the index; those of an inactive document are not searchable."""
    changed_at: datetime | None = None
    settled_at: datetime | None = None


class DocumentsAnswer(Response):
    documents: tuple[DocumentLine, ...]
    total: int
    next_cursor: str | None = None
    generation: str


class RevisionView(Response):
    """A revision of a document: its outcome and its times."""

    sequence: int
    outcome: str
    changed_at: datetime
    started_at: datetime | None = None
    settled_at: datetime | None = None
    freshness_s: float | None = None
    chunks: int = 0
    inserted: int = 0
    kept: int = 0
    removed: int = 0
    encoded: int = 0
    waiting: int = 0
    """Rows that are not written yet."""
    reason: ReasonView | None = None
    is_active: bool = True
    """False: search leaves the document out."""
    static_score: float | None = None


class NewestView(Response):
    """The newest known change of the document."""

    sequence: int
    op: str
    changed_at: datetime
    size: int
    media_type: str | None = None
    title: str | None = None


class ChunkView(Response):
    id: str
    n: int
    heading: tuple[str, ...] = ()
    text: str | None = None
    """None: the store does not have the row; the sweep will repair it."""
    embedded: str | None = None
    """The text that the model reads for the chunk: its own, with its context."""
    born: int


class DocumentAnswer(DocumentLine):
    """Everything known of a document."""

    generation: str
    served: RevisionView | None = None
    """The newest settled revision, which search shows unless it is inactive."""
    pending: RevisionView | None = None
    newest: NewestView | None = None
    title: str = ""
    metadata: dict[str, Scalar] = Field(default_factory=dict)
    origins: dict[str, str] = Field(default_factory=dict)
    """Where the title and each value of the metadata come from, as `front matter`, `meta`,
    `guessed` or `publisher`; and `encoding`, where it was guessed. All three are those of the
    searchable revision, and told with its chunks only: the store keeps them."""
    unfit: dict[str, str] = Field(default_factory=dict)
    """Metadata whose values do not fit the kind that the settings declare, and that kind: filters
    take them as missing."""
    why: str
    fix: str = ""
    chunks: tuple[ChunkView, ...] | None = None


class HistoryAnswer(Response):
    """The revisions of a document that are still known, newest first."""

    source: str
    path: str
    doc_key: str
    generation: str
    revisions: tuple[RevisionView, ...]
    """`outcome` is `queued`, `working`, `indexed`, `removed`, `refused` or `failed`. When changes
    follow quickly, only the last of them may have an outcome."""
    whole: bool
    """All outcomes that the bus keeps, of seven days, were looked through. False: of the newest
    ones as many as time allowed, and the newest change, as the bus has many."""


class DiffChunk(Response):
    """A chunk that a revision adds or takes out."""

    n: int
    """Position in its revision, counting from 1."""
    heading: tuple[str, ...] = ()
    text: str | None = None
    """None: the store does not have it, or not yet."""


class DiffAnswer(Response):
    """What the newest revision of a document does to its chunks."""

    source: str
    path: str
    doc_key: str
    generation: str
    before: int | None
    """The served revision, if another one is pending; None: the one before is known no more."""
    revision: int
    """The newest that was cut into chunks."""
    pending: bool
    """The revision is being made, and search shows the one before."""
    kept: int
    added: int
    """After a repair all chunks count as added, as all were written anew."""
    removed: int
    added_chunks: tuple[DiffChunk, ...]
    removed_chunks: tuple[DiffChunk, ...]
    removed_known: bool
    """Whether `removed_chunks` tells those that are removed. Once a revision is searchable they are
    gone, and only their number is known."""


class LeftOutAnswer(Response):
    """What a watched folder leaves out at a path."""

    source: str
    path: str
    """Empty for the whole folder."""
    is_folder: bool
    why: str = ""
    """The rule that leaves it out; empty: none does."""
    fix: str = ""
    """What can be done to have it read."""
    counts: dict[str, int] = Field(default_factory=dict)
    """What is left out below a folder, by ending or reason."""
    some: dict[str, str] = Field(default_factory=dict)
    """At most 100 of that, each with its rule; a folder has a slash at its end."""


class ReceiptAnswer(Response):
    receipt: str
    state: Word
    final: bool
    outcome: str | None = None
    """inserted, updated, unchanged, removed, refused, failed or superseded; None while not final.
    """
    freshness_s: float | None = None
    """From the change to the time at which search showed it, or the document was removed."""
    searchable_at: datetime | None = None
    """None: this revision is not searchable, or not active."""
    chunks: dict[str, int] = Field(default_factory=dict)
    reason: ReasonView | None = None


class FailureView(Response):
    id: str
    document: str
    """`source/path`, or the name of a message."""
    source: str
    path: str
    doc_key: str | None
    state: Word
    code: str
    reason: str
    stage: str | None = None
    since: datetime | None = None
    tries: int | None = None
    """Deliveries; None where they are not counted."""
    fix: str


class FailureGroup(Response):
    """Failures with one reason."""

    code: str
    state: Word
    count: int
    meaning: str
    """The meaning of the code, in one sentence."""
    fix: str
    """What to do about all of them, kind by kind."""


class FailuresAnswer(Response):
    failures: tuple[FailureView, ...]
    groups: tuple[FailureGroup, ...] = ()
    """Of all that were asked for, the largest first."""
    total: int
    generation: str


class OpenBatchView(Response):
    """A batch that has not ended."""

    batch: Batch
    accepted: int
    """Documents that have come, and that a producer has taken."""
    refused: int
    """Those that it refused."""
    unchanged: int
    missing: int
    """Announced, and not there yet."""
    states: dict[str, int]
    """The accepted ones by their present state, which may be that of a newer change."""
    noted_at: datetime | None
    """When its newest document came; None: not known."""


class BatchesAnswer(Response):
    """Reports without their lists, newest first."""

    batches: tuple[ReportLine, ...]
    next_cursor: str | None = None
    open: tuple[OpenBatchView, ...] = ()
    """Those that have not ended, newest first; with the first page only."""


class BatchAnswer(Response):
    """A batch: its report without lists, or, while it has not ended, what is known by now."""

    batch: Batch
    generation: str
    open: OpenBatchView | None = None
    """None: it has ended."""
    complete: bool
    """False: it has not ended, or was closed after a long time without progress."""
    finished_at: datetime | None = None
    """When the last document had its outcome; None: it has not ended."""
    completed_at: datetime | None = None
    """When everything was checked; None: it has not ended."""
    elapsed_s: float | None = None
    documents: Documents = Documents()
    """By outcome; of one that has not ended, those that need no work only."""
    chunks: ChunkCounts = ChunkCounts()
    freshness: FreshnessLine = FreshnessLine()
    checked: Counted = Counted()
    validation_passed: bool | None = None


class ValidationsAnswer(Response):
    """Verdicts on batches and on the whole index, newest first."""

    validations: tuple[Validation, ...]
    next_cursor: str | None = None


class Chosen(Response):
    id: str
    document: str
    done: bool
    detail: str = ""


class HoldView(Response):
    """Removals of a source that wait for a person."""

    source: str
    since: datetime
    vanished: int
    of: int
    """Documents of the source, with the vanished ones."""
    sample: tuple[str, ...]
    kept: bool
    """Decided: the documents stay."""
    released: bool = False
    """Decided: the next `instep up` takes them out."""


class HoldsAnswer(Response):
    holds: tuple[HoldView, ...]
    total: int
    """Removals of all sources that wait for a decision; without the kept ones."""


class HoldAnswer(Response):
    """The outcome of a decision about the removals of a source."""

    source: str
    done: bool
    documents: int
    """Documents that were removed, or that stay."""
    detail: str = ""


class ChosenAnswer(Response):
    """The outcome of a command for each failure."""

    done: int
    skipped: int
    dry_run: bool
    items: tuple[Chosen, ...]


class FaultView(Response):
    """One wrong place in a request."""

    at: str
    """JSON pointer."""
    code: str
    detail: str


class ProblemView(Response):
    """The answer to a request that is refused (RFC 9457)."""

    type: str
    """Where the gateway explains the code: `/problems/CODE`."""
    title: str
    status: int
    code: str
    """Never renamed."""
    detail: str
    fix: str
    """What to do; may be empty."""
    request_id: str
    errors: tuple[FaultView, ...]
    """The first 20 faults."""
    error_count: int
