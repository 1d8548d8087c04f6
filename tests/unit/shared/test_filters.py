"""The expression of filters, and the terms by which stores decide it."""

import math
from itertools import pairwise

import pytest
from filter_cases import METADATA, WHERE, by_terms
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.filters import kinds
from shared.domain.filters.terms import DIGITS, covering, terms_for, terms_of
from shared.domain.filters.where import (
    AllOf,
    AnyOf,
    BelowPath,
    HasField,
    InSources,
    IsBetween,
    IsOneOf,
    NoneOf,
    admits,
    possible,
    reads_fields,
    without_exclusions,
)

PLACES = st.integers(0, 16**DIGITS - 1)


@settings(max_examples=200, deadline=None)
@given(where=WHERE, metadata=METADATA)
def test_terms_decide_as_the_values_do(where, metadata):
    assert by_terms(where, "docs", "a/b.md", metadata) == admits(where, "docs", "a/b.md", metadata)


@pytest.mark.parametrize("bounds", [(0.0, -0.0), (-0.0, 0.0), (-0.0, -0.0), (None, -0.0)])
def test_zero_is_one_number(bounds):
    where = IsBetween("n", "number", *bounds)

    for value in (0, -0.0, "-0"):
        assert admits(where, "", "", {"n": value})
        assert by_terms(where, "", "", {"n": value})


@settings(max_examples=100, deadline=None)
@given(where=WHERE, metadata=METADATA)
def test_what_every_row_passes_or_none_is_left_out_and_changes_nothing(where, metadata):
    left = possible(where)
    truth = left if isinstance(left, bool) else admits(left, "docs", "a/b.md", metadata)

    assert truth == admits(where, "docs", "a/b.md", metadata)


@given(one=PLACES, other=PLACES, tried=PLACES)
def test_a_cover_has_the_numbers_of_a_range_and_no_other(one, other, tried):
    low, high = sorted((one, other))
    cover = list(covering(low, high))

    assert len(cover) <= 15 * 2 * DIGITS
    for place in {tried, low, high, max(0, low - 1), min(16**DIGITS - 1, high + 1)}:
        digits = f"{place:0{DIGITS}x}"
        assert any(map(digits.startswith, cover)) == (low <= place <= high)


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2))
def test_the_terms_of_a_number_rise_with_it(numbers):
    last = [terms_of({"n": n}) for n in sorted(numbers)]
    longest = [max((t for t in found if t.startswith("nn:")), key=len) for found in last]

    assert all(one <= other for one, other in pairwise(longest))


@given(metadata=METADATA)
def test_terms_are_plain_ascii_of_a_bounded_length(metadata):
    found = terms_of(metadata)

    assert found == sorted(set(found))
    assert all(term.isascii() and term.isprintable() and " " not in term for term in found)
    assert all(len(term) < 300 and not set("*?'\"\\") & set(term) for term in found)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (12, 12.0),
        (-0.0, 0.0),
        ("12.50", 12.5),
        (" -1e3 ", -1000.0),
        ("1_000", None),
        ("१२", None),
        ("", None),
        ("nan", None),
        ("1e999", None),
        (10**400, None),
        (2**70, float(2**70)),
        (math.nan, None),
        (math.inf, None),
        (True, None),
        (None, None),
    ],
)
def test_a_number_is_one_or_spells_one(value, number):
    assert kinds.number_of(value) == number
    assert kinds.fits("number", value) is (number is not None)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00"),
        ("2026-01-01 00:00:00 -0530", "2026-01-01T05:30:00Z"),
        ("2026-01-01t00:00:00.000001z", "2026-01-01 00:00:00,0000010"),
    ],
)
def test_a_moment_is_the_same_however_it_is_written(one, same):
    assert kinds.moment_of(one) == kinds.moment_of(same) is not None


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "2026", "2026-13-01", "2026-02-30", "2026-01-01T25:00", "2026-01-01x"),
        *(20260101, None, True, "0000-01-01", "\uff12026-01-01", "1" * 5000),
    ],
)
def test_what_is_no_moment_is_none(value):
    assert kinds.moment_of(value) is None
    assert not kinds.fits("date", value)


def test_moments_at_the_ends_of_time_have_terms():
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-12:00"):
        moment = kinds.moment_of(text)
        leaf = IsBetween("at", "date", moment, moment)
        assert set(terms_for(leaf)) <= set(terms_of({"at": text}))


def test_a_comparison_with_a_missing_field_is_false_and_its_negation_true():
    leaves = [
        IsOneOf("lang", "keyword", ("en",)),
        IsOneOf("lang", "keywords", ("en",)),
        IsOneOf("lang", "boolean", ("true",)),
        IsBetween("lang", "number", None, 5.0),
        IsBetween("lang", "date", 0, None),
        HasField("lang", "number"),
    ]
    for metadata in ({}, {"lang": None}, {"other": "en"}):
        assert not any(admits(leaf, "s", "p", metadata) for leaf in leaves)
        assert all(admits(NoneOf(leaf), "s", "p", metadata) for leaf in leaves)


def test_a_value_that_does_not_fit_counts_as_missing():
    metadata = {"price": "cheap", "at": 5, "draft": 2}

    assert not admits(HasField("price", "number"), "s", "p", metadata)
    assert not admits(HasField("at", "date"), "s", "p", metadata)
    assert not admits(HasField("draft", "boolean"), "s", "p", metadata)
    assert admits(HasField("price", "keyword"), "s", "p", metadata)


def test_a_text_with_commas_is_a_list_of_keywords_and_one_keyword():
    metadata = {"tags": "nats, vector search,"}

    assert admits(IsOneOf("tags", "keywords", ("vector search",)), "s", "p", metadata)
    assert not admits(IsOneOf("tags", "keywords", ("nats, vector search,",)), "s", "p", metadata)
    assert admits(IsOneOf("tags", "keyword", ("nats, vector search,",)), "s", "p", metadata)


def test_the_first_names_are_seen_of_more_than_a_row_may_have():
    metadata = {f"f{n:03}": "x" for n in range(kinds.MOST_FIELDS + 1)}

    assert admits(HasField("f000", "keyword"), "s", "p", metadata)
    assert not admits(HasField(f"f{kinds.MOST_FIELDS}", "keyword"), "s", "p", metadata)


@settings(max_examples=100, deadline=None)
@given(where=WHERE, metadata=METADATA)
def test_without_exclusions_no_row_is_missing(where, metadata):
    left = without_exclusions(where)
    truth = left if isinstance(left, bool) else admits(left, "docs", "a/b.md", metadata)

    assert truth or not admits(where, "docs", "a/b.md", metadata)
    assert "NoneOf" not in repr(left)


def test_ranges_of_one_field_that_hold_together_are_one():
    low, high = IsBetween("n", "number", 10.0), IsBetween("n", "number", None, 20.0)
    day = IsBetween("n", "date", 5)

    assert possible(AllOf((low, high))) == IsBetween("n", "number", 10.0, 20.0)
    assert possible(AllOf((low, day, high))) == AllOf((IsBetween("n", "number", 10.0, 20.0), day))
    assert possible(AllOf((high, IsBetween("n", "number", 21.0)))) is False
    assert possible(AnyOf((low, high))) == AnyOf((low, high))


def test_constants_vanish():
    lang = IsOneOf("lang", "keyword", ("en",))

    assert possible(AllOf(())) is True
    assert possible(AnyOf(())) is False
    assert possible(NoneOf(InSources(("\ud800",)))) is True
    assert possible(AllOf((lang, BelowPath("")))) == lang
    assert possible(AnyOf((lang, BelowPath("\ud800")))) == lang
    assert possible(IsBetween("n", "number", 2.0, 1.0)) is False
    assert possible(AllOf((lang, InSources(())))) is False


def test_sources_and_paths_need_no_terms():
    assert not reads_fields(None)
    assert not reads_fields(AllOf((InSources(("a",)), NoneOf(BelowPath("b")))))
    assert reads_fields(AnyOf((InSources(("a",)), NoneOf(HasField("b", "number")))))


@pytest.mark.parametrize("name", ["", "source", "path", "a b", 'a"', "a:b", "-a", "a>", "(a", "or"])
def test_a_name_that_a_filter_could_not_say_is_no_field(name):
    assert kinds.fault_of_name(name)


@pytest.mark.parametrize("name", ["lang", "created_at", "größe", "dc.date", "x-y", "a" * 200])
def test_other_names_are(name):
    assert kinds.fault_of_name(name) == ""
