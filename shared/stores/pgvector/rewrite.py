"""Writes the words and terms of this version into rows that another version has written.

A comment of the column of words notes the version that all rows have; the seals of a row say
nothing of it. Words are made of what a row holds, so no text is encoded. Only a row that is as it
was written gets new words: a damaged one stays damaged for the sweep to see. Several processes may
do it at once: each writes the same. Terms have no seal of their own, because the sweep compares
them with the sealed metadata.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, LiteralString

import structlog

from shared.domain.text import words
from shared.stores import checks
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector import sweep as pg_sweep
from shared.stores.pgvector import table as pg_table
from shared.stores.pgvector.connections import Connections
from shared.stores.pgvector.table import TablePlace

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = structlog.get_logger(__name__)

PAGE: Final = 256
NEXT: Final = f"{pg_sweep.EVERY} WHERE id > %(after)s ORDER BY id LIMIT %(most)s"
WRITE: Final = """
UPDATE {table} SET words = %(words)s::tsvector, words_seal = %(words_seal)s, length = %(length)s
WHERE id = %(id)s AND seal = %(seal)s AND words_seal = %(before)s
"""


NEXT_WITHOUT: Final = """
SELECT id, metadata FROM {table} WHERE {terms} IS NULL AND id > %(after)s
ORDER BY id LIMIT %(most)s
"""
WRITE_TERMS: Final = """
UPDATE {table} SET {terms} = %(terms)s WHERE id = %(id)s AND {terms} IS NULL
"""


async def have_terms(connections: Connections, place: TablePlace) -> None:
    """Have every row found by filters over metadata; until then these are refused.

    An indexer of a version before that runs beside this one writes rows without terms; then the
    note that all have them is withdrawn. Raises as `Connections.run`.
    """
    if await connections.run(lambda c: pg_table.has_terms(c, place)):
        if not await connections.run(lambda c: pg_table.lacks_terms(c, place)):
            return
        await connections.run(lambda c: pg_table.note_terms(c, place, written=False))
    of = await connections.run(lambda c: pg_table.rows_up_to(c, place, None))
    seen = 0
    log.warning("terms_written", reason=checks.terms_told(0, of))
    async for rows in _pages(connections, place, NEXT_WITHOUT, (WRITE_TERMS, termed)):
        if seen // checks.TOLD_EVERY < (seen + rows) // checks.TOLD_EVERY:
            log.warning("terms_written", reason=checks.terms_told(seen + rows, of))
        seen += rows
    await connections.run(lambda c: pg_table.note_terms(c, place))
    log.warning("terms_written", reason=checks.terms_told(of, of))


def termed(page: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """The values of `WRITE_TERMS` for rows of `NEXT_WITHOUT`. Pure."""
    return [
        {"id": row_id, "terms": list(checks.terms_of_text(pg_rows.shown(metadata)))}
        for row_id, metadata in page
    ]


async def have_words(connections: Connections, place: TablePlace) -> None:
    """Have every row found by the words of this version; until then searches find the others.

    Raises as `Connections.run`.
    """
    if await connections.run(lambda c: pg_table.words_version(c, place)) == words.VERSION:
        return
    of = await connections.run(lambda c: pg_table.rows_up_to(c, place, None))
    seen = 0
    log.warning("words_written", reason=checks.words_told(0, of))
    written = WRITE, partial(worded, dimensions=place.dimensions)
    async for rows in _pages(connections, place, NEXT, written):
        if seen // checks.TOLD_EVERY < (seen + rows) // checks.TOLD_EVERY:
            log.warning("words_written", reason=checks.words_told(seen + rows, of))
        seen += rows
    await connections.run(lambda c: pg_table.note_words(c, place))
    log.warning("words_written", reason=checks.words_told(of, of))


async def _pages(
    connections: Connections,
    place: TablePlace,
    read: LiteralString,
    written: tuple[LiteralString, Callable[[Sequence[Sequence[Any]]], list[dict[str, Any]]]],
) -> AsyncIterator[int]:
    """The number of rows of each page that was looked at, and written where it was needed.

    Args:
        read: a statement for the next rows; their ids come first.
        written: a statement, and its values for a page.
    """
    write_row, values_of = written
    after = ""
    while True:

        async def look(connection: "AsyncConnection[Any]", after: str = after) -> list[Any]:
            values = {"after": after, "most": PAGE}
            return await (await connection.execute(place.sql(read), values, binary=True)).fetchall()

        page = await connections.run(look)
        if not page:
            return
        fresh = await asyncio.to_thread(values_of, page)

        async def write(connection: "AsyncConnection[Any]", fresh: Any = fresh) -> None:
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.executemany(place.sql(write_row), fresh)

        if fresh:
            await connections.run(write)
        yield len(page)
        after = page[-1][0]


def worded(page: Sequence[Sequence[Any]], dimensions: int) -> list[dict[str, Any]]:
    """The values of `WRITE` for the rows, in columns of `EVERY`, that need other words. Pure."""
    looks = pg_sweep.looks_at(page, dimensions)
    made = [_values(row) for row, look in zip(page, looks, strict=True) if look.sound]
    return [values for values in made if values["words_seal"] != values["before"]]


def _values(row: Sequence[Any]) -> dict[str, Any]:
    title, text = pg_rows.shown(row[5]), pg_rows.shown(row[6])
    found = pg_rows.found_by(title, list(map(pg_rows.shown, row[8])), text)
    return found | {"id": row[0], "seal": row[13], "before": row[11]}
