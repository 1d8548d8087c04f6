"""Which messages of a stage may have killed a process, from what the bus and this process know."""

import asyncio
import json
from typing import Final

from nats.js import JetStreamContext

from shared.bus.trouble import Ended, Known, Trouble
from shared.bus.troubles import Troubles

RESERVE: Final = 128
"""Sequences for which one note is written."""


class Suspicion:
    """What is known of the messages of one stage.

    A server writes down a moment later what it has delivered. When it dies together with the
    process that it delivered to, as the bundled one does, it counts from one again, and a message
    could kill for ever. So it is noted, in steps of `RESERVE`, how far this stage has been
    delivered by which start of the server; after another start nothing up to there is trusted.
    """

    def __init__(self, js: JetStreamContext, stage: str) -> None:
        self.notes = Troubles(js, stage)
        self.ended = Ended()
        self._server = str(js._nc._server_info.get("server_id", ""))
        self._doubted = 0
        self._reserved = 0
        self._opened = False
        self._turn = asyncio.Lock()

    def is_fresh(self, sequence: int, delivery: int) -> bool:
        """Whether nobody can have had the message before; False: `look`."""
        return delivery == 1 and self._doubted < sequence <= self._reserved

    async def look(self, sequence: int, delivery: int, name: str) -> Known:
        """What is known of a message with this `trouble.name_of`. Raises BusUnavailable."""
        async with self._turn:
            if not self._opened:
                await self._open()
            if sequence > self._reserved:
                await self._reserve(sequence)
        if self.is_fresh(sequence, delivery):
            return Known()
        known = self.ended.known(sequence, delivery) if delivery > 1 else None
        if known is None:
            note = await self.notes.get(name)
            known = Known(note or Trouble(), seen_to_end=False, noted=note is not None)
        return known

    async def _open(self) -> None:
        up_to, server = _decode(await self.notes.read_mark())
        if server == self._server:
            self._reserved = up_to
        else:
            self._doubted = up_to
        self._opened = True

    async def _reserve(self, sequence: int) -> None:
        up_to = sequence + RESERVE
        mark = {"up_to": up_to, "server": self._server}
        await self.notes.write_mark(json.dumps(mark).encode())
        self._reserved = up_to  # only now: until then nothing may be opened unnoticed


def _decode(mark: bytes | None) -> tuple[int, str]:
    """How far, and by which start of the server."""
    if mark is None:
        return 0, ""
    try:
        told = json.loads(mark)
        return int(told["up_to"]), str(told["server"])
    except (ValueError, KeyError, TypeError):
        return 0, ""
