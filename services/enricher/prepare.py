"""From a change to its pieces: load, extract, judge, cut. CPU work runs in a thread."""

import asyncio
from dataclasses import dataclass

from services.enricher.chunk import chunk, chunk_keys, ready
from services.enricher.extract import extract
from services.enricher.load import Load
from services.enricher.plan import Piece, Prepared
from services.enricher.quality import judge
from shared.events import DocumentChanged, Ready
from shared.ports import TokenCounter
from shared.settings import Chunking

SMALL_BYTES = 16 * 1024
"""Below this the work takes less time than handing it to a thread would delay others."""


@dataclass(frozen=True, slots=True)
class PrepareDocument:
    """Implements `services.enricher.enrich.Prepare`."""

    load: Load
    tokens: TokenCounter
    chunking: Chunking

    async def __call__(self, event: DocumentChanged) -> Prepared:
        """Raises DocumentRefused, TransientError."""
        if isinstance(event.content, Ready):
            return await asyncio.to_thread(self._ready, event, event.content)
        loaded = await self.load(event)
        if len(loaded.data) <= SMALL_BYTES:
            return self._cut(event, loaded.data)
        return await asyncio.to_thread(self._cut, event, loaded.data)
