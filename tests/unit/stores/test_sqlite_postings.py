"""Search by words in an SQLite file: BM25 of the rows that are there, whatever was read when."""

import contextlib
import sqlite3
from collections import Counter

import numpy as np
import pytest

from shared.stores import memory
from shared.stores.sqlite import held as sqlite_held
from shared.stores.sqlite import postings as sqlite_postings
from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite.held import HeldRows
from shared.stores.sqlite.postings import best

DIMENSIONS = 4
WORDS = (*"abcdefgh", "IT", "it", "c++", 'say"so', "^it")
ASKED = ("a", "IT", "it", "c++", 'say"so', "nobody")


def opened(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    return contextlib.closing(connection)


@pytest.fixture
def connection(tmp_path):
    with opened(tmp_path / "index") as made:
        made.executescript(sqlite_rows.MAKE)
        made.execute("INSERT INTO about VALUES ('forgotten', '0')")
        yield made


def write(connection, texts):
    """Write rows with these words; their numbers."""
    return [write_one(connection, text) for text in texts]


def write_one(connection, text):
    columns = "id, doc_key, source, path, born, chunk_key, title, heading, text, metadata"
    column = sqlite_rows.marked(text)
    found = connection.execute(
        f"INSERT INTO rows ({columns}, seal, marks, words, terms) VALUES "
        "(hex(randomblob(8)), '', '', '', 1, '', '', '[]', '', '{}', 0, x'', ?, '')",
        (column,),
    )
    connection.execute(
        "INSERT INTO held VALUES (?, ?, ?)",
        (found.lastrowid, bytes(DIMENSIONS), sqlite_rows.length_of(column)),
    )
    return found.lastrowid


def remove(connection, numbers):
    connection.executemany("DELETE FROM rows WHERE n = ?", [(n,) for n in numbers])


def texts(dice, count):
    return [" ".join(dice.choice(WORDS, size=dice.integers(1, 300))) for _ in range(count)]


def found(connection, held, asked=ASKED, limit=10_000, among=None):
    rows = held.follow(connection)
    return dict(best(connection, rows, asked, limit, among))


def expected(texts_of, asked=ASKED):
    counts = {n: Counter(text.split(" ")) for n, text in texts_of.items()}
    return {n: score for n, score in memory._bm25(asked, counts).items() if score}


@pytest.mark.parametrize("kept", [1, 400, 10**6])
def test_scores_are_those_of_the_rows_that_are_there(connection, monkeypatch, kept):
    monkeypatch.setattr(sqlite_held, "SPARE_ROWS", 16)
    monkeypatch.setattr(sqlite_postings, "READ_ALONE", 5)
    monkeypatch.setattr(sqlite_postings, "KEPT_POSTINGS", kept)
    dice = np.random.default_rng(5)
    held, alive = HeldRows(DIMENSIONS), {}
    for step in range(50):
        made = texts(dice, dice.integers(0, 12))
        alive |= dict(zip(write(connection, made), made, strict=True))
        share = 0.8 if step % 15 == 14 else 0.2
        gone = [n for n in alive if dice.random() < share]
        remove(connection, gone)
        alive = {n: text for n, text in alive.items() if n not in gone}
        if step % 4:
            asked = tuple(dice.permutation(ASKED)[: dice.integers(1, 7)])
            assert found(connection, held, asked) == pytest.approx(expected(alive, asked), rel=1e-5)
            among = np.unique(np.array([*list(alive)[::2], *gone, 10**9], np.int64))
            some = {n: score for n, score in expected(alive, asked).items() if n in among}
            assert found(connection, held, asked, among=among) == pytest.approx(some, rel=1e-5)


def test_the_best_are_kept(connection):
    dice = np.random.default_rng(1)
    made = texts(dice, 200)
    scores = expected(dict(zip(write(connection, made), made, strict=True)))
    best_five = sorted(scores, key=lambda n: -scores[n])[:5]

    assert set(found(connection, HeldRows(DIMENSIONS), limit=5)) == set(best_five)


def test_a_word_of_a_question_counts_once_and_one_that_all_have_counts(connection):
    numbers = write(connection, ["a b", "a c c"])
    held = HeldRows(DIMENSIONS)

    assert found(connection, held, ("a", "a")) == found(connection, held, ("a",))
    assert set(found(connection, held, ("a",))) == set(numbers)
    assert found(connection, held, ()) == {}


def test_no_row_and_rows_without_a_word_answer_nothing(connection):
    held = HeldRows(DIMENSIONS)
    assert found(connection, held) == {}

    write(connection, ["", ""])
    assert found(connection, held) == {}


def test_readers_of_two_moments_find_what_each_of_them_sees(connection, tmp_path):
    held = HeldRows(DIMENSIONS)
    first = write(connection, ["a b", "a c"])
    assert set(found(connection, held, ("a",))) == set(first)
    with opened(tmp_path / "index") as earlier:
        earlier.execute("BEGIN")
        earlier.execute("SELECT count(*) FROM rows").fetchone()
        later = write(connection, [f"a {n}" for n in range(3)])
        remove(connection, first[:1])
        at_first = held.follow(earlier)

        assert set(found(connection, held, ("a", "b", "c"))) == {first[1], *later}
        seen = dict(best(earlier, at_first, ("a", "b", "c"), 9, None))
        assert {first[1]} <= seen.keys() <= set(first)
        again = found(earlier, held, ("a", "b", "c", "2"))
        assert set(first[1:]) <= again.keys() <= {*first[1:], *later}
        earlier.execute("COMMIT")
    assert set(found(connection, held, ("a", "b", "c", "2"))) == {first[1], *later}


def test_a_list_that_is_read_at_an_earlier_moment_is_brought_up_to_date(connection, tmp_path):
    held = HeldRows(DIMENSIONS)
    first = write(connection, ["a b"])
    with opened(tmp_path / "index") as earlier:
        earlier.execute("BEGIN")
        earlier.execute("SELECT count(*) FROM rows").fetchone()
        later = write(connection, ["a", "a"])
        held.follow(connection)
        assert set(found(earlier, held, ("a",))) == set(first)
        earlier.execute("COMMIT")

    assert set(found(connection, held, ("a",))) == {*first, *later}


def test_lists_of_words_asked_for_long_ago_are_dropped(connection, monkeypatch):
    monkeypatch.setattr(sqlite_postings, "KEPT_POSTINGS", 2 * (4 + sqlite_postings.LIST_COST))
    write(connection, ["a b c"] * 4)
    held = HeldRows(DIMENSIONS)

    for word in ("a", "b", "a", "c"):
        found(connection, held, (word,))

    assert list(held.follow(connection).postings._lists) == ["a", "c"]
