"""/livez, /readyz and /metrics of a process, on a small port of its own.

It listens before anything else is there, so that a process that waits for the bus can say so, and
until the end, so that one that drains can say that, too.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from aiohttp import hdrs, web

from services.host.health.vitals import Vitals
from services.host.http_server import LimitedRunner
from shared.domain.errors import ConfigurationError
from shared.observe.health import HealthCheck, alive, passed, ready
from shared.settings import Health

log = structlog.get_logger()


def health_app(vitals: Vitals) -> web.Application:
    """The three addresses, not yet listening."""

    async def livez(_: web.Request) -> web.Response:
        return _told("live", alive(vitals.sight()))

    async def readyz(_: web.Request) -> web.Response:
        return _told("ready", ready(vitals.sight()))

    async def metrics(request: web.Request) -> web.Response:
        from services.host.health.metering import sample  # its library loads when somebody asks
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
