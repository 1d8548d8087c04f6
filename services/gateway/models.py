"""Requests, status and checks: one schema for HTTP, the command line's `--json`, and Python.

Requests refuse unknown fields. Times are aware UTC, durations end in `_s`.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict, JsonValue

from shared.domain.ids import SOURCE_PATTERN
from shared.domain.ordering import Word
from shared.ports import Mode

QUESTION_CHARACTERS: Final = 2000
FILTER_CHARACTERS: Final = 2000
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

_STATE: Final = f"({'|'.join(STATES)})"

Flag = Annotated[bool, Strict()]
"""True or false, and no number or word that looks like it."""
Named = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^$|{SOURCE_PATTERN}"})]
"""The name of a source, or empty."""


class Request(BaseModel):
    """The base of requests. Refuses unknown fields, and lone surrogates: JSON can spell them, but
    no store or model can take them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and any(n in str(field.annotation) for n in ("int", "float")):
            raise ValueError(f"{info.field_name}: must be a number, not true or false")
        return value

    @field_validator("*")
    @classmethod
    def _unicode(cls, value: Any, info: ValidationInfo) -> Any:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and _SURROGATE.search(text):
                raise ValueError(f"{info.field_name}: must be valid Unicode text")
        return value


class Response(BaseModel):
    """The base of answers; newer versions only add fields. Every field is always sent."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


# -- search ----------------------------------------------------------------------------------------


class WeightsRequest(Request):
    """How much each list and each signal counts; they are scaled to sum to 1."""

    vector: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    keyword: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    static: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    """The static score of a document, divided by the best one of the answer."""
    recency: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    """1 for a document of now, half as much for each half-life of its age."""
    title: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    """The share of the question's words that are in the title."""
    phrase: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    """Whether the chunk has the words of the question one after the other."""


def _some_words(schema: JsonDict) -> None:
    """The question as a schema; its default is there to be refused in one sentence."""
    del schema["default"]
    schema |= {"minLength": 1, "maxLength": QUESTION_CHARACTERS, "pattern": r"\S"}


class SearchRequest(Request):
    """A question. The settings give the values of absent fields."""

    model_config = ConfigDict(json_schema_extra={"required": ["q"]})

    q: str = Field(
        default="",
        validate_default=True,
        json_schema_extra=_some_words,
    )
    """The question: 1 to 2,000 characters."""
    mode: Mode | None = None
    limit: int | None = Field(default=None, ge=1, le=200)
    filter: Annotated[str, Field(max_length=FILTER_CHARACTERS)] | dict[str, Any] = ""
    """`source:NAME path:PREFIX FIELD:VALUE FIELD>=VALUE -FIELD:VALUE`, or the same as JSON."""
    source: tuple[str, ...] = ()
    weights: WeightsRequest = WeightsRequest()
    group_by: Literal["document", "content", "chunk"] = "document"
    """`document`: the best chunk of each. `content`: the same, and equal documents once."""
    facets: tuple[str, ...] = Field(default=(), max_length=10)
    """What to count among the documents found: `source`, `folder`, or a key of the metadata."""
    rerank: Flag | None = None
    """Whether the reranker of the settings judges the best hits; None: if there is one."""
    explain: Flag = False
    highlight: Flag = False
    after: str | None = None
    """A receipt: the answer waits for it (read your own writes)."""
    wait: float = Field(default=5.0, ge=0, le=60)
    """Seconds that `after` may take."""

    @field_validator("filter", mode="before")
    @classmethod
    def _text_or_object(cls, value: Any) -> Any:
        if not isinstance(value, str | dict):
            raise ValueError("filter: must be a text or an object")  # noqa: TRY004 - pydantic passes it on
        if isinstance(value, str) and len(value) > FILTER_CHARACTERS:
            raise ValueError(
                f"filter: must have at most {FILTER_CHARACTERS:,} characters, not {len(value):,}"
            )
        return value

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

    state: str = Field(default="", json_schema_extra={"pattern": f"^$|^{_STATE}(,{_STATE})*$"})
    source: str = ""
    prefix: str = ""
    stale: Flag | None = None
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
    chunks: Flag = True


class HistoryRequest(Request):
    """The known revisions of a document, which is named as in `DocumentRequest`."""

    name: str = Field(min_length=1, max_length=4096)
    file: str = ""
    """Absolute path that the name may mean, when asked from this machine."""


class DiffRequest(HistoryRequest):
    """What the newest revision of a document does to its chunks."""

    limit: int = Field(default=50, ge=1, le=1_000)
    """Most chunks of each list."""


class SimilarRequest(Request):
    """Documents that are similar to one, which is named as in `DocumentRequest`."""

    name: str = Field(min_length=1, max_length=4096)
    file: str = ""
    """Absolute path that the name may mean, when asked from this machine."""
    limit: int | None = Field(default=None, ge=1, le=200)
    filter: str = Field(default="", max_length=FILTER_CHARACTERS)
    """As of a search, as text."""
    source: tuple[str, ...] = ()
    copies: Flag = False
    """Also documents that are equal to it, chunk by chunk."""
    explain: Flag = False


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


def _something_chosen(schema: JsonDict) -> None:
    """As `services.gateway.documents.failures.choose` demands."""
    picked: list[JsonValue] = [
        {"required": [name], "properties": {name: {"minLength": 1}}} for name in Pick.model_fields
    ]
    schema["anyOf"] = [
        {"required": ["all"], "properties": {"all": {"const": True}}},
        {"required": ["ids"], "properties": {"ids": {"minItems": 1}}},
        *picked,
    ]


class ChooseRequest(Pick):
    """Failures to act on: by id, by what they have in common, or all."""

    model_config = ConfigDict(json_schema_extra=_something_chosen)

    ids: tuple[str, ...] = ()
    lenient: Flag = False
    """An id that names no failure any more is left out, not an error."""
    all: Flag = False
    dry_run: Flag = False


class FailureRequest(Request):
    """One failure: its id, or its document by doc_key or SOURCE/PATH."""

    id: str = Field(min_length=1, max_length=4096)


class SourceRequest(Request):
    """One source."""

    source: str = Field(min_length=1, max_length=40)


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

    deep: Flag = False


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

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"source": {"const": ""}}},
                {"required": ["batch"], "properties": {"batch": {"type": "string"}}},
            ]
        }
    )

    batch: str | None = None
    source: Named = ""
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


class ChecksAnswer(Response):
    """The checks of an instance."""

    ready: bool
    """No check failed."""
    checks: tuple[CheckView, ...]


class VersionAnswer(Response):
    """Versions of an instance."""

    version: str
    generation: str
    api: str


class LiveAnswer(Response):
    """The event loop runs."""

    live: Literal[True] = True


class ProblemRequest(Request):
    """An error code."""

    code: str


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
    source: Named = ""
    limit: int = Field(default=20, ge=1, le=500)
    cursor: str = ""


class BatchRequest(Request):
    batch: str = Field(min_length=1)
    """Its id, or `last`."""
    source: Named = ""
    """Needed when several sources have a batch of this id."""


class EndedBatchRequest(BatchRequest):
    """A batch; one that has not ended may end while the request waits."""

    wait: float = Field(default=0.0, ge=0, le=60)


class ReportRequest(BatchRequest):
    """The report of a batch."""

    format: Literal["", "html", "json"] = ""
    """Empty: what the header Accept asks for."""


class ReportsRequest(BatchesRequest):
    """A page of batches."""

    format: Literal["", "html"] = ""
