"""The check of every row of a LanceDB table: is it as it was written under its id?

A scan of Lance reads far ahead of its consumer (285 MB for 100,000 rows), so the rows come in
pages of one pinned version: memory is that of a page, and writes may go on. What is computed for
a page runs in a thread, column by column where it can.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.ids import bucket_of
from shared.ports import Digest, Holding
from shared.stores import seal
from shared.stores.checks import terms_of_text
from shared.stores.lance import rows as lance_rows
from shared.stores.lance.words import is_worded
from shared.stores.looks import SweptRow, digested, held

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.table import AsyncTable

PAGE: Final = 1024
BUCKETS_PER_QUERY: Final = 32
"""Above it, reading everything is cheaper than a condition."""
COLUMNS: Final = [*lance_rows.COLUMNS, "words", "vector", *lance_rows.SEALS, TERMS]


async def digests(connection: "AsyncConnection", name: str) -> dict[str, Digest]:
    """See `shared.ports.VectorStore.digests`; raises Lance's errors."""
    found: dict[str, Digest] = {}
    async with pinned(connection, name) as table:
        worded = await is_worded(table)
        async for page in pages(table, COLUMNS):
            for bucket, digest in (await asyncio.to_thread(_digests, page, worded)).items():
                found[bucket] = found.get(bucket, Digest()) + digest
    return found


async def holdings(
    connection: "AsyncConnection", name: str, buckets: Collection[str]
) -> dict[str, Holding]:
    """See `shared.ports.VectorStore.holdings`; raises Lance's errors."""
    wanted = frozenset(buckets)
    if not wanted:
        return {}
    looks: list[SweptRow] = []
    async with pinned(connection, name) as table:
        worded = await is_worded(table)
        few = len(wanted) <= BUCKETS_PER_QUERY
        found = _matching(table, wanted) if few else pages(table, COLUMNS)
        async for page in found:
            looks += await asyncio.to_thread(_looks, page, wanted, worded)
    return await asyncio.to_thread(held, looks)


@asynccontextmanager
async def pinned(connection: "AsyncConnection", name: str) -> AsyncIterator["AsyncTable"]:
    """The table at its current version; later writes do not show."""
    table = await connection.open_table(name)
    try:
        await table.checkout(await table.version())
        yield table
    finally:
        table.close()  # type: ignore[no-untyped-call]  # lancedb leaves it untyped


async def pages(table: "AsyncTable", columns: list[str]) -> AsyncIterator[Any]:
    """All rows as record batches."""
    start = 0
    while True:
        page = await table.query().select(columns).offset(start).limit(PAGE).to_arrow()
        if not page.num_rows:
            return
        start += page.num_rows
        for batch in page.to_batches():
            yield batch


async def _matching(table: "AsyncTable", buckets: Collection[str]) -> AsyncIterator[Any]:
    """The rows of a few buckets as record batches."""
    query = table.query().select(COLUMNS).where(lance_rows.starting_with("doc_key", buckets))
    async for batch in await query.to_batches(max_batch_length=PAGE):
        yield batch


def _digests(page: Any, worded: bool) -> dict[str, Digest]:
    ids, keys = (page[name].to_pylist() for name in ("id", "doc_key"))
    return digested(zip(ids, keys, intact(page, worded=worded).tolist(), strict=True))


def _looks(page: Any, buckets: Collection[str], worded: bool) -> list[SweptRow]:
    columns = (page[name].to_pylist() for name in ("id", "doc_key", "source", "path"))
    looks = map(SweptRow, *columns, intact(page, worded=worded).tolist())
    return [look for look in looks if bucket_of(look.doc_key) in buckets]


def intact(page: Any, *, worded: bool) -> NDArray[np.bool_]:
    """Which rows of a record batch are as they were written under their ids. Shape (rows,).

    worded: all have words; else they may still have their text there, as versions before had it.
    """
    written = sealed(page, seal.digests(packed(page)), worded=worded)
    marks = seal.marks_of(_matrix(page["vector"]))
    near = seal.agree(marks, _matrix(page["marks"]))
    return np.asarray(written & near & termed(page))


def termed(page: Any) -> NDArray[np.bool_]:
    """Which rows have the terms of their metadata, or none yet. Shape (rows,)."""
    import pyarrow as pa

    found, texts = page[TERMS], page["metadata"].dictionary_encode()
    made = pa.array(map(terms_of_text, texts.dictionary.to_pylist()), found.type)
    wanted = made.take(texts.indices)
    if found.equals(wanted):  # as a rule; Python's strings would take five times as long
        return np.ones(len(page), np.bool_)
    pairs = zip(found.to_pylist(), wanted.to_pylist(), strict=True)
    return np.fromiter((one is None or one == other for one, other in pairs), np.bool_, len(page))


def sealed(page: Any, fields: NDArray[np.int64], *, worded: bool) -> NDArray[np.bool_]:
    """Which rows have the seal of their fields and words. Shape (rows,).

    fields: the digest of each row's fields. worded: as in `intact`.
    """
    found = page["seal"].to_numpy()
    same = found == fields + seal.word_digests(TextColumn.of(page["words"]).cut())
    if not worded:
        same |= (found == fields) & with_text(page)
    return np.asarray(same)


def packed(page: Any) -> Iterator[bytes]:
    """Every row of a record batch as `shared.stores.seal.packed` packs it.

    100,000 rows of ten fields are too many Python strings: the bytes are cut from the columns.
    """
    texts = [TextColumn.of(page[name]) for name in seal.TEXTS]
    parts = TextColumn.of(page["heading"].values)
    bounds = page["heading"].offsets.to_numpy()
    header = np.empty(len(page), [("born", "<i8"), ("lengths", "<u4", (1 + len(texts),))])
    header["born"] = page["born"].to_numpy()
    header["lengths"] = np.column_stack([np.diff(b) for b in (bounds, *(t.bounds for t in texts))])
    columns = [
        _cut(header.tobytes(), np.arange(len(page) + 1) * header.itemsize),
        *(text.cut() for text in texts),
        _cut(np.diff(parts.bounds).astype("<u4").tobytes(), 4 * bounds),
        _cut(parts.data, parts.bounds[bounds]),
    ]
    return map(b"".join, zip(*columns, strict=True))


def with_text(page: Any) -> NDArray[np.bool_]:
    """Which rows have their text as words, as versions before had it. Shape (rows,)."""
    titles, texts, words = (TextColumn.of(page[name]).cut() for name in ("title", "text", "words"))
    parts = list(TextColumn.of(page["heading"].values).cut())
    bounds = page["heading"].offsets.to_numpy().tolist()
    headings = map(parts.__getitem__, map(slice, bounds, bounds[1:]))
    columns = zip(words, titles, headings, texts, strict=True)
    same = (word == b"\n".join((title, *heading, text)) for word, title, heading, text in columns)
    return np.fromiter(same, np.bool_, len(page))


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of strings: their UTF-8 in one piece, and where each begins; one bound more."""

    data: bytes
    bounds: NDArray[np.int32]

    @classmethod
    def of(cls, column: Any) -> "TextColumn":
        """Of a `pyarrow.StringArray` without nulls, which may be a slice of a larger one."""
        _, offsets, data = column.buffers()
        bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
        piece = memoryview(data)[bounds[0] : bounds[-1]] if data else b""
        return cls(bytes(piece), bounds - bounds[0])

    def cut(self) -> Iterator[bytes]:
        return _cut(self.data, self.bounds)


def _cut(data: bytes, bounds: NDArray[np.integer[Any]]) -> Iterator[bytes]:
    places = bounds.tolist()
    return map(data.__getitem__, map(slice, places, places[1:]))


def _matrix(column: Any) -> NDArray[np.float32]:
    """A column of fixed-size lists as float32, shape (rows, size)."""
    return np.asarray(column.flatten().to_numpy().reshape(len(column), column.type.list_size))
