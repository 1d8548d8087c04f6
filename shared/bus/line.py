"""Who is started next among the messages that a process holds. Pure: time is passed in.

A message that was delivered before without an end may have killed its process. After the first
death nobody knows which of many it was, and most were merely there: such suspects run at once, up
to `TOGETHER` of them side by side and without anything else of their line. A process that dies then
accuses these few, and whoever is accused runs alone: it takes no neighbour along. Those that ended
fewer processes go first, so that all innocent ones are done before a killer gets its next life;
among equals the order is random, so that replicas do not all begin with the same one.

A process has several lines, one a stage, and its death accuses every suspect that is open. So all
lines share a gate: suspects of one line at a time in the whole process. Fresh messages never wait
for those of another line.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

TOGETHER: Final = 32
"""Suspects that nobody accuses, side by side: of so many one may be the killer."""
FRESH_GO_FIRST_S: Final = 2.0
"""How long fresh messages may overtake a suspect that is accused."""
LONGEST_ALONE_S: Final = 30.0
"""How long others of its line wait for a suspect, or it for them; then they run side by side."""
LONGEST_HELD_S: Final = 900.0
"""How long suspects wait for another one: more than a handler takes that is not stuck for ever."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is held against a message that may have killed a process.

    killed: how many processes ended while it was worked on as a suspect.
    alone: something is noted of it; else it may run beside others of which nothing is.
    """

    killed: int = 0
    alone: bool = True


@dataclass(frozen=True, slots=True)
class _Suspect(Generic[T]):
    item: T
    since_s: float
    doubt: Doubt

    @property
    def rank(self) -> tuple[bool, int]:
        return self.doubt.alone, self.doubt.killed


class Gate:
    """What the lines of a process share: one of them at a time may run suspects."""

    def __init__(self) -> None:
        self.holder: Line[Any] | None = None
        self.since_s = 0.0
        self._lines: deque[Line[Any]] = deque()

    def join(self, line: "Line[Any]") -> None:
        self._lines.append(line)

    def take(self, line: "Line[Any]", now_s: float) -> bool:
        """Whether the gate is the line's now, because nobody had it, or for much too long."""
        if self.holder is not None and now_s - self.since_s < LONGEST_HELD_S:
            return False
        self.holder, self.since_s = line, now_s
        return True

    def leave(self, line: "Line[Any]") -> None:
        """Let the others have it, each before this one has it again."""
        if self.holder is not line:
            return
        self.holder = None
        self._lines.remove(line)
        for other in tuple(self._lines):
            other.wake()
        self._lines.append(line)


class Line(Generic[T]):
    """Messages that wait for one of `concurrency` places.

    Args:
        gate: shared with the other lines of the process.
        wake: called when `start` may have something that it had not.
        pick: gives an index below its argument, at random.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        gate: Gate | None = None,
        wake: Callable[[], object] = lambda: None,
        pick: Callable[[int], int] = random.randrange,
    ) -> None:
        self.wake = wake
        self._concurrency = concurrency
        self._gate = gate or Gate()
        self._gate.join(self)
        self._pick = pick
        self._fresh: deque[T] = deque()
        self._suspects: list[_Suspect[T]] = []
        self._running = 0
        self._group: list[T] = []
        """Suspects that run."""
        self._group_until = 0.0
        self._seats = 0
        """How many more may join them."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._suspects)

    def add(self, item: T, now_s: float, doubt: Doubt | None = None) -> None:
        """Let a message wait; with a doubt it is a suspect."""
        if doubt is None:
            self._fresh.append(item)
        else:
            self._suspects.append(_Suspect(item, now_s, doubt))

    def start(self, now_s: float) -> T | None:
        """The next message to start, which counts as running from now on; None: wait."""
        if self._running >= self._concurrency:
            return None
        if self._group and now_s < self._group_until:
            if not self._may_join():
                return None
            item = self._join()
        elif self._is_turn_of_suspects(now_s) and self._has_gate(now_s):
            if self._running and now_s - self._gate.since_s < LONGEST_ALONE_S:
                return None
            item = self._open_group(now_s)
        elif self._fresh:
            item = self._fresh.popleft()
        else:
            return None
        self._running += 1
        return item

    def barred(self, now_s: float) -> int:
        """Suspects that wait for one that takes long, in whichever line."""
        held = self._gate.holder is not None and now_s - self._gate.since_s >= LONGEST_ALONE_S
        return len(self._suspects) if held else 0

    def _is_turn_of_suspects(self, now_s: float) -> bool:
        if not self._suspects or not self._fresh:
            return bool(self._suspects)
        if not all(suspect.doubt.alone for suspect in self._suspects):
            return True
        return now_s - min(suspect.since_s for suspect in self._suspects) >= FRESH_GO_FIRST_S

    def _has_gate(self, now_s: float) -> bool:
        if self._gate.holder is self and not self._group:  # while others of its line end
            return True
        if not self._gate.take(self, now_s):
            return False
        self._group = []  # who hangs there for so long counts no more
        return True

    def _open_group(self, now_s: float) -> T:
        first = self._next_suspect()
        self._group, self._group_until = [first.item], now_s + LONGEST_ALONE_S
        self._seats = 0 if first.doubt.alone else TOGETHER - 1
        return first.item

    def _may_join(self) -> bool:
        return bool(self._seats) and not all(suspect.doubt.alone for suspect in self._suspects)

    def _join(self) -> T:
        self._seats -= 1
        self._group.append(item := self._next_suspect().item)
        return item

    def _next_suspect(self) -> _Suspect[T]:
        least = min(suspect.rank for suspect in self._suspects)
        places = [n for n, suspect in enumerate(self._suspects) if suspect.rank == least]
        return self._suspects.pop(places[self._pick(len(places))])

    def end(self, item: T) -> None:
        """The message runs no more."""
        self._running -= 1
        left = [other for other in self._group if other is not item]
        ended = bool(self._group) and not left
        self._group = left
        if ended:
            self._gate.leave(self)

    def clear(self) -> list[T]:
        """Take out everything that waits."""
        waiting = [*self._fresh, *(suspect.item for suspect in self._suspects)]
        self._fresh.clear()
        self._suspects.clear()
        if not self._group:
            self._gate.leave(self)
        return waiting
