"""Whether the index holds what the ledger promises: counts, own vectors, sample queries, freshness.

Pure. A document fails when rows are missing or too many, or are not found by their own vectors;
being slow only warns.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from shared.errors import ConfigurationError
from shared.events import BatchSummary, ChunkCounts
from shared.ordering import Outcome, Record

TOP: Final = 5
PROBLEMS_SHOWN: Final = 100
NOTHING_DONE: Final = ChunkCounts()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ledger promises of a document. `allowed`: rows of a revision on its way."""

    rows: frozenset[str]
    allowed: frozenset[str] = frozenset()
    freshness_s: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What the store says. `self_query`: a row found by its own vector; None: not asked."""

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
    """What the store must hold of a document, by its ledger record."""
    settled, pending = record.settled, record.pending
    return Expected(
        rows=frozenset(ref.id(doc_key) for ref in settled.rows) if settled else frozenset(),
        allowed=frozenset(ref.id(doc_key) for ref in pending.rows) if pending else frozenset(),
        freshness_s=max(0.0, settled.settled_at - settled.changed_at) if settled else None,
    )


def judge(observed: Observed, expected: Expected, *, freshness_warn_s: float) -> Verdict:
    """Compare what a searcher gets with what is promised."""
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


# -- batches ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberOutcome:
    """What became of a document of a batch. `exact`: its end was this very revision's."""

    outcome: Outcome | None
    """None: failed."""
    seq: int
    exact: bool
    chunks: ChunkCounts = NOTHING_DONE
    freshness_s: float | None = None


def outcome_of(record: Record | None, seq: int) -> MemberOutcome | None:
    """The outcome of a revision, or of a newer one that took its place; None: not yet."""
    if record is None:
        return None
    settled = record.settled
    if settled and settled.seq >= seq:
        exact = settled.seq == seq
        total = len(settled.rows)
        counts = ChunkCounts(
            total=total,
            inserted=settled.inserted,
            kept=max(0, total - settled.inserted),
            removed=settled.removed,
            encoded=settled.encoded,
        )
        freshness_s = max(0.0, settled.settled_at - settled.changed_at)
        return MemberOutcome(
            settled.outcome, settled.seq, exact, counts if exact else NOTHING_DONE, freshness_s
        )
    if record.failed and record.failed.seq >= seq:
        return MemberOutcome(None, record.failed.seq, record.failed.seq == seq)
    return None


def summarise(outcomes: Iterable[MemberOutcome], *, unchanged: int, declined: int) -> BatchSummary:
    """Documents of a batch by outcome."""
    words = {"indexed": 0, "removed": 0, "refused": declined, "failed": 0}
    chunks = dict.fromkeys(ChunkCounts.model_fields, 0)
    for outcome in outcomes:
        words[outcome.outcome or "failed"] += 1
        for name in chunks:
            chunks[name] += getattr(outcome.chunks, name)
    return BatchSummary(unchanged=unchanged, chunks=ChunkCounts(**chunks), **words)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds from change to searchable, over documents. `over`: how many took too long."""

    documents: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None
    over: int = 0


def freshness(seconds: Iterable[float], warn_s: float) -> Freshness:
    ordered = sorted(seconds)
    if not ordered:
        return Freshness()

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return Freshness(len(ordered), at(0.5), at(0.95), at(1.0), sum(s > warn_s for s in ordered))


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


def tally(verdicts: Mapping[str, Verdict], *, extra_fails: bool) -> Checked:
    """
    Args:
        extra_fails: rows too many are an error; else they may be just about to be cleaned.
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


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Everything about a completed batch (F4), as it is kept."""

    batch: Mapping[str, Any]
    generation: str
    completed_at: str
    elapsed_s: float
    summary: Mapping[str, Any]
    checked: Checked
    freshness: Freshness
    samples: tuple[SampleResult, ...] | None = None
    """None: no sample queries were asked."""
    members: tuple[str, ...] = ()
    """doc_keys, the first 5,000."""

    @property
    def validation_passed(self) -> bool | None:
        """None: nothing was checked."""
        if not self.checked.documents and not self.samples:
            return None
        return not self.checked.failed and all(s.passed for s in self.samples or ())

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it: lists, no tuples."""
        raw = asdict(self) | {"validation_passed": self.validation_passed}
        plain: dict[str, Any] = json.loads(json.dumps(raw))
        return plain
