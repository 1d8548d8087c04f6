"""Comparison of the index with the ledger: counts, own vectors, sample queries, freshness.

Pure. A document fails when rows are missing or too many, or are not found by their own vectors;
being slow only warns.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.batches.reports import Counted, FreshnessLine
from shared.domain.errors import ConfigurationError
from shared.domain.ordering import Record

TOP: Final = 5
PROBLEMS_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Expected:
    """The rows of a document by the ledger. `allowed`: rows of a revision on its way."""

    rows: frozenset[str]
    allowed: frozenset[str] = frozenset()
    freshness_s: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A document in the store. `self_query`: a row found by its own vector; None: not asked."""

    rows: frozenset[str]
    self_query: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one document."""

    expected: int
    found: int
    on_the_way: int = 0
    """Rows of a revision that is not settled yet."""
    missing: int = 0
    extra: int = 0
    self_query: bool | None = None
    freshness_s: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.missing and not self.extra and self.self_query is not False


def expected_of(doc_key: str, record: Record) -> Expected:
    """The rows that the store must hold of a document, by its ledger record."""
    settled, pending = record.settled, record.pending
    return Expected(
        rows=frozenset(ref.id(doc_key) for ref in settled.rows) if settled else frozenset(),
        allowed=frozenset(ref.id(doc_key) for ref in pending.rows) if pending else frozenset(),
        freshness_s=max(0.0, settled.settled_at - settled.changed_at) if settled else None,
    )


def judge(observed: Observed, expected: Expected, *, freshness_warn_s: float) -> Verdict:
    """Compare the rows in the store with the ledger's."""
    warnings = []
    if expected.freshness_s is not None and expected.freshness_s > freshness_warn_s:
        warnings.append(
            f"searchable after {expected.freshness_s:.1f} s; the aim is {freshness_warn_s:g} s"
        )
    on_the_way = (observed.rows & expected.allowed) - expected.rows
    return Verdict(
        expected=len(expected.rows),
        found=len(observed.rows) - len(on_the_way),
        on_the_way=len(on_the_way),
        missing=len(expected.rows - observed.rows),
        extra=len(observed.rows - expected.rows - expected.allowed),
        self_query=observed.self_query,
        freshness_s=expected.freshness_s,
        warnings=tuple(warnings),
    )


# -- sample queries --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SampleQuery:
    """A question and the document (`source/path`) that must be among the first five."""

    q: str
    expect: str


@dataclass(frozen=True, slots=True)
class SampleResult:
    """rank: from 1; None: not among them."""

    q: str
    expect: str
    rank: int | None

    @property
    def passed(self) -> bool:
        return self.rank is not None


def judge_sample(query: SampleQuery, documents: Sequence[str]) -> SampleResult:
    """
    Args:
        documents: `source/path` of each hit, best first.
    """
    found = [n for n, name in enumerate(documents[:TOP], 1) if name == query.expect]
    return SampleResult(query.q, query.expect, found[0] if found else None)


def parse_queries(text: str, name: str) -> list[SampleQuery]:
    """JSON Lines of `{"q": …, "expect": "source/path"}`. Raises ConfigurationError."""
    queries = []
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            queries.append(SampleQuery(str(raw["q"]), str(raw["expect"])))
        except (ValueError, TypeError, KeyError):
            raise ConfigurationError(
                f'{name}:{n}: not {{"q": …, "expect": "source/path"}}'
            ) from None
    return queries


# -- many documents --------------------------------------------------------------------------------


def freshness(seconds: Iterable[float], warn_s: float) -> FreshnessLine:
    """Percentiles by nearest rank."""
    ordered = sorted(seconds)
    if not ordered:
        return FreshnessLine(warn_s=warn_s)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return FreshnessLine(
        documents=len(ordered),
        p50_s=at(0.5),
        p95_s=at(0.95),
        max_s=at(1.0),
        over=sum(s > warn_s for s in ordered),
        warn_s=warn_s,
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """Documents that were compared with the store, and which did not pass."""

    documents: int
    passed: int
    self_queries: int
    self_queries_passed: int
    expected_rows: int
    found_rows: int
    on_the_way: int
    problems: tuple[Mapping[str, Any], ...]
    """At most 100."""
    waiting: int = 0
    """Documents with rows that clean may not have reached yet."""

    @property
    def failed(self) -> int:
        return self.documents - self.passed - self.waiting

    def counted(self, samples: Sequence[SampleResult] = ()) -> Counted:
        """The numbers of a report's line."""
        return Counted(
            documents=self.documents,
            failed=self.failed,
            expected_rows=self.expected_rows,
            found_rows=self.found_rows,
            self_queries=self.self_queries,
            self_queries_passed=self.self_queries_passed,
            samples=len(samples),
            samples_passed=sum(sample.passed for sample in samples),
        )


def tally(verdicts: Mapping[str, Verdict], *, extra_fails: bool) -> Checked:
    """
    Args:
        extra_fails: extra rows are an error; else the indexer may be about to delete them.
    """
    problems, passed, waiting = [], 0, 0
    for doc_key, verdict in verdicts.items():
        only_extra = not verdict.missing and verdict.self_query is not False
        if verdict.passed:
            passed += 1
            continue
        waiting += only_extra and not extra_fails
        problems.append(
            {
                "doc_key": doc_key,
                "missing": verdict.missing,
                "extra": verdict.extra,
                "self_query": verdict.self_query,
            }
        )
    asked = [v.self_query for v in verdicts.values() if v.self_query is not None]
    return Checked(
        documents=len(verdicts),
        passed=passed,
        self_queries=len(asked),
        self_queries_passed=sum(asked),
        expected_rows=sum(v.expected for v in verdicts.values()),
        found_rows=sum(v.found for v in verdicts.values()),
        on_the_way=sum(v.on_the_way for v in verdicts.values()),
        problems=tuple(problems[:PROBLEMS_SHOWN]),
        waiting=waiting,
    )
