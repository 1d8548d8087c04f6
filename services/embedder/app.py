"""The embedder, built from a process's adapters."""

from services.embedder.embed import Embed
from services.embedder.gather import GatheredCache, GatheredLedger
from services.part import Part
from shared.bus.session import BusSession
from shared.topology import embed_stage
from shared.wiring import Wiring


async def build(wiring: Wiring) -> Part:
    encoder = await wiring.encoder()
    embed = Embed(
        generation=wiring.generation.id,
        ledger=GatheredLedger(await wiring.ledger()),
        cache=GatheredCache(await wiring.cache()),
        encoder=encoder,
        progress=wiring.progress,
    )

    def subscribe(session: BusSession) -> None:
        for lane in embed_stage(wiring.generation.id).lanes:
            session.subscribe(lane, embed)

    async def load() -> None:
        """A model that cannot be loaded ends the process, before it costs documents attempts."""
        await encoder.ready()

    return Part(subscribe, (load,))
