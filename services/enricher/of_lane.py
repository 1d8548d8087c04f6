"""The changes of one lane, of a consumer that is delivered those of both."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.events import DocumentChanged, Event
from shared.lanes import Lane, lane_of_message
from shared.ports import Delivery


@dataclass(frozen=True, slots=True)
class OfLane:
    """Handles what was published for a lane; all else the consumer of the other lane handles."""

    lane: Lane
    handle: Callable[[DocumentChanged, Delivery], Awaitable[Sequence[Event]]]

    async def __call__(self, event: DocumentChanged, delivery: Delivery) -> Sequence[Event]:
        if lane_of_message(delivery.headers) != self.lane:
            return []
        return await self.handle(event, delivery)
