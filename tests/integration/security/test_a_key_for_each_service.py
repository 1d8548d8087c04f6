"""The whole flow with one key a service: all that they need is allowed, and nothing else is."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from bus_publisher import send
from keyed_bus import Crew, KeyedServer

from services.cli.publish.submissions import Submission
from services.gateway.answers import answer
from services.gateway.problems import Problem
from services.host.assembly import faces
from services.host.wiring import utc_now
from services.producer.collect import CollectBodies
from services.validator.app import sweeper
from shared.bus.access.connect import access_of
from shared.bus.delivery.dead_letters import letters
from shared.bus.monitor.watched import Watched
from shared.bus.monitor.watchers import present
from shared.domain.topology import INSTANCE
from shared.stores.coalesce import CoalescingStore
from shared.stores.memory import MemoryStore

SERVICES = ("producer", "enricher", "embedder", "indexer", "validator", "gateway")
DIMENSIONS = 64
LOOKS = ("status", "failures", "documents", "batches", "validations", "removals")
GIVEN_UP = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"


@dataclass
class Asked:
    """Questions to what one process knows."""

    faces: object

    async def __call__(self, operation, **fields):
        return await answer(self.faces, operation, fields)

    async def paths(self, question):
        hits = (await self("search", q=question, limit=200))["hits"]
        return {hit["document"]["path"] for hit in hits}


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Keys\n\nrotate a key\n")
    (folder / "b.md").write_text("# Bees\n\nhoney and wax\n")
    (folder / "large.md").write_text("# Large\n\n" + "a long body of words\n" * 14_000)
    (folder / "dead.md").write_text("# Dead\n\na faultrefuse for the model\n")
    (folder / "refused.md").write_bytes(b"\x89PNG\r\n\x1a\n nothing that is read here \0")
    return folder


@pytest.fixture
async def crew(keyed, docs, tmp_path):
    """All six services, each with its own key."""
    source = {"path": str(docs), "settle": 0.0, "hold_count": 1, "hold_share": 0.5}
    groups = {"sources": {"docs": source, "wiki": {"kind": "push"}}, "sweep": {"every": 0.0}}
    await keyed.provision()

    crew = Crew(keyed, tmp_path / "data", CoalescingStore(MemoryStore(DIMENSIONS)), groups)
    await crew.start(*SERVICES)
    yield crew
    await crew.stop()


@pytest.fixture
async def gateway(crew):
    return Asked(await faces(crew.opened["gateway"]))


async def publish(keyed: KeyedServer, identity: str, **body):
    """As a program does with this key; the receipt."""
    access = access_of(keyed.settings(identity).bus, "publisher")
    [sent] = await send(keyed.url, access, "wiki", [Submission("1", body)], str(body))
    return sent.receipt


@dataclass
class Story:
    """What happens to documents, told in parts; each waits until it has come about."""

    crew: Crew
    gateway: Asked
    docs: Path
    eventually: Callable

    @property
    def keyed(self):
        return self.crew.server

    async def shown(self, question, *expected):
        async def found():
            return set(expected) <= await self.gateway.paths(question)

        await self.eventually(found)

    async def failures(self, *expected):
        async def found():
            listed = (await self.gateway("failures"))["failures"]
            return set(expected) <= {failure["code"] for failure in listed}

        await self.eventually(found)

    async def reported(self):
        try:
            return await self.gateway("report", batch="last")
        except Problem:  # no batch has ended yet
            return None

    async def files(self):
        """An edit, a deletion, a refusal, and a text that the model does not take."""
        await self.shown("honey", "a.md", "b.md", "large.md")
        (self.docs / "a.md").write_text("# Keys\n\nrotate another lock\n")
        (self.docs / "b.md").unlink()

        async def in_step():
            found = await self.gateway("search", q="another lock")
            return "b.md" not in await self.gateway.paths("honey") and "another" in str(found)

        await self.eventually(in_step)
        await self.failures("model_failed", "unknown_format")

    async def other_systems(self):
        """Two publishers; returns their receipts."""
        taken = await publish(self.keyed, "publisher-wiki", path="n.md", text="# New\n\na page")
        refused = await publish(self.keyed, "publisher", path="../no.md", text="no")
        await self.shown("a page", "n.md")
        return taken, refused

    async def over_http(self):
        """A document that the gateway sends, with the receipt that the producer answers it."""
        uploads = self.gateway.faces.uploads
        await uploads.check("wiki")
        receipt = await uploads.take("wiki", {"path": "http.md", "text": "a gannet"})
        await self.shown("gannet", "http.md")
        late = {"path": "http.md", "text": "x", "op": "upsert_if", "if_revision": 1}
        return receipt, await uploads.take("wiki", late)

    async def what_nobody_can_read(self):
        """A message that is no event, and one that the server gave up."""
        generation = self.crew.opened["embedder"].generation.id
        async with self.keyed.session("admin") as admin:
            await admin.js.publish(f"documents.enriched.{generation}.docs", b"no event")
            now = datetime.now(UTC).isoformat()
            told = {"stream": "DOCS", "consumer": "x", "deliveries": 9, "timestamp": now}
            for sequence in (1, (await admin.js.stream_info("DOCS")).state.last_seq):
                body = json.dumps({**told, "stream_seq": sequence}).encode()
                await admin.js.publish(f"{GIVEN_UP}.DOCS.x", body)

            async def buried():
                found = {letter.code for letter in await letters(admin.js)}
                return {"malformed_event", "exhausted"} <= found

            await self.eventually(buried)

    async def people(self):
        """Every command, and a row that is gone from the index."""
        await self.gateway("retry", code="model_failed")
        await self.failures("model_failed")
        [hit] = (await self.gateway("search", q="another lock", limit=1))["hits"]
        await self.crew.store.delete([hit["chunk"]["id"]])
        swept = await self.gateway("sweep")
        await (await sweeper(self.crew.opened["validator"]))()
        for operation in LOOKS:
            await self.gateway(operation)
        await self.gateway("checks", deep=True)
        await self.gateway("validate")
        await self.eventually(self.reported)
        await self.gateway("document", name="docs/a.md")
        dropped = await self.gateway("dismiss", all=True)
        return swept, dropped

    async def most_files_vanish(self):
        """More than may go by itself: a person releases it, in another process."""
        for file in self.docs.iterdir():
            file.unlink()

        async def held():
            return bool((await self.gateway("removals"))["holds"])

        await self.eventually(held)
        await self.gateway("approve", source="docs")

        async def only_the_page():
            return await self.gateway.paths("honey") <= {"n.md"}

        await self.eventually(only_the_page)

    async def a_source_ends(self):
        """A producer takes out all that was published for it."""
        done = await self.gateway("forget", source="wiki")

        async def gone():
            return "n.md" not in await self.gateway.paths("a page")

        await self.eventually(gone)
        return done["documents"]

    async def what_comes_by_the_hour(self):
        """Bodies that nobody needs go; how many."""
        producer = self.crew.opened["producer"].host
        bodies, shelf = await producer.bodies(), await producer.shelf(INSTANCE)
        return [
            await CollectBodies(producer.changes, bodies, shelf, partial(clock, hours))()
            for hours in (2, 3)
        ]

    async def counted(self, **replicas):
        """How many processes of each stage the gateway has heard."""

        async def told():
            stages = (await self.gateway("status"))["stages"]
            return {row["stage"]: row["replicas"] for row in stages} == replicas

        await self.eventually(told)

    async def who_watches(self, *sources):
        """Whether a process hears about a source, as the gateway may ask."""
        client = self.crew.opened["gateway"].host.session.client
        notes = [Watched(name, 0.0, listed=True, heard=True) for name in sources]
        return [not one.ended for one in await present(client, notes)]

    async def new_settings(self):
        """Documents of one source are cut otherwise."""
        self.crew.groups["sources"]["wiki"]["chunking"] = {"tokens": 40}
        await self.crew.start("enricher")


async def test_all_that_happens_to_documents_needs_no_more_than_the_keys_allow(
    crew, gateway, docs, eventually
):
    story = Story(crew, gateway, docs, eventually)
    await story.files()
    taken, refused = await story.other_systems()
    await story.what_nobody_can_read()
    swept, dropped = await story.people()
    await story.most_files_vanish()
    gone = await story.what_comes_by_the_hour()
    alone = dict.fromkeys(("accept", "enricher", "embedder", "indexer", "validator"), 1)
    await story.counted(**alone)
    await story.new_settings()
    await story.counted(**alone | {"enricher": 2})
    sent, late = await story.over_http()
    watched = await story.who_watches("docs", "elsewhere")
    ended = await story.a_source_ends()

    assert (sent.state, late.code, late.document.revision) == (
        "queued",
        "revision_changed",
        sent.document.revision,
    )
    assert (taken["state"], refused["state"]) == ("queued", "refused")
    assert watched == [True, False]
    assert (swept["missing"], dropped["done"] > 0, gone, ended) == (1, True, [0, 1], 2)
    assert crew.server.violations() == []


def clock(later_h):
    return utc_now() + timedelta(hours=later_h)
