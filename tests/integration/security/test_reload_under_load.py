"""The server takes in new keys while the flow runs."""

import pytest
from keyed_bus import Crew

from services.gateway.answers import answer
from services.host.assembly import faces
from shared.bus.admin.provision import ask
from shared.stores.coalesce import CoalescingStore
from shared.stores.memory import MemoryStore

SERVICES = ("producer", "enricher", "embedder", "indexer", "validator", "gateway")
DIMENSIONS = 64
RELOADS = 5
DOCUMENTS = 10


@pytest.fixture
async def crew(keyed, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Bees\n\nword0\n")
    await keyed.provision()

    groups = {"sources": {"docs": {"path": str(docs), "settle": 0.0}}}
    crew = Crew(keyed, tmp_path / "data", CoalescingStore(MemoryStore(DIMENSIONS)), groups)
    await crew.start(*SERVICES)
    yield crew
    await crew.stop()  # raises what ended any of them


async def test_new_keys_in_the_middle_of_the_work_end_no_service_and_lose_nothing(
    keyed, crew, tmp_path, eventually
):
    asked = await faces(crew.opened["gateway"])

    async def found(word):
        hits = (await answer(asked, "search", {"q": word, "limit": 1}))["hits"]
        return bool(hits) and word in str(hits[0]["chunk"])

    for n in range(RELOADS):
        for k in range(DOCUMENTS):
            (tmp_path / "docs" / f"d{k}.md").write_text(f"# Bees {k}\n\nword{n}x{k}\n")
        (keyed.keys / "admin.nk").unlink()
        keyed.make_keys()
        keyed.reload()
        await eventually(lambda n=n: keyed.log.count("Reloaded server configuration") > n)
        for k in range(DOCUMENTS):
            await eventually(lambda n=n, k=k: found(f"word{n}x{k}"))

    assert all(opened.host.session.healthy() for opened in crew.opened.values())


async def test_what_is_asked_of_jetstream_during_a_reload_is_answered(keyed, eventually):
    """The server takes its services out of an account and puts them in again."""
    await keyed.provision()
    asked = 0
    async with keyed.session("indexer") as session:
        for n in range(RELOADS):
            (keyed.keys / "admin.nk").unlink()
            keyed.make_keys()
            keyed.reload()
            while keyed.log.count("Reloaded server configuration") <= n:
                assert await ask(session.js, "STREAM.INFO.VECTORS", None)
                asked += 1

    assert asked
