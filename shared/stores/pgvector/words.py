"""Search by words: BM25 over a column of lexemes.

Postgres ranks by how close words stand, and knows nothing of how rare they are. So the score is
computed here: the frequency of a word in a row comes out of `ts_rank`, which for one word is a sum
of 1 / n ** 2 over its positions; how many rows have it, from the statistics that Postgres keeps of
common words, and by counting for all others, among the rows that are scored anyway.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from shared.ports import Filter
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector.table import TablePlace

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composed

K1: Final = 1.2
B: Final = 0.75
SUM: Final = math.pi**2 / 6
COUNTED_ROWS: Final = 5_000
"""A table of fewer rows is counted; of a larger one Postgres knows about how many there are, and a
sample of so many tells the mean length."""
FRESH_S: Final = 30.0
"""How long statistics are used; rows come and go meanwhile."""
MOST_WORDS: Final = 64
"""The rarest of a longer question decide."""
CANDIDATES: Final = 20_000
"""Rows with common words that are scored for a question at first, beside those with rare ones. All
that have one of its words are, where these are fewer than were asked for."""

SMALL: Final = """
SELECT count(*), coalesce(avg(length), 0)::float8 FROM (
    SELECT length FROM {table} LIMIT %(most)s
) AS counted
"""
KNOWN: Final = "SELECT reltuples::float8 FROM pg_class WHERE oid = to_regclass(%(name)s)"
LARGE: Final = """
SELECT coalesce(avg(length), 0)::float8
FROM {table} TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)
"""
COMMON: Final = """
SELECT s.most_common_elems::text::text[], s.most_common_elem_freqs::float8[]
FROM pg_stats AS s JOIN pg_class AS c ON c.relname = s.tablename
JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
WHERE c.oid = to_regclass(%(name)s) AND s.attname = 'words'
"""
FOUND: Final = """
WITH found AS MATERIALIZED (
    SELECT id, length, {condition} AS fits, {times} FROM {table} WHERE words @@ %(asked)s::tsquery
), counted AS (SELECT {counts} FROM found)
SELECT {shown}, score FROM (
    SELECT id AS best, ({score})::float8 AS score FROM found, counted
    WHERE fits ORDER BY score DESC, id LIMIT %(limit)s
) AS scored JOIN {table} ON id = best
ORDER BY score DESC, id
"""
TIMES: Final = """
round(1 / ({sum} - {sum} * ts_rank('{{1,1,1,1}}', words, {word}::tsquery)) - 0.5) AS {name}
"""
"""How often a row has a word: the sum of 1 / n ** 2 that `ts_rank` gives, turned round."""
SHARE: Final = """
ln(1 + (greatest({rows}, {having}) - {having} + 0.5) / ({having} + 0.5))
    * {times} * {k} / ({times} + {short} + {long} * length)
"""
"""What a word adds to the score of a row, by how many rows have it."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of a table at one moment.

    rows: how many; mean: their words; common: the share of rows that have a common word, of a large
    table; since: on the clock of `time.monotonic`.
    """

    rows: float
    mean: float
    common: Mapping[str, float]
    since: float


@dataclass(slots=True)
class Words:
    """Finds rows of one table by words."""

    place: TablePlace
    _known: Statistics | None = None

    async def search(
        self, connection: "AsyncConnection[Any]", words: Sequence[str], limit: int, where: Filter
    ) -> list[tuple[Any, ...]]:
        """Rows of the columns `SHOWN` and their score, best first. Raises psycopg.Error.

        Args:
            words: different ones, at least one.
        """
        known = self._known
        if known is None or time.monotonic() - known.since >= FRESH_S:
            known = self._known = await self._statistics(connection)
        terms = terms_of(words, known)
        condition, values = pg_rows.condition(where)
        statement = _statement(self.place.name, terms, known, condition)
        found: list[tuple[Any, ...]] = []
        for asked in dict.fromkeys((first_words(terms), tuple(terms))):
            values |= {"asked": " | ".join(map(pg_rows.quoted, asked)), "limit": limit}
            found = await (await connection.execute(statement, values)).fetchall()
            if len(found) >= limit:
                break
        return found

    async def _statistics(self, connection: "AsyncConnection[Any]") -> Statistics:
        values: dict[str, Any] = {"most": COUNTED_ROWS, "name": f'"{self.place.name}"'}
        now = time.monotonic()
        (rows,) = await (await connection.execute(KNOWN, values)).fetchone() or (0.0,)
        if rows < COUNTED_ROWS:  # or nothing is known yet
            counted = await connection.execute(self.place.sql(SMALL), values)
            rows, mean = await counted.fetchone() or (0, 0.0)
            return Statistics(rows, mean, {}, now)
        values["percent"] = min(100.0, 100 * COUNTED_ROWS / rows)
        (mean,) = await (await connection.execute(self.place.sql(LARGE), values)).fetchone() or (0,)
        told = await (await connection.execute(COMMON, values)).fetchone()
        words, shares = told or (None, None)
        common = zip(words or (), shares or (), strict=False)  # three more numbers follow
        return Statistics(rows, mean, {word: share * rows for word, share in common}, now)


def terms_of(words: Sequence[str], known: Statistics) -> dict[str, float | None]:
    """Those that are asked for, the rarest first, and how many rows have each; None: few enough
    to be counted. Pure."""
    rarest = sorted(words, key=lambda word: known.common.get(word, 0.0))
    return {word: known.common.get(word) for word in rarest[:MOST_WORDS]}


def first_words(terms: Mapping[str, float | None]) -> tuple[str, ...]:
    """The rare words, and as many of the common ones as lead to `CANDIDATES`; at least one. Pure.

    Args:
        terms: as `terms_of` makes them.
    """
    taken: list[str] = []
    left = float(CANDIDATES)
    for word, having in terms.items():
        left -= having or 0.0
        if taken and left < 0:
            break
        taken.append(word)
    return tuple(taken)


def _statement(
    table: str, terms: Mapping[str, float | None], known: Statistics, condition: LiteralString
) -> "Composed":
    """`FOUND` for these words. A rare word is counted among the rows that have any of them."""
    from psycopg.sql import SQL, Identifier, Literal

    names = {word: Identifier(f"times_{n}") for n, word in enumerate(terms)}
    counts = {word: Identifier(f"having_{n}") for n, word in enumerate(terms)}
    shares = {
        "rows": Literal(known.rows),
        "k": Literal(K1 + 1),
        "short": Literal(K1 * (1 - B)),
        "long": Literal(K1 * B / known.mean if known.mean else 0.0),
    }
    return SQL(FOUND).format(
        condition=SQL(condition),
        table=Identifier(table),
        shown=SQL(", ").join(map(Identifier, pg_rows.SHOWN)),
        times=SQL(", ").join(
            SQL(TIMES).format(sum=Literal(SUM), word=Literal(pg_rows.quoted(word)), name=name)
            for word, name in names.items()
        ),
        counts=SQL(", ").join(
            SQL("count(*) FILTER (WHERE {} > 0) AS {}").format(names[word], counts[word])
            if having is None
            else SQL("{} AS {}").format(Literal(having), counts[word])
            for word, having in terms.items()
        ),
        score=SQL(" + ").join(
            SQL(SHARE).format(times=names[word], having=counts[word], **shares) for word in terms
        ),
    )
