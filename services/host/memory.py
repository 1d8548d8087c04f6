"""Keep a process that lives long from growing."""

import asyncio
import ctypes
import gc
import sys
from typing import Any, Final

M_ARENA_MAX: Final = -8
ARENAS: Final = 2
M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 1024**2
M_TRIM_THRESHOLD: Final = -1
SPARE_BYTES: Final = 8 * 1024**2
HAND_BACK_EVERY_S: Final = 300.0
YOUNG: Final = 10_000
"""Allocations, less what was freed, after which new objects are looked at."""
SETTLED_AFTER_S: Final = 10.0
"""By then what a process keeps all its life has been loaded."""


def tame_heap() -> None:
    """Let all threads share two heaps, without large blocks; call it before other threads begin.

    The C library gives every thread a heap of its own, up to eight for each core, and hands back
    little of them. The store's threads, each of which now and then needs megabytes for a moment,
    make the process grow by that without end. A large block has pages of its own, which go when it
    is freed; but once such a block was freed, the library takes others of its size from a heap.
    What is free at the end of a heap stays up to 8 MB, else every call would ask for it again.
    """
    if mallopt := _of_the_c_library("mallopt"):
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, SPARE_BYTES)


async def keep_small() -> None:
    """Set aside what stays, then return unused memory every five minutes, until cancelled.

    The C library keeps what was free between two blocks that are not, so a moment in which much is
    encoded at once would stay visible for the rest of the process's life.
    """
    await asyncio.sleep(SETTLED_AFTER_S)
    set_aside()
    while True:
        await asyncio.sleep(HAND_BACK_EVERY_S)
        await asyncio.to_thread(hand_back)


def set_aside() -> None:
    """Have the garbage collector leave alone what is here now; call it once.

    Now and then it looks at every object of the process, which are modules and their parts almost
    all, and nothing else runs meanwhile: 150 ms, and 15 ms after this; on two busy cores 490 ms,
    the median of five `gc.collect()` with all services imported, 190,000 objects. What is new it
    looks at after every 700 allocations that were not freed, which is often where messages are
    many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def hand_back() -> None:
    """Return unused memory to the system.

    Who allocates waits meanwhile: 10 ms for 250 MB where little is free, 70 ms where half of it is.
    """
    if trim := _of_the_c_library("malloc_trim"):
        trim(0)


def _of_the_c_library(name: str) -> Any:
    """A function of glibc; None in other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
