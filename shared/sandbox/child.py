"""A process that may die without harm to its parent: started, asked, ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared import processes
from shared.domain.errors import TransientError
from shared.sandbox import frames
from shared.sandbox.frames import Garbled

_SLICE_BYTES: Final = 256 * 1024
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# A fresh interpreter, never a fork: threads and CUDA do not survive one. Without `site`, which
# takes longer than all else. Linux ends the child with the thread that started it, that is with the
# process; elsewhere the child looks itself.
_BOOT: Final = """
import sys
parent, main, arguments, *sys.path = sys.argv[1:]
if sys.platform == "linux":
    import ctypes, os
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != int(parent): sys.exit("the parent is gone")
else:
    from shared.sandbox.inside import end_with
    end_with(int(parent))
import importlib, json
module, _, function = main.partition(":")
getattr(importlib.import_module(module), function)(*json.loads(arguments))
"""
_ROOT: Final = Path(__file__).parents[2]


class Died(Exception):
    """The process ended before it had answered.

    Args:
        signum: the signal that ended it; 0: it ended by itself, or broke the protocol.
    """

    def __init__(self, signum: int = 0) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


@dataclass(frozen=True, slots=True)
class Program:
    """The program of a child.

    Args:
        main: a function by `module:name`. It sends a first frame when it is ready, and ends with
            standard input.
        arguments: of that function, as JSON has them.
        does: for errors, e.g. "reads documents".
        environment: None: the parent's.
        folder: to run in; None: the parent's.
        start_within_s: how long the first frame may take.
    """

    main: str
    arguments: tuple[Any, ...]
    does: str
    environment: Mapping[str, str] | None = None
    folder: str | None = None
    start_within_s: float = 30.0


class Child:
    """Sends and receives frames. Start it from the main thread."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        self._process = process
        self._questions, self._answers = process.stdin, process.stdout
        self.greeting = b""
        """The first frame."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def anonymous_bytes(self) -> int:
        """Memory that only this process holds, files that it maps left out; 0 where the system
        does not say, and once it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_bytes().split()
        except OSError:
            return 0
        return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES

    @classmethod
    async def start(cls, program: Program, *, most_bytes: int) -> "Child":
        """A process that has greeted. Raises TransientError when none starts.

        Args:
            most_bytes: of the greeting.
        """
        command = (sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT)
        how = (str(os.getpid()), program.main, json.dumps(program.arguments))
        try:
            process = await asyncio.create_subprocess_exec(
                *(*command, *how, str(_ROOT), *sys.path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # a traceback may quote the document
                env=program.environment,
                cwd=program.folder,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children last
            )
        except OSError as error:
            raise TransientError(f"no process that {program.does}: {error.strerror}") from None
        child = cls(process)
        try:
            async with asyncio.timeout(program.start_within_s):
                child.greeting = await child.hear(most_bytes)
        except (Died, TimeoutError):
            await child.end()
            raise TransientError(f"the process that {program.does} does not start") from None
        except BaseException:
            await child.end()
            raise
        return child

    async def say(self, *parts: bytes) -> None:
        """Send each part as a frame. Raises Died."""
        try:
            for part in parts:
                self._questions.write(frames.HEAD.pack(len(part)))
                for at in range(0, len(part), _SLICE_BYTES):
                    self._questions.write(part[at : at + _SLICE_BYTES])
                    await self._questions.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise Died(await self._signal()) from None

    def post(self, frame: bytes) -> None:
        """Send a frame that is small enough not to wait for its reader."""
        self._questions.write(frames.framed(frame))

    async def hear(self, most_bytes: int) -> bytes:
        """The next frame. Raises Died, also when it is larger than it may be."""
        try:
            head = await self._answers.readexactly(frames.HEAD.size)
            return await self._answers.readexactly(frames.length(head, most_bytes))
        except Garbled:
            raise Died from None
        except (asyncio.IncompleteReadError, ConnectionResetError):
            raise Died(await self._signal()) from None

    def kill(self) -> None:
        processes.send(self._process, signal.SIGKILL)

    async def end(self) -> None:
        """Kill it, and return when it is gone. No call of `hear` may be under way."""
        self.kill()
        # to the end of both pipes, or the transport stays open
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.shield(self._process.communicate())

    async def _signal(self) -> int:
        return max(0, -(await self._process.wait()))
