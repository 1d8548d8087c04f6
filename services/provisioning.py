"""What a start makes of the bus: an admin prepares it, everybody else finds it prepared."""

from functools import partial

from shared.bus.provision import compare
from shared.bus.provision import provision as provision_bus
from shared.bus.server import AUTH_FILE, BEFORE, account_before, how_to_move
from shared.bus.session import BusSession
from shared.encoders.factory import describe
from shared.errors import NotProvisioned
from shared.generations import Generation
from shared.live import Live, known_generation, live_generation
from shared.settings import Bus, Settings
from shared.shelves.kv import KvShelf
from shared.topology import INSTANCE


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
    """The live generation, on a bus that has everything it needs; and what had to be done.

    Raises:
        NotProvisioned: something is missing, and this process may not make it.
        ConfigurationError: something is of another kind, or denied.
        BusUnavailable: the server does not answer.
    """
    wanted = wanted_generation(settings)
    shelf = KvShelf(session.js, INSTANCE.name)
    try:
        await shelf.open()
        new = False
    except NotProvisioned:
        if why := streams_elsewhere(settings.bus):
            raise NotProvisioned(why) from None
        if not session.access.provisions:
            raise
        new = True
    if not session.access.provisions:
        return await _found(session, shelf, wanted), []
    prepare = partial(
        provision_bus,
        session.js,
        patience_s=settings.validation.timeout,
        replicas=settings.bus.replicas,
    )
    done: list[str] = []
    if new:
        done = await prepare(generation=wanted.id)
        await shelf.open()
    live = await live_generation(shelf, wanted)
    done += await prepare(generation=live.generation.id)
    return live, done


def streams_elsewhere(bus: Bus) -> str:
    """Why a bus without streams is no new one, and what to do; empty where nothing says so.

    `instep keys` notes beside the keys that an older version kept the streams in another account.
    """
    if bus.nkey is None:
        return ""
    auth = bus.nkey.with_name(AUTH_FILE)
    try:
        before = account_before(auth.read_text(encoding="utf-8"))
    except OSError:  # the keys were copied without it
        return ""
    if before is None:
        return ""
    return (
        f"the bus has no streams of instep: an older version kept them in the account {before}. "
        f"To keep them, {how_to_move(before)}. To begin with an empty bus, delete the line "
        f'that begins with "{BEFORE}" from {auth}'
    )


async def _found(session: BusSession, shelf: KvShelf, wanted: Generation) -> Live:
    live = await known_generation(shelf, wanted)
    identity = session.access.identity
    await compare(session.js, identity=identity, generation=live.generation.id)
    return live
