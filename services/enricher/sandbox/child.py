"""One process of `services.enricher.sandbox.worker`: started, asked, ended."""

import asyncio
import signal
import tempfile
from dataclasses import dataclass
from typing import Final

from services.enricher.sandbox import protocol
from services.enricher.sandbox.protocol import Answer, Question
from shared.domain.errors import TransientError
from shared.sandbox.child import Child, Died, Program
from shared.sandbox.frames import Garbled

FROM_OUTSIDE: Final = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
)
"""Signals that no document causes: the kernel is out of memory, or somebody ends processes."""
_MAIN: Final = "services.enricher.sandbox.worker:main"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a process may use."""

    memory_bytes: int
    cpu_s: float
    """For one document."""
    patience: float = 10.0
    """Times `cpu_s` that an answer may take: other programs want the processor, too."""


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
        """A process that is ready. Raises TransientError when none can be had."""
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

    async def ask(self, question: Question, data: bytes) -> Answer:
        """
        Raises:
            Died: the process is of no use any more.
            TransientError: it had not enough processor time to come to an end.
        """
        try:
            async with asyncio.timeout(self._allowed.cpu_s * self._allowed.patience):
                await self._child.say(question.to_bytes(), data)
                answer = Answer(question)
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
