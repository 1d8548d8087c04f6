"""Who is started next among the messages that a process holds. Pure: time is passed in.

A message that was delivered before without an end may have killed its process. Such suspects run
alone: whichever of them kills the process again takes no neighbour along. Those that ended fewer
processes go first, so that all innocent ones are done before a killer gets its next life; among
equals the order is random, so that replicas do not all begin with the same one.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FRESH_GO_FIRST_S: Final = 2.0
"""How long fresh messages may overtake a suspect."""
LONGEST_ALONE_S: Final = 30.0
"""How long others wait for a suspect, or a suspect for others; then they run side by side."""


@dataclass(frozen=True, slots=True)
class _Suspect(Generic[T]):
    item: T
    since_s: float
    killed: int


class Line(Generic[T]):
    """Messages that wait for one of `concurrency` places.

    Args:
        pick: gives an index below its argument, at random.
    """

    def __init__(self, concurrency: int, *, pick: Callable[[int], int] = random.randrange) -> None:
        self._concurrency = concurrency
        self._pick = pick
        self._fresh: deque[T] = deque()
        self._suspects: list[_Suspect[T]] = []
        self._running = 0
        self._alone: T | None = None
        self._alone_until = 0.0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._suspects)

    def add(self, item: T, now_s: float, *, killed: int | None = None) -> None:
        """Let a message wait.

        Args:
            killed: how many processes ended while it was worked on; None: it is no suspect.
        """
        if killed is None:
            self._fresh.append(item)
        else:
            self._suspects.append(_Suspect(item, now_s, killed))

    def start(self, now_s: float) -> T | None:
        """The next message to start, which counts as running from now on; None: wait."""
        if self._running >= self._concurrency:
            return None
        if self._alone is not None and now_s < self._alone_until:
            return None
        waited_s = now_s - min((suspect.since_s for suspect in self._suspects), default=now_s)
        if self._suspects and (not self._fresh or waited_s >= FRESH_GO_FIRST_S):
            if self._running and waited_s < LONGEST_ALONE_S:
                return None
            item = self._suspect()
            self._alone, self._alone_until = item, now_s + LONGEST_ALONE_S
        elif self._fresh:
            item = self._fresh.popleft()
        else:
            return None
        self._running += 1
        return item

    def _suspect(self) -> T:
        least = min(suspect.killed for suspect in self._suspects)
        places = [n for n, suspect in enumerate(self._suspects) if suspect.killed == least]
        return self._suspects.pop(places[self._pick(len(places))]).item

    def end(self, item: T) -> None:
        """The message runs no more."""
        self._running -= 1
        if self._alone is item:
            self._alone = None

    def clear(self) -> list[T]:
        """Take out everything that waits."""
        waiting = [*self._fresh, *(suspect.item for suspect in self._suspects)]
        self._fresh.clear()
        self._suspects.clear()
        return waiting
