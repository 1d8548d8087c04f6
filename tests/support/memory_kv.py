"""A shelf in memory: for tests."""

from collections.abc import Collection, Mapping, Sequence

from shared.bus.jetstream.buckets import check_key


class MemoryShelf:
    """Implements `shared.ports.Shelf`."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self._values.get(check_key(key))

    async def put(self, key: str, value: bytes) -> None:
        self._values[check_key(key)] = value

    async def delete(self, key: str) -> None:
        self._values.pop(check_key(key), None)

    async def clear(self, folder: str) -> None:
        for key in await self.keys(f"{check_key(folder)}."):
            del self._values[key]

    async def get_many(self, keys: Collection[str]) -> Mapping[str, bytes]:
        return {key: self._values[key] for key in map(check_key, keys) if key in self._values}

    async def keys(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in self._values if key.startswith(prefix))

    async def few(self, prefix: str) -> Mapping[str, bytes]:
        return await self.get_many(await self.keys(prefix))
