"""Rows in a LanceDB table: an embedded store that needs no server.

Three things here are not obvious; each was measured. A merge without an index on the key, on a
table that declares the key, is the only insert that two writers cannot turn into duplicates. A
commit costs the same for one row as for hundreds, so callers group rows (`services.indexer.
coalesce`). Lance never calls fsync: after a power loss a table may not be readable; it is put
aside then and `rebuilt` tells that every document must be written again.
"""

import asyncio
import importlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.errors import StoreMismatch, StoreUnavailable
from shared.ports import Filter, Hit, Probe, Row, Vector
from shared.stores import checks, lance_rows, lance_upkeep

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.table import AsyncTable

ROWS_PER_COMMIT: Final = 4096
INDEX_FROM_ROWS: Final = 20_000
IDS_PER_QUERY: Final = 512
"""Above it, reading the whole column is cheaper than a condition that names the values."""
ASKED_PER_CALL: Final = 4
KEPT_FOR: Final = timedelta(minutes=2)
"""How long files of older versions stay, for queries that are still reading them."""
COMMIT_TIMEOUT: Final = timedelta(seconds=60)


@contextmanager
def _translated() -> Iterator[None]:
    """Lance raises these four, told apart by text only; all of them may pass."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, TimeoutError) as error:
        raise StoreUnavailable(f"LanceDB: {str(error)[:300]}") from error


class LanceStore:
    """Implements `shared.ports.VectorStore`; made by `open`.

    Attributes:
        created: the table was not there.
        rebuilt: the table was there and could not be read; it was put aside as
            `<table>.broken-<n>`. Either way the index is empty and has to be filled.
    """

    def __init__(self, table: "AsyncTable", dimensions: int, index_from: int) -> None:
        self.dimensions = dimensions
        self.created = False
        self.rebuilt = False
        self._table = table
        self._index_from = index_from
        self._writing = asyncio.Lock()
        self._upkeep = asyncio.Lock()
        self._commits = 0
        self._compacted_at = self._written_at = time.monotonic()
        self._connection: AsyncConnection | None = None

    @classmethod
    async def open(
        cls, folder: Path, *, table: str, dimensions: int, index_from: int = INDEX_FROM_ROWS
    ) -> "LanceStore":
        """Open or create the table in `folder`.

        Args:
            index_from: number of rows from which searches use an approximate index.

        Raises:
            StoreMismatch: the table exists with other columns or another number of dimensions.
            StoreUnavailable: the folder cannot be used at the moment.
        """
        # Lance warns on stderr about its own defaults; it reads this once, when it is imported
        os.environ.setdefault("LANCEDB_LOG", "error")
        lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
        with _translated():
            folder.mkdir(parents=True, exist_ok=True)
            connection: AsyncConnection = await lancedb.connect_async(
                folder, read_consistency_interval=timedelta(0)
            )
            found = await _readable(connection, table)
            rebuilt = found is None and _put_aside(folder, table)
            store = cls(found or await _create(connection, table, dimensions), dimensions, index_from)
            store._connection = connection
            store.created, store.rebuilt = found is None, rebuilt
            await store._check_columns(table)
            await store._ensure_text_index()
        return store

    async def upsert(self, rows: Sequence[Row]) -> None:
        good, bad = checks.vet(rows, self.dimensions)
        for batch in checks.slices(good, ROWS_PER_COMMIT):
            data = lance_rows.to_arrow(batch, self.dimensions)
            async with self._commit():
                merge = self._table.merge_insert("id").when_not_matched_insert_all()
                await merge.use_index(False).execute(data, timeout=COMMIT_TIMEOUT)
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for batch in checks.slices(sorted(set(ids)), ROWS_PER_COMMIT):
            async with self._commit():
                await self._table.delete(lance_rows.among("id", batch))

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {key: set() for key in documents}
        columns = ["id", "doc_key", "born"]
        for row in await self._read("doc_key", documents, columns):
            if row["doc_key"] in found and row["born"] <= documents[row["doc_key"]]:
                found[row["doc_key"]].add(row["id"])
        return {key: frozenset(ids) for key, ids in found.items()}

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        """Ids of the probes that a searcher would not find now.

        Proven for every probe: the newest committed version, which is what a search in any
        process reads, holds the row, and for a probe with a vector the row's stored vector is
        that one. Asked as a searcher asks, by the very query of `search`: at most 4 vectors of a
        call, spread evenly, so a single edit is always asked for; when one of them is not found,
        all are asked. Rows that are not in the index yet are compared one by one by every
        search, so a fresh row cannot be missed for being approximated.
        """
        vectors = {probe.id: probe.vector for probe in probes if probe.vector is not None}
        plain = {probe.id for probe in probes} - vectors.keys()
        held, same, lost = await asyncio.gather(
            self._held(plain),
            self._holding(vectors),
            self._not_found(checks.spread(vectors, ASKED_PER_CALL)),
        )
        if lost:
            lost = await self._not_found(vectors)
        return frozenset((plain - held) | (vectors.keys() - same) | lost)

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        asks = checks.checked_query(vector, self.dimensions)
        if not asks or limit < 1 or checks.restricts_to_nothing(where):
            return []
        query = self._nearest(vector).limit(limit).select([*lance_rows.COLUMNS, "_distance"])
        if condition := lance_rows.condition(where):
            query = query.where(condition)
        with _translated():
            found = await query.to_list()
        return [lance_rows.to_hit(row, _cosine(row["_distance"])) for row in found]

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        if limit < 1 or checks.restricts_to_nothing(where):
            return []
        query = self._table.query().nearest_to_text(checks.clean_query(text), columns="words")
        query = query.limit(limit).select([*lance_rows.COLUMNS, "_score"])
        if condition := lance_rows.condition(where):
            query = query.where(condition)
        with _translated():
            found = await query.to_list()
        return [lance_rows.to_hit(row, row["_score"]) for row in found]

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        found: dict[str, Hit] = {}
        for batch in checks.slices(sorted(set(ids)), IDS_PER_QUERY):
            for row in await self._read("id", batch, list(lance_rows.COLUMNS)):
                found[row["id"]] = lance_rows.to_hit(row, 0.0)
        return found

    async def count(self) -> int:
        with _translated():
            return await self._table.count_rows()

    async def maintain(self) -> None:
        """Compact and index when it is time; cheap otherwise, so call it every second or so."""
        async with self._upkeep:
            now = time.monotonic()
            wear = lance_upkeep.Wear(
                self._commits, now - self._written_at, now - self._compacted_at
            )
            if lance_upkeep.compaction_due(wear):
                await self.compact()
                await self._index()

    async def compact(self) -> None:
        """Write small fragments together and drop files that no reader needs any more."""
        with _translated():
            async with self._writing:
                await self._table.optimize(cleanup_older_than=KEPT_FOR)
                self._commits, self._compacted_at = 0, time.monotonic()

    async def close(self) -> None:
        async with self._upkeep, self._writing:
            self._table.close()
            if self._connection is not None:
                self._connection.close()
