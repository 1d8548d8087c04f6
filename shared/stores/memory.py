"""A store in memory: exact, for tests, for trying things out, and to compare others with."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from shared.domain.filters.where import admits
from shared.domain.ids import bucket_of
from shared.domain.text import words
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector, Vectors
from shared.stores import checks, seal
from shared.stores.looks import SweptRow, digested, held

_K1: Final = 1.2
_B: Final = 0.75


async def _at_once() -> None:
    """No pause."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The seal kept beside a row. `marks`: float32, shape (seal.MARKS,)."""

    seal: int
    marks: Vectors


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
        self._stamps: dict[str, Stamp] = {}
        self._words: dict[str, Counter[str]] = {}
        self._hidden: set[str] = set()

    def reveal(self) -> None:
        """Make every row searchable that was written so far."""
        self._hidden.clear()

    def tamper(self, row_id: str, **changes: Any) -> None:
        """Replace fields of a row behind the store's back, so that it is damaged."""
        self._rows[row_id] = replace(self._rows[row_id], **changes)

    def lose(self, ids: Collection[str]) -> None:
        """Lose rows behind the store's back; absent ids are no error."""
        for key in ids:
            self._rows.pop(key, None)
            self._stamps.pop(key, None)
            self._words.pop(key, None)
            self._hidden.discard(key)

    async def upsert(self, rows: Sequence[Row]) -> None:
        await self._pause()
        good, bad = checks.vet(rows, self.dimensions)
        fresh = [row for row in good if row.id not in self._rows]
        for row, stamp in zip(fresh, _stamps(fresh), strict=True):
            self._rows[row.id], self._stamps[row.id] = row, stamp
            self._words[row.id] = Counter(words.column(row.title, row.heading, row.text).split())
            if self._lag:
                self._hidden.add(row.id)
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for key in sorted(set(ids)):
            await self._pause()
            self.lose([key])

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
        held = {row.id: self._words[row.id] for row in self._searchable(Filter())}
        scores = _bm25(words.asked(checks.clean_query(text)), held)
        allowed = [row for row in self._searchable(where) if scores[row.id] > 0]
        allowed.sort(key=lambda row: (-scores[row.id], row.id))
        return [_hit(row, scores[row.id]) for row in allowed[: max(0, limit)]]

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        await self._pause()
        return {key: _hit(self._rows[key], 0.0) for key in ids if key in self._rows}

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        await self._pause()
        return {key: self._rows[key].vector for key in ids if key in self._rows}

    async def count(self) -> int:
        await self._pause()
        return len(self._rows)

    async def digests(self) -> Mapping[str, Digest]:
        await self._pause()
        sound = self._sound(self._rows)
        return digested((r.id, r.doc_key, sound[key]) for key, r in self._rows.items())

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        await self._pause()
        rows = {key: r for key, r in self._rows.items() if bucket_of(r.doc_key) in buckets}
        sound = self._sound(rows)
        looks = [SweptRow(r.id, r.doc_key, r.source, r.path, sound[key]) for key, r in rows.items()]
        return held(looks)

    async def lag_s(self) -> None:
        return None

    async def incarnation(self) -> None:
        return None

    async def maintain(self) -> None:
        await self._pause()

    async def close(self) -> None:
        """Nothing to release."""

    def _sound(self, rows: Mapping[str, Row]) -> dict[str, bool]:
        """The rows that are as they were written under their key."""
        known = {
            key: (row, self._stamps[key])
            for key, row in rows.items()
            if key in self._stamps and row.vector.shape == (self.dimensions,)
        }
        sound = dict.fromkeys(rows, False)
        if known:
            same = seal.agree(
                seal.marks_of(np.asarray([row.vector for row, _ in known.values()], np.float32)),
                np.stack([stamp.marks for _, stamp in known.values()]),
            )
            for (key, (row, stamp)), near in zip(known.items(), same.tolist(), strict=True):
                sound[key] = near and seal.seal_of(row, None) == stamp.seal
        return sound

    def _searchable(self, where: Filter) -> list[Row]:
        shown = (row for row in self._rows.values() if row.id not in self._hidden)
        return [row for row in shown if _matches(row, where)]


def _stamps(rows: Sequence[Row]) -> list[Stamp]:
    if not rows:
        return []
    marks = seal.marks_of(np.asarray([row.vector for row in rows], np.float32))
    return [Stamp(seal.seal_of(row, None), mark) for row, mark in zip(rows, marks, strict=True)]


def _matches(row: Row, asked: Filter) -> bool:
    if asked.sources is not None and row.source not in asked.sources:
        return False
    if asked.path_prefix is not None and not row.path.startswith(asked.path_prefix):
        return False
    return asked.where is None or admits(asked.where, row.source, row.path, row.metadata)


def _cosines(rows: Sequence[Row], vector: Vector) -> Vector:
    matrix = np.stack([np.asarray(row.vector, np.float32) for row in rows])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix @ (vector / np.linalg.norm(vector)), np.float32)


def _near(row: Row, probe: Probe) -> bool:
    if probe.vector is None:
        return True
    return bool(1 - _cosines([row], probe.vector)[0] < checks.SAME)


def _bm25(query: Iterable[str], counts: Mapping[str, Counter[str]]) -> dict[str, float]:
    """Keyword score of each row by id (Robertson's BM25, k1 = 1.2, b = 0.75); 0 is no match."""
    mean = sum(sum(c.values()) for c in counts.values()) / max(1, len(counts))
    scores = dict.fromkeys(counts, 0.0)
    for word in set(query):
        having = sum(word in c for c in counts.values())
        weight = math.log(1 + (len(counts) - having + 0.5) / (having + 0.5))
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
