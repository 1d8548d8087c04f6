"""Files that cannot be read yet, and the time of the next try of each. Pure.

All times in seconds of one monotonic clock.
"""

import math
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from typing import Final

OVERDUE_S: Final = 5.0
"""A file that has been written for this long is taken as it is, if it only grows."""
FIRST_S: Final = 0.02
LONGEST_S: Final = 60.0
"""Between two looks at a file that never rests."""


@dataclass(slots=True)
class _Try:
    since: float
    wait_s: float = FIRST_S
    overdue: bool = False


class Restless:
    """Files that change while they are read."""

    def __init__(self) -> None:
        self._tries: dict[str, _Try] = {}

    def changed(self, path: str, now: float) -> None:
        """It has changed once more."""
        if (last := self._tries.get(path)) is None:
            self._tries[path] = _Try(now)
            return
        last.wait_s = min(LONGEST_S, 2 * last.wait_s)
        last.overdue = self.is_due(path, now)

    def forget(self, paths: Iterable[str]) -> None:
        """They have come to rest, or are not there any more."""
        for path in paths:
            self._tries.pop(path, None)

    def wait_s(self, path: str) -> float:
        """How long it is left alone."""
        return self._tries[path].wait_s if path in self._tries else FIRST_S

    def is_due(self, path: str, now: float) -> bool:
        """Whether the next look takes it as it is."""
        return path in self._tries and now - self._tries[path].since >= OVERDUE_S

    def is_overdue(self, path: str) -> bool:
        """Whether such a look has found it changing all the same."""
        return path in self._tries and self._tries[path].overdue

    def is_new(self, path: str, now: float) -> bool:
        """Whether it may still come to rest by itself."""
        one = self._tries.get(path)
        return one is not None and not one.overdue and now - one.since < 2 * OVERDUE_S


class Blocked:
    """Files and folders that are there and cannot be read, and raise no event when they can."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._more = False
        self._wait_s = 0.0
        self.next_at = math.inf
        """When it is time to try whether one of them opens."""

    @property
    def paths(self) -> Collection[str]:
        return self._paths

    def add(self, paths: Collection[str]) -> None:
        self._more = self._more or not self._paths.issuperset(paths)
        self._paths.update(paths)

    def discard(self, path: str) -> None:
        self._paths.discard(path)

    def listed(self, closed: Collection[str], files: Container[str]) -> None:
        """A whole listing has shown which folders are closed, and which files there are."""
        self._paths = {path for path in self._paths if path in closed or path in files}
        self.add(closed)

    def plan(self, now: float, first_s: float) -> None:
        """Set the time of the next try; new ones among them make it soon."""
        if not self._paths:
            self.next_at = math.inf
        elif self._more:
            self._wait_s = first_s
            self.next_at = now + first_s
        self._more = False

    def tried(self, now: float, longest_s: float) -> None:
        """They were tried; the next time comes later, `longest_s` at most."""
        self._wait_s = min(longest_s, 2 * self._wait_s)
        self.next_at = now + self._wait_s
