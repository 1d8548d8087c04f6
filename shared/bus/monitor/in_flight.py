"""The work between DOCS and the ledger, as the server counts it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.bus.delivery.decode import decode
from shared.bus.jetstream.reading import translated
from shared.bus.monitor.flow import StageFlow, flow
from shared.domain.errors import MalformedEvent
from shared.domain.events import Document
from shared.domain.services import in_flight
from shared.domain.topology import Stage

LOOK_S: Final = 0.1


class JetRoad:
    """The road of one generation."""

    def __init__(self, js: JetStreamContext, generation: str) -> None:
        self._js = js
        self._enrich: Stage[Any]
        self._after: tuple[Stage[Any], ...]
        self._enrich, *after = in_flight(generation)
        self._after = tuple(after)

    async def taken(self) -> int:
        """DOCS sequence up to which the enricher is done with every message.

        Raises:
            BusUnavailable: no answer, or there is no such consumer.
        """
        with translated("reading the flow"):
            infos = [
                await self._js.consumer_info(lane.stream, lane.name) for lane in self._enrich.lanes
            ]
        return min(info.ack_floor.stream_seq if info.ack_floor else 0 for info in infos)

    async def passed(self, within_s: float) -> bool:
        """Whether all parts between enricher and ledger at the call are done in that time."""
        deadline = time.monotonic() + within_s
        for stage in self._after:
            since = time.time()  # its parts for an older message are younger
            while is_behind(await flow(self._js, [stage]), since):
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(LOOK_S)
        return True

    async def carried(self, most: int) -> frozenset[tuple[str, int]] | None:
        """doc_key and revision of every part between enricher and ledger; None: more than `most`.

        In the order of the flow: a part that moves on meanwhile is seen on one side or the other.

        Raises:
            BusUnavailable: no answer.
        """
        found: list[tuple[str, int]] = []
        for lane in (lane for stage in self._after for lane in stage.lanes):
            async for document in self._documents(lane):
                found.append((document.doc_key, document.revision))
                if len(found) > most:
                    return None
        return frozenset(found)

    async def _documents(self, stage: Stage[Any]) -> AsyncIterator[Document]:
        """Of the messages that the stage has not finished: handled ones leave the stream."""
        sequence, (subject,) = 0, stage.subjects
        while True:
            with translated(f"reading {stage.stream}"):
                try:
                    message = await self._js.get_msg(
                        stage.stream, seq=sequence + 1, subject=subject, next=True
                    )
                except NotFoundError:
                    return
            sequence = message.seq or 0
            with contextlib.suppress(MalformedEvent):  # a dead letter soon, not a part
                yield decode(
                    stage,
                    subject=message.subject or "",
                    data=message.data or b"",
                    headers={},
                    sequence=sequence,
                ).document

    async def consumed(self) -> bool:
        """Whether an enricher is there to take changes."""
        return (await flow(self._js, [self._enrich]))[0].pulls > 0

    async def waiting(self) -> int:
        """Messages of all stages in flight that are not done."""
        stages = await flow(self._js, [self._enrich, *self._after])
        return sum(stage.waiting + stage.running for stage in stages)


def is_behind(stages: Sequence[StageFlow], since: float) -> bool:
    """Whether a message that was stored before `since` (Unix time) is not finished."""
    return any(stage.oldest_at is not None and stage.oldest_at <= since for stage in stages)
