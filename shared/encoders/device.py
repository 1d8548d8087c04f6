"""The device that runs the batches of an encoder, and its counters."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from shared.encoders.backend import Backend, Tokens
from shared.ports import Vectors


class Lost(Exception):
    """The process of the model ended, or had to be ended, before it answered: a text may have
    caused it. The message is fit for people."""


class Absent(Exception):
    """There is no model now, and none can be had; no text has caused it. The message is fit for
    people."""


@dataclass(slots=True)
class Counters:
    """What the device has done since the start."""

    busy_s: float = 0.0
    batches: int = 0
    texts: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    """Tokens computed, padding included; 1 - tokens / padded_tokens was wasted."""
    lost: int = 0
    """Calls that ended without an answer: each cost the model's process."""


class Device(Protocol):
    """`shared.encoders.backend.Backend` for an event loop."""

    fingerprint: str
    dimensions: int
    ahead: int

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Called from one thread at a time."""
        ...

    async def run(self, batch: Sequence[Tokens], *, within_s: float) -> tuple[Vectors, float]:
        """Vectors of one call, and the seconds that it took.

        Args:
            within_s: most seconds of the call, not counting those before it begins; 0: any.

        Raises:
            Lost: no answer; the next call finds the device ready again.
            Absent: the device cannot be had now.
            EncoderBusy: the device has no memory for the batch.
            Exception: whatever the backend raises.
        """
        ...

    async def close(self) -> None: ...


class ThreadDevice:
    """Implements `Device` by a thread of this process, for tests and benchmarks: what kills it
    kills them, and nothing ends a call."""

    def __init__(self, backend: Backend) -> None:
        self.fingerprint, self.dimensions = backend.fingerprint, backend.dimensions
        self.ahead = backend.ahead
        self.tokenize = backend.tokenize
        self._backend = backend
        self._thread = ThreadPoolExecutor(1, "encode")

    async def run(self, batch: Sequence[Tokens], *, within_s: float) -> tuple[Vectors, float]:  # noqa: ARG002
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, batch)

    async def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _run(self, batch: Sequence[Tokens]) -> tuple[Vectors, float]:
        started = time.perf_counter()
        vectors = self._backend.run(batch)
        return vectors, time.perf_counter() - started
