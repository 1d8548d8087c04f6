"""A process that joins a running instance: what it must have before, and when it has to leave."""

import asyncio
from collections.abc import Sequence

from services.folder import DataFolder
from shared.errors import BusUnavailable
from shared.wiring import Wiring

LOOK_S = 1.0


async def load_first(names: Sequence[str], wiring: Wiring) -> None:
    """Load what the services need to handle a single message.

    What cannot be loaded shows before the first message is taken: a process that is started again
    and again would use up the attempts of documents.
    """
    if "embedder" in names:
        await (await wiring.encoder()).ready()
    if "indexer" in names:
        await (await wiring.store()).ready()


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
