"""What is on its way between DOCS and the ledger, as the server counts it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from nats.js import JetStreamContext

from shared.bus.flow import StageFlow, flow
from shared.bus.reading import translated
from shared.topology import Stage, embed_stage, enrich_stage, index_stage

LOOK_S: Final = 0.1


class JetRoad:
    """The road of one generation."""

    def __init__(self, js: JetStreamContext, generation: str) -> None:
        self._js = js
        self._enrich = enrich_stage(generation)
        self._after: tuple[Stage[Any], ...] = (embed_stage(generation), index_stage(generation))

    async def taken(self) -> int:
        """DOCS sequence up to which the enricher is done with every message.

        Raises:
            BusUnavailable: no answer, or there is no such consumer.
        """
        with translated("reading the flow"):
            info = await self._js.consumer_info(self._enrich.stream, self._enrich.name)
        return info.ack_floor.stream_seq if info.ack_floor else 0

    async def passed(self, within_s: float) -> bool:
        """Whether all that was between enricher and ledger at the call is done in that time."""
        deadline = time.monotonic() + within_s
        for stage in self._after:
            since = time.time()  # what it publishes for an older message is younger
            while is_behind(await flow(self._js, [stage]), since):
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(LOOK_S)
        return True

    async def consumed(self) -> bool:
        """Whether an enricher is there to take changes."""
        return (await flow(self._js, [self._enrich]))[0].pulls > 0

    async def waiting(self) -> int:
        """Messages on the whole road that are not done."""
        stages = await flow(self._js, [self._enrich, *self._after])
        return sum(stage.waiting + stage.running for stage in stages)


def is_behind(stages: Sequence[StageFlow], since: float) -> bool:
    """Whether a message that was stored before `since` (Unix time) is not finished."""
    return any(stage.oldest_at is not None and stage.oldest_at <= since for stage in stages)
