"""The check of every row of a Postgres table: is it as it was written under its id?

The rows come by a cursor of the server, in pages of one snapshot: memory is that of a page, and
writes may go on.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.domain.ids import bucket_of
from shared.ports import Digest, Holding
from shared.stores import checks, seal
from shared.stores.looks import SweptRow, digested, held
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector.table import TablePlace, has_terms

if TYPE_CHECKING:
    from psycopg import AsyncConnection

PAGE: Final = 512
EVERY: Final = """
SELECT id, doc_key, source, path, chunk_key, title, text, metadata, heading, born,
    words::text, words_seal, vector, seal, marks, {terms}
FROM {table}
"""
OF_BUCKETS: Final = " WHERE left(doc_key, 2) = ANY(%(buckets)s)"


async def digests(connection: "AsyncConnection[Any]", place: TablePlace) -> dict[str, Digest]:
    """See `shared.ports.VectorStore.digests`. Raises psycopg.Error."""
    found: dict[str, Digest] = {}
    async for looks in _pages(connection, place, None):
        page = digested((look.id, look.doc_key, look.sound) for look in looks)
        for bucket, digest in page.items():
            found[bucket] = found.get(bucket, Digest()) + digest
    return found


async def holdings(
    connection: "AsyncConnection[Any]", place: TablePlace, buckets: Collection[str]
) -> dict[str, Holding]:
    """See `shared.ports.VectorStore.holdings`. Raises psycopg.Error."""
    looks: list[SweptRow] = []
    if buckets:
        async for page in _pages(connection, place, buckets):
            looks += [look for look in page if bucket_of(look.doc_key) in buckets]
    return await asyncio.to_thread(held, looks)


async def _pages(
    connection: "AsyncConnection[Any]", place: TablePlace, buckets: Collection[str] | None
) -> AsyncIterator[list[SweptRow]]:
    """Looks at all rows, or at those of some buckets and a few others."""
    from psycopg import AsyncServerCursor

    termed = await has_terms(connection, place)
    values = {} if buckets is None else {"buckets": [_begins(bucket) for bucket in buckets]}
    statement = place.sql(EVERY if buckets is None else EVERY + OF_BUCKETS)
    async with connection.transaction(), AsyncServerCursor(connection, "sweep") as cursor:
        cursor.itersize = PAGE
        await cursor.execute(statement, values, binary=True)
        while page := await cursor.fetchmany(PAGE):
            yield await asyncio.to_thread(looks_at, page, place.dimensions, termed=termed)


def _begins(bucket: str) -> str:
    """The first two characters of the stored keys of a bucket."""
    return pg_rows.stored(bucket)[:2]


def looks_at(
    page: Sequence[Sequence[Any]], dimensions: int, *, termed: bool = False
) -> list[SweptRow]:
    """The look at each row of the columns of `EVERY`. Pure.

    termed: every row has its terms; else some may have none.
    """
    vectors = np.zeros((len(page), dimensions), np.float32)
    marks = np.full((len(page), seal.MARKS), np.nan, np.float32)
    for at, row in enumerate(page):
        vectors[at] = pg_rows.vector_of(row[12])
        if len(row[14]) == seal.MARKS:
            marks[at] = row[14]
    same = seal.agree(seal.marks_of(vectors), marks).tolist()
    return [_look(row, near, termed) for row, near in zip(page, same, strict=True)]


def _look(row: Sequence[Any], near: bool, termed: bool) -> SweptRow:
    texts = list(map(pg_rows.shown, row[:8]))
    heading = [pg_rows.shown(part or "").encode("utf-8", "surrogatepass") for part in row[8]]
    packed = seal.packed(row[9], [text.encode("utf-8", "surrogatepass") for text in texts], heading)
    sealed = int(seal.digests([packed])[0]) == row[13]
    worded = pg_rows.words_seal(row[10]) == row[11]
    no_terms = row[15] is None and not termed
    filtered = no_terms or tuple(row[15] or ()) == checks.terms_of_text(texts[7])
    row_id, key, source, path = texts[:4]
    return SweptRow(row_id, key, source, path, near and sealed and worded and filtered)
