"""Run services: all of them on a laptop, one of them in a container, none to look at what is there.

`serve` is the same for all. Sources stop first and sinks last: stages drain before loops end, and
the bundled server stops after everybody who talks to it.
"""

import asyncio
import importlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from services.folder import DataFolder
from services.joining import load_first, until_ended
from services.local import LocalServer
from services.part import Part
from services.tasks import cancel_all
from shared import logs
from shared.bus.provision import provision as provision_bus
from shared.bus.session import BusSession
from shared.encoders.factory import describe
from shared.errors import BusUnavailable, ConfigurationError
from shared.generations import Generation
from shared.live import Live, live_generation
from shared.progress import Progress
from shared.settings import Settings
from shared.shelves.kv import KvShelf
from shared.topology import INSTANCE
from shared.wiring import Wiring

if TYPE_CHECKING:
    from services.cli.options import Options
    from services.gateway.commands import Commands
    from services.gateway.queries import Queries

log = structlog.get_logger()

T = TypeVar("T")

START_TRIES: Final = 5
START_PAUSE_S: Final = 0.25
SERVICES = ("producer", "enricher", "embedder", "indexer", "validator", "gateway")


@dataclass
class Stop:
    """Why, and that, the process shall end."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    error: BaseException | None = None
    asked: Callable[[], None] = lambda: None
    """Called when a person has asked for it, before anything stops."""

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.event.set()

    def on_signals(self, at_once: Callable[[], None]) -> None:
        """The first SIGINT or SIGTERM drains, the second ends at once."""

        def asked() -> None:
            if self.event.is_set():
                at_once()
            self.asked()
            self.event.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, asked)


def wanted_generation(settings: Settings) -> Generation:
    """The generation that the settings ask for; reads no weights."""
    fingerprint, dimensions = describe(settings.embedding)
    return Generation(
        model=settings.embedding.model,
        numeric=settings.embedding.numeric,
        fingerprint=fingerprint,
        dimensions=dimensions,
        chunking=settings.chunking,
    )


async def provisioned(session: BusSession, settings: Settings) -> tuple[Live, list[str]]:
    """The live generation, on a bus that has everything it needs; and what had to be done."""
    wanted = wanted_generation(settings)
    shelf = KvShelf(session.js, INSTANCE.name)
    patience_s = settings.validation.timeout
    done: list[str] = []
    try:
        await shelf.open()
    except ConfigurationError:  # the first start
        done = await provision_bus(session.js, generation=wanted.id, patience_s=patience_s)
        await shelf.open()
    live = await live_generation(shelf, wanted)
    done += await provision_bus(session.js, generation=live.generation.id, patience_s=patience_s)
    return live, done


@dataclass(frozen=True, slots=True)
class Connection:
    """How a process reaches the bus. `wait`: keep trying until the server answers."""

    url: str
    name: str
    wait: bool = False


@asynccontextmanager
async def wired(
    settings: Settings, data: Path, to: Connection, *, progress: Progress, stop: Stop
) -> AsyncIterator[tuple[Wiring, Live]]:
    """Adapters over one connection to the bus; all closed at the end."""
    async with AsyncExitStack() as stack:
        session = await _again(
            lambda: BusSession.open(
                to.url, name=to.name, drain_s=settings.bus.drain, on_fatal=stop.fail, wait=to.wait
            ),
            settings,
            stop,
        )
        stack.push_async_callback(session.close)
        live, done = await _again(lambda: provisioned(session, settings), settings, stop)
        for line in done:
            log.info("provisioned", what=line)
        yield Wiring(settings, data, session, live.generation, progress, stack), live


async def _again(call: Callable[[], Awaitable[T]], settings: Settings, stop: Stop) -> T:
    """A bundled server that dies during the start is back at once."""
    for _ in range(START_TRIES - 1):
        try:
            return await call()
        except BusUnavailable as error:
            if settings.bus.url is not None or stop.event.is_set():
                raise
            log.warning("bus_not_ready", reason=str(error))
            await asyncio.sleep(START_PAUSE_S)
    return await call()


async def serve(names: Sequence[str], wiring: Wiring, stop: Stop) -> None:
    """Run services until `stop`; then let running handlers finish.

    Raises:
        InstepError: what ended the bus session or a loop for good.
    """
    parts = [await _build(name, wiring) for name in names]
    for part in parts:
        part.subscribe(wiring.session)
    loops = [asyncio.create_task(loop()) for part in parts for loop in part.loops]
    for task in loops:
        task.add_done_callback(lambda done: _ended(done, stop))
    try:
        await wiring.session.start()
        await stop.event.wait()
    finally:
        await wiring.session.drain()
        await cancel_all(loops)
    if stop.error is not None:
        raise stop.error


def _ended(task: "asyncio.Task[None]", stop: Stop) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        stop.fail(error)


async def _build(name: str, wiring: Wiring) -> Part:
    if name == "gateway":
        from services.assembly import gateway_part

        return await gateway_part(wiring)
    module = importlib.import_module(f"services.{name}.app")  # heavy ones only where they run
    part: Part = await module.build(wiring)
    return part


@asynccontextmanager
async def bus(
    settings: Settings, data: Path, stop: Stop, watching: Sequence[Path] = ()
) -> AsyncIterator[str]:
    """The address of the bus: the one of the settings, or the bundled server's.

    Holds the lock of the data folder, so that there is one instance of it. `stop` learns when the
    bundled server cannot be kept alive.
    """
    folder = DataFolder(data)
    with folder.lock(watching):
        if settings.bus.url is not None:
            yield settings.bus.url
            return
        async with LocalServer(data, settings.bus) as server:
            guard = asyncio.create_task(server.wait())
            guard.add_done_callback(lambda done: _ended(done, stop))
            try:
                yield server.url
            finally:
                guard.cancel()
                await asyncio.gather(guard, return_exceptions=True)


def running_bus(options: "Options", settings: Settings) -> str:
    """The address of a bus that runs already.

    Raises:
        BusUnavailable: no instance runs on the data folder, and none is named.
    """
    if settings.bus.url is not None:
        return settings.bus.url
    instance = DataFolder(options.data).read_instance()
    if instance is None:
        raise BusUnavailable(
            f"nothing runs on {options.data}: start `instep up` there, or set INSTEP_BUS__URL"
        )
    return instance.nats_url


async def run(names: Sequence[str], options: "Options") -> int:
    """Run some services until a signal; they join the instance of the data folder, or `bus.url`."""
    settings = options.settings()
    logs.configure(settings.telemetry)
    stop = Stop()
    stop.on_signals(at_once=lambda: os._exit(130))
    to = Connection(
        running_bus(options, settings),
        f"instep {' '.join(names)}",
        wait=settings.bus.url is not None,
    )
    async with wired(settings, options.data, to, progress=Progress(), stop=stop) as (wiring, live):
        for line in live.differences:
            log.warning("setting_not_in_force", what=line)
        await load_first(names, wiring)
        log.info("serving", services=list(names), generation=wiring.generation.id)
        if settings.bus.url is None:
            joined = asyncio.create_task(until_ended(DataFolder(options.data), to.url))
            joined.add_done_callback(lambda done: _ended(done, stop))
        await serve(names, wiring, stop)
    return 0


async def provision(options: "Options") -> list[str]:
    """Make the bus look as declared; what was done, one line each."""
    settings = options.settings()
    if settings.bus.url is None and DataFolder(options.data).read_instance() is None:
        context = bus(settings, options.data, Stop())
    else:
        context = _at(running_bus(options, settings))
    async with context as url, _session(url, settings) as session:
        _, done = await provisioned(session, settings)
    return done


@dataclass(frozen=True, slots=True)
class Opened:
    """What an instance left in its folder, to be asked."""

    queries: "Queries"
    commands: "Commands"


@asynccontextmanager
async def offline(options: "Options") -> AsyncIterator[Opened]:
    """The data folder without an instance: its bus runs, nothing consumes, nothing watches."""
    settings = options.settings()
    logs.configure(settings.telemetry)
    from services.assembly import faces

    stop = Stop()
    async with (
        bus(settings, options.data, stop) as url,
        wired(
            settings,
            options.data,
            Connection(url, "instep offline"),
            progress=Progress(listed=True),
            stop=stop,
        ) as (wiring, _),
    ):
        everything = await faces(wiring)
        yield Opened(everything.queries, everything.commands)


@asynccontextmanager
async def _at(url: str) -> AsyncIterator[str]:
    yield url


@asynccontextmanager
async def _session(url: str, settings: Settings) -> AsyncIterator[BusSession]:
    session = await BusSession.open(
        url, name="instep provision", drain_s=settings.bus.drain, on_fatal=lambda _: None
    )
    try:
        yield session
    finally:
        await session.close()
