"""Sequences that never come back: they begin at the clock, in microseconds, and rise by one."""

import time
from typing import Final

from shared.domain.errors import ConfigurationError

SKEW_S: Final = 300.0
"""How far the clocks of machines that provision together may be apart."""


def clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def above(given: int, now: int, *, skew_s: float = 0.0) -> int:
    """The first sequence of a stream: at the clock, and above all given ones.

    Args:
        given: the highest number that is known to have been given.
        now: the clock, in microseconds.
        skew_s: how far it may be behind.

    Raises:
        ConfigurationError: it is further behind: unknown numbers may have been given.
    """
    behind_s = (given - now) / 1e6
    if behind_s > skew_s:
        raise ConfigurationError(
            f"the clock of this machine is {behind_s:,.0f} s behind numbers that were given "
            "before, so new changes would look old: set the clock, then start again"
        )
    return max(now, given + 1)
