"""Two generations of the index in one process: nothing in it is the generation."""

import numpy as np
import pytest
from gateway_world import chunk_key

from services.embedder.app import build
from services.host.wiring import Host
from shared.bus.admin.provision import provision
from shared.bus.session import BusSession
from shared.domain.errors import StillLoading
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Revision, revise
from shared.encoders.registry import describe
from shared.generation import Generation
from shared.observe.progress import Progress
from shared.ports import Row
from shared.settings import Settings

KEY = doc_key("docs", "a.md")
CHUNK = chunk_key("lanterns")

pytestmark = pytest.mark.nats


def generation(settings, model):
    fingerprint, dimensions = describe(settings.embedding.model_copy(update={"model": model}))
    return Generation(model, "f32", fingerprint, dimensions, settings.chunking)


def row(vector):
    return Row(
        id=row_id(KEY, CHUNK, 1),
        doc_key=KEY,
        source="docs",
        path="a.md",
        born=1,
        chunk_key=CHUNK,
        title="",
        heading=(),
        text="lanterns",
        metadata={},
        vector=vector,
    )


@pytest.fixture(params=["memory", "sqlite", "lancedb"])
async def two(request, tmp_path, js, nats_url):
    """A small and a large model's generation, opened from one host."""
    settings = Settings(store={"kind": request.param}, embedding={"model": "fake-8"})
    small, large = (generation(settings, model) for model in ("fake-8", "fake-64"))
    for one in (small, large):
        await provision(js, generation=one.id)
    session = await BusSession.open(nats_url, name="two", drain_s=5.0, on_fatal=lambda _: None)
    host = Host(settings, tmp_path, session, Progress())
    yield host.generation(small), host.generation(large)
    await host.close()
    await session.close()


async def fill(opened):
    """One document in its ledger, with one row of its own model."""
    vector = (await (await opened.encoder()).encode(["lanterns"]))[0]
    await (await opened.store()).upsert([row(np.asarray(vector, np.float32))])
    wanted = Revision(1, "indexed", (CHUNK,), changed_at=1.0)
    record = revise(None, wanted, source="docs", path="a.md", now=1.0)
    await (await opened.ledger()).update(KEY, record, expect=0)
    return len(vector)


async def held(opened):
    """Documents of its ledger, and rows of its store."""
    entries = [key async for key, _ in (await opened.ledger()).entries()]
    return len(entries), await (await opened.store()).count()


async def test_neither_sees_what_the_other_holds(two):
    small, large = two

    length = await fill(small)

    assert (length, await held(small)) == (8, (1, 1))
    assert await held(large) == (0, 0)
    assert (await fill(large), await held(large)) == (64, (1, 1))


async def test_one_is_closed_and_the_other_goes_on(two):
    small, large = two
    await fill(small)
    await fill(large)
    store = await large.store()

    await small.close()

    assert await large.store() is store
    assert await held(large) == (1, 1)
    assert await fill_again(large) == 64
    assert small.host.opened == {large.generation.id: large}
    again = small.host.generation(small.generation)
    assert again is not small
    with pytest.raises(StillLoading):
        await again.store_now()


async def fill_again(opened):
    return len((await (await opened.encoder()).encode(["lamps"]))[0])


async def test_each_has_its_own_stages(two):
    session = two[0].host.session
    for opened in two:
        (await build(opened)).subscribe(session)
    await session.start()

    names = [one.generation.id for one in two for _ in ("express", "bulk")]
    assert [name.rpartition("_")[2] for name in session.stages] == names
    assert session.healthy()


async def test_the_same_generation_is_opened_once(two):
    small, _ = two

    assert small.host.generation(small.generation) is small
