"""How fast, and how much longer. Pure: time is passed in."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

MEMORY_S: Final = 60.0
"""Of the work so far, about the last so many seconds decide how long a piece takes."""
FIRST_S: Final = 5.0
"""Work of less than this says nothing yet."""
LOOK_S: Final = 10.0
"""Time over which the total is compared with what is done."""
GROWTH: Final = 0.25
"""While the total grows by more than this share of what is done, its end cannot be told."""


@dataclass(slots=True)
class Estimate:
    """How long a piece of work takes, learned piece by piece, and what follows from it.

    A pause of the machine counts once, as a part of the time that was looked at: a stall of s
    seconds makes the estimate longer by a factor of 1 + s / h at most, h being the seconds of work
    that it rests on, `MEMORY_S` at most.
    """

    _pace_s: float = 0.0
    """Seconds a piece."""
    _worked: int = 0
    _worked_s: float = 0.0
    _done: int | None = None
    _since: float | None = None
    """When the last piece was done; None: the first is awaited, which may need a model to load."""
    _seen: deque[tuple[float, int, int]] = field(default_factory=deque)
    """Moments of the last `LOOK_S`: time, pieces done, pieces in all."""

    def add(self, at: float, done: int, total: int) -> None:
        """What was done, and how much there is in all, at a moment; times never go back."""
        self._seen.append((at, done, total))
        while self._seen[0][0] < at - LOOK_S:
            self._seen.popleft()
        if self._done is None:
            self._done = done
        if done > self._done:
            if self._since is not None:
                self._learn(done - self._done, at - self._since)
            self._since, self._done = at, done
        elif self._since is not None and total <= done:
            self._since = at  # there is nothing to do

    def rate(self) -> float | None:
        """Done per second; None while too little was seen."""
        pace_s = self._current_pace_s()
        return 1 / pace_s if pace_s else None

    def left_s(self) -> float | None:
        """Seconds until all is done; None while that cannot be told."""
        if not self._seen:
            return None
        _, done, total = self._seen[-1]
        if total <= done:
            return 0.0
        pace_s = self._current_pace_s()
        return (total - done) * pace_s if pace_s and self._is_steady() else None

    def _learn(self, pieces: int, took_s: float) -> None:
        self._worked += pieces
        self._worked_s += took_s
        if self._worked_s <= MEMORY_S:
            self._pace_s = self._worked_s / self._worked
        else:
            weight = -math.expm1(-pieces * self._pace_s / MEMORY_S)
            self._pace_s += weight * (took_s / pieces - self._pace_s)

    def _current_pace_s(self) -> float | None:
        """With the time since the last piece: at its end it will have taken at least that."""
        if self._since is None or self._worked_s < FIRST_S:
            return None
        waited_s = self._seen[-1][0] - self._since
        return self._pace_s * (1 + waited_s / min(self._worked_s, MEMORY_S))

    def _is_steady(self) -> bool:
        (_, done_then, total_then), (_, done, total) = self._seen[0], self._seen[-1]
        return total - total_then <= GROWTH * (done - done_then)


def describe(left_s: float | None) -> str:
    """`about 30 s left`, `about 6 min left`; nothing where it cannot be told.

    As coarse as an estimate is: to 5 s, a minute, 5 minutes, half an hour.
    """
    if left_s is None:
        return ""
    if left_s < 3:
        return "a moment left"
    if left_s < 57:
        return f"about {_rounded(left_s, 5)} s left"
    if left_s < 10 * 60:
        return f"about {_rounded(left_s / 60, 1)} min left"
    if left_s < 87 * 60:
        return f"about {_rounded(left_s / 60, 5)} min left"
    return f"about {_rounded(2 * left_s / 3600, 1) / 2:g} h left"


def _rounded(value: float, to: int) -> int:
    return to * max(1, round(value / to))
