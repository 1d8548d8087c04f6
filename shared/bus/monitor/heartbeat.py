"""Announcements of a process's presence over its connection, and those of others for `presence`.

Only a displayed number depends on it, so its failures never stop any work.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared.bus.access.denials import denial
from shared.domain.errors import BusUnavailable
from shared.domain.presence import BYE, EVERY_S, EVERYBODY, Present, sender, subject_of
from shared.domain.topology import Stage

DENIED_EVERY_S: Final = 60.0
"""The server logs every denial."""

log = structlog.get_logger(__name__)


class Heartbeat:
    """The announcements of one process, and those that it has heard."""

    def __init__(self, client: Client) -> None:
        self.every_s = EVERY_S
        self.present = Present()
        self._client = client
        self._process = secrets.token_hex(8)
        self._consumers: tuple[str, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._listens = self._denied = False
        self._warned: set[str] = set()

    def begin(self, consumers: Iterable[str]) -> None:
        """Announce from now on that this process serves these durable consumers."""
        self._consumers = tuple(consumers)
        if self._task is not None:
            self._task.cancel()
        if self._consumers:
            self._task = asyncio.create_task(self._beat(), name="heartbeat")

    async def end(self) -> None:
        """Announce that it leaves them, if it had begun."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._say(BYE)

    async def listen(self) -> None:
        """Hear all processes from now on. Raises BusUnavailable; repeating is safe."""
        if self._listens:
            return
        try:
            await self._client.subscribe(EVERYBODY, cb=self._hear)
        except NatsError as error:
            raise BusUnavailable(f"listening at {EVERYBODY}: {type(error).__name__}") from None
        self._listens = True
        self.present.listens(monotonic())

    def count(self, stage: Stage[Any]) -> int | None:
        """Processes that serve a stage, in any of its lanes; None: not known (yet)."""
        return self.present.count([lane.name for lane in stage.lanes], monotonic())

    def denied(self, verb: str, subject: str) -> None:
        """The server does not let this process `publish`, or hear by a `subscription`."""
        if verb == "subscription":
            self.present.listens(None)
        else:
            self._denied = True
        if verb not in self._warned:
            self._warned.add(verb)
            log.warning("presence_denied", reason=str(denial(verb, subject)))

    def reconnected(self) -> None:
        """Announcements in between were lost; and the server's permissions may have changed."""
        self._denied = False
        self._warned.clear()
        if self._listens:
            self.present.listens(monotonic())

    async def _beat(self) -> None:
        while True:
            self._denied = False
            await self._say(b"")
            await asyncio.sleep(self.every_s)
            if self._denied:  # the denial is known by now; the next try covers later permissions
                await asyncio.sleep(DENIED_EVERY_S - EVERY_S)

    async def _say(self, what: bytes) -> None:
        if self._client.is_connected:  # a later announcement might no longer be true
            with contextlib.suppress(NatsError, OSError):
                for consumer in self._consumers:
                    await self._client.publish(subject_of(consumer, self._process), what)

    async def _hear(self, message: Msg) -> None:
        self.present.heard(*sender(message.subject), monotonic(), bye=message.data == BYE)
