"""The report of a batch and its checks, from the answers of ledger, store and queries. Pure."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from itertools import islice
from typing import Final

from services.validator.batches.outcomes import Listed, MemberOutcome, count, summarise
from services.validator.checks import Checked, SampleResult, Verdict, freshness, tally
from shared.batches.members import DECLINED, OpenBatch
from shared.batches.reports import (
    BINS_S,
    MEMBERS_KEPT,
    SLOWEST,
    TROUBLES_KEPT,
    BatchReport,
    Bin,
    Check,
    Documents,
    FreshnessLine,
    FreshnessReport,
    Rates,
    Sample,
    Slow,
    Texts,
    TroubledDocument,
)
from shared.domain.events import BatchCompleted


def passed(checked: Checked, samples: Sequence[SampleResult] | None) -> bool | None:
    """The verdict; None: there were no checks. Being slow or incomplete only warns."""
    if not checked.documents and not samples:
        return None
    asked = checked.self_queries_passed == checked.self_queries
    return not checked.failed and asked and all(s.passed for s in samples or ())


def checks_of(
    checked: Checked,
    samples: Sequence[SampleResult] | None,
    fresh: FreshnessLine,
    documents: Documents,
) -> Iterator[Check]:
    if documents.missing or documents.waiting:
        yield _incomplete(documents)
    if checked.documents:
        yield _count(checked)
    if checked.self_queries:
        found, asked = checked.self_queries_passed, checked.self_queries
        text = f"{found:,} of {_n(asked, 'document')} found by own vector"
        fix = "instep retry SOURCE/PATH of each missing document"
        yield _check("self-query", found == asked, text, fix, {"asked": asked, "passed": found})
    if samples:
        found, asked = sum(s.passed for s in samples), len(samples)
        text = f"{found:,} of {_n(asked, 'question')} with the document in the top 5"
        fix = "instep search each question with --explain"
        yield _check("samples", found == asked, text, fix, {"asked": asked, "passed": found})
    if fresh.p95_s is not None:
        yield _fresh(fresh)


def _check(name: str, passed: bool, text: str, fix: str, numbers: Mapping[str, float]) -> Check:
    return Check(
        name=name,
        level="ok" if passed else "FAIL",
        text=text,
        fix="" if passed else fix,
        numbers=dict(numbers),
    )


def _incomplete(documents: Documents) -> Check:
    parts = []
    if documents.missing:
        parts.append(f"{_n(documents.missing, 'announced document')} never came")
    if documents.waiting:
        parts.append(f"{_n(documents.waiting, 'document')} without an outcome")
    fix = "send the rest with the same batch" if documents.missing else "instep status --pending"
    numbers = {"missing": float(documents.missing), "waiting": float(documents.waiting)}
    text = f"closed as incomplete: {', '.join(parts)}"
    return Check(name="complete", level="WARN", text=text, fix=fix, numbers=numbers)


def _count(checked: Checked) -> Check:
    text = (
        f"{_n(checked.found_rows, 'row')} of {_n(checked.documents, 'document')}, "
        f"{checked.expected_rows:,} expected"
    )
    if checked.failed:
        text += f"; not as promised: {_n(checked.failed, 'document')}"
    numbers = {
        "documents": checked.documents,
        "passed": checked.passed,
        "expected_rows": checked.expected_rows,
        "found_rows": checked.found_rows,
        "waiting": checked.waiting,
    }
    fix = "instep validate looks again; instep retry SOURCE/PATH writes a document anew"
    return _check("count", not checked.failed, text, fix, numbers)


def _fresh(fresh: FreshnessLine) -> Check:
    text = f"change to searchable p50 {fresh.p50_s:.2f} s, p95 {fresh.p95_s:.2f} s"
    if fresh.over:
        text += f"; {_n(fresh.over, 'document')} took more than {fresh.warn_s:g} s"
    numbers = {"over": float(fresh.over), "p95_s": fresh.p95_s or math.nan}
    return Check(
        name="freshness",
        level="WARN" if fresh.over else "ok",
        text=text,
        fix="instep status shows which stage is behind" if fresh.over else "",
        numbers=numbers,
    )


def _n(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"


TEXT_MOST: Final = 300
"""Characters of a reason or a question in a report."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The facts of a batch when it ends."""

    open: OpenBatch
    outcomes: Mapping[str, MemberOutcome]
    """By doc_key."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """doc_key to revision of the documents without an outcome."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    samples: Sequence[SampleResult] | None = None

    @property
    def declined(self) -> list[str]:
        return [name for name in self.open.members if name.startswith(DECLINED)]

    @property
    def members(self) -> tuple[str, ...]:
        """doc_keys, as many as a report keeps."""
        return tuple(islice(self.outcomes, MEMBERS_KEPT))


def build(
    judged: Judged, *, generation: str, model: str, warn_s: float, now: datetime
) -> BatchReport:
    """
    Args:
        warn_s: longest time from change to searchable that is well.
    """
    batch, outcomes = judged.open.batch, judged.outcomes.values()
    declined = [_code_of(name) for name in judged.declined]
    documents = count(outcomes, listed_of(judged))
    summary = summarise(outcomes, unchanged=judged.open.unchanged, declined=len(declined))
    checked = tally(judged.verdicts, extra_fails=False)
    fresh = _freshness(outcomes, warn_s)
    finished_at = _finished_at(judged, now)
    elapsed_s = max(0.0, (finished_at - batch.started_at).total_seconds())
    chunks = summary.chunks
    troubles = list(_troubles(judged))
    return BatchReport(
        batch=batch,
        generation=generation,
        model=model,
        complete=not documents.missing and not documents.waiting,
        finished_at=finished_at,
        completed_at=now,
        elapsed_s=round(elapsed_s, 3),
        documents=documents,
        chunks=chunks,
        freshness=fresh,
        checked=checked.counted(judged.samples or ()),
        validation_passed=passed(checked, judged.samples),
        summary=summary,
        refused_by_code=_codes((o for o in outcomes if o.kind == "refused"), declined),
        failed_by_code=_codes(o for o in outcomes if o.kind == "failed"),
        texts=Texts(encoded=chunks.encoded, cached=max(0, chunks.inserted - chunks.encoded)),
        per_second=_rates(len(judged.outcomes), chunks.inserted, chunks.encoded, elapsed_s),
        slowest=_slowest(judged.outcomes),
        checks=tuple(checks_of(checked, judged.samples, fresh, documents)),
        samples=_samples(judged.samples),
        troubles=tuple(troubles[:TROUBLES_KEPT]),
        troubles_more=max(0, len(troubles) - TROUBLES_KEPT),
    )


def event_of(report: BatchReport) -> BatchCompleted:
    """The event for the bus; the same for the same report."""
    return BatchCompleted(
        batch=report.batch,
        generation=report.generation,
        completed_at=report.completed_at,
        summary=report.summary,
        validation_passed=report.validation_passed,
        complete=report.complete,
        missing=report.documents.missing + report.documents.waiting,
    )


def listed_of(judged: Judged) -> Listed:
    return Listed(
        count=judged.open.batch.count,
        members=len(judged.open.members),
        unchanged=judged.open.unchanged,
        declined=len(judged.declined),
        moved=judged.open.moved,
        waiting=len(judged.waiting),
        whole=judged.open.whole,
    )


def histogram(seconds: Iterable[float]) -> tuple[Bin, ...]:
    """How many fall into each of the bins; an upper end belongs to its bin."""
    counts = [0] * (len(BINS_S) + 1)
    for value in seconds:
        counts[bisect_left(BINS_S, value)] += 1
    ends: list[float | None] = [*BINS_S, None]
    return tuple(Bin(up_to_s=end, documents=n) for end, n in zip(ends, counts, strict=True))


def _seconds(outcomes: Iterable[MemberOutcome]) -> Iterator[float]:
    for ended in outcomes:
        if ended.exact and ended.outcome in ("indexed", "removed"):
            yield ended.freshness_s or 0.0


def _freshness(outcomes: Iterable[MemberOutcome], warn_s: float) -> FreshnessReport:
    seconds = list(_seconds(outcomes))
    line = freshness(seconds, warn_s)
    return FreshnessReport(**line.model_dump(), histogram=histogram(seconds) if seconds else ())


def _finished_at(judged: Judged, now: datetime) -> datetime:
    """When the last document had its outcome; of a batch without any, now."""
    last = max((o.settled_at for o in judged.outcomes.values()), default=0.0)
    if not last or any(o.outcome is None for o in judged.outcomes.values()):
        return now  # the ledger has no time of a failure
    return min(now, datetime.fromtimestamp(last, UTC))


def _rates(documents: int, chunks: int, texts: int, elapsed_s: float) -> Rates:
    if elapsed_s <= 0 or not documents:
        return Rates()

    def rate(n: int) -> float:
        return float(f"{n / elapsed_s:.3g}")

    return Rates(documents=rate(documents), chunks=rate(chunks), texts=rate(texts))


def _slowest(outcomes: Mapping[str, MemberOutcome]) -> tuple[Slow, ...]:
    timed = (
        (o.freshness_s, key, o.document)
        for key, o in outcomes.items()
        if o.exact and o.outcome in ("indexed", "removed") and o.freshness_s is not None
    )
    return tuple(
        Slow(document=document, doc_key=key, freshness_s=round(seconds, 3))
        for seconds, key, document in nlargest(SLOWEST, timed)
    )


def _codes(outcomes: Iterable[MemberOutcome], more: Iterable[str] = ()) -> dict[str, int]:
    codes = Counter(o.reason.code if o.reason else "unknown" for o in outcomes)
    codes.update(more)
    return dict(sorted(codes.items(), key=lambda item: (-item[1], item[0])))


def _code_of(declined: str) -> str:
    """The code in the name of a submission that was refused at the door."""
    return declined.partition(" ")[2] or "unknown"


def _troubles(judged: Judged) -> Iterator[TroubledDocument]:
    """Failures first, refusals last: they are the least surprise."""
    ended = judged.outcomes
    yield from (_trouble(key, o, "failed") for key, o in ended.items() if o.kind == "failed")
    for key, verdict in judged.verdicts.items():
        if not verdict.passed and key in ended:
            yield _difference(key, ended[key].document, verdict)
    for key in judged.waiting:
        yield TroubledDocument(document=key, doc_key=key, state="waiting", code="waiting")
    yield from (_trouble(key, o, "refused") for key, o in ended.items() if o.kind == "refused")
    for name in judged.declined:
        number = name.removeprefix(DECLINED).partition(" ")[0]
        yield TroubledDocument(
            document=f"submission {number}", state="refused", code=_code_of(name)
        )


def _trouble(key: str, outcome: MemberOutcome, state: str) -> TroubledDocument:
    reason = outcome.reason
    return TroubledDocument(
        document=outcome.document,
        doc_key=key,
        state="failed" if state == "failed" else "refused",
        code=reason.code if reason else "unknown",
        reason=(reason.text if reason else "")[:TEXT_MOST],
        stage=outcome.stage,
    )


def _difference(key: str, document: str, verdict: Verdict) -> TroubledDocument:
    code = "rows_missing" if verdict.missing else "rows_too_many"
    if not verdict.missing and verdict.self_query is False:
        code = "not_found_by_own_vector"
    reason = (
        f"{verdict.expected:,} rows expected: {verdict.missing:,} missing, {verdict.extra:,} extra"
    )
    return TroubledDocument(
        document=document, doc_key=key, state="differs", code=code, reason=reason
    )


def _samples(samples: Sequence[SampleResult] | None) -> tuple[Sample, ...] | None:
    if samples is None:
        return None
    return tuple(
        Sample(q=s.q[:TEXT_MOST], expect=s.expect[:TEXT_MOST], rank=s.rank)
        for s in samples[:TROUBLES_KEPT]
    )
