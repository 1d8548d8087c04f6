"""Bodies in memory: for tests."""

from shared.identity import content_hash


class MemoryContent:
    """Implements `shared.ports.ContentStore`."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        name = content_hash(data)
        self._bodies[name] = data
        return name

    async def get(self, content_hash: str) -> bytes:
        return self._bodies[content_hash]
