"""Keep a process that lives long from growing."""

import ctypes
import sys
from typing import Final

M_ARENA_MAX: Final = -8
ARENAS: Final = 2


def few_arenas() -> None:
    """Let all threads share two heaps; call it before other threads begin.

    The C library gives every thread a heap of its own, up to eight for each core, and hands back
    little of them. The store's threads, each of which now and then needs megabytes for a moment,
    make the process grow by that without end.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
