"""Publishes the state of the watched folders to the other processes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import structlog

from services.producer.removals.holds import hold_of
from services.producer.watch import FolderWatch
from shared.bus.monitor.watched import PROBLEMS_TOLD, TOLD_EVERY_S, Watched
from shared.domain.errors import BusUnavailable
from shared.observe.progress import SourceHealth
from shared.ports import Now

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0


@dataclass(slots=True)
class TellFolders:
    """Publishes changes within a second, and the whole state now and then.

    Args:
        folders: by source: its watch, and its faults.
        tell: stores the state where others find it. Raises BusUnavailable.
    """

    folders: Mapping[str, tuple[FolderWatch, SourceHealth]]
    tell: Callable[[Watched], Awaitable[None]]
    now: Now
    _told: dict[str, Watched] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except BusUnavailable as error:
                log.info("folders_not_told", reason=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Publish states that differ from the published ones, or are old. Raises BusUnavailable."""
        for source, (watch, health) in self.folders.items():
            seen = _seen(source, watch, health, self.now().timestamp())
            before = self._told.get(source)
            if before and seen.says_the_same(before) and seen.at - before.at < TOLD_EVERY_S:
                continue
            await self.tell(seen)
            self._told[source] = seen


def _seen(source: str, watch: FolderWatch, health: SourceHealth, at: float) -> Watched:
    return Watched(
        source=source,
        at=at,
        listed=watch.listed.is_set(),
        error=health.error,
        problems=dict(islice(health.problems.items(), PROBLEMS_TOLD)),
        hold=hold_of(source, watch.held) if watch.held else None,
    )
