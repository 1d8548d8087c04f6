"""Stores on a Postgres of the tests, with tables of their own that are dropped afterwards."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
from psycopg.sql import SQL, Identifier

from shared.stores.pgvector.store import PgvectorStore


@asynccontextmanager
async def open_pgvector(url: str) -> AsyncIterator[Callable[..., Awaitable[PgvectorStore]]]:
    """A maker of stores with names of their own."""
    prefix = f"test{uuid.uuid4().hex[:12]}"
    stores: dict[str, list[PgvectorStore]] = {}

    async def make(table: str = "chunks", dimensions: int = 8) -> PgvectorStore:
        name = f"{prefix}_{table}"
        store = await PgvectorStore.open(url, table=name, dimensions=dimensions)
        stores.setdefault(name, []).append(store)
        return store

    try:
        yield make
    finally:
        for opened in stores.values():
            for store in opened:
                await store.close()
        await drop(url, *stores)


async def drop(url: str, *names: str) -> None:
    """Drop tables."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for name in names:
            await connection.execute(SQL("DROP TABLE IF EXISTS {}").format(Identifier(name)))
