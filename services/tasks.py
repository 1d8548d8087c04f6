"""Ending tasks."""

import asyncio
from collections.abc import Sequence
from typing import Final

AGAIN_S: Final = 5.0


async def cancel_all(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks and return when all have ended.

    Before Python 3.12 `asyncio.wait_for`, which the client of the bus uses, may swallow a
    cancellation; so it is said again.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
