"""Bodies in memory: for tests."""

from collections.abc import Mapping
from datetime import UTC, datetime

from shared.domain.ids import content_hash
from shared.ports import Now


class MemoryContent:
    """Implements `shared.ports.ContentStore`."""

    def __init__(self, now: Now = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._bodies: dict[str, bytes] = {}
        self._put_at: dict[str, datetime] = {}

    async def put(self, data: bytes) -> str:
        name = content_hash(data)
        self._bodies[name] = data
        self._put_at[name] = self._now()
        return name

    async def get(self, content_hash: str) -> bytes:
        return self._bodies[content_hash]

    async def stored(self) -> Mapping[str, datetime]:
        return dict(self._put_at)

    async def forget(self, content_hash: str, *, put_before: datetime) -> bool:
        put_at = self._put_at.get(content_hash)
        if put_at is None or put_at >= put_before:
            return False
        del self._bodies[content_hash], self._put_at[content_hash]
        return True
