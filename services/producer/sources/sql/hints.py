"""Rows with a new watermark, as names of what may have changed.

A watermark is for speed only: a row that is committed late, with an older watermark than others, is
found as long as that takes less than OVERLAP_S, and by the next listing otherwise.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

from services.producer.sources.port import LISTING_SHARE, Root, SourceUnavailable
from services.producer.sources.sql.row import changed
from shared.settings import WatchedSettings

OVERLAP_S: Final = 60.0
AGAIN_S: Final = 3.0
"""After which a row is looked at once more: its watermark may count in seconds."""


def rest_s(took_s: float, before_s: float, poll_s: float) -> float:
    """Seconds until the next poll, so that polls take a small share of the time. A single slow one
    counts for nothing: the machine was busy, or the file was locked.

    Args:
        took_s: by the last poll.
        before_s: by the poll before.
    """
    return max(poll_s, min(took_s, before_s) / LISTING_SHARE)


class Polled(Protocol):
    def newest(self) -> object: ...
    def newer(self, than: object) -> dict[str, Any]: ...


class SqlHints:
    """Polls of the watermark. Implements `services.producer.sources.port.Hints`.

    Without a watermark there are none, and the listing itself is the poll.
    """

    def __init__(self, source: Polled, settings: WatchedSettings, watermark: str | None) -> None:
        self.anew = False
        self._source, self._settings = source, settings
        self._polls = watermark is not None and settings.watch != "poll"
        self._task: asyncio.Task[None] | None = None

    async def start(self, heard: Callable[[Collection[str]], None]) -> None:
        """Names are paths."""
        if self._polls:
            self._task = asyncio.create_task(self._poll(heard))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def watch_the_same(self, root: Root) -> None:
        """A table keeps its address."""

    def interval(self, took_s: float, *, waits: bool) -> float:
        if self._polls and not waits:
            return self._settings.rescan
        return max(self._settings.poll, took_s / LISTING_SHARE)

    async def _poll(self, heard: Callable[[Collection[str]], None]) -> None:
        bounds = deque[tuple[float, object]]()
        marks, again = dict[str, Any](), deque[tuple[float, list[str]]]()
        took_s = 0.0
        while True:
            began, before_s, took_s = time.monotonic(), took_s, 0.0
            with contextlib.suppress(SourceUnavailable):  # the next listing tells
                if not bounds:
                    bounds.append((began, await asyncio.to_thread(self._source.newest)))
                found = await asyncio.to_thread(self._source.newer, bounds[0][1])
                took_s = time.monotonic() - began
                if new := changed(marks, found):
                    heard(new)
                    again.append((began + AGAIN_S, new))
                marks = found
                if found:
                    bounds.append((began, max(found.values())))
                while len(bounds) > 1 and bounds[1][0] < began - OVERLAP_S:
                    bounds.popleft()
            while again and again[0][0] <= began:
                heard(again.popleft()[1])
            await asyncio.sleep(rest_s(took_s, before_s, self._settings.poll))
