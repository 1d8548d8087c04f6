"""The enricher, built from a process's adapters."""

from services.enricher.enrich import Enrich
from services.enricher.fetch import Load
from services.enricher.prepare import PrepareDocument
from services.enricher.recut import Recut
from services.enricher.sandbox.pool import Allowed, ReadApart
from services.host.service import Part
from services.host.wiring import Wiring, utc_now
from shared.bus.session import BusSession
from shared.domain.priority import BULK, EXPRESS
from shared.domain.topology import INSTANCE, enrich_stage


async def build(wiring: Wiring) -> Part:
    tokens = await wiring.tokens()  # first: they may not be those of the index
    sources = wiring.settings.sources
    folders = {name: (s.path.resolve().as_uri() + "/",) for name, s in sources.items() if s.path}
    load = Load(
        contents=await wiring.bodies(),
        references={n: folders.get(n, ()) + s.allow_references for n, s in sources.items()},
        max_bytes={name: source.max_bytes for name, source in sources.items()},
    )
    generation = wiring.generation
    recut = Recut(
        generation=generation.id,
        default=generation.chunking,
        ledger=await wiring.ledger(),
        changes=wiring.changes,
        notes=await wiring.shelf(INSTANCE),
        progress=wiring.progress,
    )
    of_source = await recut({name: source.chunking for name, source in sources.items()})
    limits = wiring.settings.extraction
    read_apart = ReadApart(Allowed(limits.memory, limits.timeout))
    wiring.stack.push_async_callback(read_apart.close)
    prepare = PrepareDocument(load, tokens, generation.chunking, of_source, read_apart)
    enrich = Enrich(
        generation=wiring.generation.id,
        ledger=await wiring.ledger(),
        changes=wiring.changes,
        prepare=prepare,
        now=utc_now,
        progress=wiring.progress,
        dimensions=wiring.generation.dimensions,
    )

    def subscribe(session: BusSession) -> None:
        stage = enrich_stage(wiring.generation.id)
        session.subscribe(stage, enrich, lane=EXPRESS)
        if stage.bulk:
            session.subscribe(stage.bulk, enrich, lane=BULK)

    return Part(subscribe)
