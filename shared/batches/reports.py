"""Shapes and bounds of stored reports of batches, and of verdicts on the index. Pure.

A report is stored whole; histories are made of its line, which has no lists.
"""

import json
import zlib
from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field, ValidationError

from shared.domain.errors import GARBAGE
from shared.domain.events import Batch, BatchSummary, ChunkCounts, Model

BINS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
"""Upper ends of the bins of freshness; all longer times share one more bin."""
SLOWEST: Final = 10
TROUBLES_KEPT: Final = 500
MEMBERS_KEPT: Final = 5_000
MOST_BYTES: Final = 128 * 1024
"""Of a stored report. 1,500 of them fill three quarters of their bucket."""

TroubleState = Literal["failed", "differs", "waiting", "refused"]


class Documents(Model):
    """Documents of a batch by outcome. A move is one document here, and two changes."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    refused: int = 0
    failed: int = 0
    waiting: int = 0
    """Without an outcome when the report was made."""
    missing: int = 0
    """Announced by the publisher, and never sent."""
    superseded: int = 0
    """Of all these, how many ended with a newer change in the place of this batch's."""


class Bin(Model):
    """Documents that became searchable within `up_to_s`, later than the bin before."""

    up_to_s: float | None
    """None: all longer times."""
    documents: int


class FreshnessLine(Model):
    """Seconds from change to searchable, over documents."""

    documents: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None
    over: int = 0
    """Documents that took longer than `warn_s`."""
    warn_s: float = 60.0


class FreshnessReport(FreshnessLine):
    histogram: tuple[Bin, ...] = ()


class Counted(Model):
    """The numbers behind the checks."""

    documents: int = 0
    failed: int = 0
    expected_rows: int = 0
    found_rows: int = 0
    self_queries: int = 0
    self_queries_passed: int = 0
    samples: int = 0
    samples_passed: int = 0


class Check(Model):
    """A check, its result and the remedy."""

    name: str
    level: Literal["ok", "WARN", "FAIL"]
    text: str
    fix: str = ""
    numbers: dict[str, float] = Field(default_factory=dict)


class Sample(Model):
    """A sample query and the place of its document among the answers; None: not in the top 5."""

    q: str
    expect: str
    rank: int | None


class Slow(Model):
    document: str
    """`source/path`."""
    doc_key: str
    freshness_s: float


class TroubledDocument(Model):
    """A document with a bad outcome, and the reason."""

    document: str
    doc_key: str | None = None
    state: TroubleState
    code: str
    reason: str = ""
    stage: str | None = None


class Texts(Model):
    """Texts of the new chunks: read by the model, or taken from the cache."""

    encoded: int = 0
    cached: int = 0


class Rates(Model):
    """Per second of the batch's time; None: it took none."""

    documents: float | None = None
    chunks: float | None = None
    texts: float | None = None


class ReportLine(Model):
    """A report without its lists."""

    schema_: Literal[1] = Field(default=1, alias="schema")

    batch: Batch
    generation: str
    complete: bool = True
    """False: closed after a long time without progress; see `documents.missing`, `.waiting`."""
    finished_at: AwareDatetime
    """When the last document had its outcome."""
    completed_at: AwareDatetime
    """When everything was checked."""
    elapsed_s: float
    """From `batch.started_at` to `finished_at`."""
    documents: Documents = Documents()
    chunks: ChunkCounts = ChunkCounts()
    freshness: FreshnessLine = FreshnessLine()
    checked: Counted = Counted()
    validation_passed: bool | None = None
    """None: nothing was checked."""


class BatchReport(ReportLine):
    """Everything about a batch."""

    model: str = ""
    summary: BatchSummary = BatchSummary()
    """As `batches.completed` has it."""
    refused_by_code: dict[str, int] = Field(default_factory=dict)
    failed_by_code: dict[str, int] = Field(default_factory=dict)
    texts: Texts = Texts()
    per_second: Rates = Rates()
    freshness: FreshnessReport = FreshnessReport()
    slowest: tuple[Slow, ...] = ()
    checks: tuple[Check, ...] = ()
    samples: tuple[Sample, ...] | None = None
    """None: no sample queries were asked."""
    troubles: tuple[TroubledDocument, ...] = ()
    troubles_more: int = 0
    """Their number beyond the listed ones."""


class Validation(Model):
    """The verdict of one moment: on a batch, or on the whole index by `instep validate`."""

    schema_: Literal[1] = Field(default=1, alias="schema")

    kind: Literal["batch", "validate"]
    at: AwareDatetime
    source: str
    """Empty: all sources."""
    batch: str | None = None
    generation: str
    passed: bool | None
    complete: bool = True
    orphans: int = 0
    """Rows of documents missing from the ledger; counted only over all sources."""
    checked: Counted = Counted()
    freshness: FreshnessLine = FreshnessLine()


def line_of(report: BatchReport) -> ReportLine:
    """The report without its lists."""
    fields = ReportLine.model_fields
    return ReportLine.model_validate(report.model_dump(include=set(fields), by_alias=False))


def validation_of(line: ReportLine) -> Validation:
    """A batch as a point of the history of validations."""
    return Validation(
        kind="batch",
        at=line.completed_at,
        source=line.batch.source,
        batch=line.batch.id,
        generation=line.generation,
        passed=line.validation_passed,
        complete=line.complete,
        checked=line.checked,
        freshness=line.freshness,
    )


def pack(report: BatchReport, members: tuple[str, ...], most_bytes: int = MOST_BYTES) -> bytes:
    """The report and its documents' keys as stored: compressed JSON, with lists as they fit.

    Args:
        members: doc_keys.
        most_bytes: the lists are halved until this holds; without any, a report is below 8 KB.
    """
    while True:
        raw = {"report": report.model_dump(mode="json"), "members": members}
        text = json.dumps(raw, ensure_ascii=False, separators=(",", ":"))
        value = zlib.compress(text.encode("utf-8", "surrogatepass"), 6)
        if len(value) <= most_bytes or not (members or report.troubles or report.samples):
            return value
        members = members[: len(members) // 2]
        kept = report.troubles[: len(report.troubles) // 2]
        report = report.model_copy(
            update={
                "troubles": kept,
                "troubles_more": report.troubles_more + len(report.troubles) - len(kept),
                "samples": (report.samples or ())[: len(report.samples or ()) // 2] or None,
            }
        )


def unpack(value: bytes) -> tuple[BatchReport, tuple[str, ...]] | None:
    """The report and its members; None when this version cannot read it."""
    try:
        raw: dict[str, Any] = json.loads(zlib.decompress(value).decode("utf-8", "surrogatepass"))
        return BatchReport.model_validate(raw["report"]), tuple(map(str, raw["members"]))
    except GARBAGE:
        return None


def read_line(value: bytes) -> ReportLine | None:
    """A stored line; None when this version cannot read it."""
    try:
        return ReportLine.model_validate_json(value)
    except ValidationError:
        return None


def read_validation(value: bytes) -> Validation | None:
    """A stored verdict; None when this version cannot read it."""
    try:
        return Validation.model_validate_json(value)
    except ValidationError:
        return None
