"""The notes about messages that made trouble, in a bucket that all replicas read."""

from dataclasses import replace

import structlog
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.bus.buckets import KvBucket, Value
from shared.bus.reading import translated
from shared.bus.trouble import Trouble, decode
from shared.errors import BusUnavailable
from shared.topology import TROUBLES

log = structlog.get_logger(__name__)


class Troubles:
    """Notes of one stage, by `trouble.name_of` a message.

    Losing one costs another try, so writing never stops the work. A bucket that somebody has
    deleted holds no notes, until the sweeper makes it anew.
    """

    def __init__(self, js: JetStreamContext, stage: str) -> None:
        self._js = js
        self._bucket = KvBucket(js, TROUBLES.name)
        self.stage = stage
        self._mark = f"{stage}.delivered"

    async def get(self, name: str) -> Trouble | None:
        """The note of a message. Raises BusUnavailable."""
        value = await self._read(self._key(name))
        return decode(value.data) if value else None

    async def names(self) -> set[str]:
        """What there are notes about. Raises BusUnavailable."""
        prefix = f"$KV.{self._bucket.name}.{self.stage}."
        with translated("reading the names of troubles"):
            try:
                info = await self._js.stream_info(self._bucket.stream, subjects_filter=prefix + "*")
            except NotFoundError:
                return set()
        return {subject.removeprefix(prefix) for subject in info.state.subjects or ()}

    async def put(self, name: str, trouble: Trouble) -> bool:
        """Whether the note is stored."""
        try:
            await self._bucket.put(self._key(name), trouble.encode())
        except BusUnavailable as error:
            log.warning("trouble_not_noted", stage=self.stage, name=name, reason=str(error))
            return False
        return True

    async def close(self, name: str, trouble: Trouble) -> None:
        """Note what is known now that a delivery has ended.

        What was read before may count a copy as a death that was only open elsewhere. So a count
        never rises here: whatever the note says by now is the most.
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
        """A note that stays by mistake is of a message that never comes back: it ages away."""
        try:
            await self._bucket.erase(self._key(name))
        except BusUnavailable as error:
            log.info("trouble_not_erased", stage=self.stage, name=name, reason=str(error))

    async def read_mark(self) -> Value:
        """How far the stage was delivered; empty and at 0 if nobody said. Raises BusUnavailable."""
        return await self._read(self._mark) or Value(b"", 0)

    async def write_mark(self, data: bytes, *, expect: int) -> int:
        """Say how far, and return the revision. Raises Conflict, BusUnavailable."""
        return await self._bucket.put(self._mark, data, expect=expect)

    async def _read(self, key: str) -> Value | None:
        try:
            return await self._bucket.get(key)
        except BusUnavailable as error:
            if isinstance(error.__cause__, NotFoundError):
                return None
            raise

    def _key(self, name: str) -> str:
        return f"{self.stage}.{name}"
