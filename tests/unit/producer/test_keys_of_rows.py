"""Keys of rows as paths: each path is valid, tells its key, and belongs to no other."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.producer.sources.sql.keys import path_of, text_of, texts_of
from shared.domain.errors import DocumentRefused
from shared.domain.ids import check_path

ODD = st.sampled_from(["", ".", "..", "/", "%", "%2F", "\0", "\u0307", "e\u0301", "é", "F", "\x9f"])
TEXT = st.one_of(ODD, st.text(max_size=8), st.lists(ODD, max_size=4).map("".join))
KEYS = st.integers(1, 3).flatmap(lambda n: st.tuples(*[TEXT] * n))


def path(*values):
    columns = [str(n) for n in range(len(values))]
    return path_of(dict(zip(columns, values, strict=True)), columns)


@given(KEYS)
@example(("/\u0307",))
@example(("\u0344",))
@example(("%", ""))
def test_a_path_is_valid_and_tells_its_key(key):
    found = path(*key)

    assert check_path(found) == found
    assert texts_of(found, len(key)) == key


@given(
    st.integers(1, 3).flatmap(lambda n: st.tuples(st.tuples(*[TEXT] * n), st.tuples(*[TEXT] * n)))
)
def test_two_keys_never_have_one_path(keys):
    one, other = keys

    assert (path(*one) == path(*other)) == (one == other)


@given(st.text(max_size=12), st.integers(1, 3))
def test_a_path_that_names_no_key_is_known_by_it(given_path, columns):
    texts = texts_of(given_path, columns)

    assert texts is None or path(*texts) == given_path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((42,), "42"),
        (("de", 7), "de/7"),
        (("a/b",), "a%2Fb"),
        (("100%",), "100%25"),
        (("..", ""), "%2E%2E/%"),
        (("Straße ü.md",), "Straße ü.md"),
        ((UUID(int=1),), "00000000-0000-0000-0000-000000000001"),
        ((Decimal("1.50"),), "1.50"),
        ((True,), "true"),
        ((b"\x01\xff",), "01ff"),
        ((datetime(2026, 1, 2, 3, tzinfo=UTC),), "2026-01-02T03:00:00+00:00"),
    ],
)
def test_values_of_every_type_make_readable_paths(values, expected):
    assert path(*values) == expected


def test_columns_beside_the_key_do_not_count_and_the_order_is_that_of_the_settings():
    assert path_of({"id": 7, "lang": "de", "title": "x"}, ["lang", "id"]) == "de/7"


def test_a_key_that_is_null_is_refused_by_the_name_of_its_column():
    with pytest.raises(DocumentRefused, match="the key is NULL, in column lang"):
        path_of({"id": 7, "lang": None}, ["lang", "id"])


def test_a_key_that_is_too_long_is_refused():
    with pytest.raises(DocumentRefused):
        path("x" * 2000)


def test_equal_values_have_equal_texts_whatever_the_order_of_their_names():
    assert text_of({"b": 1, "a": 2}) == text_of({"a": 2, "b": 1})
