"""How a process joins an instance: waiting, provisioning; and the causes that end it.

An administrator's key prepares the bus; every other process finds it prepared.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from services.host.data_folder import DataFolder
from services.host.wiring import OpenGeneration
from shared.bus.admin.provision import account_before, compare
from shared.bus.admin.provision import provision as provision_bus
from shared.bus.admin.server import AUTH_FILE, BEFORE, how_to_move
from shared.bus.jetstream.kv import KvShelf
from shared.bus.session import BusSession
from shared.domain.errors import (
    BusUnavailable,
    ConfigurationError,
    NotProvisioned,
    StoreUnavailable,
)
from shared.domain.services import Service
from shared.domain.topology import INSTANCE
from shared.encoders.registry import describe, formerly
from shared.generation import Generation
from shared.live import Live, known_generation, live_generation
from shared.settings import Settings


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
    """The live generation, on a bus with all its streams and buckets; and the changes made there.

    Raises:
        NotProvisioned: one is missing, and this process may not make it.
        ConfigurationError: one is of another kind, or access to it is denied.
        BusUnavailable: the server does not answer.
    """
    wanted = wanted_generation(settings)
    shelf = KvShelf(session.js, INSTANCE.name)
    try:
        await shelf.open()
        new = False
    except NotProvisioned:
        if not session.access.provisions:
            raise
        new = True
    if not session.access.provisions:
        return await _found(session, shelf, wanted, formerly(settings.embedding)), []
    prepare = partial(
        provision_bus,
        session.js,
        replicas=settings.bus.replicas,
    )
    done: list[str] = []
    if new:
        await _never_beside_older_streams(session)
        done = await prepare(generation=wanted.id)
        await shelf.open()
    live = await live_generation(shelf, wanted, formerly(settings.embedding))
    done += await prepare(generation=live.generation.id)
    return live, done


async def _never_beside_older_streams(session: BusSession) -> None:
    """Raise NotProvisioned where an older version left streams in another account."""
    if session.access.seed is None:  # without keys there is one account
        return
    before = await account_before(session.js)
    if before is not None:
        raise NotProvisioned(
            "the bus has no streams of instep: an older version kept them in the account "
            f"{before}. To keep them, {how_to_move(before)}. To begin with an empty bus, delete "
            f'the line that begins with "{BEFORE}" from {AUTH_FILE}, run `instep keys` again, and '
            "reload the server"
        )


async def _found(session: BusSession, shelf: KvShelf, wanted: Generation, before: str) -> Live:
    live = await known_generation(shelf, wanted, before)
    identity = session.access.identity
    await compare(session.js, identity=identity, generation=live.generation.id)
    return live


log = structlog.get_logger()

T = TypeVar("T")

LOOK_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 8.0
JITTER: Final = 0.25
"""Spreads the retries of replicas that lost the same server."""
GIVE_UP_S: Final = 2.0
"""How long a stop waits for a start to notice that it was cancelled."""


class Stopped(Exception):
    """The process was asked to end before it served."""


def pause_s(tries: int) -> float:
    """Seconds to wait after so many failed tries: they double, up to LONGEST_PAUSE_S. Pure."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 16))


@dataclass
class Waits:
    """The dependencies that a process waits for. Logs changed reasons, not every try."""

    reasons: dict[str, str] = field(default_factory=dict)
    """By dependency, the reason, e.g. `{"bus": "no NATS server answers at nats:4222"}`."""
    _tries: dict[str, int] = field(default_factory=dict)

    async def pause(self, what: str, why: str) -> None:
        """Note a failed try for a dependency, and sleep until the next."""
        if self.reasons.get(what) != why:
            log.warning("waiting", what=what, reason=why)
        self.reasons[what] = why
        self._tries[what] = tries = self._tries.get(what, 0) + 1
        await asyncio.sleep(pause_s(tries) * random.uniform(1 - JITTER, 1.0))

    def over(self, what: str) -> None:
        """Note that the dependency is there."""
        self._tries.pop(what, None)
        if self.reasons.pop(what, None) is not None:
            log.warning("waited", what=what)


async def unless(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`.

    Raises:
        Stopped: `stopping` was set before `work` ended; `work` is cancelled.
    """
    task, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Stopped
    finally:
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=GIVE_UP_S)


async def patiently(call: Callable[[], Coroutine[Any, Any, T]], waits: Waits) -> T:
    """The result of `call`, retried while the bus is away or lacks the admin's streams."""
    while True:
        try:
            done = await call()
        except (BusUnavailable, NotProvisioned) as error:
            await waits.pause("bus", str(error))
        else:
            waits.over("bus")
            return done


async def load_first(service: Service, opened: OpenGeneration, waits: Waits) -> None:
    """Wait for the store that a service needs, before it takes its first message."""
    while service.opens_store:
        try:
            await opened.store()
        except StoreUnavailable as error:
            await waits.pause("store", str(error))
        else:
            waits.over("store")
            break


async def until_ended(folder: DataFolder, url: str) -> None:
    """Wait while the instance that was joined runs.

    Raises:
        BusUnavailable: it has ended; the next one will have another address.
    """
    missing = 0
    while missing < 2:
        await asyncio.sleep(LOOK_S)
        instance = await asyncio.to_thread(folder.read_instance)
        missing = 0 if instance and instance.nats_url == url else missing + 1
    raise BusUnavailable(f"the instance of {folder.path} has ended: start this again after it")


async def until_lost(folder: DataFolder) -> None:
    """Wait while the data folder that this process holds is there.

    The next process will not find the content, while this one would go on to answer. So this ends,
    and the next one indexes the files again.

    Raises:
        ConfigurationError: the folder was deleted, moved or replaced.
    """
    while not await asyncio.to_thread(folder.is_lost):
        await asyncio.sleep(LOOK_S)
    raise ConfigurationError(
        f"the data folder {folder.path} was deleted, moved or replaced while instep ran; start "
        "instep again: no watched file is lost, and all are indexed again"
    )
