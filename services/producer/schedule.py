"""The schedule of a watch: when it looks at the whole folder, or at paths with events.

A file is read once it has come to rest. All times are seconds of one monotonic clock, but for the
file's own time stamps.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from services.producer.retry_queue import Restless
from services.producer.sources.port import Heard, SourceUnavailable, Unsettled, Version
from shared.domain.errors import BusUnavailable, TransientError

PATIENCE_S: Final = 1.0
"""A file that never comes to rest is read all the same after this long."""
EMPTIED_S: Final = 0.25
"""A file that has just become empty is being rewritten: it gets this much longer."""
TOGETHER_S: Final = 0.005
"""Files that come to rest within this time are looked at together."""
RUSH: Final = 20
RUSH_S: Final = 1.0
"""Changes of so many files within this time are a rush."""
WAVE_S: Final = 0.1
"""Time from one look to the next during a rush. Files that go together cost each stage, the bus and
the store less than the same files one by one: without waves, p95 of an edit beside 50 others a
second is 21 % longer (95 %: 3 to 68; 16 pairs of `bench/pairs.py --beside 50 --count 400 --turns 16
--turn 6 --model fake-384`)."""


class Settling:
    """Paths that wait to be looked at."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._due: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._alone: dict[str, float] = {}
        self._touched: OrderedDict[str, float] = OrderedDict()
        """The last files with events: one file that is always busy is no rush."""
        self._next_wave = -math.inf

    def touch(self, files: Mapping[str, Version | None], now: float, clock_ns: int) -> None:
        """Note events of these paths, together: a move has two of them.

        Args:
            files: each as it is now, or None when it is not there or not known.
            clock_ns: the wall clock, for the age of a file's last change.
        """
        wait = max((self._wait(stat, clock_ns) for stat in files.values()), default=0.0)
        for path, stat in files.items():
            if stat is None:
                self._alone.pop(path, None)  # it may be gone
            self._touched.pop(path, None)
            self._touched[path] = now
            if len(self._touched) > RUSH:
                self._touched.popitem(last=False)
            latest = self._first.setdefault(path, now) + PATIENCE_S
            due = min(now + wait, max(latest, now))
            self._due[path] = max(due, self._alone.get(path, due))

    def _wait(self, stat: Version | None, clock_ns: int) -> float:
        if stat is None:
            return self._settle_s / 2
        return self.rest_of(stat, clock_ns) + (EMPTIED_S if stat.size == 0 else 0.0)

    def rest_of(self, stat: Version, clock_ns: int) -> float:
        """Seconds until the file has not changed for the settling time, never more than that."""
        age_s = (clock_ns - stat.changed_ns) / 1e9
        return min(self._settle_s, max(0.0, self._settle_s - age_s))

    def longest_rest(self, files: Iterable[Version | None], clock_ns: int) -> float:
        """Seconds until every file of a listing has come to rest; 0 for none."""
        return max((self.rest_of(stat, clock_ns) for stat in files if stat), default=0.0)

    def again(self, paths: Collection[str], now: float, wait_s: float) -> None:
        """Look at the paths once more, later; their next events may make it sooner."""
        for path in paths:
            self._due[path] = now + wait_s
            self._first.setdefault(path, now)

    def leave_alone(self, path: str, now: float, wait_s: float) -> None:
        """Look at the path once more, and not before, whatever events it has."""
        self.again([path], now, wait_s)
        self._alone[path] = now + wait_s

    def is_left_alone(self, path: str) -> bool:
        return path in self._alone

    def take(self, now: float) -> list[str]:
        """The paths that are due; they are forgotten here."""
        due = [path for path, at in self._due.items() if at <= now + TOGETHER_S]
        if now < self._next_wave or not any(self._due[path] <= now for path in due):
            return []
        if self._is_rush(now):
            self._next_wave = now + WAVE_S
        for path in due:
            del self._due[path], self._first[path]
            self._alone.pop(path, None)
        return due

    def _is_rush(self, now: float) -> bool:
        return len(self._touched) == RUSH and now - min(self._touched.values()) <= RUSH_S

    def next_due(self) -> float:
        """The time at which `take` returns paths; infinity when none waits."""
        return max(self._next_wave, min(self._due.values(), default=math.inf))


RETRY_S: Final = 1.0


class Schedule:
    """Moments are of `time.monotonic`."""

    def __init__(self, settle_s: float) -> None:
        self.settling = Settling(settle_s)
        self.scan_at = 0.0
        """The next listing of the whole folder."""
        self._rules_at = math.inf
        """The listing that is due because an ignore file has changed."""
        self._settle_s = settle_s
        self._wake = asyncio.Event()

    def begin(self) -> None:
        """Events from now on end the next rest."""
        self._wake.clear()

    def list_now(self) -> None:
        self.scan_at = 0.0
        self._wake.set()

    def listing(self) -> None:
        """A listing begins; it reads the ignore files as they are now."""
        self._rules_at = math.inf

    def list_in(self, wait_s: float) -> None:
        self.scan_at = min(time.monotonic() + wait_s, self._rules_at)

    def list_within(self, wait_s: float) -> None:
        self.scan_at = min(self.scan_at, time.monotonic() + wait_s)

    def again(self, failed: Mapping[str, TransientError], restless: Restless) -> None:
        """Look at these once more, later."""
        now = time.monotonic()
        for path, error in failed.items():
            if isinstance(error, Unsettled):
                self.settling.leave_alone(path, now, max(self._settle_s, restless.wait_s(path)))
            else:
                is_away = isinstance(error, (BusUnavailable, SourceUnavailable))
                self.settling.again([path], now, RETRY_S if is_away else self._settle_s)

    def heard(self, hints: Heard) -> bool:
        """Note hints.

        Returns:
            Whether later ones may be about another place: the root itself, or a link that led to a
            folder, has changed.
        """
        if hints.paths:
            self.settling.touch(hints.paths, time.monotonic(), time.time_ns())
            self._wake.set()
        if hints.rules:
            # an editor empties a file before it writes it, and git removes it
            self._rules_at = time.monotonic() + max(self._settle_s, EMPTIED_S)
            self.scan_at = min(self.scan_at, self._rules_at)
            self._wake.set()
        if hints.root:
            self.list_now()
        elif hints.relinked:
            self.list_within(self._settle_s)
            self._wake.set()
        return hints.root or hints.relinked

    async def rest(self, until: float) -> None:
        """Sleep until a path is due or an event comes, but no longer."""
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
