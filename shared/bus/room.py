"""How full the streams are, and what the consumers of the dead letters have left to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from shared.bus.flow import flow
from shared.errors import BusUnavailable
from shared.topology import MOVER, RECORDER


@dataclass(frozen=True, slots=True)
class Room:
    """One stream as the server counts it."""

    name: str
    used_bytes: int
    max_bytes: int
    """0: no limit."""
    refuses: bool
    """What does not fit is refused; else the oldest go."""

    @property
    def share(self) -> float:
        return self.used_bytes / self.max_bytes if self.max_bytes > 0 else 0.0


async def rooms(js: JetStreamContext) -> Sequence[Room]:
    """Every stream and bucket. Raises BusUnavailable."""
    try:
        infos = await js.streams_info()
    except (NatsError, APIError, TimeoutError) as error:
        raise BusUnavailable(f"the streams cannot be read ({type(error).__name__})") from None
    return [
        Room(
            name=str(info.config.name),
            used_bytes=info.state.bytes,
            max_bytes=max(0, info.config.max_bytes or 0),
            refuses=str(info.config.discard or "old").lower().endswith("new"),
        )
        for info in infos
    ]


async def unrecorded(js: JetStreamContext) -> int:
    """Dead letters that are not noted at their document yet. Raises BusUnavailable."""
    stages = await flow(js, (RECORDER, MOVER))
    return sum(stage.waiting + stage.running for stage in stages)
