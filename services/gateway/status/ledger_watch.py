"""Keeps a `LedgerIndex` as the ledger is: fed with its changes, and made anew when any may miss."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.gateway.status.ledger_index import LedgerIndex
from shared.domain.errors import TransientError
from shared.ports import Ledger, LedgerFeed

PAUSE_S: Final = 1.0
"""Between readings that nobody asked for: so much is left to read for who asks."""

log = structlog.get_logger(__name__)


@dataclass
class LedgerWatch:
    """Reads what is new whenever it is asked, and once a second in between; writes nothing.

    The first question, or the first after an error, waits until the whole ledger was read.
    """

    ledger: Ledger
    _index: LedgerIndex = field(default_factory=LedgerIndex)
    _feed: LedgerFeed | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def current(self) -> LedgerIndex:
        """The index as the ledger is now. It goes on changing; after a loss there is another one.

        Raises:
            BusUnavailable: the ledger does not answer.
        """
        async with self._turn:
            if self._feed is not None:
                with contextlib.suppress(TransientError):
                    if await self._read():
                        return self._index
                self._feed = None
            await self._read()
            return self._index

    async def run(self) -> None:
        """Keep up until it is cancelled."""
        try:
            while True:
                try:
                    await self.current()
                except TransientError as error:
                    log.debug("ledger_watch_waits", reason=str(error))
                await asyncio.sleep(PAUSE_S)
        finally:
            if self._feed is not None:
                await self._feed.close()

    async def _read(self) -> bool:
        """Take all that is new; whether nothing is missing. After an error the feed is none."""
        feed, self._feed = self._feed, None
        if feed is None:
            feed, self._index = await self.ledger.follow(), LedgerIndex()
        while page := await feed.more():
            for change in page:
                self._index.put(*change)
        whole = await feed.is_whole(len(self._index))
        self._feed = feed
        return whole
