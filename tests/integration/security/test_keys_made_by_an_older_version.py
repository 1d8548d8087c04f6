"""`auth.conf` as it was before processes said that they are there: only their number is missing."""

from math import inf

import pytest
from keyed_bus import Crew, KeyedServer
from structlog.testing import capture_logs

from instep.client import AsyncClient
from services.gateway.answers import answer
from services.host.assembly import faces
from services.host.owner_key import owner_key
from shared.domain.errors import ConfigurationError
from shared.domain.presence import PREFIX
from shared.stores.coalesce import CoalescingStore
from shared.stores.memory import MemoryStore

SERVICES = ("gateway", "validator", "indexer", "embedder", "enricher", "producer")
DIMENSIONS = 64


@pytest.fixture
def older(tmp_path):
    """A server whose keys may neither say nor hear it."""
    server = KeyedServer(tmp_path / "bus")
    server.make_keys()
    auth = server.keys / "auth.conf"
    lines = auth.read_text().splitlines(keepends=True)
    auth.write_text("".join(line for line in lines if PREFIX not in line))
    server.start()
    yield server
    server.stop()


async def test_the_services_work_and_each_warns_once(older, tmp_path, eventually):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Bees\n\nhoney and wax\n")
    await older.provision()

    groups = {"sources": {"docs": {"path": str(docs), "settle": 0.0}}}
    crew = Crew(older, tmp_path / "data", CoalescingStore(MemoryStore(DIMENSIONS)), groups)
    with capture_logs() as logs:
        await crew.start(*SERVICES)
        asked = await faces(crew.opened["gateway"])

        async def searchable():
            return (await answer(asked, "status", {}))["documents"]["searchable"] == 1

        def warned():
            return [line["reason"] for line in logs if line["event"] == "presence_denied"]

        await eventually(searchable)
        await eventually(lambda: len(warned()) == len(SERVICES))
        stages = (await answer(asked, "status", {}))["stages"]
        healthy = [opened.host.session.healthy() for opened in crew.opened.values()]
        heard = crew.opened["gateway"].host.session.heartbeat.present
        long_after = heard.count(["accept"], inf)
        await crew.stop()  # raises what ended any of them

    assert [row["replicas"] for row in stages] == [None] * len(stages)
    assert long_after is None
    assert all(healthy)
    assert all(PREFIX in reason and "`instep keys`" in reason for reason in warned())
    assert not [line for line in logs if line["event"] in ("bus_denied", "denied")]
    assert older.violations()


async def test_a_gateway_that_may_not_send_documents_says_so_and_does_all_else(
    tmp_path, eventually
):
    server = KeyedServer(tmp_path / "bus")
    server.make_keys()
    auth = server.keys / "auth.conf"
    lines = auth.read_text().splitlines(keepends=True)
    auth.write_text("".join(line for line in lines if line.strip() != '"documents.submitted.*"'))
    server.start()
    try:
        await server.provision()
        crew = Crew(server, tmp_path / "data", CoalescingStore(MemoryStore(DIMENSIONS)), {})
        await crew.start(*SERVICES)
        asked = await faces(crew.opened["gateway"])

        with pytest.raises(ConfigurationError, match=r"documents\.submitted\.wiki.*instep keys"):
            await asked.uploads.take("wiki", {"path": "a.md", "text": "x"})

        assert (await answer(asked, "status", {}))["documents"]["searchable"] == 0
        assert crew.opened["gateway"].host.session.healthy()
        await crew.stop()
    finally:
        server.stop()


async def test_a_gateway_that_may_not_note_how_far_a_webhook_is_says_so_and_does_all_else(
    tmp_path, eventually
):
    server = KeyedServer(tmp_path / "bus")
    server.make_keys()
    auth = server.keys / "auth.conf"
    lines = auth.read_text().splitlines(keepends=True)
    auth.write_text("".join(line for line in lines if "$KV.instance.webhooks" not in line))
    assert len(auth.read_text().splitlines()) < len(lines)
    server.start()
    try:
        await server.provision()
        webhook = {"url": "http://127.0.0.1:9/", "secret": "s" * 20}
        groups = {"webhooks": {"crm": webhook}}
        crew = Crew(server, tmp_path / "data", CoalescingStore(MemoryStore(DIMENSIONS)), groups)
        await crew.start(*SERVICES)
        url = await crew.opened["gateway"].host.gateway_url
        async with AsyncClient(url, key=owner_key(tmp_path / "data")) as client:

            async def told():
                return (await client.webhooks()).webhooks[0].stopped

            await eventually(told)
            checks = (await client.checks()).checks
            searchable = (await client.status()).documents["searchable"]

        (check,) = [check for check in checks if check.level == "WARN"]
        assert (check.name, "may not publish" in check.text) == ("webhook crm", True)
        assert "instep keys" in check.fix
        assert searchable == 0
        await crew.stop()
    finally:
        server.stop()
