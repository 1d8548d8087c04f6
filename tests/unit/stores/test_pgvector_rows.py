"""Rows as Postgres holds them: texts that it takes, words, vectors, filters."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.filters import terms as filters
from shared.domain.filters.where import IsBetween
from shared.ports import Filter
from shared.stores import checks
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector.table import IDLE_S, TablePlace, differences, index_due, version_of
from shared.stores.pgvector.words import MOST_WORDS, Statistics, first_words, terms_of

FINITE = st.floats(-1e9, 1e9)
ANY = st.text(st.characters(exclude_categories=[]) | st.sampled_from("\0\1\2\ud800\udfff\ue000"))


@given(ANY)
@example("\0\1\ud800\udfff")
def test_every_text_can_be_stored_and_comes_back(text):
    stored = pg_rows.stored(text)

    assert "\0" not in stored
    assert stored.encode() == stored.encode("utf-8", "surrogatepass")
    assert pg_rows.shown(stored) == text


@given(ANY, ANY)
def test_different_texts_stay_different_and_a_prefix_a_prefix(one, other):
    assert (pg_rows.stored(one) == pg_rows.stored(other)) == (one == other)
    assert pg_rows.stored(one + other).startswith(pg_rows.stored(one))


@given(ANY, ANY)
@example("a\ud7ff", "")
@example("\U0010ffff\U0010ffff", "x")
def test_a_range_of_paths_holds_those_with_the_prefix_and_no_others(prefix, path):
    first, rest = pg_rows.stored(prefix), [path, prefix + path]
    beyond = checks.after(first)
    for text in map(pg_rows.stored, rest):
        inside = first.encode() <= text.encode() and (
            beyond is None or text.encode() < beyond.encode()
        )
        assert inside == text.startswith(first)


def test_a_filter_is_parameters_only():
    text, values = pg_rows.condition(Filter(sources=("a'; --",), path_prefix="x%"))

    assert "'" not in text
    assert list(values.values()) == [["a'; --"], "x%", "x&"]
    assert pg_rows.condition(Filter()) == ("true", {})


@given(FINITE, FINITE)
def test_the_few_terms_around_a_range_cover_it(one, other):
    low, high = sorted((one, other))
    exact = filters.terms_for(IsBetween("n", "number", low, high))
    around = pg_rows.around(exact)

    assert len(around) <= 16
    assert all(any(term.startswith(few) for few in around) for term in exact)
    for number in (low, high, (low + high) / 2):
        assert not set(around).isdisjoint(filters.terms_of({"n": number}))


def test_a_word_stands_with_as_many_positions_as_it_is_there_times():
    assert pg_rows.lexemes(["b", "a", "b"]) == "'a':1 'b':1,2"
    assert pg_rows.lexemes(["it's", "back\\slash"]) == "'back\\\\slash':1 'it''s':1"
    assert pg_rows.lexemes(["x"] * 999).count(",") == pg_rows.MOST_POSITIONS - 1


def test_a_row_of_more_words_than_postgres_takes_keeps_the_first_of_them():
    found = pg_rows.lexemes([f"{n:064}" for n in range(100_000)])

    assert len(found) < 2**20
    assert found.startswith(f"'{0:064}'")


@pytest.mark.parametrize("scale", [1e-38, 1.0, 1e38])
def test_a_vector_of_any_length_comes_back_as_its_direction(scale):
    vector = np.arange(1, 9, dtype=np.float32)
    wanted = vector / np.linalg.norm(vector)

    (raw,) = pg_rows.vector_bytes(checks.unit((vector / 8 * np.float32(scale))[np.newaxis]))

    assert pg_rows.vector_of(raw) == pytest.approx(wanted, rel=1e-5)


def test_the_index_is_made_when_a_load_is_over_or_large():
    assert not index_due(9_999, IDLE_S)
    assert not index_due(99_999, IDLE_S - 1)
    assert index_due(10_000, IDLE_S)
    assert index_due(100_000, 0.0)


@pytest.mark.parametrize(
    ("dimensions", "half", "exact"),
    [(2000, False, False), (2001, True, False), (4000, True, False), (4001, False, True)],
)
def test_the_kind_of_index_follows_the_dimensions(dimensions, half, exact):
    place = TablePlace("t", dimensions)

    assert (place.half, place.exact) == (half, exact)


def test_a_column_of_another_type_is_named():
    columns = {"born": "numeric", "vector": "extensions.vector(8)"}

    found = differences(columns, 8)

    assert "born is numeric and not bigint" in found
    assert "id is missing" in found
    assert not [one for one in found if one.startswith("vector")]


def test_versions_are_compared_as_numbers():
    assert version_of("0.10.1") > version_of("0.8.5") > version_of("0.8") > version_of("")


def test_rare_words_come_first_and_common_ones_as_far_as_they_lead_to_few_rows():
    known = Statistics(100_000, 60.0, {"the": 90_000.0, "of": 19_000.0, "a": 2_000.0}, 0.0)

    terms = terms_of(["the", "of", "lantern", "a"], known)

    assert list(terms.items()) == [
        ("lantern", None),
        ("a", 2_000.0),
        ("of", 19_000.0),
        ("the", 90_000.0),
    ]
    assert first_words(terms) == ("lantern", "a")
    assert first_words({"the": 90_000.0}) == ("the",)
    assert len(terms_of([f"w{n}" for n in range(999)], known)) == MOST_WORDS
