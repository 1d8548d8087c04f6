"""Fetching goes on, or the process ends: nothing in between. On a real server."""

import asyncio
import contextlib
import gc
from dataclasses import replace

import nats
import pytest

from shared.bus.admin.provision import ensure_consumer, provision
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.topology import embed_stage

pytestmark = pytest.mark.nats

STAGE = embed_stage("g1")

leaky = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""nats-py leaves the writer of an attempt to reconnect that failed to the garbage collector."""


@pytest.fixture
def swept():
    """Collects what such attempts left while the test's own filter is in force."""
    yield
    gc.collect()


class Recorder:
    """A handler that notes what it was given."""

    def __init__(self):
        self.seen = []

    async def __call__(self, event, delivery):
        self.seen.append((event.document.path, delivery.attempt))
        return ()

    @property
    def paths(self):
        return sorted(path for path, _ in self.seen)


async def published(session, event):
    """Publish until it is stored: the server may not be back yet. It may be stored twice."""
    while True:
        with contextlib.suppress(BusUnavailable):
            return await session.publish(event)


async def test_a_deleted_durable_ends_the_process(provisioned, open_session, eventually):
    fatal = []
    session = await open_session(STAGE, Recorder(), fatal=fatal)
    assert session.healthy()

    await provisioned.delete_consumer("CHUNKS", STAGE.name)
    await eventually(lambda: fatal)

    assert isinstance(fatal[0], ConfigurationError)
    assert "instep provision" in str(fatal[0])
    assert not session.healthy()
    assert len(fatal) == 1


async def test_a_durable_that_was_never_there_ends_the_process(
    provisioned, open_session, eventually
):
    fatal = []
    session = await open_session(fatal=fatal)
    stranger = replace(STAGE, name="stranger")
    consuming = await BusSession.open(
        session.client.connected_url.geturl(), name="x", drain_s=1, on_fatal=fatal.append
    )
    consuming.subscribe(stranger, Recorder())
    await consuming.start()
    await eventually(lambda: fatal)
    await consuming.close()

    assert isinstance(fatal[0], ConfigurationError)


async def test_a_connection_closed_for_good_ends_the_process(provisioned, open_session, eventually):
    fatal = []
    session = await open_session(STAGE, Recorder(), fatal=fatal)
    await session.client.close()
    await eventually(lambda: fatal)

    assert isinstance(fatal[0], BusUnavailable)
    assert len(fatal) == 1


async def test_a_server_that_goes_away_while_we_disconnect_is_no_failure(
    provisioned, nats_url, monkeypatch
):
    session = await BusSession.open(nats_url, name="x", drain_s=1, on_fatal=print)
    close, drained = session.client.close, []

    async def reset():
        drained.append(True)
        await close()
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(type(session.client), "is_connected", property(lambda _: False))
    monkeypatch.setattr(session.client, "close", reset)
    await session.close()

    assert drained


@leaky
@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_consumption_goes_on_after_a_restart_of_the_server(
    swept, own_nats_server, open_session, part, eventually, ending
):
    fatal = []
    handler = Recorder()
    session = await open_session(url=own_nats_server.url, fatal=fatal)
    await provision(session.js, generation="g1")
    worker = await open_session(STAGE, handler, url=own_nats_server.url, fatal=fatal)
    await session.publish(part("before.md"))
    await eventually(lambda: handler.paths == ["before.md"])

    getattr(own_nats_server, ending)()
    await eventually(lambda: not worker.healthy())
    own_nats_server.start()
    await published(session, part("after.md"))
    await eventually(lambda: "after.md" in handler.paths)

    assert fatal == []
    assert worker.stalls >= 1
    await eventually(worker.healthy)


@leaky
async def test_a_reconnected_session_asks_anew_at_once(
    swept, own_nats_server, open_session, part, eventually
):
    """Requests die with a server. Here silence is never noticed: only the reconnection helps."""
    handler = Recorder()
    session = await open_session(url=own_nats_server.url)
    await provision(session.js, generation="g1")
    worker = await open_session(STAGE, handler, url=own_nats_server.url)
    pull = worker.stages[STAGE.name].pull
    pull._silent = lambda: False
    await session.publish(part("before.md"))
    await eventually(lambda: handler.paths == ["before.md"])

    own_nats_server.kill()
    await eventually(lambda: not worker.client.is_connected)
    own_nats_server.start()
    other = await open_session(url=own_nats_server.url)
    await published(other, part("missed.md"))
    await eventually(lambda: "missed.md" in handler.paths)
    await published(other, part("after.md"))
    await eventually(lambda: "after.md" in handler.paths)

    assert pull.stalls == 1


@leaky
async def test_a_password_that_is_wrong_for_a_while_is_survived(
    swept, own_nats_server, open_session, part, eventually
):
    handler = Recorder()
    fatal = []
    session = await open_session(url=own_nats_server.url, fatal=fatal)
    await provision(session.js, generation="g1")
    await open_session(STAGE, handler, url=own_nats_server.url, fatal=fatal)
    open_to_all = own_nats_server.extra

    own_nats_server.stop()
    own_nats_server.extra = open_to_all + "\nauthorization { user: a, password: b }\n"
    own_nats_server.start()
    await eventually(lambda: "authorization" in str(session.client.last_error).lower())
    own_nats_server.stop()
    own_nats_server.extra = open_to_all
    own_nats_server.start()
    await published(session, part("after.md"))
    await eventually(lambda: "after.md" in handler.paths)

    assert fatal == []


async def test_the_newer_acknowledgement_format_is_understood(
    own_nats_server, open_session, part, eventually
):
    own_nats_server.stop()
    own_nats_server.extra = "feature_flags { js_ack_fc_v2: true }"
    own_nats_server.start()
    handler = Recorder()
    session = await open_session(url=own_nats_server.url)
    await provision(session.js, generation="g1")
    await open_session(STAGE, handler, url=own_nats_server.url)
    await session.publish(part())

    async def acknowledged():
        return (await session.js.stream_info("CHUNKS")).state.messages == 0

    await eventually(acknowledged)

    assert handler.paths == ["a.md"]


async def test_a_drain_hands_back_what_is_not_begun_and_lets_the_rest_end(
    provisioned, open_session, part, eventually
):
    stage = replace(STAGE, concurrency=2, prefetch=10, paced=False)
    begun, go = [], asyncio.Event()

    async def slow(event, delivery):
        begun.append(event.document.path)
        await go.wait()
        return ()

    leaving = await open_session(stage, slow)
    for number in range(10):
        await leaving.publish(part(f"{number}.md"))
    await eventually(lambda: leaving.stages[stage.name].pull.held == 10 and len(begun) == 2)

    draining = asyncio.create_task(leaving.drain())
    handler = Recorder()
    await open_session(stage, handler)
    await eventually(lambda: len(handler.seen) == 8)  # ack_wait is a minute: they were handed back
    go.set()
    await draining

    assert len(begun) == 2
    assert leaving.counts[stage.name].acked == 2
    assert not set(begun) & set(handler.paths)


async def test_a_handler_that_outlasts_the_drain_is_cancelled_and_its_message_handed_back(
    provisioned, open_session, part, eventually
):
    async def endless(event, delivery):
        await asyncio.Event().wait()

    leaving = await open_session(STAGE, endless, drain_s=0.05)
    await leaving.publish(part())
    await eventually(lambda: leaving.stages[STAGE.name].pull.held == 1)
    await leaving.drain()
    handler = Recorder()
    await open_session(STAGE, handler)
    await eventually(lambda: handler.seen)

    assert handler.seen == [("a.md", 2)]


async def test_whatever_a_look_raises_the_message_comes_again_and_a_stop_is_a_stop(
    provisioned, open_session, part, eventually
):
    stage, handler, raised = replace(STAGE, ack_wait_s=0.5), Recorder(), []
    session = await open_session()
    await ensure_consumer(provisioned, stage)
    worker = await open_session()
    worker.subscribe(stage, handler)
    consumer = worker.stages[stage.name]
    pull, get = consumer.pull, consumer._troubles.get

    async def broken(name):
        if not raised:
            raised.append(name)
            raise ValueError("whatever")
        return await get(name)

    consumer._troubles.get = broken
    await worker.start()
    await session.publish(part())
    await eventually(lambda: handler.seen)
    await worker.drain()

    assert handler.seen[0] == ("a.md", 2)
    assert pull.held == 0


async def test_nothing_is_fetched_twice_or_dropped_whatever_the_gaps(
    provisioned, open_session, part, eventually
):
    stage = replace(STAGE, prefetch=7, concurrency=3)
    handler = Recorder()
    session = await open_session(stage, handler)
    for number in range(300):
        await session.publish(part(f"{number}.md"))
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    await eventually(lambda: session.counts[stage.name].acked == 300)

    assert len(set(handler.seen)) == 300
    assert {attempt for _, attempt in handler.seen} == {1}
    assert session.stalls == 0


async def test_two_replicas_share_the_work(provisioned, open_session, part, eventually):
    stage = replace(STAGE, prefetch=8, concurrency=2)
    one, two = Recorder(), Recorder()

    async def slow(handler, event, delivery):
        await asyncio.sleep(0.002)
        return await handler(event, delivery)

    session = await open_session(stage, lambda e, d: slow(one, e, d))
    await open_session(stage, lambda e, d: slow(two, e, d))
    for number in range(100):
        await session.publish(part(f"{number}.md"))
    await eventually(lambda: len(one.seen) + len(two.seen) == 100)

    assert len({*one.paths, *two.paths}) == 100
    assert min(len(one.seen), len(two.seen)) >= 10


async def test_a_publisher_may_use_any_header(provisioned, open_session, part, eventually):
    handler = Recorder()
    await open_session(STAGE, handler)
    await provisioned.publish(
        part().subject,
        part().model_dump_json().encode(),
        stream="CHUNKS",
        headers={"Status": "409", "Description": "Consumer Deleted"},
    )
    await eventually(lambda: handler.seen)

    assert handler.paths == ["a.md"]


async def test_starting_to_consume_changes_no_stream_and_no_consumer(provisioned, open_session):
    before = await everything(provisioned)
    await open_session(STAGE, Recorder())

    assert await everything(provisioned) == before


async def everything(js):
    streams = {info.config.name: info.config for info in await js.streams_info()}
    return streams, [info.config for name in streams for info in await js.consumers_info(name)]


async def test_opening_fails_at_once_when_no_server_is_there(own_nats_server):
    url = own_nats_server.url
    own_nats_server.stop()

    async with asyncio.timeout(60):
        with pytest.raises(BusUnavailable, match=url.removeprefix("nats://")):
            await BusSession.open(url, name="x", drain_s=1, on_fatal=print)


async def test_opening_may_wait_for_the_server(own_nats_server):
    url = own_nats_server.url
    own_nats_server.stop()
    reasons = []

    async def wait(why):
        if not reasons:
            own_nats_server.start()
        reasons.append(why)

    session = await BusSession.open(url, name="x", drain_s=1, on_fatal=print, wait=wait)

    assert session.healthy()
    assert reasons[0] == f"no NATS server answers at {url.removeprefix('nats://')}"
    await session.close()


async def test_core_requests_work_on_the_same_connection(open_session, nats_url):
    session = await open_session()

    async def answer(message):
        await message.respond(b"pong")

    await session.client.subscribe("instep.ping", cb=answer)
    await session.client.flush(60)  # the server knows of it
    other = await nats.connect(nats_url, connect_timeout=60)
    reply = await other.request("instep.ping", b"ping", timeout=60)
    await other.close()

    assert reply.data == b"pong"


async def test_a_consumer_with_another_filter_is_corrected(provisioned, open_session):
    changed = replace(STAGE, subjects=("documents.enriched.g1.one",))
    await ensure_consumer(provisioned, changed)
    info = await provisioned.consumer_info("CHUNKS", STAGE.name)

    assert info.config.filter_subject == "documents.enriched.g1.one"
