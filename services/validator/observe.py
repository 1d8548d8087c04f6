"""Observations of documents in ledger and store, many in one call."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.validator.checks import (
    TOP,
    Observed,
    SampleQuery,
    SampleResult,
    Verdict,
    expected_of,
    judge,
    judge_sample,
)
from shared.domain.events import embedded
from shared.domain.ids import cache_key, doc_key
from shared.domain.ordering import Record, served_rows
from shared.ports import (
    Filter,
    GetEncoder,
    Hit,
    Ledger,
    Probe,
    Vector,
    VectorCache,
    VectorStore,
    is_made,
)

EVERY_BORN: Final = 2**53
HITS_ASKED: Final = 4 * TOP
DEEPER: Final = 4
HITS_MOST: Final = 8_000
"""Hits that search would not show are skipped: their version is on its way in or out, or their
document is not active."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Verdicts on documents by their ledger records."""

    fingerprint: str
    store: VectorStore
    cache: VectorCache
    freshness_warn_s: float = 60.0

    async def __call__(
        self, records: Mapping[str, Record], sample: Collection[str] = ()
    ) -> Mapping[str, Verdict]:
        """
        Args:
            records: doc_key to the record read just before.
            sample: documents that are also searched for by the vector of their first row.

        Raises:
            StoreUnavailable, BusUnavailable.
        """
        if not records:
            return {}
        rows, asked = await asyncio.gather(
            self.store.ids(dict.fromkeys(records, EVERY_BORN)),
            self._by_own_vector({key: records[key] for key in sample if key in records}),
        )
        return {
            key: judge(
                Observed(rows[key], asked.get(key)),
                expected_of(key, record),
                freshness_warn_s=self.freshness_warn_s,
            )
            for key, record in records.items()
        }

    async def _by_own_vector(self, records: Mapping[str, Record]) -> Mapping[str, bool]:
        """Whether the first row of each document is found by its vector, as the cache has it."""
        first = {
            record.settled.rows[0].id(key): key
            for key, record in records.items()
            if record.settled and record.settled.rows
        }
        if not first:
            return {}
        hits = await self.store.rows(first)
        keys = {row: cache_key(self.fingerprint, embedded_text(hit)) for row, hit in hits.items()}
        vectors = await self.cache.get_many(set(keys.values()))
        sound = {key for key, vector in vectors.items() if is_made(vector, len(vector))}
        probes = [Probe(row, vectors[key]) for row, key in keys.items() if key in sound]
        if not probes:
            return {}
        lost = await self.store.unsearchable(probes)
        return {first[probe.id]: probe.id not in lost for probe in probes}


def embedded_text(hit: Hit) -> str:
    """The text that the model read for a row."""
    return embedded(hit.title, hit.heading, hit.text, hit.metadata)


@dataclass(frozen=True, slots=True)
class AskSamples:
    """Sample queries, answered as search answers them: by rows that the ledger lists."""

    queries: Sequence[SampleQuery]
    encoder: GetEncoder
    """Asked when there are queries: a model takes memory, and not every process has one."""
    store: VectorStore
    ledger: Ledger

    async def __call__(self, queries: Sequence[SampleQuery] | None = None) -> list[SampleResult]:
        """Raises StoreUnavailable, EncoderBusy, BusUnavailable."""
        asked = self.queries if queries is None else queries
        if not asked:
            return []
        asked = await self._of_active(asked)
        if not asked:
            return []
        encoder = await self.encoder()
        vectors = await encoder.encode([query.q for query in asked])
        return [
            judge_sample(query, [f"{hit.source}/{hit.path}" for hit in await self._shown(vector)])
            for query, vector in zip(asked, vectors, strict=True)
        ]

    async def _of_active(self, asked: Sequence[SampleQuery]) -> Sequence[SampleQuery]:
        """Without the queries that expect a document which its source has made inactive."""
        keys = [doc_key(*query.expect.split("/", 1)) for query in asked if "/" in query.expect]
        records = await self.ledger.get_many(set(keys))
        inactive = {
            f"{record.source}/{record.path}"
            for record in records.values()
            if record.settled and not record.settled.is_active
        }
        return [query for query in asked if query.expect not in inactive]

    async def _shown(self, vector: Vector) -> Sequence[Hit]:
        """The first hits that search would show."""
        limit = HITS_ASKED
        while True:
            hits = await self.store.search(vector, limit=limit, where=Filter())
            records = await self.ledger.get_many({hit.doc_key for hit in hits})
            shown = [hit for hit in hits if is_promised(hit, records.get(hit.doc_key))]
            if len(shown) >= TOP or len(hits) < limit or limit >= HITS_MOST:
                return shown[:TOP]
            limit = min(DEEPER * limit, HITS_MOST)


def is_promised(hit: Hit, record: Record | None) -> bool:
    """Whether search shows the row: it is among the served ones of its document."""
    return any(
        ref.chunk_key == hit.chunk_key and ref.born == hit.born for ref in served_rows(record)
    )
