"""The calls to a Weaviate collection, each within limits of time and size.

The client's own words stay in here and in `weaviate_open`: above this, rows are dictionaries of
properties, and errors are ours.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shared.domain.errors import ConfigurationError, StoreUnavailable
from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.terms import terms_for
from shared.domain.filters.where import BelowPath, InSources, Leaf, folded
from shared.ports import Filter, Row, Vector
from shared.stores import checks
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate.answers import Found, found_of, halves, moved
from shared.stores.weaviate.limits import INSERT_S, QUERY_S, bounded

if TYPE_CHECKING:
    from weaviate import WeaviateAsyncClient

MOST_FOUND: Final = 10_000
"""Most results or deletions of one call, the server's setting `QUERY_MAXIMUM_RESULTS`."""
IDS_PER_CALL: Final = 1000
KEYS_PER_CALL: Final = 500
CALLS_AT_ONCE: Final = 8
NOT_FOUND: Final = 404

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Collection:
    """One collection of a connected client."""

    def __init__(self, client: "WeaviateAsyncClient", name: str) -> None:
        self.name = name
        self._client = client
        self._use = client.collections.use(name)

    async def insert(self, rows: Sequence[Row]) -> dict[str, str]:
        """Write the rows, over any that are there under their ids.

        Returns:
            The server's errors for the rows that it refused, by id; the others are in.

        Raises:
            StoreUnavailable, StoreMismatch, ConfigurationError: nothing is known.
        """
        from weaviate.classes.data import DataObject
        from weaviate.exceptions import WeaviateInsertManyAllFailedError

        made = await asyncio.to_thread(weaviate_rows.properties, rows)
        objects = [
            DataObject(
                uuid=weaviate_rows.object_id(row.id),
                properties=properties,
                vector=row.vector.tolist(),
            )
            for row, properties in zip(rows, made, strict=True)
        ]
        async with bounded(INSERT_S):
            try:
                done = await self._use.data.insert_many(objects)
            except WeaviateInsertManyAllFailedError as error:
                said = str(error).rpartition("all errors: ")[2]
                return dict.fromkeys((row.id for row in rows), said)
        return {rows[at].id: error.message for at, error in done.errors.items()}

    async def delete(self, ids: Sequence[str]) -> None:
        """Delete the objects that exist among some ids, at most `IDS_PER_CALL`.

        A torn object may be missing from the filter that deletes many; then all go one by one.
        """
        from weaviate.classes.query import Filter as By

        async with bounded(INSERT_S):
            done = await self._use.data.delete_many(where=By.by_id().contains_any(ids))
        if done.failed:
            raise StoreUnavailable(f"Weaviate did not delete {done.failed} rows")
        if done.successful < len(ids):
            await at_once(ids, self._delete_one)

    async def write_again(self, found: Sequence[Found]) -> None:
        """Have the server index objects anew that it holds but does not find.

        The same content is taken for done, so one component of the vector moves by the smallest
        step there is. An object that was deleted meanwhile stays so.
        """

        async def write(one: Found) -> None:
            properties = {k: v for k, v in one.properties.items() if v is not None}
            vector = {"default": [moved(one.vector[0]), *one.vector[1:]]}
            async with bounded(INSERT_S):
                with _existing():
                    await self._use.data.replace(uuid=one.id, properties=properties, vector=vector)

        await at_once(found, write)

    async def change(
        self, found: Sequence[Found], made: Callable[[Mapping[str, Any]], dict[str, Any] | None]
    ) -> None:
        """Change properties of objects, as to the words or terms of this version.

        The vectors stay indexed, an object that was deleted meanwhile stays so, and of several
        processes each writes the same.

        Args:
            made: the changes by the properties of an object; None: none.

        Raises:
            StoreUnavailable, StoreMismatch, ConfigurationError: some were not written.
        """

        async def write(given: tuple[str, dict[str, Any]]) -> None:
            key, changes = given
            async with bounded(INSERT_S):
                with _existing():
                    await self._use.data.update(uuid=key, properties=changes)

        def changes() -> list[tuple[str, dict[str, Any]]]:
            all_made = ((one.id, made(one.properties)) for one in found)
            return [(key, given) for key, given in all_made if given]

        await at_once(await asyncio.to_thread(changes), write)

    async def count(self) -> int:
        async with bounded(QUERY_S):
            return (await self._use.aggregate.over_all(total_count=True)).total_count or 0

    async def by_ids(
        self, ids: Sequence[str], columns: Sequence[str], *, vectors: bool = False
    ) -> list[Found]:
        """The objects that exist among some ids, at most `IDS_PER_CALL`."""
        from weaviate.classes.query import Filter as By

        where = By.by_id().contains_any(ids)
        return await self._fetch(where, len(ids), columns, vectors=vectors)

    async def alone(self, ids: Sequence[str], columns: Sequence[str]) -> list[Found]:
        """The objects that exist among the ids, also those that filters miss."""

        async def look(key: str) -> list[Found]:
            before = str(uuid.UUID(int=max(0, uuid.UUID(key).int - 1)))
            return await self.page(before, 1, columns)

        seen = await at_once(ids, look)
        return [one for page, key in zip(seen, ids, strict=True) for one in page if one.id == key]

    async def page(self, after: str | None, most: int, columns: Sequence[str]) -> list[Found]:
        """The next objects behind an id, with vectors, in the order of ids; of all there are."""
        async with bounded(INSERT_S):
            answer = await self._use.query.fetch_objects(
                limit=most, after=after, return_properties=list(columns), include_vector=True
            )
        return [found_of(one) for one in answer.objects]

    async def among(
        self, column: str, values: Sequence[str], columns: Sequence[str]
    ) -> AsyncIterator[Found]:
        """Every object whose `column` is one of `values`, as stored, however many there are."""
        for some in checks.slices(values, KEYS_PER_CALL):
            async for found in self._all_of(column, some, None, columns):
                yield found

    async def near(
        self, vector: Vector, most: int, columns: Sequence[str], where: Filter
    ) -> list[Found]:
        """The nearest objects, as a search returns them."""
        return await self._near(vector, most, columns, _condition(where))

    async def indexed(self, ids: Sequence[str], vector: Vector) -> set[str]:
        """Which of some ids, at most `IDS_PER_CALL`, the vector index knows.

        A search that is restricted to ids compares every one of them that has a vector in the
        index, and no other. `vector`: any unit vector.
        """
        from weaviate.classes.query import Filter as By

        where = By.by_id().contains_any(ids)
        return {found.id for found in await self._near(vector, len(ids), (), where)}

    async def keywords(
        self, text: str, most: int, searched: Sequence[str], where: Filter
    ) -> list[Found]:
        """The objects that match words best in the properties `searched`, with `SHOWN`."""
        from weaviate.classes.query import MetadataQuery

        async with bounded(QUERY_S):
            answer = await self._use.query.bm25(
                text,
                query_properties=list(searched),
                limit=most,
                filters=_condition(where),
                return_properties=list(weaviate_rows.SHOWN),
                return_metadata=MetadataQuery(score=True),
            )
        return [found_of(one) for one in answer.objects]

    async def queued(self) -> int | None:
        """Vectors that wait to be indexed; None: a shard is not loaded, or the key may not ask."""
        try:
            async with bounded(QUERY_S):
                nodes = await self._client.cluster.nodes(collection=self.name, output="verbose")
        except ConfigurationError:
            return None
        shards = [shard for node in nodes for shard in node.shards or ()]
        if not shards or not all(shard.loaded for shard in shards):
            return None
        return sum(shard.vector_queue_length for shard in shards)

    async def _delete_one(self, key: str) -> None:
        async with bounded(INSERT_S):
            await self._use.data.delete_by_id(key)

    async def _all_of(
        self,
        column: str,
        values: Sequence[str],
        slots: Sequence[int] | None,
        columns: Sequence[str],
    ) -> AsyncIterator[Found]:
        """Ask; where the answer has the greatest length, ask for halves instead."""
        from weaviate.classes.query import Filter as By

        where = By.by_property(column).contains_any(values)
        if slots is not None:
            where &= By.by_property("slot").contains_any(slots)
        found = await self._fetch(where, MOST_FOUND, columns)
        if len(found) < MOST_FOUND:
            for one in found:
                yield one
            return
        for some, parts in halves(values, slots):
            async for one in self._all_of(column, some, parts, columns):
                yield one

    async def _fetch(
        self, where: Any, most: int, columns: Sequence[str], *, vectors: bool = False
    ) -> list[Found]:
        async with bounded(INSERT_S if vectors else QUERY_S):
            answer = await self._use.query.fetch_objects(
                filters=where,
                limit=most,
                return_properties=list(columns),
                include_vector=vectors,
            )
        return [found_of(one) for one in answer.objects]

    async def _near(
        self, vector: Vector, most: int, columns: Sequence[str], where: Any
    ) -> list[Found]:
        from weaviate.classes.query import MetadataQuery

        async with bounded(QUERY_S):
            answer = await self._use.query.near_vector(
                vector.tolist(),
                limit=most,
                filters=where,
                return_properties=list(columns) or False,
                return_metadata=MetadataQuery(distance=True),
            )
        return [found_of(one) for one in answer.objects]


async def at_once(items: Sequence[Item], ask: Callable[[Item], Awaitable[Answer]]) -> list[Answer]:
    """The answer for each item, a few asked at a time."""
    free = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(item: Item) -> Answer:
        async with free:
            return await ask(item)

    return list(await asyncio.gather(*map(one, items)))


@contextmanager
def _existing() -> Iterator[None]:
    """Change an object unless it was deleted."""
    from weaviate.exceptions import UnexpectedStatusCodeError

    try:
        yield
    except UnexpectedStatusCodeError as error:
        if error.status_code != NOT_FOUND:
            raise


def _condition(asked: Filter) -> Any:
    """The filter in the client's words, None when it does not restrict."""
    from weaviate.classes.query import Filter as By

    parts = []
    if asked.sources:
        parts.append(_comparison(InSources(asked.sources)))
    if asked.path_prefix:
        parts.append(_comparison(BelowPath(asked.path_prefix)))
    if asked.where is not None:
        parts.append(folded(asked.where, _comparison, By.all_of, By.any_of, By.not_))
    return By.all_of(parts) if parts else None


def _comparison(leaf: Leaf) -> Any:
    from weaviate.classes.query import Filter as By

    if isinstance(leaf, InSources):
        stored = [weaviate_rows.encoded(source) for source in leaf.names]
        return By.by_property("source").contains_any(stored)
    if isinstance(leaf, BelowPath):
        return By.by_property("path").like(weaviate_rows.pattern(leaf.prefix))
    return By.by_property(TERMS).contains_any(list(terms_for(leaf)))
