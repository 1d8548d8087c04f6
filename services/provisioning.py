"""What a start makes of the bus: an admin prepares it, everybody else finds it prepared."""

from functools import partial

from shared.bus.provision import compare
from shared.bus.provision import provision as provision_bus
from shared.bus.session import BusSession
from shared.encoders.factory import describe, formerly
from shared.errors import ConfigurationError
from shared.generations import Generation
from shared.live import Live, known_generation, live_generation
from shared.settings import Settings
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
    if not session.access.provisions:
        return await _found(session, shelf, wanted, formerly(settings.embedding)), []
    prepare = partial(
        provision_bus,
        session.js,
        patience_s=settings.validation.timeout,
        replicas=settings.bus.replicas,
    )
    done: list[str] = []
    try:
        await shelf.open()
    except ConfigurationError:  # the first start
        done = await prepare(generation=wanted.id)
        await shelf.open()
    live = await live_generation(shelf, wanted, formerly(settings.embedding))
    done += await prepare(generation=live.generation.id)
    return live, done


async def _found(session: BusSession, shelf: KvShelf, wanted: Generation, before: str) -> Live:
    await shelf.open()
    live = await known_generation(shelf, wanted, before)
    identity = session.access.identity
    await compare(session.js, identity=identity, generation=live.generation.id)
    return live
