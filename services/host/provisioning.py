"""What a start makes of the bus: an admin prepares it, everybody else finds it prepared."""

from functools import partial

from shared.bus.admin.provision import account_before, compare
from shared.bus.admin.provision import provision as provision_bus
from shared.bus.admin.server import AUTH_FILE, BEFORE, how_to_move
from shared.bus.jetstream.kv import KvShelf
from shared.bus.session import BusSession
from shared.domain.errors import NotProvisioned
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
