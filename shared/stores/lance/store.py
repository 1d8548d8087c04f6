"""Rows in a LanceDB table: an embedded store that needs no server.

Three things here are not obvious; each was measured. A merge without an index on the key, on a
table that declares the key, is the only insert that two writers cannot turn into duplicates. A
commit costs the same for one row as for hundreds, so callers share commits
(`shared.stores.coalesce`). Lance never calls fsync: after a power loss a table may not be
readable; it is put aside then, and a new `incarnation` shows that it has to be filled.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from shared.domain.errors import FilterNotReady
from shared.domain.filters.where import reads_fields
from shared.domain.text import words
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector
from shared.stores import checks
from shared.stores.lance import limits as lance_limits
from shared.stores.lance import rows as lance_rows
from shared.stores.lance import sweep as lance_sweep
from shared.stores.lance import table as lance_table
from shared.stores.lance import words as lance_words
from shared.stores.lance.limits import translated
from shared.stores.lance.rewrite import rewritten, termed
from shared.stores.lance.table import LanceTable

if TYPE_CHECKING:
    from lancedb.query import AsyncVectorQuery

log = structlog.get_logger(__name__)

ROWS_PER_COMMIT: Final = 4096
INDEX_FROM_ROWS: Final = 20_000
IDS_PER_QUERY: Final = 512
"""Above it, reading the whole column is cheaper than a condition that names the values."""
ASKED_PER_CALL: Final = 4
VECTORS_PER_QUERY: Final = 64
REFINED_LEAST: Final = 10
"""Vectors of the index that are compared again by their own, however few are wanted."""
KEPT_FOR: Final = timedelta(minutes=2)
"""How long files of older versions stay, for queries that are still reading them."""
KEPT: Final = timedelta(days=36_500)
"""The same while a sweep reads: its version may be an old one, however short it reads."""
RENEW_EVERY: Final = 20
"""Compactions after which the table is opened anew: caches hold what older versions had, with the
files of their indexes open."""
COMMIT_TIMEOUT: Final = timedelta(seconds=60)


class LanceStore:
    """Implements `shared.ports.VectorStore`; made by `open`.

    Attributes:
        created: the table was not there.
        rebuilt: the table was there, and could not be read or was made by another version; it was
            put aside as `<table>.broken-<n>`. Either way the index is empty and has to be filled.
    """

    def __init__(self, table: LanceTable, dimensions: int, index_from: int) -> None:
        self.dimensions = dimensions
        self.created = table.created
        self.rebuilt = table.rebuilt
        self._table = table
        self._index_from = index_from
        self._writing = asyncio.Lock()
        self._upkeep = asyncio.Lock()
        self._queries = lance_limits.QuerySlots()
        self._commits = self._compactions = self._sweeps = 0
        self._took_s = 0.0
        self._compacted_at = self._written_at = time.monotonic()

    @classmethod
    async def open(
        cls, folder: Path, *, table: str, dimensions: int, index_from: int = INDEX_FROM_ROWS
    ) -> "LanceStore":
        """Open or create the table in `folder`.

        Args:
            index_from: number of rows from which searches use an approximate index.

        Raises:
            StoreMismatch: instep did not make the table, or for another number of dimensions.
            StoreUnavailable: the folder cannot be used at the moment.
        """
        lance_limits.configure()
        await asyncio.to_thread(lance_limits.load)
        with translated():
            opened = await LanceTable.open(folder, table, dimensions)
        return cls(opened, dimensions, index_from)

    async def upsert(self, rows: Sequence[Row]) -> None:
        good, bad = checks.vet(rows, self.dimensions)
        for batch in checks.slices(good, ROWS_PER_COMMIT):
            data = await asyncio.to_thread(lance_rows.to_arrow, batch, self.dimensions)
            async with self._commit():
                merge = (await self._table.now()).merge_insert("id").when_not_matched_insert_all()
                await merge.use_index(False).execute(data, timeout=COMMIT_TIMEOUT)
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for batch in checks.slices(sorted(set(ids)), ROWS_PER_COMMIT):
            async with self._commit():
                await (await self._table.now()).delete(lance_rows.among("id", batch))

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {key: set() for key in documents}
        columns = ["id", "doc_key", "born"]
        for row in await self._read("doc_key", documents, columns):
            if row["doc_key"] in found and row["born"] <= documents[row["doc_key"]]:
                found[row["doc_key"]].add(row["id"])
        return {key: frozenset(ids) for key, ids in found.items()}

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        """Ids of the probes that a search would not find now.

        Proven for every probe: the newest committed version, which is what a search in any
        process reads, holds the row, and for a probe with a vector the row's stored vector is
        that one. Asked by the very query of `search`: at most 4 vectors of a call, spread evenly,
        so a single edit is always asked for; when one of them is not found, all are asked. Rows
        that are not in the index yet are compared one by one by every search, so a fresh row cannot
        be missed for being approximated.
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
        asks, rest = checks.checked_query(vector, self.dimensions), checks.possible(where)
        if not asks or limit < 1 or rest is None:
            return []
        await self._check_ready(rest)
        query = (await self._nearest(vector, limit)).select([*lance_rows.COLUMNS, "_distance"])
        if condition := lance_rows.condition(rest):
            query = query.where(condition)
        async with self._queries.question():
            found = await query.to_list()
        return [lance_rows.to_hit(row, lance_rows.cosine(row["_distance"])) for row in found]

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        """See the port. A bare text would be parsed: LanceDB reads one in quotes as a phrase, which
        the index cannot answer. In a `MatchQuery` it is words. Until the rows of a version before
        have their words, its index cuts the question."""
        from lancedb.query import MatchQuery

        rest = checks.possible(where)
        if limit < 1 or rest is None:
            return []
        await self._check_ready(rest)
        question = checks.clean_query(text)
        with translated():
            if await self._table.is_asked_by_words():
                question = " ".join(words.asked(question))
        # lancedb gives the other fields defaults in a way that mypy does not read
        match = MatchQuery(question, "words")  # type: ignore[call-arg]
        query = (await self._table.now()).query().nearest_to_text(match)
        query = query.limit(limit).select([*lance_rows.COLUMNS, "_score"])
        if condition := lance_rows.condition(rest):
            query = query.where(condition)
        async with self._queries.question():
            found = await query.to_list()
        return [lance_rows.to_hit(row, row["_score"]) for row in found]

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        found: dict[str, Hit] = {}
        for batch in checks.slices(sorted(set(ids)), IDS_PER_QUERY):
            for row in await self._read("id", batch, list(lance_rows.COLUMNS)):
                found[row["id"]] = lance_rows.to_hit(row, 0.0)
        return found

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        found: dict[str, Vector] = {}
        for batch in checks.slices(sorted(set(ids)), IDS_PER_QUERY):
            for row in await self._read("id", batch, ["id", "vector"]):
                found[row["id"]] = np.asarray(row["vector"], np.float32)
        return found

    async def count(self) -> int:
        with translated():
            return await (await self._table.now()).count_rows()

    async def digests(self) -> Mapping[str, Digest]:
        async with self._sweep():
            return await lance_sweep.digests(await self._table.connection(), self._table.name)

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        async with self._sweep():
            connection = await self._table.connection()
            return await lance_sweep.holdings(connection, self._table.name, buckets)

    async def lag_s(self) -> None:
        return None

    async def incarnation(self) -> str:
        with translated():
            found = await self._table.incarnation()
            if found is None:
                async with self._upkeep, self._writing:
                    found = await self._table.make_anew()
            return found

    async def maintain(self) -> None:
        """Compact and index when it is time; cheap otherwise, so call it every second or so."""
        async with self._upkeep:
            with translated():
                if not await self._table.is_worded():
                    await self._write_words()
                if not await self._table.is_termed():
                    await self._write_terms()
            now = time.monotonic()
            wear = lance_table.Wear(
                self._commits, now - self._written_at, now - self._compacted_at, self._took_s
            )
            if lance_table.compaction_due(wear):
                await self.compact()
                await self._index()

    async def compact(self) -> None:
        """Write small fragments together and drop files that no reader needs any more."""
        with translated():
            async with self._writing:
                kept = KEPT if self._sweeps else KEPT_FOR
                since = time.monotonic()
                await (await self._table.now()).optimize(cleanup_older_than=kept)
                self._commits, self._compacted_at = 0, time.monotonic()
                self._took_s = self._compacted_at - since
                self._compactions += 1
                if self._compactions % RENEW_EVERY == 0:  # readers go on with what they have
                    await self._table.renew()

    async def close(self) -> None:
        async with self._upkeep, self._writing:
            self._table.close()

    @asynccontextmanager
    async def _commit(self) -> AsyncIterator[None]:
        """One writer at a time: two that race cost each other retries, and compaction its work."""
        async with self._writing:
            with translated():
                yield
            self._commits += 1
            self._written_at = time.monotonic()

    @asynccontextmanager
    async def _sweep(self) -> AsyncIterator[None]:
        """A long look at one version: its files stay until it ends."""
        async with self._writing:  # a compaction under way would not know of it
            self._sweeps += 1
        try:
            with translated():
                yield
        finally:
            self._sweeps -= 1

    async def _write_words(self) -> None:
        """Have every row found by the words of this version; until then searches use the others."""
        async with self._writing:
            if await lance_words.has_index(await self._table.now()):
                return
        seen, of = 0, await self.count()
        log.warning("words_written", reason=checks.words_told(0, of))
        async with self._sweep():
            connection = await self._table.connection()
            async for rows, fresh in rewritten(connection, self._table.name):
                if fresh.num_rows:
                    await self._replace(fresh)
                if seen // checks.TOLD_EVERY < (seen + rows) // checks.TOLD_EVERY:
                    log.warning("words_written", reason=checks.words_told(seen + rows, of))
                seen += rows
        async with self._commit():
            await lance_words.make_index(await self._table.now(), lance_words.INDEX)
        log.warning("words_written", reason=checks.words_told(of, of))

    async def _write_terms(self) -> None:
        """Have every row found by filters; until then those over metadata are refused."""
        seen, of = 0, await self.count()
        log.warning("terms_written", reason=checks.terms_told(0, of))
        async with self._sweep():
            connection = await self._table.connection()
            async for rows, fresh in termed(connection, self._table.name):
                if fresh.num_rows:
                    await self._replace(fresh)
                if seen // checks.TOLD_EVERY < (seen + rows) // checks.TOLD_EVERY:
                    log.warning("terms_written", reason=checks.terms_told(seen + rows, of))
                seen += rows
        log.warning("terms_written", reason=checks.terms_told(of, of))

    async def _check_ready(self, asked: Filter) -> None:
        """Raises FilterNotReady."""
        if reads_fields(asked.where):
            with translated():
                if not await self._table.is_termed():
                    raise FilterNotReady(checks.NO_TERMS)

    async def _replace(self, fresh: Any) -> None:
        """Write columns over those of the rows that are still there. `fresh`: `pyarrow.Table`."""
        async with self._commit():
            merge = (await self._table.now()).merge_insert("id").when_matched_update_all()
            await merge.use_index(False).execute(fresh, timeout=COMMIT_TIMEOUT)

    async def _index(self) -> None:
        """Make or renew indexes; writers go on meanwhile, new rows are found unindexed."""
        from lancedb.index import BTree, IvfSq

        with translated():
            table = await self._table.now()
            indexes, rows = await table.list_indices(), await table.count_rows()
            if rows > self._index_from:
                for column in lance_table.KEYS:
                    if [column] not in [index.columns for index in indexes]:
                        await table.create_index(column, config=BTree(), name=f"{column}_sorted")
            names = [index.name for index in indexes if index.columns == ["vector"]]
            built_for = max(map(lance_table.rows_at_build, names), default=None)
            if not lance_table.index_due(rows, built_for, self._index_from):
                return
            fresh = lance_table.index_name(rows)
            config: Any = IvfSq(distance_type="cosine")  # missing in the type of `config`
            await table.create_index("vector", config=config, name=fresh, replace=True)
            for name in names:
                if name != fresh:
                    await table.drop_index(name)

    async def _nearest(self, vectors: Vector | list[Vector], limit: int) -> "AsyncVectorQuery":
        """Exact without an index; with it 20 partitions, more while a filter leaves too few.

        The index compares vectors of a byte a number. The nearest are compared again by their own:
        twice as many as wanted hold all of them, and reading more is most of the time of a query.
        """
        table = await self._table.now()
        query = table.query().nearest_to(vectors).distance_type("cosine").limit(limit)
        again = max(2, REFINED_LEAST // limit)
        return query.minimum_nprobes(20).maximum_nprobes(0).refine_factor(again)

    async def _read(self, column: str, values: Collection[str], names: list[str]) -> list[Any]:
        """The columns `names` of rows whose `column` is one of `values`, as dicts."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not values:
            return []
        query = (await self._table.now()).query().select(names)
        few = len(values) <= IDS_PER_QUERY
        if few:
            query = query.where(lance_rows.among(column, values))
        async with self._queries.one():
            found = await query.to_arrow()
        if not few:
            found = found.filter(pc.is_in(found[column], pa.array(values, pa.string())))
        return list(found.to_pylist())

    async def _held(self, ids: Collection[str]) -> set[str]:
        return {row["id"] for row in await self._read("id", list(ids), ["id"])}

    async def _holding(self, vectors: Mapping[str, Vector]) -> set[str]:
        """The ids whose rows hold the given vectors."""
        same = set()
        for batch in checks.slices(sorted(vectors), IDS_PER_QUERY):
            for row in await self._read("id", batch, ["id", "vector"]):
                held = np.asarray(row["vector"], np.float32)
                if lance_rows.distance(held, vectors[row["id"]]) < checks.SAME:
                    same.add(row["id"])
        return same

    async def _not_found(self, vectors: Mapping[str, Vector]) -> set[str]:
        """The ids whose vectors, asked for, have no row near them."""
        lost = set(vectors)
        for batch in checks.slices(list(vectors), VECTORS_PER_QUERY):
            query = await self._nearest([vectors[key] for key in batch], limit=1)
            async with self._queries.one():
                found = await query.select(["id", "_distance"]).to_list()
            lost -= {
                batch[row.get("query_index", 0)] for row in found if row["_distance"] < checks.SAME
            }
        return lost
