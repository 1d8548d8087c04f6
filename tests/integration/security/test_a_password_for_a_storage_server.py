"""A storage server has a password, tells of changes in its source, and can do nothing else."""

import asyncio
import contextlib
import json

import nats
import pytest
from keyed_bus import KeyedServer

from shared.bus.access.connect import access_of, connect
from shared.bus.access.permissions import ADMIN
from shared.bus.monitor import watchers

pytestmark = pytest.mark.nats

SUBJECT = "instep.sources.changed.drop"


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """A server that the admin has provisioned."""
    server = KeyedServer(tmp_path_factory.mktemp("bus"), buckets=["drop", "other"])
    server.make_keys()
    server.start()
    try:
        asyncio.run(server.provision())
        yield server
    finally:
        server.stop()


@contextlib.asynccontextmanager
async def storage(bus):
    """A client as the storage server of `drop` is one, and what it was denied."""
    denied = []

    async def hear(error):
        denied.append(str(error))

    password = (bus.keys / "bucket-drop.key").read_text().strip()
    url = bus.url.replace("//", f"//bucket-drop:{password}@")
    client = await nats.connect(url, error_cb=hear, allow_reconnect=False)
    try:
        yield client, denied
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def as_identity(bus, identity):
    client = await connect(bus.url, access_of(bus.settings(identity).bus, identity))
    try:
        yield client
    finally:
        await client.close()


async def test_its_events_reach_the_producer(bus, eventually):
    heard = []
    async with as_identity(bus, "producer") as producer, storage(bus) as (client, denied):
        await watchers.hear_changes(producer, "drop", heard.append)
        await producer.flush()
        await client.publish(SUBJECT, json.dumps({"Records": []}).encode())
        await eventually(lambda: heard == [b'{"Records": []}'])
        assert denied == []


@pytest.mark.parametrize(
    "subject",
    [
        "instep.sources.changed.other",
        "instep.sources.release.drop",
        "documents.submitted.drop",
        "documents.changed.drop.abcdefghijklmnopqrstuvwxyz",
        "$JS.API.STREAM.DELETE.DOCS",
        "$JS.API.INFO",
    ],
)
async def test_it_publishes_nothing_but_the_events_of_its_source(bus, eventually, subject):
    async with storage(bus) as (client, denied):
        await client.publish(subject, b"x")
        await eventually(lambda: denied)

    assert f'permissions violation for publish to "{subject}"'.lower() in denied[0].lower()


async def test_it_hears_nothing(bus, eventually):
    async with storage(bus) as (client, denied):
        await client.subscribe(">")
        await eventually(lambda: denied)

    assert "permissions violation for subscription" in denied[0].lower()


@pytest.mark.parametrize("who", ["the storage server", "a service"])
async def test_an_answer_to_its_events_reaches_nothing_of_the_services(bus, eventually, who):
    """A stream over these subjects answers every message that names a subject for the answer. To a
    service, which shares the account with the stream, the answer goes there."""
    to = "documents.changed.drop.abcdefghijklmnopqrstuvwxyz"
    last = "documents.changed.drop.last"
    heard, told = [], []

    async def hear(message):
        heard.append(message.subject)

    async def tell(message):
        told.append(message.data)

    async with as_identity(bus, ADMIN) as admin, storage(bus) as (client, _):
        await admin.jetstream().add_stream(name="CAPTURE", subjects=["instep.sources.changed.*"])
        await admin.subscribe("documents.changed.>", cb=hear)
        await admin.subscribe("instep.sources.changed.>", cb=tell)
        await admin.flush()
        sender = client if who == "the storage server" else admin
        await sender.publish(SUBJECT, b"event", reply=to)
        await eventually(lambda: told == [b"event"])
        # the stream answers in the order in which it takes messages
        await admin.jetstream().publish(SUBJECT, b"after it")
        await admin.publish(last, b"")
        await eventually(lambda: last in heard)
        await admin.jetstream().delete_stream("CAPTURE")

    assert heard == ([last] if who == "the storage server" else [to, last])


async def test_without_the_password_nothing_is_taken(bus):
    """Over a plain socket: the client leaves one behind when it is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bus.port)
    asked = json.dumps({"user": "bucket-drop", "pass": "another", "verbose": True})
    writer.write(f"CONNECT {asked}\r\nPING\r\n".encode())
    said = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert b"Authorization Violation" in said


def test_the_password_is_nowhere_but_where_only_its_owner_reads(bus):
    secret = (bus.keys / "bucket-drop.key").read_text().strip()
    files = [file for file in bus.keys.iterdir() if secret in file.read_text()]
    holding = {file.name: file.stat().st_mode & 0o777 for file in files}

    assert holding == {"bucket-drop.key": 0o600, "bucket-drop.conf": 0o600}
