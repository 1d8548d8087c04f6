"""Rows in a table of Postgres, with the extension pgvector: one database for many machines.

A row is found by every search as soon as it is acknowledged, because an index of Postgres is part
of the transaction. Two things are not obvious. A walk through the vector index may end before it
has found as many rows as a filter lets through, so such a question is asked once more without the
index. And two writers that take the same rows in another order lock each other out: every
statement here takes rows in the order of their ids.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeVar

import numpy as np
import structlog

from shared.domain.errors import ConfigurationError, FilterNotReady
from shared.domain.filters.where import reads_fields
from shared.domain.text import words
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector
from shared.stores import checks
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector import sweep as pg_sweep
from shared.stores.pgvector import table as pg_table
from shared.stores.pgvector.connections import LONG_S, Connections, require_client
from shared.stores.pgvector.rewrite import have_terms, have_words
from shared.stores.pgvector.table import TablePlace
from shared.stores.pgvector.words import Words

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = structlog.get_logger(__name__)

T = TypeVar("T")

ROWS_PER_CALL: Final = 256
IDS_PER_CALL: Final = 4096
ASKED_PER_CALL: Final = 4
MOST_FOUND: Final = 10_000
MORE_OF_HALF: Final = 50
"""Candidates of an index of half precision beyond those asked for."""
LOOK_S: Final = 5.0
"""How often it is looked whether the table is there and wants its vector index."""

INSERT: Final = """
INSERT INTO {table} (id, doc_key, source, path, born, chunk_key, title, heading, text, metadata,
    words, words_seal, length, vector, seal, marks, {terms})
VALUES (%(id)s, %(doc_key)s, %(source)s, %(path)s, %(born)s, %(chunk_key)s, %(title)s,
    %(heading)s::text[], %(text)s, %(metadata)s, %(words)s::tsvector, %(words_seal)s, %(length)s,
    %(vector)s::vector, %(seal)s, %(marks)s::real[], %(terms)s::text[])
ON CONFLICT (id) DO NOTHING
"""
DELETE: Final = """
DELETE FROM {table} WHERE id IN (
    SELECT id FROM {table} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
)
"""
IDS: Final = "SELECT id, doc_key, born FROM {table} WHERE doc_key = ANY(%(keys)s)"
HELD: Final = "SELECT id FROM {table} WHERE id = ANY(%(ids)s)"
VECTORS: Final = "SELECT id, vector FROM {table} WHERE id = ANY(%(ids)s)"
ROWS: Final = """
SELECT id, doc_key, source, path, born, chunk_key, title, heading, text, metadata
FROM {table} WHERE id = ANY(%(ids)s)
"""
NEAREST: Final = """
SELECT id, doc_key, source, path, born, chunk_key, title, heading, text, metadata, 1 - distance
FROM (
    SELECT id, doc_key, source, path, born, chunk_key, title, heading, text, metadata,
        vector <=> %(vector)s::vector AS distance
    FROM {table} WHERE """
BY_INDEX: Final = """
    ORDER BY vector{half} <=> %(vector)s::vector{half} LIMIT %(candidates)s
) AS near ORDER BY distance, id LIMIT %(limit)s
"""
EXACT: Final = """
    ORDER BY (vector <=> %(vector)s::vector) + 0 LIMIT %(candidates)s
) AS near ORDER BY distance, id LIMIT %(limit)s
"""
"""The sum keeps the planner from the index."""
COUNT: Final = "SELECT count(*) FROM {table}"


class PgvectorStore:
    """Implements `shared.ports.VectorStore`; made by `open`.

    Attributes:
        created: the table was not there; the index is empty and has to be filled.
        notice: a message for people; may be empty.
    """

    def __init__(self, connections: Connections, place: TablePlace, created: bool) -> None:
        self.dimensions = place.dimensions
        self.created = created
        self.notice = too_many(place.dimensions) if place.exact else ""
        self._connections, self._place = connections, place
        self._words = Words(place)
        self._looked_at = self._written_at = time.monotonic()
        self._indexed = place.exact
        self._termed_at: float | None = None

    @classmethod
    async def open(
        cls, url: str, *, table: str, dimensions: int, password: str | None = None
    ) -> "PgvectorStore":
        """Connect; open or create the table.

        Raises:
            StoreMismatch: the table was made otherwise, or changed by hand.
            ConfigurationError: the server, its extension or a right is missing, or too old.
            StoreUnavailable: the server cannot be used at the moment.
        """
        if dimensions > pg_table.MOST_DIMENSIONS:
            most = pg_table.MOST_DIMENSIONS
            raise ConfigurationError(
                f"pgvector holds at most {most:,} dimensions, and the model has {dimensions:,}: "
                "use another model or another store"
            )
        require_client()
        place = TablePlace(table, dimensions)
        connections = Connections(url, password)
        try:
            opened = await connections.run(lambda c: pg_table.open_table(c, place))
        except BaseException:
            await connections.close()
            raise
        return cls(connections, place, opened.created)

    async def upsert(self, rows: Sequence[Row]) -> None:
        good, bad = checks.vet(rows, self.dimensions)
        for batch in checks.slices(good, ROWS_PER_CALL):
            values = await asyncio.to_thread(pg_rows.parameters, batch)

            async def write(connection: "AsyncConnection[Any]", values: Any = values) -> None:
                async with connection.transaction(), connection.cursor() as cursor:
                    await cursor.executemany(self._place.sql(INSERT), values)

            await self._connections.run(write)
            self._written_at = time.monotonic()
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for batch in checks.slices(_sorted(ids), IDS_PER_CALL):

            async def delete(connection: "AsyncConnection[Any]", batch: Any = batch) -> None:
                await connection.execute(self._place.sql(DELETE), {"ids": list(batch)})

            await self._connections.run(delete)

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {key: set() for key in documents}
        for batch in checks.slices(_sorted(documents), IDS_PER_CALL):
            for row_id, key, born in await self._all(IDS, {"keys": list(batch)}):
                document = pg_rows.shown(key)
                if born <= documents[document]:
                    found[document].add(pg_rows.shown(row_id))
        return {key: frozenset(ids) for key, ids in found.items()}

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        """Ids of the probes that a search would not find now.

        Proven for every probe: the table holds the row, and for a probe with a vector the row's
        stored vector is that one. Asked by the very query of `search`: at most 4 vectors of a
        call, spread evenly, so a single edit is always asked for; when one of them is not found,
        all are asked.
        """
        vectors = {probe.id: probe.vector for probe in probes if probe.vector is not None}
        plain = {probe.id for probe in probes} - vectors.keys()
        held = {
            pg_rows.shown(row[0])
            for batch in checks.slices(_sorted(plain), IDS_PER_CALL)
            for row in await self._all(HELD, {"ids": list(batch)})
        }
        same = await self._holding(vectors)
        asked = {key: vectors[key] for key in same}
        lost = await self._not_found(checks.spread(asked, ASKED_PER_CALL))
        if lost:
            lost = await self._not_found(asked)
        return frozenset((plain - held) | (vectors.keys() - same) | lost)

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        asks, rest = checks.checked_query(vector, self.dimensions), checks.possible(where)
        if not asks or limit < 1 or rest is None:
            return []
        await self._check_ready(rest)
        found = await self._nearest(BY_INDEX, vector, limit, rest)
        if len(found) < limit and rest != Filter():
            found = await self._nearest(EXACT, vector, limit, rest)
        return [_hit(row) for row in found]

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        asked, rest = words.asked(checks.clean_query(text)), checks.possible(where)
        if not asked or limit < 1 or rest is None:
            return []
        await self._check_ready(rest)
        most = min(limit, MOST_FOUND)
        found = await self._connections.run(
            lambda connection: self._words.search(connection, asked, most, rest), asks=True
        )
        return [_hit(row) for row in found]

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        found: dict[str, Hit] = {}
        for batch in checks.slices(_sorted(ids), IDS_PER_CALL):
            for row in await self._all(ROWS, {"ids": list(batch)}):
                hit = _hit((*row, 0.0))
                found[hit.id] = hit
        return found

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        found: dict[str, Vector] = {}
        for batch in checks.slices(_sorted(ids), IDS_PER_CALL):
            for row_id, raw in await self._all(VECTORS, {"ids": list(batch)}):
                found[pg_rows.shown(row_id)] = np.asarray(pg_rows.vector_of(raw), np.float32)
        return found

    async def count(self) -> int:
        ((found,),) = await self._all(COUNT, {})
        return int(found)

    async def digests(self) -> Mapping[str, Digest]:
        return await self._connections.run(
            lambda connection: pg_sweep.digests(connection, self._place), within_s=LONG_S
        )

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        wanted = frozenset(buckets)
        return await self._connections.run(
            lambda connection: pg_sweep.holdings(connection, self._place, wanted), within_s=LONG_S
        )

    async def lag_s(self) -> None:
        return None

    async def incarnation(self) -> str:
        found = await self._connections.run(lambda c: pg_table.incarnation(c, self._place))
        if found is not None:
            return found
        opened = await self._connections.run(lambda c: pg_table.open_table(c, self._place))
        if opened.created:
            self._indexed = self._place.exact
            log.warning("table_made_anew", name=self._place.name)
        return opened.incarnation

    async def maintain(self) -> None:
        """Make a dropped table anew; write the words of this version into its rows; make the vector
        index when it is time; tidy that of words."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return
        is_worn, self._looked_at = self._written_at > self._looked_at, now
        await self.incarnation()
        await have_words(self._connections, self._place)
        await have_terms(self._connections, self._place)
        if is_worn:
            await self._connections.run(lambda c: pg_table.clean_words(c, self._place))
        if not self._indexed:
            await self._connections.run(self._have_index, within_s=LONG_S)

    async def close(self) -> None:
        await self._connections.close()

    async def _check_ready(self, asked: Filter) -> None:
        """Raises FilterNotReady. That every row has its terms is believed for `LOOK_S`: an indexer
        of a version before may write others meanwhile."""
        now, told = time.monotonic(), self._termed_at
        if not reads_fields(asked.where) or (told is not None and now - told < LOOK_S):
            return
        if not await self._connections.run(lambda c: pg_table.has_terms(c, self._place)):
            raise FilterNotReady(checks.NO_TERMS)
        self._termed_at = now

    async def _have_index(self, connection: "AsyncConnection[Any]") -> None:
        self._indexed = await pg_table.has_index(connection, self._place)
        if self._indexed:
            return
        rows = await pg_table.rows_up_to(connection, self._place, pg_table.SOON_ROWS)
        if pg_table.index_due(rows, time.monotonic() - self._written_at):
            await pg_table.make_index(connection, self._place)

    async def _nearest(
        self, order: LiteralString, vector: Vector, limit: int, where: Filter
    ) -> list[tuple[Any, ...]]:
        condition, values = pg_rows.condition(where)
        most = min(limit, MOST_FOUND)
        (asked,) = pg_rows.vector_bytes(checks.unit(vector[np.newaxis, :]))
        values |= {
            "vector": asked,
            "limit": most,
            "candidates": most + MORE_OF_HALF if self._place.half else most,
        }
        return await self._all(NEAREST + condition + order, values, asks=True)

    async def _all(
        self, statement: LiteralString, values: Mapping[str, Any], *, asks: bool = False
    ) -> list[tuple[Any, ...]]:
        """Every row of an answer."""

        async def ask(connection: "AsyncConnection[Any]") -> list[tuple[Any, ...]]:
            asked = await connection.execute(self._place.sql(statement), values, binary=True)
            return await asked.fetchall()

        return await self._connections.run(ask, asks=asks)

    async def _holding(self, vectors: Mapping[str, Vector]) -> set[str]:
        """The ids whose rows hold the given vectors."""
        same = set()
        for batch in checks.slices(_sorted(vectors), IDS_PER_CALL):
            for row_id, raw in await self._all(VECTORS, {"ids": list(batch)}):
                key = pg_rows.shown(row_id)
                vector = vectors[key]
                sound = checks.sound(vector, self.dimensions)
                if sound and _distance(pg_rows.vector_of(raw), vector) < checks.SAME:
                    same.add(key)
        return same

    async def _not_found(self, vectors: Mapping[str, Vector]) -> set[str]:
        """The ids whose vectors, asked for, have no row near them."""
        lost = set()
        for key, vector in vectors.items():
            found = await self._nearest(BY_INDEX, vector, 1, Filter())
            if not found or 1 - found[0][-1] >= checks.SAME:
                lost.add(key)
        return lost


async def look(url: str, password: str | None) -> str:
    """The versions of server and extension, once both can be used; nothing is changed.

    Raises as `PgvectorStore.open`.
    """
    require_client()
    connections = Connections(url, password)
    try:
        return await connections.run(pg_table.describe)
    finally:
        await connections.close()


def table_name(prefix: str, generation: str) -> str:
    return f"{prefix}_{generation}"


def too_many(dimensions: int) -> str:
    return (
        f"pgvector has no index for {dimensions:,} dimensions, at most for "
        f"{pg_table.MOST_OF_HALF:,}: every search compares every row"
    )


def _sorted(texts: Collection[str]) -> list[str]:
    """As they are stored, each once."""
    return sorted({pg_rows.stored(text) for text in texts})


def _hit(row: Sequence[Any]) -> Hit:
    found = dict(zip(pg_rows.SHOWN, row, strict=False))
    return pg_rows.to_hit(found, max(-1.0, float(row[-1])))


def _distance(one: Vector, other: Vector) -> float:
    pair = checks.unit(np.stack((one, other)))
    return 1 - float(np.dot(pair[0], pair[1]))
