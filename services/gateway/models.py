"""Requests, status and checks: one schema for HTTP, the command line's `--json`, and Python.

Requests refuse unknown fields. Times are aware UTC, durations end in `_s`.
"""

import re
from datetime import datetime
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared.domain.ordering import Word
from shared.ports import Mode

QUESTION_CHARACTERS: Final = 2000
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
STATES: tuple[Word, ...] = (
    "queued",
    "working",
    "searchable",
    "inactive",
    "refused",
    "failed",
    "dropped",
    "removed",
)


class Request(BaseModel):
    """The base of requests. Refuses unknown fields, and lone surrogates: JSON can spell them, but
    no store or model can take them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _unicode(cls, value: Any, info: ValidationInfo) -> Any:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and _SURROGATE.search(text):
                raise ValueError(f"{info.field_name}: must be valid Unicode text")
        return value


class Response(BaseModel):
    """The base of answers; newer versions only add fields."""

    model_config = ConfigDict(frozen=True)


# -- search ----------------------------------------------------------------------------------------


class WeightsRequest(Request):
    """How much each list counts in hybrid search."""

    vector: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    keyword: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class SearchRequest(Request):
    """A question. The settings give the values of absent fields."""

    q: str = Field(default="", validate_default=True)
    """The question: 1 to 2,000 characters."""
    mode: Mode | None = None
    limit: int | None = Field(default=None, ge=1, le=200)
    filter: str = Field(default="", max_length=2000)
    """`source:NAME path:PREFIX -path:PREFIX`."""
    source: tuple[str, ...] = ()
    weights: WeightsRequest = WeightsRequest()
    group_by: Literal["document", "chunk"] = "document"
    explain: bool = False
    highlight: bool = False
    after: str | None = None
    """A receipt: the answer waits for it (read your own writes)."""
    wait: float = Field(default=5.0, ge=0, le=60)
    """Seconds that `after` may take."""

    @field_validator("q")
    @classmethod
    def _askable(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the question is empty; write at least one word")
        if len(value) > QUESTION_CHARACTERS:
            raise ValueError(
                f"the question has {len(value):,} characters; "
                f"it may have {QUESTION_CHARACTERS:,}: shorten it"
            )
        return value


# -- documents -------------------------------------------------------------------------------------


class DocumentsRequest(Request):
    """Which documents to list. `state` may name several, separated by commas."""

    state: str = ""
    source: str = ""
    prefix: str = ""
    stale: bool | None = None
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str = ""

    @field_validator("state")
    @classmethod
    def _states(cls, value: str) -> str:
        for word in filter(None, value.split(",")):
            if word not in STATES:
                raise ValueError(f"{word[:80]!r} is not a state; states are {', '.join(STATES)}")
        return value


class DocumentRequest(Request):
    """One document: by doc_key, SOURCE/PATH, a path that is there once, or a file's full path."""

    name: str = Field(min_length=1, max_length=4096)
    file: str = ""
    """Absolute path that the name may mean, when asked from this machine."""
    chunks: bool = True


class LeftOutRequest(Request):
    """What a watched folder leaves out: SOURCE, SOURCE/PATH, a path, or a full path."""

    name: str = Field(min_length=1, max_length=4096)
    file: str = ""
    """Absolute path that the name may mean, when asked from this machine."""


class ReceiptRequest(Request):
    """The outcome of a submission; `receipt` is DOC_KEY-REVISION."""

    receipt: str
    wait: float = Field(default=0.0, ge=0, le=60)


# -- failures --------------------------------------------------------------------------------------


class Pick(Request):
    """A filter of failures, which match every given field."""

    source: str = ""
    code: str = ""
    stage: str = ""
    path: str = Field(default="", max_length=2000)
    """A glob on the path, as `guide/*.md`; `*` also stands for `/`."""


class FailuresRequest(Pick):
    state: Literal["", "refused", "failed", "dropped"] = ""
    """Empty: refused and failed ones, without the dropped."""
    limit: int = Field(default=200, ge=1, le=1000)


class ChooseRequest(Pick):
    """Failures to act on: by id, by what they have in common, or all."""

    ids: tuple[str, ...] = ()
    lenient: bool = False
    """An id that names no failure any more is left out, not an error."""
    all: bool = False
    dry_run: bool = False


class HoldRequest(Request):
    """Removals of one source."""

    source: str = Field(min_length=1, max_length=40)


class ForgetRequest(Request):
    """All documents of one source."""

    source: str = Field(min_length=1, max_length=40)


# -- status, validation ----------------------------------------------------------------------------


class StatusRequest(Request):
    """No fields."""


class ChecksRequest(Request):
    """Checks of the instance; `deep` compares the store with the ledger too."""

    deep: bool = False


class StageView(Response):
    stage: str
    waiting: int
    running: int
    per_second: float | None = None
    lag_s: float | None = None
    replicas: int | None = None
    """Processes that were heard lately; None: not known (yet)."""


class SourceView(Response):
    name: str
    kind: str
    path: str | None = None
    documents: int = 0
    error: str = ""
    """Why the folder cannot be listed; nothing is removed meanwhile."""
    problems: dict[str, str] = {}
    """Some of the paths that cannot be listed, read or named, and why."""
    problem_count: int = 0
    left_out: dict[str, int] = {}
    """Files that are no documents, by ending ("" has none, "*" are all others) or by reason; a
    folder of which nothing is read counts once."""
    given: bool = True
    """False: a folder that was watched once and is not given to instep any more."""
    last_seen: datetime | None = None
    """When a folder that is not given any more was last watched."""
    same_as: str = ""
    """The source that has all documents of one that is not given any more."""


class SweepView(Response):
    """The newest comparison of files, ledger and store."""

    at: datetime
    repaired: int
    """Documents that were sent again, or taken out."""
    needs_you: bool
    """It left differences that only a person can end."""


class StatusAnswer(Response):
    in_step: bool
    """False where no instance runs: later changes are not known."""
    runs: bool = True
    """An instance runs; else the answer is what the last one left, and no folder is watched."""
    in_step_as_of: datetime | None = None
    """Where none runs: until when everything was in step; None: it was not."""
    pending_documents: int
    oldest_pending_s: float | None = None
    watermark: datetime | None = None
    freshness_p50_s: float | None = None
    freshness_p95_s: float | None = None
    stages: tuple[StageView, ...]
    documents: dict[str, int]
    """Documents by state, and `stale`, `held`, `unreadable`: their newest change cannot be read."""
    chunks: int
    """Chunks in the index, those of inactive documents too."""
    sources: tuple[SourceView, ...] = ()
    last_sweep: SweepView | None = None
    loading: dict[str, str] = {}
    """`model` or `store` while it is not ready, and why."""
    generation: str
    version: str
    at: datetime


class Query(Request):
    """A question and the document that should be in the answer, as `source/path`."""

    q: str
    expect: str


class ValidateRequest(Request):
    """Check the index, or one batch; with questions whose answers are known."""

    batch: str | None = None
    source: str = ""
    """Of the batch; needed when several sources have one of this id."""
    queries: tuple[Query, ...] = ()

    @model_validator(mode="after")
    def _source_of_a_batch(self) -> Self:
        if self.source and self.batch is None:
            raise ValueError("source goes with a batch: the index is checked as a whole")
        return self


class CheckView(Response):
    """One check: its finding, its level, its fix."""

    name: str
    level: Literal["ok", "WARN", "FAIL"]
    text: str
    fix: str = ""


class ValidateAnswer(Response):
    """Whether the index agrees with the ledger."""

    passed: bool
    checks: tuple[CheckView, ...]
    generation: str
    documents: int = 0
    """Searchable documents."""
    rows: int = 0
    """Rows in the store."""
    expected_rows: int = 0
    """Rows that the ledger lists."""
    took_ms: float = 0.0


class BatchesRequest(Request):
    source: str = ""
    limit: int = Field(default=20, ge=1, le=500)
    cursor: str = ""


class BatchRequest(Request):
    batch: str = Field(min_length=1)
    """Its id, or `last`."""
    source: str = ""
    """Needed when several sources have a batch of this id."""
