"""A model without its process, for tests and benchmarks."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from shared.encoders.local.backend import Backend, Tokens
from shared.ports import Vectors


class ThreadDevice:
    """Implements `shared.encoders.local.device.Device` by a thread of this process: what kills it
    kills its callers, and nothing ends a call."""

    def __init__(self, backend: Backend) -> None:
        self.fingerprint, self.dimensions = backend.fingerprint, backend.dimensions
        self.ahead = backend.ahead
        self.tokenize = backend.tokenize
        self._backend = backend
        self._thread = ThreadPoolExecutor(1, "encode")

    async def run(self, batch: Sequence[Tokens], *, within_s: float) -> tuple[Vectors, float]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, batch)

    async def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _run(self, batch: Sequence[Tokens]) -> tuple[Vectors, float]:
        started = time.perf_counter()
        vectors = self._backend.run(batch)
        return vectors, time.perf_counter() - started
