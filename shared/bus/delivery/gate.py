"""Lets a process handle one message with no other beside it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

LONGEST_S: Final = 30.0
"""Longest wait for a message that is alone, or to be alone; after it, messages run together."""


class Gate:
    """One of a process; all its stages share it."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone: object | None = None
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def through(self, *, alone: bool) -> AsyncIterator[None]:
        """Held while a message is handled."""
        if self._alone is not None:
            await self._until(lambda: self._alone is None)
            self._alone = None  # a handler that hangs does not keep the gate
        token = object() if alone else None
        try:
            if token is not None:
                self._alone = token
                await self._until(lambda: not self._inside)
            self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1
        finally:
            if token is not None and self._alone is token:
                self._alone = None
            self._changed.set()

    async def _until(self, true: Callable[[], bool]) -> None:
        """Return when `true()`, or after `LONGEST_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
