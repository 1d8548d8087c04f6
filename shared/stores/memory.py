"""A store in memory: exact, for tests, for trying things out, and to compare others with."""

import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from shared.ports import Filter, Hit, Probe, Row, Vector
from shared.stores import checks

_WORD: Final = re.compile(r"\w+")
_K1: Final = 1.2
_B: Final = 0.75


async def _at_once() -> None:
    """No pause."""


class MemoryStore:
    """Implements `shared.ports.VectorStore`.

    Args:
        lag: rows become searchable only when `reveal()` is called, as in stores that index later;
            `ids`, `rows` and `count` see them at once.
        pause: awaited before every step, and between the rows of `ids` and `delete`, so that a
            test can let others run there.
    """

    def __init__(
        self,
        dimensions: int,
        *,
        lag: bool = False,
        pause: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self.dimensions = dimensions
        self._lag = lag
        self._pause = pause
        self._rows: dict[str, Row] = {}
        self._hidden: set[str] = set()

    def reveal(self) -> None:
        """Make every row searchable that was written so far."""
        self._hidden.clear()

    async def upsert(self, rows: Sequence[Row]) -> None:
        await self._pause()
        good, bad = checks.vet(rows, self.dimensions)
        for row in good:
            if row.id not in self._rows:
                self._rows[row.id] = row
                if self._lag:
                    self._hidden.add(row.id)
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for key in sorted(set(ids)):
            await self._pause()
            self._rows.pop(key, None)
            self._hidden.discard(key)

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        found = {}
        for doc_key, born in documents.items():
            await self._pause()
            found[doc_key] = frozenset(
                row.id for row in self._rows.values() if row.doc_key == doc_key and row.born <= born
            )
        return found

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        await self._pause()
        seen = {row.id: row for row in self._searchable(Filter())}
        return frozenset(p.id for p in probes if p.id not in seen or not _near(seen[p.id], p))

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        await self._pause()
        rows = self._searchable(where)
        if not checks.checked_query(vector, self.dimensions) or not rows:
            return []
        scores = _cosines(rows, vector)
        order = np.argsort(-scores, kind="stable")[: max(0, limit)]
        return [_hit(rows[at], float(scores[at])) for at in order]

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        await self._pause()
        scores = _bm25(_words(text), self._searchable(Filter()))
        allowed = [row for row in self._searchable(where) if scores[row.id] > 0]
        allowed.sort(key=lambda row: (-scores[row.id], row.id))
        return [_hit(row, scores[row.id]) for row in allowed[: max(0, limit)]]

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        await self._pause()
        return {key: _hit(self._rows[key], 0.0) for key in ids if key in self._rows}

    async def count(self) -> int:
        await self._pause()
        return len(self._rows)

    async def maintain(self) -> None:
        await self._pause()

    async def close(self) -> None:
        """Nothing to release."""

    def _searchable(self, where: Filter) -> list[Row]:
        shown = (row for row in self._rows.values() if row.id not in self._hidden)
        return [row for row in shown if _matches(row, where)]


def _matches(row: Row, where: Filter) -> bool:
    if where.sources is not None and row.source not in where.sources:
        return False
    return where.path_prefix is None or row.path.startswith(where.path_prefix)


def _cosines(rows: Sequence[Row], vector: Vector) -> Vector:
    matrix = np.stack([np.asarray(row.vector, np.float32) for row in rows])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix @ (vector / np.linalg.norm(vector)), np.float32)


def _near(row: Row, probe: Probe) -> bool:
    if probe.vector is None:
        return True
    return bool(1 - _cosines([row], probe.vector)[0] < checks.SAME)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _bm25(query: Iterable[str], rows: Sequence[Row]) -> dict[str, float]:
    """Keyword score of each row by id (Robertson's BM25, k1 = 1.2, b = 0.75); 0 is no match."""
    counts = {r.id: Counter(_words(" ".join((r.title, *r.heading, r.text)))) for r in rows}
    mean = sum(sum(c.values()) for c in counts.values()) / max(1, len(rows))
    scores = dict.fromkeys(counts, 0.0)
    for word in set(query):
        having = sum(word in c for c in counts.values())
        weight = math.log(1 + (len(rows) - having + 0.5) / (having + 0.5))
        for key, c in counts.items():
            length = _K1 * (1 - _B + _B * sum(c.values()) / mean) if mean else _K1
            scores[key] += weight * c[word] * (_K1 + 1) / (c[word] + length)
    return scores


def _hit(row: Row, score: float) -> Hit:
    return Hit(
        id=row.id,
        doc_key=row.doc_key,
        source=row.source,
        path=row.path,
        born=row.born,
        chunk_key=row.chunk_key,
        title=row.title,
        heading=row.heading,
        text=row.text,
        score=score,
        metadata=dict(row.metadata),
    )
