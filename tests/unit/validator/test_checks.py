"""Judgements on documents and batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.validator.checks import (
    Expected,
    Observed,
    SampleQuery,
    Verdict,
    expected_of,
    freshness,
    judge,
    judge_sample,
    parse_queries,
    tally,
)
from shared.domain.errors import ConfigurationError
from shared.domain.ordering import Pending, Record, RowRef, Settled

KEY = "a" * 26
ids = st.frozensets(st.sampled_from("abcdef"))


def settled(seq=5, outcome="indexed", rows=2, **fields) -> Settled:
    refs = tuple(RowRef(f"{n}" * 26, seq) for n in range(rows))
    return Settled(seq, outcome, refs, changed_at=100.0, settled_at=101.5, **fields)


@given(expected=ids, allowed=ids, observed=ids)
def test_a_document_passes_when_its_rows_are_there_and_nobody_elses(expected, allowed, observed):
    verdict = judge(Observed(observed), Expected(expected, allowed), freshness_warn_s=60)

    assert verdict.passed == (expected <= observed <= expected | allowed)
    assert verdict.found + verdict.on_the_way == len(observed)


def test_a_row_that_its_own_vector_does_not_find_fails_the_document():
    rows = frozenset("a")

    assert not judge(Observed(rows, False), Expected(rows), freshness_warn_s=60).passed
    assert judge(Observed(rows, True), Expected(rows), freshness_warn_s=60).passed


def test_being_slow_warns_and_does_not_fail():
    verdict = judge(
        Observed(frozenset()), Expected(frozenset(), freshness_s=61), freshness_warn_s=60
    )

    assert verdict.passed
    assert verdict.warnings == ("searchable after 61.0 s; the aim is 60 s",)


def test_what_is_expected_comes_from_the_ledger():
    pending = Pending(6, "indexed", (RowRef("x" * 26, 6),), frozenset(), 0, 0)
    expected = expected_of(KEY, Record("docs", "a.md", settled(), pending))

    assert len(expected.rows) == 2
    assert len(expected.allowed) == 1
    assert expected.freshness_s == 1.5


@pytest.mark.parametrize(("expect", "rank"), [("docs/b", 2), ("docs/e", 5), ("docs/f", None)])
def test_the_expected_document_must_be_among_the_first_five(expect, rank):
    found = judge_sample(SampleQuery("q", expect), [f"docs/{c}" for c in "abcdef"])

    assert (found.rank, found.passed) == (rank, rank is not None)


def test_queries_are_read_and_a_bad_line_is_named():
    assert parse_queries('{"q": "x", "expect": "docs/a"}\n\n', "q") == [SampleQuery("x", "docs/a")]
    with pytest.raises(ConfigurationError, match=r"q\.jsonl:2"):
        parse_queries('{"q": "x", "expect": "a"}\n{"q": 1}', "q.jsonl")


def test_freshness_percentiles():
    found = freshness([0.1 * n for n in range(1, 101)], 9.55)

    assert (found.p50_s, found.p95_s, found.max_s, found.over) == (5.0, 9.5, 10.0, 5)
    assert freshness([], 60).p50_s is None


def test_a_tally_lists_problems_and_leaves_uncleaned_rows_waiting():
    verdicts = {
        "ok": Verdict(2, 2, self_query=True),
        "extra": Verdict(2, 3, extra=1),
        "missing": Verdict(2, 1, missing=1, self_query=False),
    }
    lenient, strict = tally(verdicts, extra_fails=False), tally(verdicts, extra_fails=True)

    assert (lenient.passed, lenient.failed, lenient.waiting) == (1, 1, 1)
    assert (strict.passed, strict.failed) == (1, 2)
    assert (strict.self_queries, strict.self_queries_passed) == (2, 1)
    assert [p["doc_key"] for p in strict.problems] == ["extra", "missing"]
