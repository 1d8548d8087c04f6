"""The rows of an SQLite file in memory: codes close to their vectors, in step with the file."""

import contextlib
import sqlite3

import numpy as np
import pytest

from shared.domain.errors import QuestionRefused, StoreUnavailable
from shared.stores import checks
from shared.stores.sqlite import codes as sqlite_codes
from shared.stores.sqlite import faults
from shared.stores.sqlite import held as sqlite_held
from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite.codes import codes_of, is_compared, nearest
from shared.stores.sqlite.held import HeldRows

DIMENSIONS = 32


@pytest.fixture
def connection():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(sqlite_rows.MAKE)
        opened.execute("INSERT INTO about VALUES ('forgotten', '0')")
        yield opened


def vectors(count, seed=0):
    found = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return checks.unit(found)


def write(connection, made):
    """Write rows with these vectors; their numbers."""
    numbers = []
    for code in codes_of(made):
        columns = "id, doc_key, source, path, born, chunk_key, title, heading, text, metadata"
        found = connection.execute(
            f"INSERT INTO rows ({columns}, seal, marks, words, terms) VALUES "
            "(hex(randomblob(8)), '', '', '', 1, '', '', '[]', '', '{}', 0, x'', 'a', '')"
        )
        connection.execute("INSERT INTO held VALUES (?, ?, 1)", (found.lastrowid, code.tobytes()))
        numbers.append(found.lastrowid)
    return numbers


def test_the_nearest_by_code_hold_the_nearest_by_vector(connection):
    made = vectors(2000)
    numbers = np.array(write(connection, made))
    rows = HeldRows(DIMENSIONS).follow(connection)
    for one in vectors(20, seed=1):
        exact = numbers[np.argsort(-(made @ one))[:10]]
        found = nearest(rows, one, 10, None)
        assert len(found) == sqlite_codes.AGAIN_LEAST
        assert set(exact.tolist()) <= set(found.tolist())


def test_a_row_is_compared_by_the_code_of_its_vector_alone(connection):
    made = vectors(50)
    numbers = write(connection, made)
    held = HeldRows(DIMENSIONS)
    rows = held.follow(connection)
    rounded = checks.unit(made * np.float32(1.0001))
    for n, (number, own) in enumerate(zip(numbers, rounded, strict=True)):
        assert is_compared(rows, number, own)
        assert not is_compared(rows, number, made[n - 1])
    assert not is_compared(rows, numbers[-1] + 1, made[0])

    connection.execute("DELETE FROM rows WHERE n = ?", (numbers[0],))
    assert not is_compared(held.follow(connection), numbers[0], made[0])


@pytest.mark.parametrize("written", ["zeroblob(32)", "CAST(substr(code, 1, 31) || x'7f' AS BLOB)"])
def test_a_row_with_another_code_than_its_vector_is_not_searchable(connection, written):
    (one,) = vectors(1)
    (number,) = write(connection, one[np.newaxis])
    connection.execute(f"UPDATE held SET code = {written}")
    (last,) = codes_of(one[np.newaxis])[:, -1]
    assert last < 125

    assert not is_compared(HeldRows(DIMENSIONS).follow(connection), number, one)


def test_a_vector_of_nothing_or_of_no_numbers_has_a_code_of_zeros():
    odd = np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]], np.float32)

    assert codes_of(odd).dtype == np.int8
    assert not codes_of(odd)[0].any()
    assert codes_of(np.empty((0, 4), np.float32)).shape == (0, 4)


def test_rows_come_and_go_as_in_the_file_whatever_was_read_when(connection, monkeypatch):
    monkeypatch.setattr(sqlite_held, "SPARE_ROWS", 8)
    monkeypatch.setattr(sqlite_held, "PAGE", 7)
    dice = np.random.default_rng(3)
    held, alive = HeldRows(DIMENSIONS), []
    for step in range(60):
        alive += write(connection, vectors(int(dice.integers(0, 12)), seed=step))
        share = 0.9 if step % 20 == 19 else 0.2
        gone = [n for n in alive if dice.random() < share]
        connection.executemany("DELETE FROM rows WHERE n = ?", [(n,) for n in gone])
        alive = [n for n in alive if n not in gone]
        if step % 3:
            rows = held.follow(connection)
            found = nearest(rows, vectors(1, seed=99)[0], 10_000, None)
            assert sorted(found.tolist()) == alive
            some = np.unique([*alive[::2], 10**9, *gone])
            found = nearest(rows, vectors(1, seed=99)[0], 10_000, some)
            assert sorted(found.tolist()) == alive[::2]


def test_who_missed_deletions_that_are_listed_no_more_reads_all_rows_anew(connection):
    behind, fresh = HeldRows(DIMENSIONS), HeldRows(DIMENSIONS)
    numbers = write(connection, vectors(20))
    behind.follow(connection)
    connection.execute("DELETE FROM rows WHERE n <= ?", (numbers[9],))
    connection.execute("DELETE FROM gone WHERE at <= 5")
    connection.execute("UPDATE about SET value = '5' WHERE name = 'forgotten'")

    for held in (behind, fresh, behind):
        rows = held.follow(connection)
        assert sorted(nearest(rows, vectors(1)[0], 50, None).tolist()) == numbers[10:]


@pytest.mark.parametrize(
    ("text", "marked"), [("it", "it"), ("IT", "^i^t"), ("^it", "^^it"), ("Ünï漢", "Ünï漢")]
)
def test_capitals_are_marked(text, marked):
    assert sqlite_rows.marked(text) == marked


def fault(statement, *values):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(statement, values)
        except faults.ERRORS as error:
            return error
    raise AssertionError(statement)


@pytest.mark.parametrize(
    "error",
    [fault("SELECT secret"), fault("SELECT ?", "secret\ud800"), fault("SELECT ?", 2**80)],
)
def test_an_error_shows_no_text_of_the_statement_and_a_question_is_refused(error):
    plain, asked = faults.sorted_error(error), faults.sorted_error(error, asks=True)

    assert isinstance(plain, StoreUnavailable)
    assert isinstance(asked, QuestionRefused)
    assert "secret" not in f"{plain} {asked}"


@pytest.mark.parametrize(
    ("name", "said", "damaged"),
    [
        ("SQLITE_FULL", "no room", False),
        ("SQLITE_BUSY_SNAPSHOT", "another process", False),
        ("SQLITE_READONLY_DBMOVED", "may not be written", False),
        ("SQLITE_IOERR_WRITE", "check its disk", False),
        ("SQLITE_CORRUPT_VTAB", "damaged", True),
        ("SQLITE_NOTADB", "damaged", True),
        ("SQLITE_MISUSE", "SQLITE_MISUSE", False),
    ],
)
def test_an_error_is_told_by_what_a_person_can_do(name, said, damaged):
    error = sqlite3.DatabaseError("secret")
    error.sqlite_errorname = name

    assert said in str(faults.sorted_error(error))
    assert faults.is_damage(error) == damaged
