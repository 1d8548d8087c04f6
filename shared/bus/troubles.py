"""The notes about messages that made trouble, in a bucket that all replicas read."""

import structlog
from nats.js import JetStreamContext

from shared.bus.buckets import KvBucket
from shared.bus.trouble import Trouble, decode
from shared.errors import BusUnavailable
from shared.topology import TROUBLES

log = structlog.get_logger(__name__)


class Troubles:
    """Notes of one stage, by `trouble.name_of` a message.

    Losing one costs another try, so writing never stops the work.
    """

    def __init__(self, js: JetStreamContext, stage: str) -> None:
        self._bucket = KvBucket(js, TROUBLES.name)
        self._stage = stage
        self._mark = f"{stage}.delivered"

    async def get(self, name: str) -> Trouble | None:
        """The note of a message. Raises BusUnavailable."""
        value = await self._bucket.get(self._key(name))
        return decode(value.data) if value else None

    async def put(self, name: str, trouble: Trouble) -> bool:
        """Whether the note is stored."""
        try:
            await self._bucket.put(self._key(name), trouble.encode())
        except BusUnavailable as error:
            log.warning("trouble_not_noted", stage=self._stage, name=name, reason=str(error))
            return False
        return True

    async def erase(self, name: str) -> None:
        """A note that stays by mistake is of a message that never comes back: it ages away."""
        try:
            await self._bucket.erase(self._key(name))
        except BusUnavailable as error:
            log.info("trouble_not_erased", stage=self._stage, name=name, reason=str(error))

    async def read_mark(self) -> bytes | None:
        """How far the stage was delivered. Raises BusUnavailable."""
        value = await self._bucket.get(self._mark)
        return value.data if value else None

    async def write_mark(self, data: bytes) -> None:
        """Say how far. Raises BusUnavailable."""
        await self._bucket.put(self._mark, data)

    def _key(self, name: str) -> str:
        return f"{self._stage}.{name}"
