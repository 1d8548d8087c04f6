"""From a change to its pieces: load, extract, judge, cut. CPU work runs in a thread."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.enricher.chunk import Chunk, chunk, chunk_keys, fit_title, ready, too_large
from services.enricher.extract import extract
from services.enricher.load import Load
from services.enricher.plan import Piece, Prepared
from services.enricher.quality import judge
from shared.events import DocumentChanged, Metadata, Ready
from shared.ordering import MAX_ROWS
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

    def _cut(self, event: DocumentChanged, data: bytes) -> Prepared:
        extracted = extract(
            data, path=event.document.path, media_type=event.media_type, title=event.title
        )
        chunks = chunk(extracted, self.chunking, self.tokens)
        if refusal := judge(extracted, chunks):
            raise refusal
        title = fit_title(extracted.title, self.chunking, self.tokens)
        return _prepared(chunks, title, {**extracted.metadata, **event.metadata})

    def _ready(self, event: DocumentChanged, content: Ready) -> Prepared:
        given = event.title or ""
        chunks = ready(content.chunks, title=given, settings=self.chunking, tokens=self.tokens)
        if len(chunks) > MAX_ROWS:
            raise too_large()
        return _prepared(chunks, fit_title(given, self.chunking, self.tokens), event.metadata)


def _prepared(chunks: Sequence[Chunk], title: str, metadata: Metadata) -> Prepared:
    keys = chunk_keys(chunks, title=title, metadata=metadata)
    pieces = (Piece(key, c.text, c.heading) for key, c in zip(keys, chunks, strict=True))
    return Prepared(title, metadata, tuple(pieces))
