"""Search by words: BM25 over a column of lexemes.

Postgres ranks by how close words stand, and knows nothing of how rare they are. So the score is
computed here: the frequency of a word in a row comes out of `ts_rank`, which for one word is a sum
of 1 / n ** 2 over its positions; how many rows have it, from the statistics that Postgres keeps of
common words, and by counting for all others.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.ports import Filter
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector.table import Place

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composed

K1: Final = 1.2
B: Final = 0.75
SUM: Final = math.pi**2 / 6
COUNTED_ROWS: Final = 20_000
"""A table of fewer rows is counted; of larger ones a sample of so many tells the mean length."""
FRESH_S: Final = 5.0
"""How long statistics are used; rows come and go meanwhile."""
MOST_WORDS: Final = 64
"""The rarest of a longer question decide."""
CANDIDATES: Final = 20_000
"""Rows that are scored for a question at first: those with its rarest words. All that have one of
its words are, where these are fewer than were asked for."""

SMALL: Final = """
SELECT count(*), coalesce(avg(length), 0)::float8 FROM (
    SELECT length FROM {table} LIMIT %(most)s
) AS counted
"""
LARGE: Final = """
SELECT reltuples::float8, coalesce((
    SELECT avg(length) FROM {table} TABLESAMPLE SYSTEM (least(100, 100 * %(most)s / reltuples))
        REPEATABLE (1)
), 0)::float8 FROM pg_class WHERE oid = to_regclass(%(name)s)
"""
COMMON: Final = """
SELECT s.most_common_elems::text::text[], s.most_common_elem_freqs::float8[]
FROM pg_stats AS s JOIN pg_class AS c ON c.relname = s.tablename
JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
WHERE c.oid = to_regclass(%(name)s) AND s.attname = 'words'
"""
HAVING: Final = """
SELECT count(*) FROM (
    SELECT FROM {table} WHERE words @@ %(word)s::tsquery LIMIT %(most)s
) AS counted
"""
FOUND: Final = """
SELECT {shown}, score FROM (
    SELECT id AS found, ({score})::float8 AS score FROM {table}
    WHERE words @@ %(any)s::tsquery AND {condition}
    ORDER BY score DESC, id LIMIT %(limit)s
) AS best JOIN {table} ON id = found
ORDER BY score DESC, id
"""
SCORE: Final = """
{weight} * {times} / ({times} + {length})
"""


@dataclass(slots=True)
class Statistics:
    """What is known of a table at one moment.

    rows: how many; mean: their words; common: the share of rows that have a common word; having:
    rows that have a word, as far as they were counted.
    """

    rows: float
    mean: float
    common: Mapping[str, float]
    since: float
    having: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Words:
    """Finds rows of one table by words."""

    place: Place
    _known: Statistics | None = None

    async def search(
        self, connection: "AsyncConnection[Any]", words: Sequence[str], limit: int, where: Filter
    ) -> list[tuple[Any, ...]]:
        """Rows of the columns `SHOWN` and their score, best first. Raises psycopg.Error.

        Args:
            words: different ones, at least one.
        """
        known = await self._statistics(connection)
        having = {word: await self._having(connection, known, word) for word in words}
        rarest = sorted(words, key=lambda word: (having[word], word))[:MOST_WORDS]
        terms = {word: weight(having[word], known.rows) for word in rarest if having[word]}
        if not terms:
            return []
        few = first_words(having, list(terms))
        for asked in dict.fromkeys((tuple(few), tuple(terms))):
            found = await self._scored(connection, terms, asked, (limit, where))
            if len(found) >= limit:
                break
        return found

    async def _scored(
        self,
        connection: "AsyncConnection[Any]",
        terms: Mapping[str, float],
        asked: Sequence[str],
        wanted: tuple[int, Filter],
    ) -> list[tuple[Any, ...]]:
        """The best of the rows that have one of the words `asked`, by all of `terms`."""
        limit, where = wanted
        condition, values = pg_rows.condition(where)
        values |= {"any": " | ".join(map(pg_rows.quoted, asked)), "limit": limit}
        statement = self._statement(terms, condition)
        found = await connection.execute(statement, values)
        return await found.fetchall()

    def _statement(self, terms: Mapping[str, float], condition: Any) -> "Composed":
        from psycopg.sql import SQL, Identifier, Literal

        mean = self._known.mean if self._known else 0.0
        length = SQL("({} + {} * length)").format(
            Literal(K1 * (1 - B)), Literal(K1 * B / mean if mean else 0.0)
        )
        score = SQL(" + ").join(
            SQL(SCORE).format(weight=Literal(weight * (K1 + 1)), times=_times(word), length=length)
            for word, weight in terms.items()
        )
        return SQL(FOUND).format(
            shown=SQL(", ").join(map(Identifier, pg_rows.SHOWN)),
            score=score,
            table=Identifier(self.place.name),
            condition=SQL(condition),
        )

    async def _statistics(self, connection: "AsyncConnection[Any]") -> Statistics:
        now = time.monotonic()
        if self._known is None or now - self._known.since >= FRESH_S:
            self._known = await self._read(connection, now)
        return self._known

    async def _read(self, connection: "AsyncConnection[Any]", now: float) -> Statistics:
        values = {"most": COUNTED_ROWS, "name": f'"{self.place.name}"'}
        found = await connection.execute(self.place.sql(SMALL), values)
        rows, mean = await found.fetchone() or (0, 0.0)
        if rows < COUNTED_ROWS:
            return Statistics(rows, mean, {}, now)
        found = await connection.execute(self.place.sql(LARGE), values)
        told, sampled = await found.fetchone() or (0, 0.0)
        if told >= COUNTED_ROWS:
            rows, mean = told, sampled
        found = await connection.execute(COMMON, values)
        words, shares = await found.fetchone() or ((), ())
        return Statistics(rows, mean, dict(zip(words or (), shares or (), strict=False)), now)

    async def _having(
        self, connection: "AsyncConnection[Any]", known: Statistics, word: str
    ) -> float:
        """How many rows have the word."""
        if word in known.common:
            return max(1.0, known.common[word] * known.rows)
        if word not in known.having:
            values = {"word": pg_rows.quoted(word), "most": COUNTED_ROWS}
            found = await connection.execute(self.place.sql(HAVING), values)
            row = await found.fetchone()
            known.having[word] = row[0] if row else 0
        return known.having[word]


def weight(having: float, rows: float) -> float:
    """How much a word tells that so many of the rows have. Pure."""
    return math.log(1 + (max(rows, having) - having + 0.5) / (having + 0.5))


def first_words(having: Mapping[str, float], words: Sequence[str]) -> list[str]:
    """The first of the words, rarest first, that lead to no more than `CANDIDATES`. Pure."""
    taken: list[str] = []
    left = float(CANDIDATES)
    for word in words:
        left -= having[word]
        if taken and left < 0:
            break
        taken.append(word)
    return taken


def _times(word: str) -> Any:
    """How often a row has the word, as SQL: the sum of 1 / n ** 2 that `ts_rank` gives, turned
    round."""
    from psycopg.sql import SQL, Literal

    return SQL(
        "round(1 / ({total} - {total} * ts_rank('{{1,1,1,1}}', words, {word}::tsquery)) - 0.5)"
    ).format(total=Literal(SUM), word=Literal(pg_rows.quoted(word)))
