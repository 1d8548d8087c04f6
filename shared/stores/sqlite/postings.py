"""The search by words: BM25 over lists of rows that are read from FTS5 once for each word.

FTS5 keeps the lists on the disk and in step with the rows. Its own ranking reads the length of
every row that has one of the words, at each search; here the lists of past questions and all
lengths are in memory, and a search reads what was written since.
"""

import math
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shared.stores.sqlite import rows as sqlite_rows

if TYPE_CHECKING:
    from shared.stores.sqlite.held import Rows

K1: Final = 1.2
B: Final = 0.75
"""Robertson's BM25, as every store has it."""
KEPT_POSTINGS: Final = 8_000_000
"""Rows in the lists that are kept, six bytes each; those asked for longest ago go first."""
LIST_COST: Final = 100
"""A list takes the room of so many rows besides: words that no row has are kept, too."""
READ_ALONE: Final = 256
"""Rows written since that are read one by one; for more of them the whole list is read again."""

LIST: Final = "SELECT group_concat(doc) FROM listed WHERE term = ?"
"""The number of a row once for each time that it has the word, in order."""
SINCE: Final = """
SELECT n, words FROM rows WHERE n IN
    (SELECT rowid FROM worded WHERE worded MATCH ? AND rowid > ? LIMIT ?)
ORDER BY n
"""


@dataclass(frozen=True, slots=True)
class Posting:
    """The rows with a word.

    Attributes:
        places: where they stand among the held rows, int32, in order.
        times: how often each has the word, uint16, at most 65,535.
        last: number of the last row that was looked at.
    """

    places: NDArray[np.int32]
    times: NDArray[np.uint16]
    last: int


class Postings:
    """The lists of the words that were asked for, for the readers of one process."""

    def __init__(self) -> None:
        self._lists: dict[str, Posting] = {}
        self._size = 0
        self._changing = threading.Lock()

    def of(self, connection: sqlite3.Connection, rows: "Rows", word: str) -> Posting:
        """The list of a word among the rows, which holds all that the transaction sees.

        Raises sqlite3.Error.
        """
        kept = self._lists.get(word)
        if kept is None:
            found = _read(connection, rows, word)
        elif kept.last < rows.last:
            found = _read_since(connection, rows, word, kept)
        else:
            found = kept
        self._keep(word, found)
        seen = int(np.searchsorted(found.places, len(rows.ns)))  # another reader may see more
        return Posting(found.places[:seen], found.times[:seen], found.last)

    def _keep(self, word: str, found: Posting) -> None:
        with self._changing:
            before = self._lists.pop(word, None)
            if before is not None:
                self._size -= _size(before)
            self._lists[word] = found
            self._size += _size(found)
            while self._size > KEPT_POSTINGS and len(self._lists) > 1:
                self._size -= _size(self._lists.pop(next(iter(self._lists))))


def best(
    connection: sqlite3.Connection,
    rows: "Rows",
    asked: Sequence[str],
    limit: int,
    among: NDArray[np.int64] | None,
) -> list[tuple[int, float]]:
    """Number and score of the best rows with one of the words. Raises sqlite3.Error.

    Args:
        asked: words as `shared.domain.text.words` makes them.
        among: numbers of the rows that may be found, in order; None: all.
    """
    alive = int(np.count_nonzero(rows.alive))
    scores = np.zeros(len(rows.ns), np.float32)
    mean = float(rows.lengths.sum(dtype=np.float64)) / max(1, alive)
    lengths = (K1 * (1 - B) + K1 * B / (mean or 1.0) * rows.lengths).astype(np.float32)
    for word in dict.fromkeys(asked):
        found = rows.postings.of(connection, rows, word)
        having = int(np.count_nonzero(rows.alive[found.places]))
        weight = (K1 + 1) * math.log(1 + (alive - having + 0.5) / (having + 0.5))
        times = found.times.astype(np.float32)
        scores[found.places] += np.float32(weight) * times / (times + lengths[found.places])
    scores[~rows.alive] = 0
    if among is not None:
        allowed = np.zeros(len(scores), np.bool_)
        allowed[rows.places(among)[0]] = True
        scores[~allowed] = 0
    places = np.flatnonzero(scores)
    if limit < len(places):
        places = places[np.argpartition(scores[places], -limit)[-limit:]]
    return list(zip(rows.ns[places].tolist(), scores[places].tolist(), strict=True))


def _read(connection: sqlite3.Connection, rows: "Rows", word: str) -> Posting:
    (listed,) = connection.execute(LIST, (sqlite_rows.marked(word),)).fetchone()
    numbers, times = np.unique(sqlite_rows.numbers_of(listed), return_counts=True)
    return _posting(rows, numbers, times)


def _read_since(connection: sqlite3.Connection, rows: "Rows", word: str, kept: Posting) -> Posting:
    found = connection.execute(
        SINCE, (sqlite_rows.matching(word), kept.last, READ_ALONE + 1)
    ).fetchall()
    if len(found) > READ_ALONE:
        return _read(connection, rows, word)
    times = [sqlite_rows.times_of(word, column) for _, column in found]
    new = _posting(rows, np.array([n for n, _ in found], np.int64), np.array(times, np.int64))
    if not len(new.places):
        return Posting(kept.places, kept.times, rows.last)
    places = np.concatenate((kept.places, new.places))
    return Posting(places, np.concatenate((kept.times, new.times)), rows.last)


def _posting(rows: "Rows", numbers: NDArray[np.int64], times: NDArray[np.int64]) -> Posting:
    """The list of rows by number, each once and in order, without those that are not held."""
    at, there = rows.places(numbers)
    return Posting(
        at.astype(np.int32),
        np.minimum(times[there], np.iinfo(np.uint16).max).astype(np.uint16),
        rows.last,
    )


def _size(found: Posting) -> int:
    return len(found.places) + LIST_COST
