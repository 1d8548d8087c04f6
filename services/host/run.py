"""`instep run`: some services in a process of their own, as in a container.

They start in any order: each service waits for its dependencies. A permanent error ends the
process at once, and so does a part that fails: a supervisor starts it again.
"""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from services.host.data_folder import DataFolder
from services.host.health.endpoint import listening
from services.host.health.vitals import Vitals
from services.host.runtime import (
    DONE,
    Connection,
    Shutdown,
    leaving_in_time,
    running_bus,
    serve,
    wired,
)
from services.host.startup import Stopped, load_first, unless, until_ended
from shared.bus.access.connect import role_of
from shared.domain.errors import BusUnavailable
from shared.domain.services import service_of
from shared.observe import logs
from shared.observe.progress import Progress
from shared.settings import Settings

if TYPE_CHECKING:
    from services.host.options import Options

log = structlog.get_logger()

INTERRUPTED: Final = 130


async def run(names: Sequence[str], options: "Options") -> int:
    """Run services until a signal; they join the instance of the data folder, or `bus.url`.

    Raises:
        InstepError: the cause of their end.
    """
    settings = options.settings()
    logs.configure(settings.telemetry, service=" ".join(names))
    stop = Shutdown()
    stop.on_signals(at_once=lambda: os._exit(INTERRUPTED))
    vitals = Vitals(names, stop)
    DataFolder(options.data).close_to_others()
    async with listening(settings.health, vitals, port=0), leaving_in_time(settings, stop):
        try:
            while not vitals.serving:
                await _serve(options, settings, vitals)
        except Stopped:
            log.info("stopped_before_it_served")
        if stop.error is not None:
            raise stop.error
    return DONE


async def _serve(options: "Options", settings: Settings, vitals: Vitals) -> None:
    """Serve until the stop; return earlier when the bus went away while the services started."""
    stop, waits, own_bus = vitals.stop, vitals.waits, settings.bus.url is not None
    url, name = running_bus(options, settings), f"instep {' '.join(vitals.names)}"
    to = Connection(url, name, role_of(vitals.names), waits if own_bus else None)
    try:
        async with wired(settings, options.data, to, progress=Progress(), stop=stop) as (
            opened,
            live,
        ):
            vitals.opened = opened
            for line in live.differences:
                log.warning("setting_not_in_force", what=line)
            if live.upgraded:
                log.warning("index_of_an_older_version", what=live.upgraded)
            opened.host.gateway_url.add_done_callback(_say_where)
            if not own_bus:
                joined = asyncio.create_task(until_ended(DataFolder(options.data), url))
                joined.add_done_callback(stop.ended)
            load = partial(load_first, opened=opened, waits=waits)
            services = [service_of(name) for name in vitals.names]
            await serve(services, opened, stop, partial(vitals.begin, opened), load)
            log.info(
                "served",
                texts_encoded=opened.host.progress.encoded,
                texts_cached=opened.host.progress.cached,
            )
    except BusUnavailable as error:
        if vitals.serving or not own_bus:
            raise
        vitals.opened = None
        await unless(stop.event, waits.pause("bus", str(error)))


def _say_where(gateway_url: "asyncio.Future[str]") -> None:
    if not gateway_url.cancelled():
        log.info("gateway_listening", url=gateway_url.result())
