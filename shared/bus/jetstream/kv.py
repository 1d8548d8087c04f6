"""The notes of services in a NATS KV bucket."""

from collections.abc import Collection, Mapping, Sequence

from nats.js import JetStreamContext

from shared.bus.jetstream.buckets import KvBucket, check_key


class KvShelf:
    """Implements `shared.ports.Shelf`. Raises ValueError for a key that NATS cannot hold.

    A key that is deleted leaves no marker behind, so the bucket does not grow with deleted keys.
    """

    def __init__(self, js: JetStreamContext, bucket: str) -> None:
        self._bucket = KvBucket(js, bucket)

    async def open(self) -> None:
        """Raises ConfigurationError when the bucket was not provisioned, BusUnavailable."""
        await self._bucket.open()

    async def get(self, key: str) -> bytes | None:
        value = await self._bucket.get(check_key(key))
        return None if value is None else value.data

    async def put(self, key: str, value: bytes) -> None:
        await self._bucket.put(check_key(key), value)

    async def delete(self, key: str) -> None:
        await self._bucket.erase(check_key(key))

    async def clear(self, folder: str) -> None:
        await self._bucket.erase_below(check_key(folder))

    async def get_many(self, keys: Collection[str]) -> Mapping[str, bytes]:
        values = await self._bucket.get_many([check_key(key) for key in keys])
        return {key: value.data for key, value in values.items()}

    async def keys(self, prefix: str = "") -> Sequence[str]:
        """Sorted; reads no values."""
        return sorted([key async for key, _ in self._bucket.items(prefix, values=False)])

    async def few(self, prefix: str) -> Mapping[str, bytes]:
        return await self.get_many(await self._bucket.names(prefix))
