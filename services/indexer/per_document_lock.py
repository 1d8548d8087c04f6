"""The order of parts in this process: one part of a document at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakValueDictionary

from shared.domain.events import EmbeddingsReady, Event
from shared.domain.priority import EXPRESS
from shared.ports import Delivery

Handle = Callable[[EmbeddingsReady, Delivery], Awaitable[Sequence[Event]]]


def by_lane(express: Handle, bulk: Handle) -> Handle:
    """Each part to the handler of its lane: they differ in how long their store gathers rows."""

    async def handle(part: EmbeddingsReady, delivery: Delivery) -> Sequence[Event]:
        return await (express if part.lane == EXPRESS else bulk)(part, delivery)

    return handle


class InTurn:
    """Handles the parts of one document one after the other, of others beside them.

    Only for speed, correctness does not rely on it: the parts of a large document would else lose
    the compare-and-set of its record to each other, and read and write that record, which is as
    large as the document, as often as the square of their number.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, part: EmbeddingsReady, delivery: Delivery) -> Sequence[Event]:
        turn = self._turns.setdefault(part.document.doc_key, asyncio.Lock())
        async with turn:
            return await self._handle(part, delivery)
