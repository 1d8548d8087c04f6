"""Writes the words and terms of this version into rows that a version before has written.

Both are made of what a row holds, so no text is encoded. Only a row that is as it was written gets
new words, with the seal that belongs to them: a damaged one stays damaged for the sweep to see.
Terms have no seal of their own, because the sweep compares them with the sealed metadata.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.text import words
from shared.stores import seal
from shared.stores.checks import terms_of_text
from shared.stores.lance import rows as lance_rows
from shared.stores.lance import sweep as lance_sweep
from shared.stores.lance.sweep import TextColumn

if TYPE_CHECKING:
    from lancedb import AsyncConnection

COLUMNS: Final = [*lance_rows.COLUMNS, "words", "seal"]


async def rewritten(connection: "AsyncConnection", name: str) -> AsyncIterator[tuple[int, Any]]:
    """Number of rows that were looked at, and the `id`, `words` and `seal` to write over theirs.

    The table may be empty. Raises Lance's errors.
    """
    async with lance_sweep.pinned(connection, name) as table:
        async for page in lance_sweep.pages(table, COLUMNS):
            yield len(page), await asyncio.to_thread(worded, page)


async def termed(connection: "AsyncConnection", name: str) -> AsyncIterator[tuple[int, Any]]:
    """Number of rows that were looked at, and the `id` and terms of those that have none.

    The table may be empty. Raises Lance's errors.
    """
    async with lance_sweep.pinned(connection, name) as table:
        async for page in lance_sweep.pages(table, ["id", "metadata", TERMS]):
            yield len(page), await asyncio.to_thread(with_terms, page)


def with_terms(page: Any) -> Any:
    """The rows of a record batch that have no terms, as `pyarrow.Table` of `id` and terms."""
    import pyarrow as pa

    without = page.filter(page[TERMS].is_null())
    made = pa.array(map(terms_of_text, without["metadata"].to_pylist()), pa.list_(pa.string()))
    schema = pa.schema([page.schema.field("id"), lance_rows.terms_field()])
    return pa.table([without["id"], made], schema=schema)


def worded(page: Any) -> Any:
    """The rows of a record batch that need other words, as `pyarrow.Table`."""
    import pyarrow as pa

    fields = seal.digests(lance_sweep.packed(page))
    sound = lance_sweep.sealed(page, fields, worded=False)
    rows = page.select(["title", "heading", "text"]).to_pylist()
    made = [words.column(**row) for row in rows]
    column = pa.array(made, pa.string())
    seals = fields + seal.word_digests(TextColumn.of(column).cut())
    schema = pa.schema([page.schema.field(key) for key in ("id", "words", "seal")])
    table = pa.table([page["id"], column, pa.array(np.asarray(seals))], schema=schema)
    same = page["seal"].to_numpy() == np.asarray(seals)
    return table.filter(pa.array(sound & ~same))
