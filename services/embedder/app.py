"""The embedder, built from a process's adapters."""

from services.embedder.embed import Embed
from services.embedder.gather import GatheredCache, GatheredLedger
from services.host.service import Part
from services.host.wiring import OpenGeneration
from shared.bus.session import BusSession
from shared.domain.topology import embed_stage


async def build(opened: OpenGeneration) -> Part:
    embed = Embed(
        generation=opened.generation.id,
        ledger=GatheredLedger(await opened.ledger()),
        cache=GatheredCache(await opened.host.cache()),
        encoder=await opened.encoder(),
        progress=opened.host.progress,
    )

    def subscribe(session: BusSession) -> None:
        for lane in embed_stage(opened.generation.id).lanes:
            session.subscribe(lane, embed)

    return Part(subscribe)
