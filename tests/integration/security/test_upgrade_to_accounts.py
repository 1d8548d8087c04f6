"""A bus of the version before accounts: its streams lie in the account `$G` and are found again."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from bus_publisher import send
from keyed_bus import Crew, KeyedServer

from services.cli.publish.submissions import Submission
from services.gateway.answers import answer
from services.host.assembly import faces
from services.host.startup import provisioned
from shared.bus.access.connect import access_of
from shared.bus.admin.provision import ask
from shared.bus.admin.server import ACCOUNT, BEFORE, DEFAULT_ACCOUNT
from shared.domain.errors import NotProvisioned
from shared.domain.ids import doc_key
from shared.stores.coalesce import CoalescingStore
from shared.stores.memory import MemoryStore

ROOT = Path(__file__).parents[3]
SERVICES = ("producer", "enricher", "embedder", "indexer", "validator", "gateway")
DIMENSIONS = 64


@pytest.fixture
def older(tmp_path):
    """A server that the version before accounts configured, and whose keys it made."""
    server = KeyedServer(tmp_path / "bus", sources=["wiki"])
    server.make_keys()
    server.write_one_account()
    server.start()
    yield server
    server.stop()


def streams_below(server):
    """Names of accounts with streams in the server's store."""
    return {found.parent.name for found in (server.folder / "store/jetstream").glob("*/streams")}


def started_by_compose(server):
    """What the container `nats` of compose.yaml runs before the server, and how it starts that."""
    nats = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["nats"]
    called = server.folder / "called"
    fake = server.folder / "bin" / "nats-server"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(f'#!/bin/sh\necho "$@" > {called}\n')
    fake.chmod(0o755)
    command = [part.replace("$$", "$") for part in (*nats["entrypoint"], *nats["command"])]
    for mounted, folder in (("/data", server.folder / "store"), ("/keys", server.keys)):
        command[-1] = command[-1].replace(mounted, str(folder))
    path = f"{fake.parent}:{os.environ['PATH']}"
    subprocess.run(command, check=True, env={"PATH": path}, timeout=60)
    return called.read_text().split()


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Keys\n\nrotate a key\n")
    (folder / "b.md").write_text("# Bees\n\nhoney and wax\n")
    return folder


@pytest.fixture
def crew_of(docs, tmp_path):
    """All services on a server, over the same store and data every time."""
    rows = MemoryStore(DIMENSIONS)
    source = {"path": str(docs), "settle": 0.0}
    groups = {"sources": {"docs": source, "wiki": {"kind": "push"}}, "sweep": {"every": 0.0}}

    async def start(server):
        crew = Crew(server, tmp_path / "data", CoalescingStore(rows), groups)
        await crew.start(*SERVICES)
        return crew

    return start


async def publish(server, **body):
    """With the key of the source; the receipt."""
    access = access_of(server.settings("publisher-wiki").bus, "publisher")
    [sent] = await send(server.url, access, "wiki", [Submission("1", body)], str(body))
    return sent.receipt


async def revision_of(crew, name, word, eventually):
    """The newest revision of a document once a search finds the word in it."""
    asked = await faces(crew.opened["gateway"])

    async def found():
        hits = (await answer(asked, "search", {"q": word, "limit": 1}))["hits"]
        return hits and word in str(hits[0]["chunk"])

    await eventually(found)
    source, _, path = name.partition("/")
    changes = crew.opened["gateway"].host.changes
    return (await changes.newest(source, doc_key(source, path))).sequence


async def test_everything_is_found_and_goes_on_after_the_start_of_the_new_version(
    older, docs, crew_of, eventually
):
    await older.provision()
    crew = await crew_of(older)
    first = await publish(older, path="n.md", text="# New\n\nabout lanterns")
    before = [
        await revision_of(crew, "docs/b.md", "honey", eventually),
        await revision_of(crew, "wiki/n.md", "lanterns", eventually),
    ]
    await crew.stop()
    older.stop()

    older.make_keys()
    called = started_by_compose(older)
    older.start()
    provisioned_now = await older.provision()
    crew = await crew_of(older)
    after = [
        await revision_of(crew, "docs/b.md", "honey", eventually),
        await revision_of(crew, "wiki/n.md", "lanterns", eventually),
    ]
    encoded = crew.opened["embedder"].host.progress.encoded
    (docs / "b.md").write_text("# Bees\n\npropolis and wax\n")
    second = await publish(older, path="n.md", text="# New\n\nabout harbours")
    edited = [
        await revision_of(crew, "docs/b.md", "propolis", eventually),
        await revision_of(crew, "wiki/n.md", "harbours", eventually),
    ]
    await crew.stop()

    assert called == ["--config", str(older.keys / "nats.conf")]
    assert streams_below(older) == {ACCOUNT}
    assert not [line for line in provisioned_now if "created stream" in line]
    assert after == before
    assert encoded == 0
    assert (first["state"], second["state"]) == ("queued", "queued")
    assert all(new > old for new, old in zip(edited, before, strict=True))


async def test_a_start_without_the_renamed_folder_makes_nothing_and_says_what_to_do(older):
    await older.provision()
    older.stop()
    older.make_keys()
    older.start()
    with pytest.raises(NotProvisioned, match=r"rename .*jetstream/\$G .*jetstream/INSTEP"):
        await older.provision()
    for identity in SERVICES:
        async with older.session(identity) as session:
            with pytest.raises(NotProvisioned, match="instep provision"):
                await provisioned(session, older.settings(identity))
    async with older.session("admin") as admin:
        empty = (await ask(admin.js, "STREAM.LIST", {}))["total"]

    assert empty == 0
    assert streams_below(older) == {DEFAULT_ACCOUNT}


async def test_a_reload_instead_of_a_start_loses_nothing(older, eventually):
    await older.provision()
    older.make_keys()
    older.reload()
    await eventually(lambda: "Reloaded server configuration" in older.log)
    with pytest.raises(NotProvisioned, match="rename"):
        await older.provision()
    older.stop()
    started_by_compose(older)
    older.start()

    assert not [line for line in await older.provision() if "created" in line]


async def test_a_bus_that_shall_begin_empty_does_once_the_note_is_deleted(older):
    await older.provision()
    older.stop()
    older.make_keys()
    auth = older.keys / "auth.conf"
    lines = auth.read_text().splitlines(keepends=True)
    auth.write_text("".join(line for line in lines if not line.startswith(BEFORE)))
    older.make_keys()
    older.start()
    made = await older.provision()

    assert [line for line in made if line == "created stream DOCS"]
    assert BEFORE not in auth.read_text()


async def test_an_older_configuration_that_is_still_in_force_works(older):
    assert await older.provision()
    assert await older.provision() == []


def test_keys_say_once_that_the_streams_have_to_be_moved(older):
    first, second = older.make_keys(), older.make_keys()
    forced = older.make_keys(force=True)

    assert len(first["notes"]) == 1
    assert "jetstream/$G" in first["notes"][0]
    assert second["made"] == second["notes"] == forced["notes"] == []
    assert f"{BEFORE} {DEFAULT_ACCOUNT}\n" in (older.keys / "auth.conf").read_text()


def test_keys_of_a_new_bus_say_nothing_of_an_older_one(tmp_path):
    server = KeyedServer(tmp_path / "bus")

    assert server.make_keys()["notes"] == []
    assert BEFORE not in (server.keys / "auth.conf").read_text()


def test_the_container_renames_nothing_while_an_older_image_writes_the_keys(older):
    older.stop()
    (older.folder / "store/jetstream/$G/streams/DOCS").mkdir(parents=True)
    started_by_compose(older)

    assert streams_below(older) == {DEFAULT_ACCOUNT}


def test_the_container_renames_once_and_never_over_streams_that_are_there(tmp_path):
    server = KeyedServer(tmp_path / "bus")
    kept = server.folder / "store/jetstream"
    server.folder.mkdir()
    started_by_compose(server)  # a new volume
    for account in (DEFAULT_ACCOUNT, ACCOUNT):
        (kept / account / "streams" / account).mkdir(parents=True)
    started_by_compose(server)

    assert {found.name for found in kept.glob("*/streams/*")} == {DEFAULT_ACCOUNT, ACCOUNT}
    assert (kept / DEFAULT_ACCOUNT / "streams" / DEFAULT_ACCOUNT).is_dir()
