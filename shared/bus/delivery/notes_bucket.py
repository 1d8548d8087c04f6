"""The notes about failures of messages, in a bucket that all replicas read."""

from dataclasses import replace

import structlog
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.bus.delivery.failure_notes import Trouble, decode
from shared.bus.jetstream.buckets import KvBucket, Value
from shared.domain.errors import BusUnavailable
from shared.domain.topology import TROUBLES

log = structlog.get_logger(__name__)


class Troubles:
    """Notes of one stage, by `failure_notes.name_of` a message.

    Losing one costs another try, so writing never stops the work. A deleted bucket holds no notes,
    until the sweeper makes it anew.
    """

    def __init__(self, js: JetStreamContext, stage: str) -> None:
        self._bucket = KvBucket(js, TROUBLES.name)
        self.stage = stage

    async def get(self, name: str) -> Trouble | None:
        """The note of a message. Raises BusUnavailable."""
        value = await self._read(self._key(name))
        return decode(value.data) if value else None

    async def put(self, name: str, trouble: Trouble) -> bool:
        """Store a note. Returns whether it is stored."""
        try:
            await self._bucket.put(self._key(name), trouble.encode())
        except BusUnavailable as error:
            log.warning("trouble_not_noted", stage=self.stage, name=name, reason=str(error))
            return False
        return True

    async def close(self, name: str, trouble: Trouble) -> None:
        """Note the trouble of a message whose delivery has ended.

        The trouble read before may count a copy that was only open elsewhere as a death. So
        `killed` never rises here: its count in the present note is the most.
        """
        if trouble.killed:
            try:
                now = await self.get(name) or Trouble()
            except BusUnavailable as error:
                log.info("trouble_not_read", stage=self.stage, name=name, reason=str(error))
            else:
                trouble = replace(trouble, killed=min(trouble.killed, now.killed))
        await self.put(name, trouble)

    async def erase(self, name: str) -> None:
        """Erase a note. One that stays by mistake is of a settled message, and expires."""
        try:
            await self._bucket.erase(self._key(name))
        except BusUnavailable as error:
            log.info("trouble_not_erased", stage=self.stage, name=name, reason=str(error))

    async def _read(self, key: str) -> Value | None:
        try:
            return await self._bucket.get(key)
        except BusUnavailable as error:
            if isinstance(error.__cause__, NotFoundError):
                return None
            raise

    def _key(self, name: str) -> str:
        return f"{self.stage}.{name}"
