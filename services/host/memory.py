"""Limits on the memory of a process that lives long."""

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
"""By then the process has loaded its lifelong objects."""


def tame_heap() -> None:
    """Let all threads share two heaps, without large blocks; call it before other threads begin.

    The C library gives every thread a heap of its own, up to eight for each core, and hands back
    little of them. The store's threads, each of which now and then needs megabytes for a moment,
    make the process grow by that without end. A large block has pages of its own, which go when it
    is freed; but once such a block was freed, the library takes others of its size from a heap.
    Up to 8 MB at the end of a heap stay free, else every call would ask for them again.
    """
    if mallopt := _of_the_c_library("mallopt"):
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, SPARE_BYTES)


async def keep_small() -> None:
    """Set lifelong objects aside, then return unused memory every five minutes, until cancelled.

    The C library keeps free memory between two used blocks, so one moment of much encoding would
    enlarge the process for the rest of its life.
    """
    await asyncio.sleep(SETTLED_AFTER_S)
    set_aside()
    while True:
        await asyncio.sleep(HAND_BACK_EVERY_S)
        await asyncio.to_thread(hand_back)


def set_aside() -> None:
    """Have the garbage collector skip the objects of now; call it once.

    Now and then it visits every object of the process, almost all of them parts of modules, and
    stops the process meanwhile: 150 ms, and 15 ms after this; on two busy cores 490 ms, the median
    of five `gc.collect()` with all services imported, 190,000 objects. It visits new objects after
    every 700 allocations that were not freed, which is often where messages are many. Without this,
    a lone edit is searchable 7 % later (median of 60 pairs of `bench/pairs.py --model fake-384`;
    95 %: 1 to 16).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def hand_back() -> None:
    """Return unused memory to the system.

    Allocations wait meanwhile: 10 ms for 250 MB where little is free, 70 ms where half of it is.
    """
    if trim := _of_the_c_library("malloc_trim"):
        trim(0)


def _of_the_c_library(name: str) -> Any:
    """A function of glibc; None in other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
