"""Keep a process that lives long from growing."""

import asyncio
import ctypes
import sys
from typing import Any, Final

M_ARENA_MAX: Final = -8
ARENAS: Final = 2
M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 1024**2
M_TRIM_THRESHOLD: Final = -1
SPARE_BYTES: Final = 8 * 1024**2
HAND_BACK_EVERY_S: Final = 300.0


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


async def hand_back_now_and_then() -> None:
    """Return unused memory to the system every five minutes, until cancelled.

    The C library keeps what was free between two blocks that are not, so a moment in which much is
    encoded at once would stay visible for the rest of the process's life.
    """
    while True:
        await asyncio.sleep(HAND_BACK_EVERY_S)
        await asyncio.to_thread(hand_back)


def hand_back() -> None:
    """Return unused memory to the system.

    Who allocates waits meanwhile: 10 ms for 250 MB where little is free, 70 ms where half of it is.
    """
    if trim := _of_the_c_library("malloc_trim"):
        trim(0)


def _of_the_c_library(name: str) -> Any:
    """A function of glibc; None in other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
