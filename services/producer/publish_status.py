"""Publishes the state of the watched folders to the other processes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import structlog

from services.producer.removals.holds import hold_of
from services.producer.watch import SourceWatch
from shared.bus.monitor.watched import PROBLEMS_TOLD, TOLD_EVERY_S, Watched
from shared.domain.errors import BusUnavailable
from shared.observe.progress import Activity, SourceHealth
from shared.ports import Now

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
END_S: Final = 2.0
"""A stop waits no longer for the bus to take the last state."""
NEWS: Final = frozenset({"held", "notice"})
"""Kinds of activity that report a new fault: it is published at once."""


@dataclass(slots=True)
class TellFolders:
    """Publishes changes within a second, and the whole state every `TOLD_EVERY_S`.

    Args:
        folders: by source: its watch, and its faults.
        tell: stores the state for other processes. Raises BusUnavailable.
        began: Unix time at which this process began to watch.
    """

    folders: Mapping[str, tuple[SourceWatch, SourceHealth]]
    tell: Callable[[Watched], Awaitable[None]]
    now: Now
    began: float
    heard: bool = False
    """This process hears questions about the folders."""
    _told: dict[str, Watched] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Publish until it is cancelled, and then that this process watches no more."""
        try:
            await self._go_on()
        finally:
            with contextlib.suppress(BusUnavailable, TimeoutError):
                async with asyncio.timeout(END_S):
                    for last in self._told.values():
                        await self.tell(replace(last, ended=True))

    async def _go_on(self) -> None:
        while True:
            try:
                await self.look()
            except BusUnavailable as error:
                log.info("folders_not_told", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()

    def hear(self, activity: Activity) -> None:
        if activity.kind in NEWS:
            self._news.set()

    async def look(self) -> None:
        """Publish states that differ from the published ones, or are old. Raises BusUnavailable."""
        self._news.clear()
        for source, (watch, health) in self.folders.items():
            if not watch.loaded:
                continue  # until then the earlier process's state of removals stands
            seen = _seen(source, watch, health, self.now().timestamp(), self.began)
            seen = replace(seen, heard=self.heard)
            before = self._told.get(source)
            if before and seen.says_the_same(before) and seen.at - before.at < TOLD_EVERY_S:
                continue
            await self.tell(seen)
            self._told[source] = seen


def _seen(
    source: str, watch: SourceWatch, health: SourceHealth, at: float, began: float
) -> Watched:
    return Watched(
        source=source,
        at=at,
        listed=watch.listed.is_set(),
        error=health.error,
        problems=dict(islice(health.problems.items(), PROBLEMS_TOLD)),
        hold=hold_of(source, watch.held) if watch.held else None,
        more=max(0, len(health.problems) - PROBLEMS_TOLD),
        began=began,
        left_out=dict(health.left_out),
        path=watch.guard.root,
        kind=watch.kind,
    )
