"""The exact search by vector: codes of all rows in memory, a byte a number, compared one by one.

The codes follow the file: a search reads which rows came and went since the last one, in the
transaction that it answers from. So it sees every row that any process has committed before. The
nearest by code are compared again by their own vectors.
"""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.domain.errors import ConfigurationError
from shared.ports import Vector, Vectors
from shared.stores.sqlite import rows as sqlite_rows

AGAIN: Final = 2
AGAIN_LEAST: Final = 64
"""Rows by code that are compared by their own vectors: so many times those asked for, and at least
so many."""
PAGE: Final = 4096
SPARE_ROWS: Final = 1024
STATE: Final = """
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rows'), 0),
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'gone'), 0),
       (SELECT CAST(value AS INTEGER) FROM about WHERE name = 'forgotten')
"""
"""The last row that was written, the last deletion, and the last one that is no longer listed."""


def codes_of(vectors: Vectors) -> NDArray[np.int8]:
    """A byte for each number, the largest of a vector being 127. Shape (rows, dimensions).

    vectors: float32, of norm 1.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.rint(vectors * (np.float32(127) / largest))
    return np.asarray(np.nan_to_num(scaled, nan=0, posinf=0, neginf=0), np.int8)


def require_simsimd() -> None:
    """Load simsimd. Raises ConfigurationError: it is not installed."""
    try:
        import simsimd  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "the store sqlite needs simsimd. Fix: pip install 'instep[local]'"
        ) from None


class CodeIndex:
    """The codes of the rows of one file, in the order in which they were written."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._following = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._last = self._gone = self._used = 0
        self._ns = np.empty(0, np.int64)
        self._codes = np.empty((0, self._dimensions), np.int8)
        self._scales = np.empty(0, np.float32)

    def follow(self, connection: sqlite3.Connection) -> None:
        """Have every row that the transaction of the connection sees. Raises sqlite3.Error."""
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
                    found = connection.execute("SELECT n FROM gone WHERE at > ?", (self._gone,))
                    self._drop([n for (n,) in found])
                self._gone = gone

    def nearest(self, vector: Vector, limit: int, among: Sequence[int] | None) -> NDArray[np.int64]:
        """The numbers of the rows whose codes are nearest, in any order, more than `limit`.

        Args:
            vector: float32, shape (dimensions,), norm 1.
            among: numbers of the rows that may be found; None: all.
        """
        import simsimd

        with self._following:  # what is appended later stands behind
            used = self._used
            ns, codes, scales = self._ns[:used], self._codes[:used], self._scales[:used]
        if among is not None:
            kept = _places(ns, np.asarray(among, np.int64))
            ns, codes, scales = ns[kept], codes[kept], scales[kept]
        if not len(ns):
            return ns
        asked = codes_of(vector[np.newaxis])
        products = np.asarray(simsimd.cdist(asked, codes, metric="dot"), np.float32)[0]
        scores = np.where(scales > 0, products * scales, -np.inf)
        most = max(AGAIN * limit, AGAIN_LEAST)
        if most < len(scores):
            best = np.argpartition(scores, -most)[-most:]
            ns, scores = ns[best], scores[best]
        return np.asarray(ns[np.isfinite(scores)])

    def _is_sparse(self) -> bool:
        alive = int(np.count_nonzero(self._scales[: self._used]))
        return self._used > SPARE_ROWS and alive < self._used // 2

    def _read(self, connection: sqlite3.Connection) -> None:
        found = connection.execute(
            "SELECT n, code FROM codes WHERE n > ? ORDER BY n", (self._last,)
        )
        while page := found.fetchmany(PAGE):
            self._grow(len(page))
            place = slice(self._used, self._used + len(page))
            codes = sqlite_rows.matrix([code for _, code in page], self._dimensions, "i1")
            norms = np.sqrt(np.square(codes, dtype=np.float32).sum(axis=1))
            self._ns[place] = [n for n, _ in page]
            self._codes[place] = codes
            self._scales[place] = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
            self._used += len(page)
            self._last = page[-1][0]

    def _grow(self, more: int) -> None:
        if self._used + more <= len(self._ns):
            return
        size = max(self._used + more, self._used * 5 // 4) + SPARE_ROWS
        for name in ("_ns", "_codes", "_scales"):
            before: NDArray[Any] = getattr(self, name)
            after = np.empty((size, *before.shape[1:]), before.dtype)
            after[: self._used] = before[: self._used]
            setattr(self, name, after)

    def _drop(self, numbers: Sequence[int]) -> None:
        if numbers:
            self._scales[_places(self._ns[: self._used], np.asarray(numbers, np.int64))] = 0


def _places(ns: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where those of the wanted numbers stand that are there. `ns`: in order."""
    wanted = np.unique(wanted)
    at = np.searchsorted(ns, wanted)
    inside = at < len(ns)
    at, wanted = at[inside], wanted[inside]
    return np.asarray(at[ns[at] == wanted])
