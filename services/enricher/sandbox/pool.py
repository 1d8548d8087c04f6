"""Reads documents in processes of their own, so that none can hurt anybody but itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from services.enricher.formats.blocks import Extracted
from services.enricher.sandbox.child import (
    Allowed,
    ExtractionProcess,
    is_from_outside,
    is_out_of_time,
)
from services.enricher.sandbox.protocol import Answer, Question
from shared.domain.errors import DocumentRefused, TransientError
from shared.sandbox.child import Died

log = structlog.get_logger()

PROCESSES: Final = 2
_ATTEMPTS: Final = 2
"""A death without a known cause may be anybody's fault; twice by one document is the document's."""
_WEARING_BYTES: Final = 1024**2
"""A process that has read a document of this size gives way to a fresh one: it stays large."""


class ReadApart:
    """A few processes, started when they are first needed, each replaced when it has died."""

    def __init__(self, allowed: Allowed, processes: int = PROCESSES) -> None:
        self._allowed = allowed
        self._idle: list[ExtractionProcess] = []
        self._all: set[ExtractionProcess] = set()
        self._turn = asyncio.Semaphore(processes)

    @property
    def pids(self) -> list[int]:
        """Of the processes that there are."""
        return [child.pid for child in self._all]

    async def __call__(self, question: Question, data: bytes) -> Extracted:
        """
        Raises:
            DocumentRefused: whatever `extract` refuses, and `extraction_timeout`,
                `extraction_memory`, `extraction_crashed`.
            TransientError: no process could be had, it got no processor time, or somebody else
                ended it.
        """
        innocent = False
        for _ in range(_ATTEMPTS):
            try:
                answer = await self._ask(question, data)
            except Died as died:
                if is_out_of_time(died):
                    raise self._out_of_time() from None
                log.warning("extraction_process_died", signal=died.signum)
                innocent = innocent or is_from_outside(died)
                continue
            if answer.memory:
                raise self._out_of_memory()
            if answer.broke:
                log.error("extraction_broke", error=answer.broke)
                break
            return answer.extracted()
        else:
            if innocent:
                raise TransientError("the process that reads documents was ended from outside")
        raise DocumentRefused(
            "extraction_crashed",
            "reading the document broke the process that read it; save it anew in a simpler form",
        )

    async def close(self) -> None:
        """End all processes. What is being read is lost."""
        await asyncio.gather(*(self._end(child) for child in list(self._all)))
        self._idle.clear()

    async def _ask(self, question: Question, data: bytes) -> Answer:
        async with self._turn, self._child() as child:
            answer = await child.ask(question, data)
            if len(data) < _WEARING_BYTES and not answer.memory:
                self._idle.append(child)
            return answer

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[ExtractionProcess]:
        """A process for one question; it is ended unless it was put among the idle ones."""
        child = await self._living()
        try:
            yield child
        finally:
            if child not in self._idle:
                await self._end(child)

    async def _living(self) -> ExtractionProcess:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await self._end(child)
        child = await ExtractionProcess.start(self._allowed)
        self._all.add(child)
        return child

    async def _end(self, child: ExtractionProcess) -> None:
        await child.end()
        self._all.discard(child)

    def _out_of_time(self) -> DocumentRefused:
        return DocumentRefused(
            "extraction_timeout",
            f"reading the document takes more than {self._allowed.cpu_s:g} s; simplify it, or "
            "raise extraction.timeout",
        )

    def _out_of_memory(self) -> DocumentRefused:
        return DocumentRefused(
            "extraction_memory",
            f"reading the document takes more than {self._allowed.memory_bytes // 1024**2:,} MB; "
            "split it, or raise extraction.memory",
        )
