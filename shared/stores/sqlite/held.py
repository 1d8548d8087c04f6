"""What every search needs of all rows of an SQLite file, in memory and in step with the file.

A search reads which rows came and went since the last one, in the transaction that it answers
from. So it sees every row that any process has committed before.
"""

import sqlite3
import threading
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite.postings import Postings

PAGE: Final = 4096
SPARE_ROWS: Final = 1024
STATE: Final = """
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rows'), 0),
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'gone'), 0),
       (SELECT CAST(value AS INTEGER) FROM about WHERE name = 'forgotten')
"""
"""The last row that was written, the last deletion, and the last one that is no longer listed."""
NEXT: Final = """
SELECT n, code, max(0, min(CAST(length AS INTEGER), 1000000)) FROM held WHERE n > ? ORDER BY n
"""
GONE: Final = "SELECT group_concat(CAST(n AS INTEGER)) FROM gone WHERE at > ?"
"""Both take a value that was altered, for the sweep to find."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a transaction sees, in the order in which they were written.

    It may hold rows that were written later, and not those that were deleted meanwhile.

    Attributes:
        ns: their numbers, int64, shape (rows,).
        alive: those that were not deleted since, bool, shape (rows,).
        codes: int8, shape (rows, dimensions).
        scales: 1 / norm of the code, float32, shape (rows,); 0 has no direction.
        lengths: how many words each has, float32, shape (rows,).
        postings: where the words of past questions stand in these arrays.
        last: number of the last row that the transaction sees.
    """

    ns: NDArray[np.int64]
    alive: NDArray[np.bool_]
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    lengths: NDArray[np.float32]
    postings: Postings
    last: int

    def places(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where those of the numbers stand that are there, and which of them are.

        numbers: each once, in order.
        """
        at = np.searchsorted(self.ns, numbers)
        there = at < len(self.ns)
        there[there] = self.ns[at[there]] == numbers[there]
        return at[there], there


class HeldRows:
    """The rows of one file, for the readers of one process."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._following = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._last = self._gone = self._used = 0
        self._held = Rows(
            ns=np.empty(0, np.int64),
            alive=np.empty(0, np.bool_),
            codes=np.empty((0, self._dimensions), np.int8),
            scales=np.empty(0, np.float32),
            lengths=np.empty(0, np.float32),
            postings=Postings(),
            last=0,
        )

    def follow(self, connection: sqlite3.Connection) -> Rows:
        """Every row that the transaction of the connection sees. Raises sqlite3.Error."""
        with self._following:
            last, gone, forgotten = connection.execute(STATE).fetchone()
            if self._gone < (forgotten or 0) or self._is_sparse():
                self._clear()
            is_first = not self._last
            if last > self._last:
                self._read(connection)
                self._last = last
            if gone > self._gone:
                if not is_first:  # what was read now is without them
                    (listed,) = connection.execute(GONE, (self._gone,)).fetchone()
                    self._drop(np.unique(sqlite_rows.numbers_of(listed)))
                self._gone = gone
            return self._seen(last)

    def _seen(self, last: int) -> Rows:
        held, used = self._held, self._used
        return Rows(
            ns=held.ns[:used],
            alive=held.alive[:used],
            codes=held.codes[:used],
            scales=held.scales[:used],
            lengths=held.lengths[:used],
            postings=held.postings,
            last=last,
        )

    def _is_sparse(self) -> bool:
        alive = int(np.count_nonzero(self._held.alive[: self._used]))
        return self._used > SPARE_ROWS and alive < self._used // 2

    def _read(self, connection: sqlite3.Connection) -> None:
        found = connection.execute(NEXT, (self._last,))
        while page := found.fetchmany(PAGE):
            self._grow(len(page))
            held, place = self._held, slice(self._used, self._used + len(page))
            codes = sqlite_rows.matrix([code for _, code, _ in page], self._dimensions, "i1")
            norms = np.sqrt(np.square(codes, dtype=np.float32).sum(axis=1))
            held.ns[place] = [n for n, _, _ in page]
            held.alive[place] = True
            held.codes[place] = codes
            held.scales[place] = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
            held.lengths[place] = [length for _, _, length in page]
            self._used += len(page)
            self._last = page[-1][0]

    def _grow(self, more: int) -> None:
        held, used = self._held, self._used
        if used + more <= len(held.ns):
            return
        size = max(used + more, used * 5 // 4) + SPARE_ROWS

        def grown(before: NDArray[Any]) -> NDArray[Any]:
            after = np.empty((size, *before.shape[1:]), before.dtype)
            after[:used] = before[:used]
            return after

        self._held = replace(
            held,
            ns=grown(held.ns),
            alive=grown(held.alive),
            codes=grown(held.codes),
            scales=grown(held.scales),
            lengths=grown(held.lengths),
        )

    def _drop(self, numbers: NDArray[np.int64]) -> None:
        held = self._seen(0)
        places, _ = held.places(numbers)
        held.alive[places] = False
        held.scales[places] = 0
        held.lengths[places] = 0
