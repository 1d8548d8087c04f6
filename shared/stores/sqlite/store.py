"""Rows in an SQLite file: an embedded store in which an edit costs little.

A row is on the disk and found by every search of every process as soon as it is acknowledged. The
words are in an FTS5 index of the same transaction, whose lists are ranked in memory
(`shared.stores.sqlite.postings`). By vector every row is compared, as a byte a number in memory
(`shared.stores.sqlite.codes`), whatever the filter, and the best again by their own vectors.
"""

import heapq
import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.domain.errors import FilterNotReady
from shared.domain.filters.where import is_unicode, reads_fields
from shared.domain.text import words
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector
from shared.stores import checks
from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite import sweep as sqlite_sweep
from shared.stores.sqlite.codes import codes_of, is_compared, nearest
from shared.stores.sqlite.file import SqliteFile
from shared.stores.sqlite.held import HeldRows
from shared.stores.sqlite.postings import best
from shared.stores.sqlite.rewrite import count, forget, have_words, is_worded

T = TypeVar("T")

ROWS_PER_COMMIT: Final = 512
"""Other processes may write between two commits."""
MOST_FOUND: Final = 10_000
KEPT_DELETIONS: Final = 100_000
"""Of the list of deletions; a process that has followed fewer reads all rows again."""
LOOK_S: Final = 5.0
MERGED_PAGES: Final = 64
"""Pages of the index of words that one call of `maintain` merges."""

ROW: Final = f"SELECT {sqlite_rows.SHOWN} FROM rows WHERE "
IDS: Final = "SELECT id FROM rows WHERE doc_key = ? AND born <= ?"
VECTOR_OF: Final = "SELECT rows.n, vector FROM rows JOIN vectors ON vectors.n = rows.n WHERE id = ?"
AMONG: Final = "SELECT group_concat(n) FROM rows WHERE "
_ASKED: Final = "FROM json_each(?) AS asked CROSS JOIN"
VECTORS: Final = f"""
SELECT group_concat(n), group_concat(hex(vector), '')
{_ASKED} vectors ON vectors.n = asked.value
WHERE typeof(vector) = 'blob' AND length(vector) = ?
"""
HITS: Final = f"""
SELECT CAST(json_group_array(json_array(n, {sqlite_rows.SHOWN_AS_JSON})) AS BLOB)
{_ASKED} rows ON rows.n = asked.value
"""
"""One answer for many rows: each step of a statement gives up Python's lock, and a busy process
waits milliseconds to get it back."""
ROWS_PER_ANSWER: Final = 1024
"""So a long list takes little memory at a time."""


class SqliteStore:
    """Implements `shared.ports.VectorStore`; made by `open`.

    Attributes:
        created: the file was not there.
        rebuilt: the file was there, and could not be read or was made by another version; it was
            put aside as `<table>.broken-<n>`. Either way the index is empty and has to be filled.
    """

    def __init__(self, file: SqliteFile, dimensions: int) -> None:
        self.dimensions = dimensions
        self.created, self.rebuilt = file.created, file.rebuilt
        self._file = file
        self._looked_at = self._written_at = time.monotonic()

    @classmethod
    async def open(cls, folder: Path, *, table: str, dimensions: int) -> "SqliteStore":
        """Open or create the file of the table in `folder`. Raises as `SqliteFile.open`."""
        return cls(await SqliteFile.open(folder, table, dimensions), dimensions)

    async def upsert(self, rows: Sequence[Row]) -> None:
        good, bad = checks.vet(rows, self.dimensions)
        for batch in checks.slices(good, ROWS_PER_COMMIT):
            await self._file.write(partial(_insert, rows=batch))
            self._written_at = time.monotonic()
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for batch in checks.slices(_sorted(ids), ROWS_PER_COMMIT):
            await self._file.write(partial(_delete, ids=batch))
            self._written_at = time.monotonic()

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        def look(connection: sqlite3.Connection, _: HeldRows) -> dict[str, frozenset[str]]:
            return {
                key: frozenset(row_id for (row_id,) in connection.execute(IDS, (key, born)))
                if is_unicode(key)
                else frozenset()
                for key, born in documents.items()
            }

        return await self._file.read(look)

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        """Ids of the probes that a search would not find now.

        Proven for every probe: the file holds the row, and for a probe with a vector the row's
        stored vector is that one, and the code that searches of this process compare is that of
        the stored vector. A search compares the codes of all rows, so it needs no other proof.
        """
        vectors = {probe.id: probe.vector for probe in probes if probe.vector is not None}
        plain = {probe.id for probe in probes} - vectors.keys()

        def look(connection: sqlite3.Connection, held: HeldRows) -> frozenset[str]:
            there = {key for key, _ in _each(connection, "SELECT 1 FROM rows WHERE id = ?", plain)}
            stored = {
                key: (n, self._vectors([raw])[0])
                for key, (n, raw) in _each(connection, VECTOR_OF, vectors)
            }
            rows = held.follow(connection)
            found = {
                key
                for key, (n, vector) in stored.items()
                if self._is_near(vector, vectors[key]) and is_compared(rows, n, vector)
            }
            return frozenset((plain - there) | (vectors.keys() - found))

        return await self._file.read(look)

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        asks, rest = checks.checked_query(vector, self.dimensions), checks.possible(where)
        if not asks or limit < 1 or rest is None:
            return []

        def look(connection: sqlite3.Connection, held: HeldRows) -> list[Hit]:
            _check_ready(connection, rest)
            return self._nearest(connection, held, vector, min(limit, MOST_FOUND), rest)

        return await self._file.read(look, asks=True)

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        asked, rest = words.asked(checks.clean_query(text)), checks.possible(where)
        if not asked or limit < 1 or rest is None:
            return []

        def look(connection: sqlite3.Connection, held: HeldRows) -> list[Hit]:
            _check_ready(connection, rest)
            rows, among = held.follow(connection), _among(connection, rest)
            return _hits(connection, best(connection, rows, asked, min(limit, MOST_FOUND), among))

        return await self._file.read(look, asks=True)

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        return await self._file.read(
            lambda connection, _: {
                key: sqlite_rows.to_hit(row, 0.0)
                for key, row in _each(connection, f"{ROW} id = ?", ids)
            }
        )

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        return await self._file.read(
            lambda connection, _: {
                key: self._vectors([raw])[0] for key, (_, raw) in _each(connection, VECTOR_OF, ids)
            }
        )

    async def count(self) -> int:
        return await self._file.read(lambda connection, _: count(connection))

    async def digests(self) -> Mapping[str, Digest]:
        def look(connection: sqlite3.Connection, _: HeldRows) -> dict[str, Digest]:
            termed, check = is_worded(connection), self._file.check_open
            return sqlite_sweep.digests(connection, self.dimensions, check, termed=termed)

        return await self._file.read(look)

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        wanted = frozenset(filter(is_unicode, buckets))

        def look(connection: sqlite3.Connection, _: HeldRows) -> dict[str, Holding]:
            termed, check = is_worded(connection), self._file.check_open
            return sqlite_sweep.holdings(connection, self.dimensions, wanted, check, termed=termed)

        return await self._file.read(look)

    async def lag_s(self) -> None:
        return None

    async def incarnation(self) -> str:
        return await self._file.incarnation()

    async def maintain(self) -> None:
        """Write the words of this version into rows of another; after writes, merge the indexes of
        words and shorten the list of deletions and the log."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return
        is_worn, self._looked_at = self._written_at > self._looked_at, now
        await have_words(self._file)
        if is_worn:
            await self._file.write(_tidy)
            await self._file.shorten_log()

    async def close(self) -> None:
        await self._file.close()

    def _nearest(
        self,
        connection: sqlite3.Connection,
        held: HeldRows,
        vector: Vector,
        limit: int,
        where: Filter,
    ) -> list[Hit]:
        """The nearest rows, best first. Raises sqlite3.Error."""
        rows, among = held.follow(connection), _among(connection, where)
        (asked,) = checks.unit(vector[np.newaxis])
        found: list[tuple[int, float]] = []
        for some in checks.slices(nearest(rows, asked, limit, among).tolist(), ROWS_PER_ANSWER):
            bound = (json.dumps(some), 4 * self.dimensions)
            listed, raw = connection.execute(VECTORS, bound).fetchone()
            if listed is not None:
                vectors = np.frombuffer(bytes.fromhex(raw), "<f4").reshape(-1, self.dimensions)
                with np.errstate(invalid="ignore", over="ignore"):
                    scores = np.nan_to_num(vectors @ asked, nan=-1, posinf=-1, neginf=-1)
                found += zip(map(int, listed.split(",")), scores.tolist(), strict=True)
        return _hits(connection, heapq.nlargest(limit + 1, found, key=itemgetter(1)))[:limit]

    def _is_near(self, held: Vector, vector: Vector) -> bool:
        if not checks.sound(vector, self.dimensions):
            return False
        return bool(1 - np.dot(held, checks.unit(vector[np.newaxis])[0]) < checks.SAME)

    def _vectors(self, blobs: Sequence[bytes]) -> Any:
        """float32, shape (blobs, dimensions)."""
        return sqlite_rows.matrix(blobs, self.dimensions, "<f4").astype(np.float32)


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    vectors = checks.unit(np.stack([np.asarray(row.vector, np.float32) for row in rows]))
    written = sqlite_rows.parameters(rows, vectors)
    connection.executemany(sqlite_rows.INSERT, written)
    ids = [row.id for row in rows]
    raw = (vector.tobytes() for vector in vectors.astype("<f4"))
    connection.executemany(sqlite_rows.INSERT_VECTOR, zip(raw, ids, strict=True))
    codes = (code.tobytes() for code in codes_of(vectors))
    lengths = (sqlite_rows.length_of(values[-2]) for values in written)
    connection.executemany(sqlite_rows.INSERT_HELD, zip(codes, lengths, ids, strict=True))


def _delete(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    connection.executemany("DELETE FROM rows WHERE id = ?", [(key,) for key in ids])


def _hits(connection: sqlite3.Connection, found: Sequence[tuple[int, float]]) -> list[Hit]:
    """The hits of rows by number and score, best first."""
    scores, hits = dict(found), list[Hit]()
    for some in checks.slices(list(scores), ROWS_PER_ANSWER):
        (listed,) = connection.execute(HITS, (json.dumps(some),)).fetchone()
        rows = json.loads(listed.decode(errors="replace"))
        hits += (sqlite_rows.to_hit(row, max(-1.0, scores[n])) for n, *row in rows)
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _among(connection: sqlite3.Connection, where: Filter) -> NDArray[np.int64] | None:
    """Numbers of the rows that may be found; None: all. Raises sqlite3.Error."""
    condition, values = sqlite_rows.condition(where)
    if not condition:
        return None
    return sqlite_rows.numbers_of(connection.execute(AMONG + condition, values).fetchone()[0])


def _each(
    connection: sqlite3.Connection, statement: str, keys: Collection[str]
) -> Iterator[tuple[str, Any]]:
    """Every key that has a row of the statement, and that row."""
    for key in _sorted(keys):
        row = connection.execute(statement, (key,)).fetchone()
        if row is not None:
            yield key, row


def _sorted(keys: Collection[str]) -> list[str]:
    """Each once; one with half of a character is in no row."""
    return sorted(filter(is_unicode, set(keys)))


def _check_ready(connection: sqlite3.Connection, asked: Filter) -> None:
    """Raises FilterNotReady."""
    if reads_fields(asked.where) and not is_worded(connection):
        raise FilterNotReady(checks.NO_TERMS)


def _tidy(connection: sqlite3.Connection) -> None:
    for table in ("worded", "termed"):
        connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', {MERGED_PAGES})")
    ((last,),) = connection.execute("SELECT coalesce(max(at), 0) FROM gone").fetchall()
    forget(connection, max(0, last - KEPT_DELETIONS))
