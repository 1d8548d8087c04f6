import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.stores.lance.table import (
    Wear,
    compaction_due,
    index_due,
    index_name,
    passing,
    rows_at_build,
)


@pytest.mark.parametrize(
    ("commits", "idle_s", "since_s", "due"),
    [
        (0, 9e9, 9e9, False),
        (1, 0.9, 599, False),
        (1, 0, 600, True),
        (1, 1, 1, True),
        (4, 0.9, 59, False),
        (4, 1, 1, True),
        (4, 0, 60, True),
        (49, 0, 59, False),
        (50, 0, 0, True),
    ],
)
def test_compaction_waits_for_many_commits_or_for_time(commits, idle_s, since_s, due):
    assert compaction_due(Wear(commits, idle_s, since_s)) is due


@pytest.mark.parametrize(("since_s", "due"), [(99, False), (100, True)])
def test_a_compaction_for_a_lone_edit_takes_a_small_share_of_the_time(since_s, due):
    assert compaction_due(Wear(1, 50, since_s, took_s=2)) is due
    assert compaction_due(Wear(4, 1, 1, took_s=2))


@given(st.integers(0, 10**9))
def test_an_index_remembers_how_many_rows_it_was_made_for(rows):
    assert rows_at_build(index_name(rows)) == rows


@pytest.mark.parametrize("name", ["vector_idx", "vector_at_", "vector_at_x", "500"])
def test_an_index_of_somebody_else_counts_as_made_for_nothing(name):
    assert rows_at_build(name) == 0


@pytest.mark.parametrize(
    ("rows", "built_for", "due"),
    [(100, None, False), (101, None, True), (399, 100, False), (400, 100, True), (5, 0, True)],
)
def test_an_index_is_made_over_the_threshold_and_anew_when_grown_fourfold(rows, built_for, due):
    assert index_due(rows, built_for, threshold=100) is due


def test_trouble_of_the_machine_does_not_condemn_the_table():
    assert passing("LanceError(IO): Generic LocalFileSystem error: Permission denied (os error 13)")
    assert passing("Too many open files")
    assert not passing("LanceError(IO): file size is too small")
    assert not passing("Wrapped error: Not found: data/0001.lance")
