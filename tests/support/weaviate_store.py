"""Stores on a test server: collections of their own, gone afterwards, and patience with vectors."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from weaviate_server import Reached

from shared.domain.errors import VectorsRejected
from shared.ports import Probe, Row
from shared.stores.weaviate.open import Address, connect
from shared.stores.weaviate.schema import collection_name
from shared.stores.weaviate.store import WeaviateStore

PATIENCE_S: Final = 300.0


def address(server: Reached) -> Address:
    return Address.of(server.url, server.grpc)


async def until_searchable(store: WeaviateStore, rows: Sequence[Row]) -> None:
    """Wait until a search would find all the rows: the server indexes vectors later, and those of
    a call that was cut off perhaps never, unless the upkeep has them written again.
    """
    probes = [Probe(row.id) for row in rows] + [Probe(row.id, row.vector) for row in rows[-1:]]
    deadline, pause_s = time.monotonic() + PATIENCE_S, 0.005
    while await store.unsearchable(probes):
        assert time.monotonic() < deadline, "the rows never became searchable"
        await asyncio.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)
        await store.maintain()


class Patient:
    """A store whose `upsert` returns when the rows are searchable; all else is the store's own."""

    def __init__(self, store: WeaviateStore) -> None:
        self._store = store

    async def upsert(self, rows: Sequence[Row]) -> None:
        try:
            await self._store.upsert(rows)
        except VectorsRejected as error:
            await until_searchable(self._store, [row for row in rows if row.id not in error.ids])
            raise
        await until_searchable(self._store, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@asynccontextmanager
async def open_patient(server: Reached) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A maker of stores with names of their own; their collections are deleted at the end."""
    prefix = f"Test{uuid.uuid4().hex[:12]}"
    stores: dict[str, WeaviateStore] = {}

    async def make(table: str = "chunks", dimensions: int = 8) -> Patient:
        name = collection_name(prefix, table)
        stores[name] = await WeaviateStore.open(
            address(server), name=name, dimensions=dimensions, api_key=server.key
        )
        return Patient(stores[name])

    try:
        yield make
    finally:
        for store in stores.values():
            await store.close()
        await drop(server, *stores)


async def drop(server: Reached, *names: str) -> None:
    """Delete collections."""
    async with connected(server) as client:
        for name in names:
            await client.collections.delete(name)


@asynccontextmanager
async def connected(server: Reached, key: str | None = None) -> AsyncIterator[Any]:
    """The vendor's own client, for what only an administrator does."""
    client = await connect(address(server), key or server.key)
    try:
        yield client
    finally:
        await client.close()
