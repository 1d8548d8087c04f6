import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import StoreMismatch
from shared.ports import Filter, Row
from shared.stores import checks

GOOD = np.array([0.6, 0.8], np.float32)
BAD = np.array([np.nan, 1], np.float32)


def row(key: str, vector=GOOD) -> Row:
    return Row(key, "doc", "notes", "a.md", 1, key, "", (), "text", {}, vector)


@given(st.lists(st.tuples(st.text("abc", max_size=2), st.booleans())))
def test_every_id_is_either_written_once_or_refused(batch):
    bad_ids = {key for key, is_bad in batch if is_bad}
    rows = [row(key, BAD if key in bad_ids else GOOD) for key, _ in batch]

    good, bad = checks.vet(rows, 2)

    assert [r.id for r in good] == sorted({r.id for r in rows} - bad_ids)
    assert bad == bad_ids


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ([3e38, 3e38], True),
        ([1e-38, 0], True),
        ([0, 0], False),
        ([np.inf, 0], False),
        ([1, -np.nan], False),
        ([1], False),
    ],
)
def test_a_sound_vector_has_a_length_and_a_direction(vector, expected):
    with np.errstate(over="ignore"):
        assert checks.sound(np.array(vector, np.float32), 2) is expected


def test_a_query_with_other_dimensions_says_what_to_do():
    with pytest.raises(StoreMismatch, match="search with the model"):
        checks.checked_query(GOOD, 3)


def test_no_source_allowed_is_not_the_same_as_any_source():
    assert checks.possible(Filter(sources=())) is None
    assert checks.possible(Filter(sources=None)) == Filter(sources=None)
    assert checks.possible(Filter(sources=("a",))) == Filter(sources=("a",))


def test_what_no_row_can_have_leaves_a_filter():
    assert checks.possible(Filter(sources=("\ud800", "a"))) == Filter(sources=("a",))
    assert checks.possible(Filter(sources=("\ud800",))) is None
    assert checks.possible(Filter(path_prefix="a\udfff")) is None


@given(st.text(st.characters()))
def test_a_query_becomes_valid_utf_8_without_nul(text):
    clean = checks.clean_query(text)

    assert "\0" not in clean.encode().decode()


@given(st.lists(st.integers()), st.integers(1, 9))
def test_slices_keep_every_item_in_order(items, most):
    parts = list(checks.slices(items, most))

    assert [item for part in parts for item in part] == items
    assert all(1 <= len(part) <= most for part in parts)


@given(st.integers(0, 200), st.integers(1, 9))
def test_spread_takes_the_first_and_at_most_so_many(size, most):
    items = {str(n): n for n in range(size)}

    taken = checks.spread(items, most)

    assert len(taken) <= most
    assert list(taken)[:1] == list(items)[:1]
    assert taken.items() <= items.items()
    assert size > most or taken == items
