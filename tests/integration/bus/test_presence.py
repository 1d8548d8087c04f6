"""Processes that say that they are there, counted by another one over a real server."""

import contextlib

import pytest

from shared.bus.session import BusSession
from shared.domain.errors import InstepError
from shared.domain.topology import ACCEPT, embed_stage

STAGE = embed_stage("g1")
NEVER_S = 1e9
OFTEN_S = 0.05


async def handle(event, delivery):
    return ()


@pytest.fixture
async def opened(nats_url):
    """`await opened()`: a connection, closed after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def one():
            session = await BusSession.open(
                nats_url, name="test", drain_s=5.0, on_fatal=lambda _: None
            )

            async def close():
                with contextlib.suppress(InstepError):
                    await session.close()

            stack.push_async_callback(close)
            return session

        yield one


@pytest.fixture
def serving(opened):
    """`await serving()`: a process that consumes both lanes of the stage, and says so."""

    async def start(every_s=NEVER_S):
        session = await opened()
        for lane in STAGE.lanes:
            session.subscribe(lane, handle)
        session.heartbeat.every_s = every_s
        await session.start()
        return session

    return start


@pytest.fixture
def listening(opened):
    """`await listening()`: a process that listens since long ago, and takes silence for no end."""

    async def start(session=None):
        session = session or await opened()
        await session.heartbeat.listen()
        await session.client.flush(60)
        session.heartbeat.present.gone_after_s = NEVER_S
        session.heartbeat.present.listens(-2 * NEVER_S)
        return session.heartbeat

    return start


async def test_replicas_are_counted_from_their_start_until_they_leave(
    provisioned, listening, serving, eventually
):
    gateway = await listening()
    before = gateway.count(STAGE)
    first = await serving()
    await eventually(lambda: gateway.count(STAGE) == 1)
    second = await serving()
    await eventually(lambda: gateway.count(STAGE) == 2)
    await second.close()
    await eventually(lambda: gateway.count(STAGE) == 1)
    await first.drain()
    await eventually(lambda: gateway.count(STAGE) == 0)

    assert before == 0


async def test_one_that_is_killed_is_gone_after_the_limit_and_the_other_stays(
    provisioned, listening, serving, eventually
):
    gateway = await listening()
    await serving(OFTEN_S)
    killed = await serving(OFTEN_S)
    await eventually(lambda: gateway.count(STAGE) == 2)
    silence(killed)
    gateway.present.gone_after_s = 20 * OFTEN_S
    await eventually(lambda: gateway.count(STAGE) == 1)


def silence(session):
    """As a kill: it says nothing any more, not even that it leaves."""
    session.heartbeat._task.cancel()
    session.heartbeat._task = None


async def test_who_has_nothing_to_serve_says_nothing(provisioned, listening, opened, serving):
    gateway = await listening()
    looker = await opened()
    await looker.start()
    await looker.close()

    assert looker.heartbeat._task is None
    assert gateway.count(STAGE) == 0


async def test_after_an_interruption_it_goes_on_and_who_was_not_heard_is_not_known(
    provisioned, opened, listening, serving, eventually
):
    listener = await opened()
    gateway = await listening(listener)
    first = await serving()
    await eventually(lambda: gateway.count(STAGE) == 1)
    before = gateway.count(ACCEPT)
    for session in (listener, first):
        session.client._transport._io_writer.transport.abort()
        await eventually(lambda s=session: s.reconnects == 1)
    await listener.client.flush(60)
    after = gateway.count(ACCEPT)
    await serving()
    await eventually(lambda: gateway.count(STAGE) == 2)
    await first.close()
    await eventually(lambda: gateway.count(STAGE) == 1)

    assert (before, after) == (0, None)
