"""The server publishes answers to the subject that a client names, whatever the client may publish.

A key of a publisher is tried with every request that it may make and every subject that would harm.
"""

import asyncio
import contextlib
import gc
import json

import pytest
from keyed_bus import KeyedServer
from nats.errors import Error as NatsError
from subscribing import in_place

from services.host.startup import wanted_generation
from shared.bus.access.connect import access_of, connect
from shared.bus.access.permissions import ADMIN, IDENTITIES, PUBLISHER, inbox_of, permissions
from shared.bus.admin.provision import ask
from shared.domain.errors import ConfigurationError
from shared.domain.services import NAMES
from shared.domain.topology import ledger_bucket

SOURCES = ("wiki", "docs")
OUTSIDE = [
    *(identity for identity in IDENTITIES if identity not in (ADMIN, *NAMES)),
    *(f"{PUBLISHER}-{source}" for source in SOURCES),
]
"""Identities that have no place in the account of the services."""
REDIRECTIONS = (
    "documents.changed.docs.KEY",
    "documents.enriched.GENERATION.docs",
    "documents.submitted.docs",
    "documents.submitted.wiki",
    "embeddings.ready.GENERATION.docs",
    "dlq.INTAKE.accept",
    "$KV.LEDGER.KEY",
    "$KV.instance.live",
    "$O.bodies.M.abc",
    "$JS.API.STREAM.DELETE.DOCS",
    "$JS.API.STREAM.PURGE.DOCS",
    "$JS.API.STREAM.PURGE.KV_LEDGER",
    "$JS.API.STREAM.MSG.DELETE.DOCS",
    "$JS.API.CONSUMER.DELETE.INTAKE.accept",
    "$JS.ACK.INTAKE.accept.1.1.1.1.1",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.DOCS.x",
    "$SYS.REQ.SERVER.PING",
    "instep.sources.release.docs",
    "instep.here.accept.p1",
    *(f"{inbox_of(name)}.x.1" for name in (*NAMES, ADMIN)),
)
REFUSED = "$JS.ACK."
"""The server takes no message whose answer would acknowledge another one, and says so."""
HEARD_BY = {f"{inbox_of(name)}.x.1": name for name in OUTSIDE}
KEY = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """A server that the admin has provisioned."""
    server = KeyedServer(tmp_path_factory.mktemp("bus"), sources=SOURCES)
    server.make_keys()
    server.start()
    try:
        asyncio.run(server.provision())
        yield server
    finally:
        server.stop()


def named(subject, bus):
    generation = wanted_generation(bus.settings(ADMIN)).id
    ledger = ledger_bucket(generation).name
    return subject.replace("LEDGER", ledger).replace("GENERATION", generation).replace("KEY", KEY)


def requests(identity, bus):
    """Every subject that the key may publish to, for each source that a wildcard stands for."""
    allowed = permissions(identity, [wanted_generation(bus.settings(ADMIN)).id]).publish
    return [subject.replace("*", source) for subject in allowed for source in SOURCES]


@contextlib.asynccontextmanager
async def client_of(bus, identity):
    access = access_of(bus.settings(identity).bus, identity)
    client = await connect(bus.url, access, allow_reconnect=False, error_cb=quiet)
    try:
        yield client
    finally:
        await client.close()


async def quiet(_):
    """What the server denies is looked for in its log."""


class Witness:
    """All that is published where a client listens."""

    def __init__(self, client):
        self.client, self.subjects = client, []
        self._over, self._more = asyncio.Event(), asyncio.Event()

    async def listen(self, subject):
        await self.client.subscribe(subject, cb=self._take)
        await in_place(self.client)

    async def _take(self, message):
        self.subjects.append(message.subject)
        self._more.set()
        if message.subject == "test.over":
            self._over.set()

    async def hears(self, subject):
        """Return when a message has come there: answers of the server overtake each other."""
        async with asyncio.timeout(10):
            while subject not in self.subjects:
                await self._more.wait()
                self._more.clear()

    async def all_until_now(self):
        await self.client.publish("test.over")
        await self._over.wait()
        return self.subjects


async def state(js):
    """Everything that the streams hold but for submissions: messages and numbers."""
    found = (await ask(js, "STREAM.LIST", {}))["streams"]
    return {
        stream["config"]["name"]: {
            name: stream["state"][name] for name in ("messages", "first_seq", "last_seq")
        }
        for stream in found
        if stream["config"]["name"] != "INTAKE"
    }


async def submitted(js):
    """Number of the newest submission that the stream has taken."""
    return (await ask(js, "STREAM.INFO.INTAKE", {}))["state"]["last_seq"]


async def sent(client, request, **options):
    """Send a request whose answer goes elsewhere, and return when the server has answered it."""
    await client.publish(request, b"{}", **options)
    await client.request(request, b"{}", timeout=10)


@pytest.mark.parametrize("redirection", REDIRECTIONS)
@pytest.mark.parametrize("identity", OUTSIDE)
async def test_an_answer_to_a_publisher_reaches_nothing_of_the_services(bus, identity, redirection):
    target = named(redirection, bus)
    async with client_of(bus, ADMIN) as admin, client_of(bus, identity) as publisher:
        before, kept = await state(admin.jetstream()), await submitted(admin.jetstream())
        witness = Witness(admin)
        await witness.listen(">")
        asked = requests(identity, bus)
        for request in asked:
            await sent(publisher, request, reply=target)
        seen = await witness.all_until_now()
        after = await state(admin.jetstream())
        kept = await submitted(admin.jetstream()) - kept

    assert seen.count(target) == 2 * asked.count(target)  # those that were sent there themselves
    answered = 1 if target.startswith(REFUSED) else 2  # the one with a redirection is refused
    assert kept == answered * len(asked)  # and no answer among them
    assert any(target in line for line in bus.violations()) == target.startswith(REFUSED)
    assert after == before


@pytest.mark.parametrize("target", HEARD_BY)
@pytest.mark.parametrize("identity", OUTSIDE)
async def test_an_answer_to_a_publisher_reaches_no_other_publisher(bus, identity, target):
    other = HEARD_BY[target]
    if other == identity:
        other = PUBLISHER if identity != PUBLISHER else OUTSIDE[-1]
    async with client_of(bus, other) as client, client_of(bus, identity) as publisher:
        listener = await client.subscribe(f"{inbox_of(other)}.>")
        await in_place(client)
        for request in requests(identity, bus):
            await sent(publisher, request, reply=target)
        async with client_of(bus, "producer") as producer:  # what may come does come
            await producer.publish(f"{inbox_of(other)}.last")
        message = await listener.next_msg(10)

    assert message.subject == f"{inbox_of(other)}.last"


@pytest.mark.parametrize("identity", OUTSIDE)
async def test_a_trace_of_a_submission_reaches_nothing_of_the_services(bus, identity):
    target = named("documents.changed.docs.KEY", bus)
    async with client_of(bus, ADMIN) as admin, client_of(bus, identity) as publisher:
        before = await state(admin.jetstream())
        witness = Witness(admin)
        await witness.listen(">")
        for request in requests(identity, bus):
            await sent(publisher, request, headers={"Nats-Trace-Dest": target})
        seen = await witness.all_until_now()

        assert target not in seen
        assert await state(admin.jetstream()) == before


@pytest.mark.parametrize("identity", OUTSIDE)
async def test_a_publisher_is_told_nothing_of_the_services_streams(bus, identity):
    async with client_of(bus, identity) as publisher:
        for api in ("INFO", "STREAM.LIST", "STREAM.INFO.DOCS", "STREAM.MSG.GET.DOCS"):
            with pytest.raises((ConfigurationError, NatsError)):
                await publisher.request(f"$JS.API.{api}", timeout=10)


@pytest.mark.parametrize("identity", NAMES)
async def test_between_services_an_answer_goes_wherever_one_of_them_says(bus, identity):
    """What the page about security says is possible."""
    target = named("documents.changed.docs.KEY", bus)
    async with client_of(bus, ADMIN) as admin, client_of(bus, identity) as service:
        await admin.jetstream().purge_stream("DOCS")
        witness = Witness(admin)
        await witness.listen("documents.changed.>")
        info = next(s for s in permissions(identity, ["g"]).publish if ".STREAM.INFO." in s)
        await sent(service, info, reply=target)
        await witness.hears(target)
        await admin.jetstream().purge_stream("DOCS")


async def test_an_embedder_can_put_chosen_bytes_among_the_changes(bus):
    """What the page about security says is possible, too."""
    target = named("documents.changed.docs.KEY", bus)
    wanted = json.dumps({"last_by_subj": "$KV.embcache.chosen"}).encode()
    async with client_of(bus, ADMIN) as admin, client_of(bus, "embedder") as embedder:
        await embedder.jetstream().publish("$KV.embcache.chosen", b"chosen")
        witness = Witness(admin)
        await witness.listen("documents.changed.>")
        await embedder.publish("$JS.API.DIRECT.GET.KV_embcache", wanted, reply=target)
        await embedder.request("$JS.API.DIRECT.GET.KV_embcache", wanted, timeout=10)
        await witness.hears(target)
        await admin.jetstream().publish("documents.changed.docs.after", b"")  # stored behind it
        stored = await admin.jetstream().get_last_msg("DOCS", target)
        await admin.jetstream().purge_stream("DOCS")

    assert stored.data == b"chosen"


async def test_the_command_line_has_no_key(bus):
    made = {file.stem for file in bus.keys.glob("*.nk")}

    assert made == {*IDENTITIES, *(f"{PUBLISHER}-{source}" for source in SOURCES)}
    assert "cli" not in made


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_key_that_an_older_version_made_for_the_command_line_is_refused(bus, eventually):
    stranger = KeyedServer(bus.folder / "older")
    stranger.make_keys()
    (bus.keys / "cli.nk").write_text((stranger.keys / "embedder.nk").read_text())
    bus.make_keys()
    bus.reload()
    try:
        with pytest.raises((NatsError, OSError)):
            async with client_of(bus, "cli"):
                pass
        await eventually(lambda: "authentication error" in bus.log)
    finally:
        (bus.keys / "cli.nk").unlink()
    gc.collect()  # the client leaves the connection that it gave up
