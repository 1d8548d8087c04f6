"""A row of the table of services is all that a further service needs beside its own package."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from seventh_service import TAGGER, stage

from services.host.runtime import Shutdown, serve
from shared.bus.access.permissions import permissions
from shared.bus.admin.provision import provision
from shared.bus.session import BusSession
from shared.domain.events import Batch, Document, DocumentIndexed
from shared.domain.ids import doc_key
from shared.domain.services import NAMES, SERVICES, consumers, in_flight, stages, work_of
from shared.settings import Settings

GENERATION, NOW = "g1", datetime(2026, 1, 1, tzinfo=UTC)
TABLE = (*SERVICES, TAGGER)
TAKES = "$JS.API.CONSUMER.MSG.NEXT.RESULTS.tagger_g1"


def indexed(path: str) -> DocumentIndexed:
    document = Document(source="docs", path=path, doc_key=doc_key("docs", path), changed_at=NOW)
    return DocumentIndexed(
        document=document,
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        generation=GENERATION,
        indexed_at=NOW,
        freshness_s=0.5,
        vector_count=1,
    )


@pytest.mark.nats
async def test_it_is_provisioned_built_and_served(nats_url, js, eventually):
    await provision(js, generation=GENERATION, services=TABLE)
    session = await BusSession.open(nats_url, name="tagger", drain_s=5.0, on_fatal=lambda _: None)
    host = SimpleNamespace(session=session, settings=Settings())
    opened = SimpleNamespace(generation=GENERATION, host=host, tagged=[])
    stop = Shutdown()
    try:
        serving = asyncio.create_task(serve([TAGGER], opened, stop))
        await session.publish(indexed("a.md"))
        await eventually(lambda: opened.tagged == ["a.md"])
        stop.event.set()
        await serving
    finally:
        await session.close()


def test_only_its_own_key_takes_its_messages_and_the_gateway_sees_its_numbers():
    allowed = {
        name: permissions(name, [GENERATION], services=TABLE).publish for name in (*NAMES, "tagger")
    }

    assert [name for name in allowed if TAKES in allowed[name]] == ["tagger"]
    assert "$JS.API.CONSUMER.INFO.RESULTS.tagger_g1" in allowed["gateway"]


def test_it_has_its_place_in_the_flow_and_its_words():
    assert [one.word for one in stages(GENERATION, TABLE)][-2:] == ["validator", "tagger"]
    assert stage(GENERATION) in consumers(GENERATION, TABLE)
    assert in_flight(GENERATION, TABLE) == in_flight(GENERATION)
    assert work_of("tagger_g1", TABLE) == "tag"
