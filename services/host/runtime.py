"""Run services: all of them on a laptop, one in a container, none for a command offline.

`serve` is the same for all. Sources stop first and sinks last: stages drain before loops end, and
the bundled server stops after all its clients.
"""

import asyncio
import importlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from services.host.data_folder import DataFolder, FolderInUse
from services.host.memory import keep_small
from services.host.nats_server.local import LocalServer
from services.host.service import Loop, Part
from services.host.startup import Stopped, Waits, patiently, provisioned, unless, until_lost
from services.host.wiring import Host, OpenGeneration, cancel_all
from shared.bus.access.connect import access_of
from shared.bus.access.permissions import ADMIN, CLI
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.services import Service
from shared.domain.topology import LISTINGS
from shared.live import Live
from shared.observe import logs
from shared.observe.progress import Progress
from shared.settings import Settings

if TYPE_CHECKING:
    from services.gateway.commands import Commands
    from services.gateway.queries import Queries
    from services.host.options import Options

log = structlog.get_logger()

T = TypeVar("T")

START_TRIES: Final = 5
START_PAUSE_S: Final = 0.25
TURN_S: Final = 15.0
"""Longest wait for the folder's lock; an offline command holds it for about a second."""
TURN_LOOK_S: Final = 0.05


DONE: Final = 0
BUG: Final = 70
LEAVE_S: Final = 8.0
"""Longest time after the drain, e.g. for a call of the store under way."""


@dataclass
class Shutdown:
    """Whether the process shall end, and why."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    error: BaseException | None = None
    asked: Callable[[], None] = lambda: None
    """Called at a person's request to stop, before any part stops."""

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.event.set()

    def ended(self, task: "asyncio.Task[None]") -> None:
        """Callback of a task whose failure ends the process."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def on_signals(self, at_once: Callable[[], None]) -> None:
        """The first SIGINT or SIGTERM drains, the second ends at once."""

        def asked() -> None:
            if self.event.is_set():
                at_once()
            self.asked()
            self.event.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, asked)


@asynccontextmanager
async def leaving_in_time(settings: Settings, stop: Shutdown) -> AsyncIterator[None]:
    """End the process when a stop takes too long: the bus delivers its messages again."""
    timer = threading.Timer(settings.bus.drain + LEAVE_S, _leave, (stop,))
    timer.daemon = True

    async def wait() -> None:
        await stop.event.wait()
        timer.start()

    waiting = asyncio.create_task(wait())
    try:
        yield
    finally:
        waiting.cancel()
        timer.cancel()


def _leave(stop: Shutdown) -> None:
    log.error("stop_took_too_long")
    os._exit(BUG if stop.error else DONE)


@dataclass(frozen=True, slots=True)
class Connection:
    """How a process reaches the bus. `waits`: retry until it answers or the process stops."""

    url: str
    name: str
    role: str = ADMIN
    """The owner of its key, where the bus asks for keys."""
    waits: Waits | None = None


@asynccontextmanager
async def wired(
    settings: Settings, data: Path, to: Connection, *, progress: Progress, stop: Shutdown
) -> AsyncIterator[tuple[OpenGeneration, Live]]:
    """The live generation's adapters over one connection to the bus; all closed at the end.

    Raises:
        Stopped: the process was asked to end while it waited.
    """
    waits = to.waits
    wait = partial(waits.pause, "bus") if waits else None

    async def reached(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if waits is None:
            return await _again(call, settings, stop)
        return await unless(stop.event, patiently(call, waits))

    access = access_of(settings.bus, to.role)
    async with AsyncExitStack() as stack:
        session = await reached(
            lambda: BusSession.open(
                to.url,
                name=to.name,
                drain_s=settings.bus.drain,
                on_fatal=stop.fail,
                wait=wait,
                access=access,
            )
        )
        stack.push_async_callback(session.close)
        live, done = await reached(lambda: provisioned(session, settings))
        for line in done:
            log.info("provisioned", what=line)
        host = Host(settings, data, session, progress)
        stack.push_async_callback(host.close)
        yield host.generation(live.generation), live


async def _again(call: Callable[[], Awaitable[T]], settings: Settings, stop: Shutdown) -> T:
    """Retry: a bundled server that dies during the start is back at once."""
    for _ in range(START_TRIES - 1):
        try:
            return await call()
        except BusUnavailable as error:
            if settings.bus.url is not None or stop.event.is_set():
                raise
            log.warning("bus_not_ready", reason=str(error))
            await asyncio.sleep(START_PAUSE_S)
    return await call()


async def _nothing(_: Service) -> None:
    pass


@dataclass
class _Running:
    """The services of this process that take messages, and their loops."""

    opened: OpenGeneration
    stop: Shutdown
    load: Callable[[Service], Awaitable[None]]
    loops: list[asyncio.Task[None]] = field(default_factory=list)

    def run(self, *loops: Loop) -> None:
        for loop in loops:
            self.loops.append(asyncio.create_task(loop()))
            self.loops[-1].add_done_callback(self.stop.ended)

    async def begin_all(self, services: Sequence[Service]) -> None:
        """Begin them side by side; if one fails, cancel those that have not begun yet."""
        tasks = [asyncio.create_task(self._begin(service)) for service in services]
        try:
            await asyncio.gather(*tasks)
        finally:
            await cancel_all(tasks)

    async def _begin(self, service: Service) -> None:
        if not service.answers_while_loading:
            await self.load(service)
        settings = self.opened.host.settings
        part = await _again(lambda: _build(service, self.opened), settings, self.stop)
        part.subscribe(self.opened.host.session)
        self.run(*part.loops)
        await self.opened.host.session.start()
        if service.answers_while_loading:
            await self.load(service)


async def serve(
    services: Sequence[Service],
    opened: OpenGeneration,
    stop: Shutdown,
    begun: Callable[[], None] = lambda: None,
    load: Callable[[Service], Awaitable[None]] = _nothing,
) -> None:
    """Run services until `stop`; then let running handlers finish.

    Each takes messages once its dependencies are loaded; none waits for another one.

    Args:
        begun: called once all of them take messages.
        load: awaited for each before it takes messages, or while it answers already.

    Raises:
        InstepError: a service lacks a dependency, or the bus session or a loop ended for good.
        Stopped: the stop came before all of them took messages.
    """
    running = _Running(opened, stop, load)
    running.run(keep_small)
    try:
        await unless(stop.event, running.begin_all(services))
        begun()
        await stop.event.wait()
    except Stopped:
        if stop.error is None:
            raise
    finally:
        await opened.host.session.drain()
        await cancel_all(running.loops)
    if stop.error is not None:
        raise stop.error


async def _build(service: Service, opened: OpenGeneration) -> Part:
    module, _, function = service.build.partition(":")
    build = getattr(importlib.import_module(module), function)  # heavy modules only where they run
    part: Part = await build(opened)
    return part


@asynccontextmanager
async def bus(
    settings: Settings,
    data: Path,
    stop: Shutdown,
    watching: Sequence[Path] = (),
    *,
    briefly: bool = False,
) -> AsyncIterator[str]:
    """The address of the bus: the one of the settings, or the bundled server's.

    Holds the lock of the data folder, so that there is one instance of it. Sets `stop` when the
    bundled server cannot be kept alive, and when the folder is gone. `briefly`: for one command.
    """
    folder = DataFolder(data)
    with ExitStack() as stack:
        await _turn(folder, stop, partial(folder.lock, watching, briefly=briefly), stack)
        async with _guarded(until_lost(folder), stop):
            if settings.bus.url is not None:
                yield settings.bus.url
                return
            async with LocalServer(data, settings.bus) as server, _guarded(server.wait(), stop):
                yield server.url


async def _turn(
    folder: DataFolder,
    stop: Shutdown,
    lock: Callable[[], AbstractContextManager[None]],
    held: ExitStack,
) -> None:
    """Take the lock into `held`; wait while another process holds it briefly.

    Raises:
        FolderInUse: it is held for long, or the instance that was starting answers now.
    """
    deadline = time.monotonic() + TURN_S
    while True:
        try:
            held.enter_context(lock())
        except FolderInUse as error:
            is_over = stop.event.is_set() or time.monotonic() > deadline
            if not error.passes or is_over or folder.read_instance() is not None:
                raise
            await asyncio.sleep(TURN_LOOK_S)
        else:
            return


@asynccontextmanager
async def _guarded(guard: Coroutine[Any, Any, None], stop: Shutdown) -> AsyncIterator[None]:
    """A failure of `guard` ends the process."""
    task = asyncio.create_task(guard)
    task.add_done_callback(stop.ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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


async def provision(options: "Options") -> list[str]:
    """Make the bus look as declared. Returns the changes, one line each."""
    settings = options.settings()
    logs.configure(settings.telemetry)
    if settings.bus.url is None and DataFolder(options.data).read_instance() is None:
        context = bus(settings, options.data, Shutdown(), briefly=True)
    else:
        context = _at(running_bus(options, settings))
    async with context as url, _session(url, settings) as session:
        if not session.access.provisions:
            raise ConfigurationError(f"this is the key of {session.access.identity}, not the admin")
        _, done = await provisioned(session, settings)
    return done


@dataclass(frozen=True, slots=True)
class OfflineInstance:
    """Operations on the folder of a stopped instance."""

    queries: "Queries"
    commands: "Commands"


@asynccontextmanager
async def offline(options: "Options") -> AsyncIterator[OfflineInstance]:
    """The data folder without an instance: its bus runs, and no service consumes or watches.

    On a bus of the settings services may run: this process asks them, as a gateway does.
    """
    settings = options.settings()
    logs.configure(settings.telemetry)
    from services.host.assembly import faces
    from services.producer.app import forget_source
    from services.producer.removals.holds import NotedHolds

    stop = Shutdown()
    async with (
        bus(settings, options.data, stop, briefly=True) as url,
        wired(
            settings,
            options.data,
            Connection(url, "instep offline", CLI),
            progress=Progress(),
            stop=stop,
        ) as (opened, _),
    ):
        left = None
        if settings.bus.url is None:
            listings = await opened.host.shelf(LISTINGS)
            left = NotedHolds(listings, await forget_source(opened))
        everything = await faces(opened, left)
        yield OfflineInstance(everything.queries, everything.commands)


@asynccontextmanager
async def _at(url: str) -> AsyncIterator[str]:
    yield url


@asynccontextmanager
async def _session(url: str, settings: Settings) -> AsyncIterator[BusSession]:
    session = await BusSession.open(
        url,
        name="instep provision",
        drain_s=settings.bus.drain,
        on_fatal=lambda _: None,
        access=access_of(settings.bus, ADMIN),
    )
    try:
        yield session
    finally:
        await session.close()
