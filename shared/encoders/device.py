"""The one thread that runs the model, and how long a call of it may take."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.encoders.backend import Backend, Tokens
from shared.encoders.batching import padded
from shared.errors import ModelFailed
from shared.ports import Vectors

_LOOK_S: Final = 0.5
"""How often a call that waits behind another looks whether that one is stuck."""


class Stuck(Exception):
    """A call did not end in time. Its thread cannot be stopped: the device is lost."""


@dataclass(slots=True)
class Counters:
    """What the device has done since the start."""

    busy_s: float = 0.0
    batches: int = 0
    texts: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    """Tokens computed, padding included; 1 - tokens / padded_tokens was wasted."""


@dataclass(eq=False, slots=True)
class _Call:
    began_at: float | None = None
    """Set by the thread."""


class Device:
    """Calls of a backend, one at a time.

    Args:
        timeout_s: most seconds of one call; 0: any.
    """

    def __init__(self, backend: Backend, *, timeout_s: float = 0.0) -> None:
        self.counters = Counters()
        self.is_stuck = False
        self.timeout_s = timeout_s
        self._backend = backend
        self._thread = ThreadPoolExecutor(1, "encode")

    async def run(self, batch: Sequence[Tokens]) -> Vectors:
        """Vectors of a batch.

        Raises:
            Stuck: this call, or the one before it, did not end in time.
            ModelFailed: the vectors are not finite, or too few.
            Exception: whatever the backend raised.
        """
        call = _Call()
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._run, batch, call)
        while not (await asyncio.wait([running], timeout=self._look_s(call)))[0]:
            self.is_stuck = self.is_stuck or self._left_s(call) == 0.0
            if self.is_stuck:
                raise Stuck
        vectors, seconds = running.result()
        counters = self.counters
        counters.busy_s += seconds
        counters.batches += 1
        counters.texts += len(batch)
        counters.tokens += sum(map(len, batch))
        counters.padded_tokens += len(batch) * padded(max(map(len, batch)))
        return vectors

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _look_s(self, call: _Call) -> float | None:
        return min(_LOOK_S, self._left_s(call)) if self.timeout_s else None

    def _left_s(self, call: _Call) -> float:
        """Seconds that a call may still take; one that waits behind another has all of them."""
        began_at = call.began_at
        gone = 0.0 if began_at is None else time.perf_counter() - began_at
        return max(0.0, self.timeout_s - gone)

    def _run(self, batch: Sequence[Tokens], call: _Call) -> tuple[Vectors, float]:
        """In the thread: vectors, and the seconds it took."""
        call.began_at = started = time.perf_counter()
        vectors = self._backend.run(batch)
        wanted = (len(batch), self._backend.dimensions)
        if vectors.shape != wanted or not np.isfinite(vectors).all():
            raise ModelFailed("the model gave no finite vector")
        return vectors, time.perf_counter() - started
