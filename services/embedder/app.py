"""The embedder, built from a process's adapters."""

from services.embedder.embed import Embed
from services.part import Part
from shared.bus.session import BusSession
from shared.topology import embed_stage
from shared.wiring import Wiring


async def build(wiring: Wiring) -> Part:
    embed = Embed(
        generation=wiring.generation.id,
        ledger=await wiring.ledger(),
        cache=await wiring.cache(),
        encoder=await wiring.encoder(),
        progress=wiring.progress,
    )

    def subscribe(session: BusSession) -> None:
        session.subscribe(embed_stage(wiring.generation.id), embed)

    return Part(subscribe)
