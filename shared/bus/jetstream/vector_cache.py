"""The vector cache in a NATS KV bucket: a value is the vector's little-endian float32 bytes."""

import asyncio
from collections.abc import Collection, Mapping

import numpy as np
import structlog
from nats.js import JetStreamContext

from shared.bus.jetstream.buckets import CONCURRENT, KvBucket
from shared.domain.errors import BusUnavailable, PermanentError
from shared.domain.topology import EMBCACHE
from shared.ports import Vector

log = structlog.get_logger(__name__)

_ITEM_BYTES = 4


class KvCache:
    """Implements `shared.ports.VectorCache`.

    `get_many` is one request for up to 512 keys and raises BusUnavailable: encoding again would
    cost more than a retry. `put_many` never raises: a lost vector is encoded again one day.
    """

    def __init__(self, js: JetStreamContext) -> None:
        self._bucket = KvBucket(js, EMBCACHE.name)
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._failing = False
        self.unstored = 0
        """Vectors that could not be stored, since the start."""

    async def open(self) -> None:
        """Raises ConfigurationError when the bucket was not provisioned, BusUnavailable."""
        await self._bucket.open()

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Vector]:
        """Vectors that are there: float32, shape (dimensions,), not writable."""
        values = await self._bucket.get_many(keys)
        return {
            key: np.frombuffer(value.data, "<f4")
            for key, value in values.items()
            if value.data and len(value.data) % _ITEM_BYTES == 0
        }

    async def put_many(self, vectors: Mapping[str, Vector]) -> None:
        if not vectors:
            return
        values = {k: np.ascontiguousarray(v, "<f4").tobytes() for k, v in vectors.items()}
        try:
            async with self._slots:
                await self._bucket.put_in_passing(values)
        except (BusUnavailable, PermanentError):
            self.unstored += len(values)
            if not self._failing:
                log.warning("cache_write_failed", vectors=len(values))
            self._failing = True
        else:
            self._failing = False
