"""The embedder, built from a process's adapters."""

from services.embedder.embed import Embed
from services.embedder.gather import GatheredCache, GatheredLedger
from services.host.service import Part
from services.host.wiring import Wiring
from shared.bus.session import BusSession
from shared.domain.topology import embed_stage


async def build(wiring: Wiring) -> Part:
    embed = Embed(
        generation=wiring.generation.id,
        ledger=GatheredLedger(await wiring.ledger()),
        cache=GatheredCache(await wiring.cache()),
        encoder=await wiring.encoder(),
        progress=wiring.progress,
    )

    def subscribe(session: BusSession) -> None:
        for lane in embed_stage(wiring.generation.id).lanes:
            session.subscribe(lane, embed)

    return Part(subscribe)
