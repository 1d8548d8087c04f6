"""The backlog of each stage, and the fill of the streams, as the server counts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from shared.domain.errors import BusUnavailable
from shared.domain.topology import MOVER, RECORDER, Stage
from shared.ports import StreamCapacity


@dataclass(frozen=True, slots=True)
class StageFlow:
    """A durable consumer's numbers at one moment."""

    name: str
    waiting: int
    """Messages that are not delivered yet."""
    running: int
    """Messages delivered and not acknowledged."""
    done: int
    """Deliveries that ended, since the consumer was made."""
    pulls: int
    """Requests for messages that are open: several of an idle replica, none of a busy one."""
    oldest_at: float | None
    """Unix time at which the oldest unfinished message was stored."""


async def flow(js: JetStreamContext, stages: Sequence[Stage[Any]]) -> list[StageFlow]:
    """The stages' numbers, read one after another in the order given.

    Raises:
        BusUnavailable: the server does not answer.
    """
    try:
        return [await _stage(js, stage) for stage in stages]
    except (NatsError, APIError, TimeoutError) as error:
        raise BusUnavailable(f"the flow cannot be read ({type(error).__name__})") from None


async def waiting(js: JetStreamContext, stages: Sequence[Stage[Any]]) -> dict[str, int]:
    """Messages that are not delivered yet, by stage; asks only for the consumers.

    Raises:
        BusUnavailable: the server does not answer.
    """
    try:
        infos = {stage.name: await js.consumer_info(stage.stream, stage.name) for stage in stages}
    except (NatsError, APIError, TimeoutError) as error:
        raise BusUnavailable(f"the flow cannot be read ({type(error).__name__})") from None
    return {name: info.num_pending or 0 for name, info in infos.items()}


async def _stage(js: JetStreamContext, stage: Stage[Any]) -> StageFlow:
    return together(stage, [await _lane(js, lane) for lane in stage.lanes])


def together(stage: Stage[Any], lanes: Sequence[StageFlow]) -> StageFlow:
    """The lanes of a stage as one; where each is delivered every message, none counts twice."""
    each_has_all = len({lane.subjects for lane in stage.lanes}) < len(stage.lanes)
    oldest = [lane.oldest_at for lane in lanes if lane.oldest_at is not None]
    return StageFlow(
        name=stage.name,
        waiting=(max if each_has_all else sum)(lane.waiting for lane in lanes),
        running=(max if each_has_all else sum)(lane.running for lane in lanes),
        done=(min if each_has_all else sum)(lane.done for lane in lanes),
        pulls=max(lane.pulls for lane in lanes),
        oldest_at=min(oldest, default=None),
    )


async def _lane(js: JetStreamContext, stage: Stage[Any]) -> StageFlow:
    info = await js.consumer_info(stage.stream, stage.name)
    waiting, running = info.num_pending or 0, info.num_ack_pending or 0
    delivered = info.delivered.consumer_seq if info.delivered else 0
    oldest = None
    if waiting + running:
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        oldest = await _stored_at(js, stage, floor + 1)
    return StageFlow(
        name=stage.name,
        waiting=waiting,
        running=running,
        done=max(0, delivered - running),
        pulls=info.num_waiting or 0,
        oldest_at=oldest,
    )


async def _stored_at(js: JetStreamContext, stage: Stage[Any], sequence: int) -> float | None:
    subject = stage.subjects[0] if len(stage.subjects) == 1 else ">"
    try:
        found = await js.get_msg(stage.stream, seq=sequence, subject=subject, next=True)
    except NotFoundError:
        return None
    return found.time.timestamp() if found.time else None


async def capacities(js: JetStreamContext) -> Sequence[StreamCapacity]:
    """Every stream and bucket. Raises BusUnavailable."""
    try:
        infos = await js.streams_info()
    except (NatsError, APIError, TimeoutError) as error:
        raise BusUnavailable(f"the streams cannot be read ({type(error).__name__})") from None
    return [
        StreamCapacity(
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
