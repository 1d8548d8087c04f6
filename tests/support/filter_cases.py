"""Rows and expressions of filters, hostile ones among them, for every test of them."""

import sys

from hypothesis import strategies as st

from shared.domain.filters.kinds import moment_of
from shared.domain.filters.terms import terms_for, terms_of
from shared.domain.filters.where import (
    AllOf,
    AnyOf,
    BelowPath,
    HasField,
    InSources,
    IsBetween,
    IsOneOf,
    NoneOf,
    folded,
)

FIELDS = ("lang", "größe", "o'b%_\\", "a" * 300, "nul\0x")
TEXTS = (
    *("en", "EN", "", " ", "o'brien", '"q"', "back\\slash", "100%", "a_b", "nul\0x", "漢字 ü 🙂"),
    *("u\u0308", "ü", "a,b", "a, b ,", ",", "*", "?", "x" * 5000, "' OR 1=1 --", "12", "1e3"),
    *("true", "False", "nan", "2026-01-01", "2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00Z"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "null", "a\nb", "%41", "\ud800"),
)
NUMBERS = (0, 1, -1, 12, 1000, 2**53, 2**53 + 1, 2**63, -(2**63), 10**30, 10**400)
FLOATS = (0.0, -0.0, 0.1, 12.0, -12.5, 5e-324, sys.float_info.max, -sys.float_info.max)
VALUES = (None, True, False, *TEXTS, *NUMBERS, *FLOATS)
"""Of metadata; every one as JSON can spell it."""
MOMENTS = tuple(at for text in TEXTS if (at := moment_of(text)) is not None)

METADATA = st.dictionaries(
    st.sampled_from(FIELDS),
    st.sampled_from(VALUES)
    | st.text(st.characters(), max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(),
    max_size=4,
)
_NAMES = st.sampled_from(FIELDS)
_WORDS = st.sampled_from([*TEXTS, "1", "12.0", "0.1"]) | st.text(st.characters(), max_size=12)
_BOUNDS = st.none() | st.sampled_from([float(n) for n in (*NUMBERS[:-1], *FLOATS)])
_TIMES = st.none() | st.sampled_from([at + n for at in MOMENTS for n in (-1, 0, 1)])
LEAVES = (
    st.builds(InSources, st.lists(st.sampled_from(["docs", "wiki", "\ud800"])).map(tuple))
    | st.builds(BelowPath, st.sampled_from(["", "a/", "a/b.md", "b", "a/b%", "\ud800"]))
    | st.builds(
        IsOneOf, _NAMES, st.sampled_from(["keyword", "keywords"]), st.lists(_WORDS).map(tuple)
    )
    | st.builds(IsOneOf, _NAMES, st.just("boolean"), st.sampled_from([("true",), ("false",), ()]))
    | st.builds(IsBetween, _NAMES, st.just("number"), _BOUNDS, _BOUNDS)
    | st.builds(IsBetween, _NAMES, st.just("date"), _TIMES, _TIMES)
    | st.builds(
        HasField,
        _NAMES,
        st.sampled_from(["keyword", "keywords", "number", "date", "boolean"]),
    )
)
WHERE = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(NoneOf, inner)
    ),
    max_leaves=6,
)


def by_terms(where, source, path, metadata):
    """Whether a row passes, as a store decides it."""
    held = set(terms_of(metadata))

    def passes(leaf):
        if isinstance(leaf, InSources):
            return source in leaf.names
        if isinstance(leaf, BelowPath):
            return path.startswith(leaf.prefix)
        if isinstance(leaf, IsOneOf) and not leaf.values:
            return False
        return not held.isdisjoint(terms_for(leaf))

    return folded(where, passes, all, any, lambda one: not one)
