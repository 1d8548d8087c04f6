"""/livez, /readyz and /metrics of a process, on a small port of its own.

The endpoint listens first, so that a process can report that it waits for the bus, and until the
end, so that it can report that it drains. `/metrics` reads each number where its owner keeps it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import hdrs, web

from services.host.health.vitals import Vitals
from services.host.http_server import LimitedRunner
from services.host.wiring import MODEL, WEBHOOKS, OpenGeneration
from shared.bus.delivery.consume import Consumer
from shared.bus.monitor.flow import waiting
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.services import lanes, stages
from shared.domain.topology import Stage
from shared.encoders.coalesce import CoalescingEncoder
from shared.observe.health import HealthCheck, alive, passed, ready
from shared.observe.metrics import DeviceNumbers, MetricsSnapshot, StageNumbers, WebhookNumbers
from shared.settings import Health

if TYPE_CHECKING:  # a process without a gateway does not load it
    from services.gateway.webhooks.webhooks import Webhooks

BACKLOG_WITHIN_S: Final = 1.0
"""How long a scrape waits for the bus; then it goes without the backlog."""


async def sample(vitals: Vitals) -> MetricsSnapshot:
    """The values that `shared.observe.metrics` renders."""
    is_ready, services = passed(ready(vitals.sight())), " ".join(vitals.names)
    opened = vitals.opened
    if opened is None:
        return MetricsSnapshot(version("instep"), services, is_ready)
    return MetricsSnapshot(
        version=version("instep"),
        services=services,
        ready=is_ready,
        generation=opened.generation.id,
        model=opened.generation.model,
        connected=opened.host.session.client.is_connected,
        reconnects=opened.host.session.reconnects,
        stages={name: _numbers(one) for name, one in vitals.consumers().items()},
        backlog=await _backlog(opened, everything="gateway" in vitals.names),
        progress=opened.host.progress,
        device=_device(opened),
        webhooks=_webhooks(opened),
    )


async def _backlog(opened: OpenGeneration, *, everything: bool) -> dict[str, int]:
    """The backlog of this process's stages, or of the whole flow; empty while the bus is away."""
    session, generation = opened.host.session, opened.generation.id
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


def _device(opened: OpenGeneration) -> DeviceNumbers | None:
    encoder = opened.once.made(MODEL)
    if not isinstance(encoder, CoalescingEncoder):
        return None
    seen = encoder.counters
    return DeviceNumbers(
        seen.busy_s, seen.batches, seen.texts, seen.tokens, seen.padded_tokens, seen.lost
    )


def _webhooks(opened: OpenGeneration) -> dict[str, WebhookNumbers]:
    made: Webhooks | None = opened.once.made(WEBHOOKS)
    if made is None:
        return {}
    return {
        one.name: WebhookNumbers(one.counts.done, one.counts.retried, one.counts.buried, one.events)
        for one in made.runners
    }


log = structlog.get_logger()


def health_app(vitals: Vitals) -> web.Application:
    """The three addresses, not yet listening."""

    async def livez(_: web.Request) -> web.Response:
        return _told("live", alive(vitals.sight()))

    async def readyz(_: web.Request) -> web.Response:
        return _told("ready", ready(vitals.sight()))

    async def metrics(request: web.Request) -> web.Response:
        from services.host.health.endpoint import sample  # its library loads at the first request
        from shared.observe.metrics import render

        text, kind = render(await sample(vitals), request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: kind})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
    app.add_routes([web.get("/metrics", metrics)])
    return app


def _told(word: str, checks: Sequence[HealthCheck]) -> web.Response:
    ok = passed(checks)
    body = {word: ok, "checks": [check.told() for check in checks]}
    return web.json_response(body, status=200 if ok else 503)


@asynccontextmanager
async def listening(settings: Health, vitals: Vitals, port: int | None) -> AsyncIterator[None]:
    """Answer on `settings.port`, or where that is not set on `port`; None: not at all.

    Raises:
        ConfigurationError: the port is taken, or the host is not of this machine.
    """
    wanted = port if settings.port is None else settings.port
    if wanted is None:
        yield
        return
    runner = LimitedRunner(health_app(vitals), shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, wanted).start()
        except OSError as error:
            where = f"health.host {settings.host}, health.port {wanted}"
            raise ConfigurationError(f"{where}: {error.strerror}") from None
        host, found = runner.addresses[0][:2]
        log.info("health_listening", host=host, port=found)
        yield
    finally:
        await runner.cleanup()
