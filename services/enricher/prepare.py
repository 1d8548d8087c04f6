"""The preparation of a change: load, extract, judge, cut.

The enricher reads small and harmless documents itself. A child process reads all others, and a
thread cuts them. Documents without text worth indexing are refused.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.enricher.chunking.chunk import (
    Around,
    Chunk,
    chunk,
    chunk_keys,
    fit_title,
    max_chars,
    ready,
    templated,
)
from services.enricher.fetch import Load
from services.enricher.parts import KeyedChunk, Prepared, check_rows
from shared.domain.errors import DocumentRefused
from shared.domain.events import DocumentChanged, Metadata, Ready
from shared.domain.metadata import CONTEXT, OF_DOCUMENT, ORIGINS, with_origins
from shared.domain.ordering import MAX_ROWS
from shared.domain.text import language
from shared.formats.blocks import Extracted, too_large
from shared.formats.charset import MAX_DAMAGE
from shared.formats.extract import extract, is_harmless, named_format
from shared.ports import TokenCounter
from shared.reading.protocol import Question
from shared.settings import Chunking, TemplateChunking


def judge(extracted: Extracted, chunks: Sequence[Chunk]) -> DocumentRefused | None:
    """Why the document is refused, or None.

    `no_text`: nothing to embed. `too_large`: more rows than a ledger record holds.
    `wrong_encoding`: more than MAX_DAMAGE of the characters are replacements of broken ones.
    """
    if not chunks:
        return DocumentRefused("no_text", "there is no text to search; images alone are not read")
    if len(chunks) > MAX_ROWS:
        return too_large()
    length = sum(len(block.text) for block in extracted.blocks)
    broken = sum(block.text.count("\ufffd") for block in extracted.blocks)
    if broken > max(1, length * MAX_DAMAGE):
        return DocumentRefused(
            "wrong_encoding", "many characters are broken; save the file as UTF-8"
        )
    return None


SMALL_CHARS: Final = 16 * 1024
"""Below this cutting takes less time than handing it to a thread would delay others."""
LARGE_BYTES: Final = 2 * 1024**2
"""Documents above this take turns: each needs up to 60 times its size while it is cut."""

ReadApart = Callable[[Question, bytes], Awaitable[Extracted]]
"""`extract`, isolated if need be. Raises DocumentRefused, TransientError."""


async def in_a_thread(question: Question, data: bytes) -> Extracted:
    """`extract` in this process, for trusted documents."""
    return await asyncio.to_thread(
        extract, data, path=question.path, media_type=question.media_type, title=question.title
    )


@dataclass(frozen=True, slots=True)
class PrepareDocument:
    """Implements `services.enricher.enrich.Prepare`."""

    load: Load
    tokens: TokenCounter
    chunking: Chunking
    of_source: Mapping[str, Chunking] = field(default_factory=dict)
    """Of sources that are cut in their own way."""
    read_apart: ReadApart = in_a_thread
    _large: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, event: DocumentChanged) -> Prepared:
        """Raises DocumentRefused, TransientError."""
        if isinstance(event.content, Ready):
            return await asyncio.to_thread(self._ready, event, event.content)
        async with contextlib.AsyncExitStack() as turn:
            data = await self._loaded(event, turn)
            return await self._prepare(event, data)

    async def _loaded(self, event: DocumentChanged, turn: contextlib.AsyncExitStack) -> bytes:
        """The bytes; if they are many, with a turn for as long as `turn` is open."""
        expected = await self.load.size(event)
        if expected > LARGE_BYTES:
            await turn.enter_async_context(self._large)
        data = (await self.load(event)).data
        if len(data) > LARGE_BYTES >= expected:  # the announced size was smaller, or it has grown
            await turn.enter_async_context(self._large)
        return data

    async def _prepare(self, event: DocumentChanged, data: bytes) -> Prepared:
        extracted = await self._read(event, data)
        is_small = sum(len(block.text) for block in extracted.blocks) <= SMALL_CHARS
        if is_small and language.is_loaded():
            return self._cut(event, extracted)
        return await asyncio.to_thread(self._cut, event, extracted)

    async def _read(self, event: DocumentChanged, data: bytes) -> Extracted:
        path, media_type, title = event.document.path, event.media_type, event.title
        if is_harmless(data, named_format(path, media_type)):
            return extract(data, path=path, media_type=media_type, title=title)
        most = max_chars(self._chunking(event), self.tokens)
        return await self.read_apart(Question(path, media_type, title, most), data)

    def _chunking(self, event: DocumentChanged) -> Chunking:
        return self.of_source.get(event.document.source, self.chunking)

    def _cut(self, event: DocumentChanged, extracted: Extracted) -> Prepared:
        chunking = self._chunking(event)
        title = fit_title(extracted.title, chunking, self.tokens)
        metadata = described(extracted, event)
        around = self._around(title, metadata, chunking)
        chunks = chunk(extracted, chunking, self.tokens, around)
        if refusal := judge(extracted, chunks):
            raise refusal
        return _prepared(chunks, title, metadata, around)

    def _ready(self, event: DocumentChanged, content: Ready) -> Prepared:
        given, chunking = event.title or "", self._chunking(event)
        metadata = with_origins(event.metadata, given_by(event))
        title = fit_title(given, chunking, self.tokens)
        around = self._around(title, metadata, chunking)
        chunks = ready(
            content.chunks, title=given, settings=chunking, tokens=self.tokens, around=around
        )
        if len(chunks) > MAX_ROWS:
            raise too_large()
        return _prepared(chunks, title, metadata, around)

    def _around(self, title: str, metadata: Metadata, chunking: Chunking) -> Around | None:
        if not isinstance(chunking, TemplateChunking):
            return None
        return templated(chunking.template, title, metadata, chunking, self.tokens)


def described(extracted: Extracted, event: DocumentChanged) -> Metadata:
    """Metadata of the document and of its publisher, who wins, with the origin of each value."""
    metadata = {**extracted.metadata, **event.metadata}
    origins = {**extracted.origins, **given_by(event)}
    if "language" not in metadata:
        text = "\n".join(block.text for block in extracted.blocks if block.kind != "code")
        metadata["language"] = language.language_of(text)
        origins["language"] = "guessed"
    return with_origins(metadata, origins)


def given_by(event: DocumentChanged) -> dict[str, str]:
    """The origin of what the publisher tells."""
    given = event.metadata.keys() - OF_DOCUMENT - {ORIGINS, CONTEXT} | (
        {"title"} if event.title else set()
    )
    return dict.fromkeys(given, "publisher")


def _prepared(
    chunks: Sequence[Chunk], title: str, metadata: Metadata, around: Around | None
) -> Prepared:
    keys = chunk_keys(chunks, title=title, metadata=metadata, around=around)
    pieces = (
        KeyedChunk(key, one.text, one.heading, around(one.heading) if around else None)
        for key, one in zip(keys, chunks, strict=True)
    )
    prepared = Prepared(title, metadata, tuple(pieces))
    check_rows(prepared)
    return prepared
