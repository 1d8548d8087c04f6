"""The enricher, built from a process's adapters."""

from services.enricher.enrich import Enrich
from services.enricher.fetch import Load
from services.enricher.prepare import PrepareDocument
from services.enricher.recut import Recut
from services.host.service import Part
from services.host.wiring import OpenGeneration, utc_now
from shared.bus.session import BusSession
from shared.domain.priority import BULK, EXPRESS
from shared.domain.topology import INSTANCE, enrich_stage
from shared.reading.pool import Allowed, ReadApart
from shared.settings import FolderSettings


async def build(opened: OpenGeneration) -> Part:
    tokens = await opened.tokens()  # first: they may not be those of the index
    sources = opened.host.settings.sources
    folders = {
        name: (one.path.resolve().as_uri() + "/",)
        for name, one in sources.items()
        if isinstance(one, FolderSettings)
    }
    load = Load(
        contents=await opened.host.bodies(),
        references={n: folders.get(n, ()) + s.allow_references for n, s in sources.items()},
        max_bytes={name: source.max_bytes for name, source in sources.items()},
    )
    generation = opened.generation
    recut = Recut(
        generation=generation.id,
        default=generation.chunking,
        ledger=await opened.ledger(),
        changes=opened.host.changes,
        notes=await opened.host.shelf(INSTANCE),
        progress=opened.host.progress,
    )
    of_source = await recut({name: source.chunking for name, source in sources.items()})
    limits = opened.host.settings.extraction
    read_apart = ReadApart(Allowed(limits.memory, limits.timeout))
    opened.stack.push_async_callback(read_apart.close)
    prepare = PrepareDocument(load, tokens, generation.chunking, of_source, read_apart)
    enrich = Enrich(
        generation=opened.generation.id,
        ledger=await opened.ledger(),
        changes=opened.host.changes,
        prepare=prepare,
        now=utc_now,
        progress=opened.host.progress,
        dimensions=opened.generation.dimensions,
    )

    def subscribe(session: BusSession) -> None:
        stage = enrich_stage(opened.generation.id)
        session.subscribe(stage, enrich, lane=EXPRESS)
        if stage.bulk:
            session.subscribe(stage.bulk, enrich, lane=BULK)

    return Part(subscribe)
