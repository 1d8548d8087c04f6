"""Child processes that read documents, so that a hostile document harms only itself.

The pool starts, asks and ends processes of `shared.reading.worker`.
"""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import structlog

from shared.domain.errors import DocumentRefused, TransientError
from shared.formats.blocks import Extracted
from shared.formats.containers import Parts
from shared.reading import protocol
from shared.reading.parts_protocol import SplitAnswer, SplitQuestion
from shared.reading.protocol import Answer, Question
from shared.sandbox.child import Child, Died, Program
from shared.sandbox.frames import Garbled

FROM_OUTSIDE: Final = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
)
"""Signals that no document causes: the kernel is out of memory, or a person ends processes."""
_Answer_co = TypeVar("_Answer_co", Answer, SplitAnswer, covariant=True)


class AnyQuestion(Protocol[_Answer_co]):
    """A question of any kind."""

    def to_bytes(self) -> bytes: ...

    def answer(self) -> _Answer_co:
        """An answer without content yet."""


_MAIN: Final = "shared.reading.worker:main"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The limits of a process."""

    memory_bytes: int
    cpu_s: float
    """For one document."""
    patience: float = 10.0
    """Times `cpu_s` that an answer may take: other programs use the processor, too."""


class ExtractionProcess:
    """Answers one question at a time. Start it from the main thread."""

    def __init__(self, child: Child, allowed: Allowed) -> None:
        self._child, self._allowed = child, allowed

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    @classmethod
    async def start(cls, allowed: Allowed) -> "ExtractionProcess":
        """A process that is ready. Raises TransientError when none starts."""
        program = Program(
            _MAIN,
            (allowed.memory_bytes, allowed.cpu_s),
            "reads documents",
            environment={},
            folder=tempfile.gettempdir(),
        )
        child = await Child.start(program, most_bytes=protocol.MAX_FRAME_BYTES)
        if child.greeting != protocol.READY:
            await child.end()
            raise TransientError("the process that reads documents does not start")
        return cls(child, allowed)

    async def ask(self, question: AnyQuestion[_Answer_co], data: bytes) -> _Answer_co:
        """
        Raises:
            Died: the process can answer no more.
            TransientError: it had not enough processor time to come to an end.
        """
        try:
            async with asyncio.timeout(self._allowed.cpu_s * self._allowed.patience):
                await self._child.say(question.to_bytes(), data)
                answer = question.answer()
                while not answer.add(await self._child.hear(protocol.MAX_FRAME_BYTES)):
                    pass
                return answer
        except TimeoutError:
            raise TransientError("reading the document waited too long for a processor") from None
        except Garbled:
            raise Died from None

    async def end(self) -> None:
        """Kill it, and return when it is gone."""
        await self._child.end()


def is_out_of_time(died: Died) -> bool:
    """Whether the kernel ended it because it had used its processor time."""
    return died.signum == signal.SIGXCPU


def is_from_outside(died: Died) -> bool:
    """Whether another process or the kernel chose to end it, for reasons that are not its own."""
    return died.signum in FROM_OUTSIDE


log = structlog.get_logger()

PROCESSES: Final = 2
_ATTEMPTS: Final = 2
"""A death without a known cause may have any reason; two deaths by one document are its fault."""
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
            DocumentRefused: the codes of `extract`, and `extraction_timeout`, `extraction_memory`,
                `extraction_crashed`.
            TransientError: no process started, it got no processor time, or another process ended
                it.
        """
        return (await self._answered(question, data)).extracted()

    async def split(self, question: SplitQuestion, data: bytes) -> Parts:
        """The documents of a file. Raises as a call, and the codes of `containers.split`."""
        return (await self._answered(question, data)).parts()

    async def _answered(self, question: AnyQuestion[_Answer_co], data: bytes) -> _Answer_co:
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
            return answer
        else:
            if innocent:
                raise TransientError("the process that reads documents was ended from outside")
        raise DocumentRefused(
            "extraction_crashed",
            "reading the document broke the process that read it; save it anew in a simpler form",
        )

    async def close(self) -> None:
        """End all processes. Running extractions are lost."""
        await asyncio.gather(*(self._end(child) for child in list(self._all)))
        self._idle.clear()

    async def _ask(self, question: AnyQuestion[_Answer_co], data: bytes) -> _Answer_co:
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
