import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ports import Filter
from shared.stores.lance.rows import among, condition, literal


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_literal_is_one_sql_string_whatever_it_holds(value):
    with sqlite3.connect(":memory:") as sql:
        (found,) = sql.execute(f"select {literal(value)}").fetchone()
    sql.close()

    assert found == value


def test_among_names_every_value():
    assert among("id", ["a", "o'b"]) == "id IN ('a','o''b')"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(), None),
        (Filter(path_prefix=""), None),
        (Filter(sources=("a", "b")), "source IN ('a','b')"),
        (Filter(path_prefix="x'%/"), "starts_with(path, 'x''%/')"),
        (Filter(("a",), "x/"), "source IN ('a') AND starts_with(path, 'x/')"),
    ],
)
def test_a_filter_becomes_a_condition_only_where_it_restricts(where, expected):
    assert condition(where) == expected
