"""The numbers of a process for /metrics, read from where they are kept."""

import asyncio
from importlib.metadata import version
from typing import Any, Final

from services.host.health.vitals import Vitals
from services.host.wiring import MODEL, Wiring
from shared.bus.delivery.consume import Consumer
from shared.bus.monitor.flow import waiting
from shared.domain.errors import BusUnavailable
from shared.domain.services import lanes, stages
from shared.domain.topology import Stage
from shared.encoders.coalesce import CoalescingEncoder
from shared.observe.health import passed, ready
from shared.observe.metrics import DeviceNumbers, MetricsSnapshot, StageNumbers

BACKLOG_WITHIN_S: Final = 1.0
"""How long a scrape waits for the bus; then it goes without the backlog."""


async def sample(vitals: Vitals) -> MetricsSnapshot:
    """What `shared.observe.metrics` renders."""
    is_ready, services = passed(ready(vitals.sight())), " ".join(vitals.names)
    wiring = vitals.wiring
    if wiring is None:
        return MetricsSnapshot(version("instep"), services, is_ready)
    return MetricsSnapshot(
        version=version("instep"),
        services=services,
        ready=is_ready,
        generation=wiring.generation.id,
        model=wiring.generation.model,
        connected=wiring.session.client.is_connected,
        reconnects=wiring.session.reconnects,
        stages={name: _numbers(one) for name, one in vitals.consumers().items()},
        backlog=await _backlog(wiring, everything="gateway" in vitals.names),
        progress=wiring.progress,
        device=_device(wiring),
    )


async def _backlog(wiring: Wiring, *, everything: bool) -> dict[str, int]:
    """Of the stages of this process, or of the whole flow; nothing while the bus is away."""
    session, generation = wiring.session, wiring.generation.id
    seen: list[Stage[Any]] = [one.stage for one in session.stages.values()]
    if everything:
        known = {stage.name for stage in seen}
        seen += [lane for lane in lanes(stages(generation)) if lane.name not in known]
    if not session.client.is_connected:
        return {}
    try:
        async with asyncio.timeout(BACKLOG_WITHIN_S):
            found = await waiting(session.js, seen)
    except (BusUnavailable, TimeoutError):
        return {}
    return {name.removesuffix(f"_{generation}"): many for name, many in found.items()}


def _numbers(consumer: Consumer[Any]) -> StageNumbers:
    counts, pull = consumer.counts, consumer.pull
    return StageNumbers(
        done=counts.acked,
        retried=counts.retried,
        buried=counts.buried,
        in_hand=pull.held,
        restarts=pull.stalls,
        seconds=counts.seconds,
        waited=counts.waited,
    )


def _device(wiring: Wiring) -> DeviceNumbers | None:
    encoder = wiring.built(MODEL)
    if not isinstance(encoder, CoalescingEncoder):
        return None
    seen = encoder.counters
    return DeviceNumbers(
        seen.busy_s, seen.batches, seen.texts, seen.tokens, seen.padded_tokens, seen.lost
    )
