"""Questions that a process of their own answers, beside services that index documents.

Python runs one thread of a process at a time. Where all services share a process, twenty searches a
second wait for each other and for the work of each edit, although a core is idle. The process is
started at the first question. Whatever it does not answer, an error included, its parent answers.
"""

import asyncio
import itertools
import pickle
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from services.gateway.models import SearchRequest
from services.gateway.views import SearchAnswer
from shared.domain.errors import TransientError
from shared.generation import Generation
from shared.ports import Vector
from shared.sandbox.child import Child, Died, Program
from shared.settings import Settings

MAIN: Final = "services.host.search_process:main"
READY: Final = b"ready"
SERVING: Final = b"serving"
MOST_BYTES: Final = 16 * 1024**2
"""Of an answer; a longer one is made in the parent."""
WITHIN_S: Final = 10.0
"""An answer that takes longer is made in the parent, too; a process that has said nothing for so
long is replaced."""
SERVES_WITHIN_S: Final = 60.0
"""Of a large index it reads all codes first."""
AGAIN_S: Final = 5.0
MOST_DOUBLED: Final = 6
"""The pause before the next start; it doubles so often, until a question is answered."""
ASKED_BYTES: Final = 32 * 1024
"""Of a question, which goes into the pipe in one piece; a longer one is answered in the parent."""
MOST_WAITING: Final = 32
"""Questions under way; those beyond are answered in the parent."""
VERSION: Final = version("instep")
"""Of this process; another one may be installed by the time at which the process starts."""
HEAD: Final = struct.Struct(">II")
"""Number of the question, and bytes of its JSON; its vector follows."""
NUMBER: Final = struct.Struct(">I")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServedInstance:
    """What the process needs to know; it comes over a pipe, because it holds secrets."""

    settings: Settings
    data: Path
    url: str
    """Of the bus, with its secret."""
    generation: Generation

    def to_bytes(self) -> bytes:
        return pickle.dumps(self)

    @staticmethod
    def from_bytes(told: bytes) -> "ServedInstance":
        """What the parent has sent; from anybody else it may not be read."""
        found = pickle.loads(told)
        assert isinstance(found, ServedInstance), "the parent sends nothing else"
        return found


def asked(number: int, request: SearchRequest, vector: Vector | None) -> bytes:
    """The frame of a question. Raises ValueError: a filter is nested too deeply.

    vector: float32, shape (dimensions,); None: only words ask.
    """
    told = request.model_dump_json().encode()
    raw = b"" if vector is None else vector.astype("<f4").tobytes()
    return HEAD.pack(number, len(told)) + told + raw


def number_of(frame: bytes) -> int:
    """The number of a question or an answer. Raises struct.error."""
    return int(NUMBER.unpack_from(frame)[0])


def read_asked(frame: bytes) -> tuple[SearchRequest, Vector | None]:
    """Raises ValueError."""
    _, size = HEAD.unpack_from(frame)
    end = HEAD.size + size
    vector = np.frombuffer(frame[end:], "<f4").astype(np.float32) if len(frame) > end else None
    return SearchRequest.model_validate_json(frame[HEAD.size : end]), vector


def answered(number: int, answer: SearchAnswer | None, fault: str = "") -> bytes:
    """The frame of an answer; None: the parent shall make it. `fault`: an error of this program."""
    told = fault.encode() if answer is None else answer.model_dump_json().encode()
    return NUMBER.pack(number) + (told if len(told) < MOST_BYTES else b"")


class SearchProcess:
    """Asks the process, and starts it again when it has ended.

    Args:
        start: a process that has greeted; another one only in tests.
    """

    def __init__(
        self, instance: ServedInstance, start: Callable[[], Awaitable[Child]] | None = None
    ) -> None:
        self._instance, self._start = instance, start or _started
        self._child: Child | None = None
        self._running: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._deaths = 0
        """Since the last answer."""
        self._heard_at = 0.0
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def __call__(self, request: SearchRequest, vector: Vector | None) -> SearchAnswer | None:
        """The answer; None: the caller shall make it."""
        child = self._child
        if child is None:
            self._begin()
            return None
        number = next(self._numbers) % 2**32
        frame = _framed(number, request, vector)
        if frame is None or len(self._waiting) >= MOST_WAITING:
            return None
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(WITHIN_S):
                await child.say(frame)
                told = await waiting
        except Died:
            return None
        except TimeoutError:
            if time.monotonic() >= self._heard_at + WITHIN_S:
                child.kill()
            return None
        finally:
            del self._waiting[number]
        return self._read(told) if told else None

    def _read(self, told: bytes) -> SearchAnswer | None:
        fault = told.decode(errors="replace")
        if told.startswith(b"{"):
            self._deaths = 0
            try:
                return SearchAnswer.model_validate_json(told)
            except ValueError as error:
                fault = type(error).__name__  # its text quotes the answer
        log.error("search_process_failed", error=fault)
        return None

    async def close(self) -> None:
        """End the process; questions under way are answered by their callers."""
        self._not_before = float("inf")
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _begin(self) -> None:
        is_running = self._running is not None and not self._running.done()
        if not is_running and time.monotonic() >= self._not_before:
            self._running = asyncio.create_task(self._run(), name="search process")

    def _put_off(self) -> None:
        pause_s = AGAIN_S * 2**self._deaths
        self._deaths = min(self._deaths + 1, MOST_DOUBLED)
        self._not_before = max(self._not_before, time.monotonic() + pause_s)

    async def _run(self) -> None:
        try:
            child = await self._start()
        except TransientError as error:
            log.warning("search_process_not_started", reason=str(error))
            self._put_off()
            return
        try:
            async with asyncio.timeout(SERVES_WITHIN_S):
                await child.say(self._instance.to_bytes())
                if await child.hear(MOST_BYTES) != SERVING:
                    raise Died
            self._child, self._heard_at = child, time.monotonic()
            while told := await child.hear(MOST_BYTES + NUMBER.size):
                self._heard_at = time.monotonic()
                waiting = self._waiting.get(number_of(told))
                if waiting is not None and not waiting.done():
                    waiting.set_result(told[NUMBER.size :])
        except (Died, TimeoutError, struct.error) as error:
            log.warning("search_process_ended", signal=getattr(error, "signum", 0))
        finally:
            self._child = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(b"")
            self._put_off()
            await child.end()


def _framed(number: int, request: SearchRequest, vector: Vector | None) -> bytes | None:
    try:
        frame = asked(number, request, vector)
    except ValueError:
        return None
    return frame if len(frame) <= ASKED_BYTES else None


async def _started() -> Child:
    """Raises TransientError: none starts."""
    program = Program(MAIN, (VERSION,), "answers searches")
    child = await Child.start(program, most_bytes=len(READY))
    if child.greeting != READY:
        await child.end()
        raise TransientError("the process that answers searches does not start")
    return child
