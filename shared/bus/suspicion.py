"""Which messages of a stage may have killed a process, from what the bus and this process know."""

import asyncio
import json
from typing import Final

import structlog
from nats.js import JetStreamContext

from shared.bus.trouble import Ended, Known, Trouble, names_work
from shared.bus.troubles import Troubles
from shared.errors import GARBAGE, BusUnavailable, Conflict

log = structlog.get_logger(__name__)

RESERVE: Final = 128
"""Sequences for which one note is written."""


class Suspicion:
    """What is known of the messages of one stage.

    A server writes down a moment later what it has delivered. When it dies together with the
    process that it delivered to, as the bundled one does, it counts from one again, and a message
    could kill for ever. So it is noted, in steps of `RESERVE`, how far this stage has been
    delivered by which start of the server; after another start nothing up to there is trusted.

    Copies of a message come under numbers of their own, but with its name. A name that the bucket
    knew when this process began, or that was buried here, is looked at. What another replica buries
    meanwhile may end this process once.

    Where the bus cannot keep the mark, the watch is given up, not the work.
    """

    def __init__(self, js: JetStreamContext, stage: str) -> None:
        self.notes = Troubles(js, stage)
        self.ended = Ended()
        self._server = str(js._nc._server_info.get("server_id", ""))
        self._doubted = 0
        self._reserved = 0
        self._mark_at = 0
        self._noted: set[str] = set()
        self._opened = self._blind = False
        self._turn = asyncio.Lock()

    def is_fresh(self, sequence: int, delivery: int, name: str) -> bool:
        """Whether nobody can have had the message before; False: `look`."""
        return sequence <= self._reserved and self._is_first(sequence, delivery, name)

    def expect_copies(self, name: str) -> None:
        """Do not take a message with this name for a fresh one any more."""
        self._noted.add(name)

    async def look(self, sequence: int, delivery: int, name: str) -> Known:
        """What is known of a message with this `trouble.name_of`. Raises BusUnavailable."""
        async with self._turn:
            if not self._opened:
                await self._open()
            if sequence > self._reserved:
                await self._watch(sequence)
        if self._is_first(sequence, delivery, name):
            return Known()
        known = self.ended.known(sequence, delivery) if delivery > 1 else None
        if known is None:
            note = await self.notes.get(name)
            known = Known(note or Trouble(), seen_to_end=False, noted=note is not None)
        return known

    def _is_first(self, sequence: int, delivery: int, name: str) -> bool:
        return delivery == 1 and sequence > self._doubted and name not in self._noted

    async def _open(self) -> None:
        noted = await self.notes.names()
        self._noted |= {name for name in noted if names_work(name)}  # others have no copies
        mark = await self.notes.read_mark()
        up_to, server = _decode(mark.data)
        if server == self._server:
            self._reserved = up_to
        else:
            self._doubted = up_to
        self._mark_at, self._opened = mark.at, True

    async def _watch(self, sequence: int) -> None:
        try:
            await self._reserve(sequence)
            self._blind = False
        except BusUnavailable as error:
            if not self._blind:
                log.warning("deaths_not_counted", stage=self.notes.stage, reason=str(error))
            self._blind = True

    async def _reserve(self, sequence: int) -> None:
        """Raise the mark; replicas may have raised it meanwhile."""
        up_to = sequence + RESERVE
        while sequence > self._reserved:
            data = json.dumps({"up_to": up_to, "server": self._server}).encode()
            try:
                self._mark_at = await self.notes.write_mark(data, expect=self._mark_at)
            except Conflict:
                mark = await self.notes.read_mark()
                told, server = _decode(mark.data)
                self._mark_at = mark.at
                if server != self._server or told < sequence:
                    continue
                up_to = told
            self._reserved = up_to  # only now: until then nothing may be opened unnoticed


def _decode(mark: bytes) -> tuple[int, str]:
    """How far, and by which start of the server."""
    try:
        told = json.loads(mark)
        return int(told["up_to"]), str(told["server"])
    except GARBAGE:
        return 0, ""
