"""When a watch looks at what: the whole folder, or paths that something happened to."""

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping
from typing import Final

from services.producer.retry_queue import Restless
from services.producer.sources.folder.folder import Folder
from services.producer.sources.folder.settling import Settling
from services.producer.sources.folder.snapshot import Unsettled
from shared.domain.errors import BusUnavailable, TransientError

RETRY_S: Final = 1.0
PEEKS: Final = 64
"""Files of one notice whose age is looked at, in the event loop; others wait the whole time."""


class Schedule:
    """Moments are of `time.monotonic`."""

    def __init__(self, folder: Folder, settle_s: float) -> None:
        self.settling = Settling(settle_s)
        self.scan_at = 0.0
        """The next listing of the whole folder."""
        self._folder, self._settle_s = folder, settle_s
        self._wake = asyncio.Event()

    def begin(self) -> None:
        """What is heard from now on ends the next rest."""
        self._wake.clear()

    def list_now(self) -> None:
        self.scan_at = 0.0
        self._wake.set()

    def list_in(self, wait_s: float) -> None:
        self.scan_at = time.monotonic() + wait_s

    def list_within(self, wait_s: float) -> None:
        self.scan_at = min(self.scan_at, time.monotonic() + wait_s)

    def again(self, failed: Mapping[str, TransientError], restless: Restless) -> None:
        """Look at these once more, later."""
        now = time.monotonic()
        for path, error in failed.items():
            if isinstance(error, Unsettled):
                self.settling.leave_alone(path, now, max(self._settle_s, restless.wait_s(path)))
            else:
                is_bus = isinstance(error, BusUnavailable)
                self.settling.again([path], now, RETRY_S if is_bus else self._settle_s)

    def heard(self, names: Collection[str]) -> bool:
        """Something happened to these absolute names; whether the root is one of them."""
        folder = self._folder
        paths = {path for name in names if (path := folder.path_of(name))}
        if paths:
            files = {p: folder.peek(p) if n < PEEKS else None for n, p in enumerate(paths)}
            self.settling.touch(files, time.monotonic(), time.time_ns())
            self._wake.set()
        is_root = any(folder.is_root(name) for name in names)
        if is_root:
            self.list_now()
        return is_root

    async def rest(self, until: float) -> None:
        """Until something is due, or heard, but no longer."""
        until = min(until, self.scan_at, self.settling.next_due())
        # not wait_for: before Python 3.12 it can swallow a cancellation
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._wake.wait()


def is_cancelled() -> bool:
    """Whether this task was cancelled. Before Python 3.12 `asyncio.wait_for`, which the client of
    the bus uses, may swallow that and return."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
