"""Reads RESULTS once for all listeners, who ask for what follows the event that they had last.

A listener is a number. The newest events are kept in memory; who asks for older ones has them read
from the stream. So a slow listener costs no memory, and each resumes exactly, on any gateway.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple

import structlog

from services.gateway.events.views import EventView, view_of
from shared.domain.errors import TransientError
from shared.ports import Results, StoredResult

KEPT: Final = 2_000
"""Events in memory: about a second of the fastest first indexing."""
PAGE: Final = 100
"""Events that are read at once for a listener who asks for older ones."""
LOOK_S: Final = 0.2
"""Interval at which the stream is asked for new events while somebody listens."""

log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """An event and its sequence; None: a message that this version cannot read."""

    sequence: int
    view: EventView | None


@dataclass
class EventHub:
    """Implements listening over the port."""

    results: Results
    closed: bool = False
    _recent: deque[Told] = field(default_factory=lambda: deque(maxlen=KEPT), repr=False)
    _begin: int = 0
    """Every event above this sequence, up to `_end`, is in `_recent`."""
    _end: int = 0
    _grown: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _waiting: int = 0
    _reading: "asyncio.Task[None] | None" = field(default=None, repr=False)

    async def bounds(self) -> tuple[int, int]:
        """Ids of the oldest event that is kept and of the newest. Raises BusUnavailable.

        From the newest on only new ones follow; behind an id between them nothing is missing.
        """
        return await self.results.bounds()

    async def after(self, sequence: int, *, wait_s: float) -> Sequence[Told]:
        """The events that follow, at most PAGE, oldest first; none came within `wait_s`: empty.

        Raises:
            BusUnavailable: ask again; nothing is lost.
        """
        if not self._begin <= sequence <= self._end or self._reading is None:
            if page := await self._page(sequence):
                return page
            if self._reading is None:
                self._begin_at(sequence)
        if not (found := self._kept(sequence)):
            await self._grow(wait_s)
            found = self._kept(sequence)
        return found

    def close(self) -> None:
        """Read no more, and let the listeners end."""
        self.closed = True
        if self._reading is not None:
            self._reading.cancel()
        self._tell()

    async def _page(self, sequence: int) -> list[Told]:
        found: list[Told] = []
        while len(found) < PAGE and (one := await self.results.next(sequence)) is not None:
            found.append(_told(one))
            sequence = one.sequence
        return found

    def _begin_at(self, sequence: int) -> None:
        """Keep what comes after this event, the newest there is."""
        self._recent.clear()
        self._begin = self._end = sequence
        self._reading = asyncio.create_task(self._read(), name="read results")

    def _kept(self, sequence: int) -> list[Told]:
        if not self._begin <= sequence < self._end:
            return []
        newer = takewhile(lambda told: told.sequence > sequence, reversed(self._recent))
        return list(newer)[::-1][:PAGE]

    async def _grow(self, wait_s: float) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await self._grown.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    async def _read(self) -> None:
        """Read on while somebody waits; the next listener begins anew."""
        try:
            while True:
                if not await self._read_new():
                    if not self._waiting:
                        return
                    await asyncio.sleep(LOOK_S)
        except TransientError as error:
            log.debug("results_not_readable", reason=str(error))
        finally:
            self._reading = None
            self._tell()  # the waiting ones ask again

    async def _read_new(self) -> bool:
        found = await self._page(self._end)
        for told in found:
            if len(self._recent) == KEPT:
                self._begin = self._recent[0].sequence
            self._recent.append(told)
            self._end = told.sequence
        if found:
            self._tell()
        return bool(found)

    def _tell(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


def _told(stored: StoredResult) -> Told:
    return Told(stored.sequence, view_of(stored))
