"""The model in a process that may die: started, watched, ended, started again."""

import asyncio
import contextlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import Signals
from typing import Final

import structlog

from shared.domain.errors import EncoderBusy, InstepError, ModelMismatch, TransientError
from shared.encoders.local import protocol
from shared.encoders.local.backend import Tokens
from shared.encoders.local.device import Absent, Lost
from shared.encoders.local.protocol import Greeting
from shared.ports import Vectors
from shared.sandbox.child import Child, Died, Program
from shared.sandbox.frames import Garbled
from shared.settings import Embedding

log = structlog.get_logger()

LOAD_WITHIN_S: Final = 600.0
"""For a large model on a slow disk."""
LOOK_S: Final = 0.25
"""Interval at which the memory of a working process is checked."""
SHARE_OF_MEMORY: Final = 0.75
"""Of the container or machine, for a model: the rest is its parent's."""
_CGROUPS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class ProcessDevice:
    """Implements `shared.encoders.local.device.Device`.

    Calls are written ahead and answered in their order. A process that has ended, or holds more
    memory than it may, is replaced before the next call. The parent watches that memory: a limit of
    the kernel on addresses or data also counts memory that models and CUDA only map and reserve.
    Under such a limit a leaking model would fail on every text instead of being replaced between
    two calls.

    Args:
        program: `shared.encoders.local.worker` with its settings.
        tokenize: see `shared.encoders.local.backend.Backend`; it stays in this process.
        memory_bytes: most anonymous memory of the process.
    """

    def __init__(
        self,
        program: Program,
        tokenize: Callable[[Sequence[str]], list[Tokens]],
        memory_bytes: float,
    ) -> None:
        self.tokenize = tokenize
        self.fingerprint, self.dimensions, self.ahead = "", 0, 0
        self.memory_bytes = memory_bytes
        self._program = program
        self._child: Child | None = None
        self._starting, self._hearing = asyncio.Lock(), asyncio.Lock()
        self._closed = False

    @classmethod
    async def start(
        cls,
        settings: Embedding,
        tokenize: Callable[[Sequence[str]], list[Tokens]],
        memory_bytes: float | None = None,
    ) -> "ProcessDevice":
        """A device whose model is loaded.

        Raises:
            ConfigurationError, ModelMismatch: see `shared.encoders.registry.load_backend`.
            EncoderBusy: no process can be started.
        """
        program = Program(
            "shared.encoders.local.worker:main",
            (settings.model_dump(mode="json"),),
            "runs the model",
            start_within_s=LOAD_WITHIN_S,
        )
        limit = SHARE_OF_MEMORY * memory_of_container() if memory_bytes is None else memory_bytes
        device = cls(program, tokenize, limit)
        await device._living()
        return device

    @property
    def pid(self) -> int | None:
        """Of the present process, if any."""
        return self._child.pid if self._child else None

    async def run(self, batch: Sequence[Tokens], *, within_s: float) -> tuple[Vectors, float]:
        """See `Device`."""
        asked, most = protocol.question(batch), protocol.most_bytes(len(batch), self.dimensions)
        while True:
            try:
                child = await self._living()
            except InstepError as error:
                raise Absent(str(error)) from None
            child.post(asked)
            async with self._hearing:  # answers come in the order of the questions
                if child is not self._child:
                    continue  # it died of the call before
                return await self._answer(child, most, len(batch), within_s)

    async def close(self) -> None:
        """End the process. Its call is lost."""
        self._closed = True
        async with self._starting:
            if self._child is not None:
                self._child.kill()
        async with self._hearing:  # a call under way hears of the death first
            await self._end()

    async def _answer(
        self, child: Child, most: int, texts: int, within_s: float
    ) -> tuple[Vectors, float]:
        try:
            frame = await self._hear(child, most, within_s)
            if child.anonymous_bytes() > self.memory_bytes:
                log.warning("model_process_replaced", reason=self._too_large())
                await self._end()
            return protocol.answered(frame, texts, self.dimensions)
        except (Died, Garbled, Lost) as error:
            await self._end()
            lost = error if isinstance(error, Lost) else Lost(_how(error))
            log.warning("model_process_lost", reason=str(lost), texts=texts)
            raise lost from None
        except asyncio.CancelledError:  # or its answer would be taken for that of the next call
            await self._end()
            raise

    async def _hear(self, child: Child, most: int, within_s: float) -> bytes:
        """The answer. Raises Died, and Lost when it takes too long or too much memory."""
        now = asyncio.get_running_loop().time
        give_up_at = now() + (within_s or math.inf)
        hearing = asyncio.ensure_future(child.hear(most))
        try:
            while not (await asyncio.wait([hearing], timeout=min(LOOK_S, give_up_at - now())))[0]:
                if now() >= give_up_at:
                    raise Lost(f"the model did not end within {within_s:.1f} s")
                if child.anonymous_bytes() > self.memory_bytes:
                    raise Lost(self._too_large())
            return hearing.result()
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _living(self) -> Child:
        async with self._starting:
            if self._closed:
                raise EncoderBusy("the encoder is stopping")
            if self._child is not None and not self._child.alive:
                log.warning("model_process_gone")
                async with self._hearing:  # a call under way hears of the death first
                    await self._end()
            if self._child is None:
                self._child = await self._start()
            return self._child

    async def _start(self) -> Child:
        try:
            child = await Child.start(self._program, most_bytes=protocol.MAX_GREETING_BYTES)
        except TransientError as error:
            raise EncoderBusy(str(error)) from None
        try:
            greeting: Greeting = protocol.greeted(child.greeting)
        except Garbled:
            await child.end()
            raise EncoderBusy("the process that runs the model does not start") from None
        except Exception:
            await child.end()
            raise
        if self.fingerprint not in {"", greeting.fingerprint}:
            await child.end()
            raise ModelMismatch("the files of the model have changed: start instep again")
        self.fingerprint, self.dimensions = greeting.fingerprint, greeting.dimensions
        self.ahead = greeting.ahead
        return child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    def _too_large(self) -> str:
        return f"the model took more than {self.memory_bytes / 1024**2:,.0f} MB"


def memory_of_container() -> float:
    """Bytes that the processes of this container, or else of this machine, may take together."""
    limits = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for path in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max": none
            limits.append(float(path.read_text(encoding="ascii")))
    return min(limits)


def _how(error: Exception) -> str:
    signum = error.signum if isinstance(error, Died) else 0
    by = f" by {Signals(signum).name}" if signum in set(Signals) else ""
    return f"the process of the model ended{by}"
