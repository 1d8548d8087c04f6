"""Writes the words and terms of this version into rows that another version has written.

Both are made of what a row holds, so no text is encoded. Only a row that is as it was written gets
new ones: a damaged one stays damaged for the sweep to see. Several processes may do it at once:
each writes the same.
"""

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import structlog

from shared.stores import checks, seal
from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite import sweep as sqlite_sweep
from shared.stores.sqlite.file import SqliteFile, worded

log = structlog.get_logger(__name__)

PAGE: Final = 256
NEXT: Final = sqlite_sweep.EVERY + sqlite_sweep.IN_ORDER
WRITE: Final = "UPDATE rows SET words = ?, terms = ?, seal = ? WHERE n = ?"
WRITE_LENGTH: Final = "UPDATE held SET length = ? WHERE n = ?"


def is_worded(connection: sqlite3.Connection) -> bool:
    """Whether all rows are noted to have the words and terms of this version."""
    noted = connection.execute("SELECT value FROM about WHERE name = 'worded'").fetchone()
    return bool(noted == (worded(),))


async def have_words(file: SqliteFile) -> None:
    """Have every row found by the words and terms of this version. Raises as `SqliteFile.write`.

    Until then searches by words find the others, and filters over metadata are refused.
    """
    if await file.read(lambda connection, _: is_worded(connection)):
        return
    of = await file.read(lambda connection, _: count(connection))
    log.warning("words_written", reason=checks.words_told(0, of))
    last = seen = 0
    while page := await file.write(partial(_rewrite, after=last)):
        if seen // checks.TOLD_EVERY < (seen + len(page)) // checks.TOLD_EVERY:
            log.warning("words_written", reason=checks.words_told(seen + len(page), of))
        last, seen = page[-1], seen + len(page)
    await file.write(_note)
    log.warning("words_written", reason=checks.words_told(of, of))


def count(connection: sqlite3.Connection) -> int:
    """The number of rows."""
    return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])


def _rewrite(connection: sqlite3.Connection, after: int) -> list[int]:
    """Write the next rows; their numbers."""
    page = connection.execute(NEXT, (after, PAGE)).fetchall()
    written = [values for row in page if (values := _rewritten(row))]
    connection.executemany(WRITE, written)
    lengths = [(sqlite_rows.length_of(column), n) for column, *_, n in written]
    connection.executemany(WRITE_LENGTH, lengths)
    return [row[0] for row in page]


def _rewritten(row: Sequence[Any]) -> tuple[str, str, int, int] | None:
    """The values of `WRITE` for a row of `EVERY`; None: it is damaged."""
    if not sqlite_sweep.is_sealed(row):
        return None
    heading = sqlite_rows.heading_of(row[9])
    column = sqlite_rows.words_of(row[6], heading, row[7])
    terms = sqlite_rows.terms_text(checks.terms_of_text(row[8]))
    hit = sqlite_rows.to_hit(
        (*row[1:5], row[10], row[5], row[6], json.dumps(heading), *row[7:9]), 0
    )
    return column, terms, seal.seal_of(hit, column), row[0]


def _note(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE about SET value = ? WHERE name = 'worded'", (worded(),))
    forget(connection, connection.execute("INSERT INTO gone (n) VALUES (0)").lastrowid or 0)


def forget(connection: sqlite3.Connection, at: int) -> None:
    """List the deletions up to `at` no longer: who has not followed them reads all rows anew."""
    connection.execute("DELETE FROM gone WHERE at <= ?", (at,))
    connection.execute(
        "UPDATE about SET value = max(CAST(value AS INTEGER), ?) WHERE name = 'forgotten'", (at,)
    )
