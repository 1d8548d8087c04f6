"""One process of `services.enricher.worker`: started, asked, ended."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.enricher import wire
from services.enricher.wire import Answer, Garbled, Question
from shared.errors import TransientError

FROM_OUTSIDE: Final = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
)
"""Signals that no document causes: the kernel is out of memory, or somebody ends processes."""
_START_WAIT_S: Final = 30.0
_SLICE_BYTES: Final = 256 * 1024

# Without `site`, which takes longer than all else. The kernel ends the child with the thread that
# started it, that is with the process.
_BOOT: Final = """
import sys
parent, memory, cpu, *sys.path = sys.argv[1:]
if sys.platform == "linux":
    import ctypes, os
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != int(parent): sys.exit("the parent is gone")
from services.enricher.worker import main
main(int(memory), float(cpu))
"""
_ROOT: Final = Path(__file__).parents[2]


class Died(Exception):
    """The process ended before it had answered.

    Args:
        signum: the signal that ended it; 0: it ended by itself, or said what it may not.
    """

    def __init__(self, signum: int = 0) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a process may use."""

    memory_bytes: int
    cpu_s: float
    """For one document."""
    patience: float = 10.0
    """Times `cpu_s` that an answer may take: other programs want the processor, too."""


class Child:
    """Answers one question at a time. Start it from the main thread."""

    def __init__(self, process: asyncio.subprocess.Process, allowed: Allowed) -> None:
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        self._process, self._allowed = process, allowed
        self._questions, self._answers = process.stdin, process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @classmethod
    async def start(cls, allowed: Allowed) -> "Child":
        """A process that is ready. Raises TransientError when none can be had."""
        command = (sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT)
        limits = (str(os.getpid()), str(allowed.memory_bytes), str(allowed.cpu_s))
        try:
            process = await asyncio.create_subprocess_exec(
                *(*command, *limits, str(_ROOT), *sys.path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # a traceback may quote the document
                env={},
                cwd=tempfile.gettempdir(),
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children last
            )
        except OSError as error:
            raise TransientError(f"no process to read documents in: {error.strerror}") from None
        child = cls(process, allowed)
        try:
            async with asyncio.timeout(_START_WAIT_S):
                if await child._frame() != wire.READY:
                    raise Died
        except (Died, Garbled, TimeoutError):
            await child.end()
            raise TransientError("the process that reads documents does not start") from None
        except BaseException:
            await child.end()
            raise
        return child

    async def ask(self, question: Question, data: bytes) -> Answer:
        """
        Raises:
            Died: the process is of no use any more.
            TransientError: it had not enough processor time to come to an end.
        """
        try:
            async with asyncio.timeout(self._allowed.cpu_s * self._allowed.patience):
                await self._send(question, data)
                answer = Answer(question)
                while not answer.add(await self._frame()):
                    pass
                return answer
        except TimeoutError:
            raise TransientError("reading the document waited too long for a processor") from None
        except Garbled:
            raise Died from None

    async def end(self) -> None:
        """Kill it, and return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # to the end of both pipes, or the transport stays open
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.shield(self._process.communicate())

    async def _send(self, question: Question, data: bytes) -> None:
        try:
            self._questions.write(question.to_frame() + wire.HEAD.pack(len(data)))
            for at in range(0, len(data), _SLICE_BYTES):
                self._questions.write(data[at : at + _SLICE_BYTES])
                await self._questions.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise Died(await self._signal()) from None

    async def _frame(self) -> bytes:
        try:
            return await self._answers.readexactly(
                wire.length_of_answer(await self._answers.readexactly(wire.HEAD.size))
            )
        except (asyncio.IncompleteReadError, ConnectionResetError):
            raise Died(await self._signal()) from None

    async def _signal(self) -> int:
        return max(0, -(await self._process.wait()))


def is_out_of_time(died: Died) -> bool:
    """Whether the kernel ended it because it had used its processor time."""
    return died.signum == signal.SIGXCPU


def is_from_outside(died: Died) -> bool:
    """Whether another process or the kernel chose to end it, for reasons that are not its own."""
    return died.signum in FROM_OUTSIDE
