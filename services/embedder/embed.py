"""The embedder's handler: takes a part's vectors from the cache, else from the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import structlog

from shared.domain.errors import MalformedEvent, PermanentError
from shared.domain.events import DocumentEnriched, EmbeddingsReady, Event, cache_keys
from shared.domain.ordering import is_over
from shared.observe.progress import Progress
from shared.ports import Delivery, Encoder, Entry, Vector, VectorCache, is_made

log = structlog.get_logger()

YOUNG_S: Final = 1.0
"""A younger part is hardly ever overtaken, so the embedder does not ask the ledger."""


class RecordsOfKeys(Protocol):
    """The part of `shared.ports.Ledger` that this service needs."""

    async def get(self, doc_key: str) -> Entry | None: ...


@dataclass(frozen=True, slots=True)
class Embed:
    generation: str
    ledger: RecordsOfKeys
    cache: VectorCache
    encoder: Encoder
    progress: Progress

    async def __call__(self, part: DocumentEnriched, delivery: Delivery) -> Sequence[Event]:
        if await self._is_over(part, delivery):
            log.info("part_overtaken", doc_key=part.document.doc_key)
            self.progress.overtaken += len(part.rows)
            return []
        if not part.rows:  # only a forged one: the enricher sends empty parts past the embedder
            raise MalformedEvent("rows: a part without any")
        keys = cache_keys(part, self.encoder.fingerprint)
        vectors, encoded = await self._vectors(part, keys)
        block = np.stack([vectors[key] for key in keys])
        if block.shape[1] != self.encoder.dimensions:
            raise PermanentError("the model makes vectors of another length than it says")
        return [
            EmbeddingsReady(
                document=part.document,
                batch=part.batch,
                generation=part.generation,
                rows=part.rows,
                fingerprint=self.encoder.fingerprint,
                dims=self.encoder.dimensions,
                count=len(keys),
                vectors=EmbeddingsReady.pack(block),
                encoded=encoded,
                lane=part.lane,
            )
        ]

    async def _is_over(self, part: DocumentEnriched, delivery: Delivery) -> bool:
        """Whether its vectors are of no use any more; True only where that is sure."""
        if delivery.attempt == 1 and delivery.age_s < YOUNG_S:
            return False
        entry = await self.ledger.get(part.document.doc_key)
        return is_over(entry.record if entry else None, part.document.revision)

    async def _vectors(
        self, part: DocumentEnriched, keys: Sequence[str]
    ) -> tuple[dict[str, Vector], int]:
        """Vectors by cache key, and how many of them the model made.

        Values of the cache that no model can have made are made anew, and so replaced.
        """
        cached = await self.cache.get_many(set(keys))
        vectors = {k: v for k, v in cached.items() if is_made(v, self.encoder.dimensions)}
        texts = {
            key: row.embedded_text
            for key, row in zip(keys, part.rows, strict=True)
            if key not in vectors
        }
        if texts:
            made = await self.encoder.encode(list(texts.values()))
            fresh = dict(zip(texts, made, strict=True))
            await self.cache.put_many(fresh)  # before the ack: a crash must not pay twice
            vectors |= fresh
        self.progress.encoded += len(texts)
        self.progress.cached += len(keys) - len(texts)
        return vectors, len(texts)
