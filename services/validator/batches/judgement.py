"""The checks of a batch's report: what was looked at, how it ended, what to do. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence

from services.validator.checks import Checked, SampleResult
from shared.batches.reports import Check, Documents, FreshnessLine


def passed(checked: Checked, samples: Sequence[SampleResult] | None) -> bool | None:
    """The verdict; None: nothing was checked. Being slow or incomplete only warns."""
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
        fix = "instep retry SOURCE/PATH of what is not found"
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
