"""How fast, and how much longer. Pure: time is passed in."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 10.0
"""Rates are told over this time."""
FIRST_S: Final = 2.0
"""A rate of less than this says nothing yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was done, and how much there is in all, at a moment."""

    at: float
    done: int
    total: int


@dataclass(slots=True)
class Estimate:
    """Samples of the last seconds, and what follows from them."""

    window_s: float = WINDOW_S
    _samples: deque[Sample] = field(default_factory=deque)

    def add(self, at: float, done: int, total: int) -> None:
        """Take a sample; times never go back."""
        self._samples.append(Sample(at, done, total))
        while len(self._samples) > 2 and self._samples[1].at <= at - self.window_s:
            self._samples.popleft()

    def rate(self) -> float | None:
        """Done per second over the window; None while too little was seen."""
        return self._per_second(lambda sample: sample.done)

    def left_s(self) -> float | None:
        """Seconds until all is done; None while that cannot be told.

        While the total grows too, only what is gained on it counts.
        """
        if not self._samples:
            return None
        newest = self._samples[-1]
        left = newest.total - newest.done
        if left <= 0:
            return 0.0
        gain = self._per_second(lambda sample: sample.done - sample.total)
        rate = self.rate()
        if gain is None or rate is None or gain <= 0 or rate <= 0:
            return None
        return left / gain

    def _per_second(self, value: Callable[[Sample], int]) -> float | None:
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        passed = last.at - first.at
        return (value(last) - value(first)) / passed if passed >= FIRST_S else None


def describe(left_s: float | None) -> str:
    """`about 31 s left`, `about 6 min left`; nothing where it cannot be told."""
    if left_s is None:
        return ""
    if left_s < 1:
        return "a moment left"
    if left_s < 90:
        return f"about {left_s:.0f} s left"
    if left_s < 90 * 60:
        return f"about {left_s / 60:.0f} min left"
    return f"about {left_s / 3600:.1f} h left"
