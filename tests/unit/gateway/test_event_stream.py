"""Server-sent events over HTTP."""

import asyncio
import contextlib
import time

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError
from aiohttp.test_utils import TestClient, TestServer
from memory_kv import MemoryShelf
from memory_results import MemoryResults, indexed

from services.gateway.access.access import Principal
from services.gateway.access.bearer import Credentials
from services.gateway.access.keyring import Keyring
from services.gateway.access.sessions import BrowserSessions
from services.gateway.app import KNOWN, build_app
from services.gateway.events import stream
from services.gateway.problems import Problem
from shared.domain.errors import BusUnavailable

ADDRESS = "/api/v1/events"
OWNER_TEXT = "o" * 40


@pytest.fixture
def results():
    return MemoryResults()


@pytest.fixture
async def client(index, results):
    app = build_app(index.queries, index.commands, results=results)
    async with TestClient(TestServer(app)) as client:
        yield client


@contextlib.asynccontextmanager
async def listening(client, query="", begin=None, **headers):
    async with client.get(f"{ADDRESS}{query}", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Request-Id"]
        first = await block(response)
        assert first.pop("retry") == "1000"
        assert begin is None or first == {"id": begin}
        yield response


async def block(response):
    """The fields of the next block, comments left out."""
    found = {}
    async with asyncio.timeout(10):
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                found[name] = value
            elif found:
                return found
    return found


async def test_a_listener_hears_outcomes_as_they_come(client, results):
    results.put(indexed(1))
    async with listening(client, begin="1") as response:
        results.put(indexed(2))
        heard = await block(response)

    assert (heard["event"], heard["id"]) == ("document", "2")
    assert '"path":"2.md"' in heard["data"]
    assert '"state":"searchable"' in heard["data"]


async def test_a_listener_that_comes_back_misses_nothing(client, results):
    for n in range(1, 6):
        results.put(indexed(n))

    async with listening(client, **{"Last-Event-ID": "2"}) as response:
        ids = [(await block(response))["id"] for _ in range(3)]
    async with listening(client, "?after=4") as response:
        last = (await block(response))["id"]

    assert (ids, last) == (["3", "4", "5"], "5")


async def test_a_listener_may_begin_with_all_that_is_kept(client, results):
    for n in range(1, 6):
        results.put(indexed(n))
    results.lose(2)

    async with listening(client, "?after=0", begin="2") as response:
        assert [(await block(response))["id"] for _ in range(3)] == ["3", "4", "5"]


async def test_one_that_was_away_too_long_is_told_to_begin_anew(client, results):
    for n in range(1, 6):
        results.put(indexed(n))
    results.lose(3)

    async with listening(client, begin="5", **{"Last-Event-ID": "1"}) as response:
        reset = await block(response)
        results.put(indexed(6))
        heard = await block(response)

    assert reset == {"event": "reset", "id": "5", "data": "{}"}
    assert heard["id"] == "6"


async def test_events_that_were_not_asked_for_only_move_the_place(client, results):
    async with listening(client, "?types=batch&source=docs") as response:
        results.put(indexed(1))
        assert await block(response) == {"id": "1"}


async def test_a_listener_of_a_stream_that_is_made_anew_is_told(client, results, monkeypatch):
    monkeypatch.setattr(stream, "PING_S", 0.05)
    for n in range(1, 6):
        results.put(indexed(n))
    async with listening(client, begin="5") as response:
        results.messages.clear()
        results.last = 2
        reset = await block(response)
        results.put(indexed(3))
        heard = await block(response)

    assert reset == {"event": "reset", "id": "2", "data": "{}"}
    assert (heard["event"], heard["id"]) == ("document", "3")


@pytest.mark.parametrize(
    ("query", "headers", "said"),
    [
        ("?types=document,badge", {}, "'badge' is not a type of events"),
        ("?after=-1", {}, "after"),
        ("?sauce=docs", {}, "did you mean 'source'?"),
        ("", {"Last-Event-ID": "x"}, "Last-Event-ID"),
    ],
)
async def test_what_cannot_be_listened_to_is_refused(client, query, headers, said):
    response = await client.get(f"{ADDRESS}{query}", headers=headers)

    assert response.status == 422
    assert said in (await response.json())["detail"]


async def test_while_the_bus_is_away_nobody_can_begin(client, results):
    results.away = True

    response = await client.get(ADDRESS)

    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await response.json())["code"] == "bus_unavailable"


async def test_a_listener_survives_an_outage_of_the_bus(client, results):
    async with listening(client) as response:
        results.away = True
        await asyncio.sleep(0)
        results.put(indexed(1))
        results.away = False
        assert (await block(response))["id"] == "1"


async def test_there_is_a_limit_of_listeners_and_a_place_becomes_free_again(
    client, monkeypatch, eventually
):
    monkeypatch.setattr(stream, "LISTENERS", 1)
    async with listening(client):
        response = await client.get(ADDRESS)
        assert (await response.json())["code"] == "too_many_listeners"
    streams = client.server.app[stream.STREAMS]
    monkeypatch.setattr(stream, "PING_S", 0.01)
    await eventually(lambda: streams._listeners == 0)

    async with listening(client):
        pass


async def test_a_listener_that_takes_nothing_is_cut_off_and_keeps_nobody(
    index, results, monkeypatch, eventually
):
    monkeypatch.setattr(stream, "CLIENT_S", 0.05)
    monkeypatch.setattr(stream, "PING_S", 0.05)
    server = TestServer(build_app(index.queries, index.commands, results=results))
    await server.start_server()
    streams = server.app[stream.STREAMS]
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1)
    writer.transport.pause_reading()
    writer.write(f"GET {ADDRESS}?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for n in range(1, 30_001):
        results.put(indexed(n))
    await eventually(lambda: streams._listeners == 1)

    await eventually(lambda: streams._listeners == 0)

    writer.close()
    await server.close()
    assert reader is not None


async def test_a_server_that_stops_ends_its_streams_at_once(index, results):
    server = TestServer(build_app(index.queries, index.commands, results=results))
    client = TestClient(server)
    await client.start_server()
    response = await client.get(ADDRESS)
    assert await block(response) == {"retry": "1000", "id": "0"}

    async with asyncio.timeout(10):
        await server.close()
        with contextlib.suppress(ClientConnectionError, ClientPayloadError):
            assert await block(response) == {}
    await client.close()


async def test_a_gateway_without_a_bus_says_so(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        response = await client.get(ADDRESS)

        assert (response.status, (await response.json())["code"]) == (503, "unavailable")


# -- what becomes of an access while its holder listens


class Shelf(MemoryShelf):
    away = False

    async def get(self, key):
        if self.away:
            raise BusUnavailable("away")
        return await super().get(key)


@pytest.fixture
def keys():
    return Keyring(Shelf(), monotonic=iter(range(10_000)).__next__)  # nothing is known for long


@pytest.fixture
async def guarded(index, results, keys, monkeypatch):
    monkeypatch.setattr(stream, "PING_S", 0.02)
    sessions = BrowserSessions(OWNER_TEXT)
    known = Credentials(OWNER_TEXT, keys, sessions=sessions)
    app = build_app(index.queries, index.commands, known=known, results=results)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("sources", [None, ("docs",)])
async def test_a_key_that_is_revoked_hears_nothing_more(guarded, results, keys, sources):
    text, key = await keys.create("", ("read",), sources, None)
    async with listening(guarded, Authorization=f"Bearer {text}") as response:
        results.put(indexed(1))
        assert (await heard_event(response))["id"] == "1"
        keys.shelf.away = True  # whether the key counts cannot be told now
        results.put(indexed(2))
        assert (await heard_event(response))["id"] == "2"
        keys.shelf.away = False
        await keys.revoke(key.id)
        assert await block(response) == {}


async def heard_event(response):
    while "event" not in (found := await block(response)):
        assert found
    return found


async def test_a_session_of_a_browser_hears_nothing_after_its_end(guarded, results):
    sessions = guarded.server.app[KNOWN].sessions
    path, _ = sessions.once()
    cookie = sessions.enter(path.partition("=")[2])
    shown = {"Cookie": f"{sessions.cookie}={cookie}"}
    async with listening(guarded, **shown) as response:
        results.put(indexed(1))
        assert (await heard_event(response))["id"] == "1"
        sessions._clock = lambda: float(cookie.partition(".")[0])
        assert await block(response) == {}


@pytest.mark.parametrize(
    ("error", "listens"),
    [
        (None, True),
        (BusUnavailable("away"), True),
        (Problem("issuer_unavailable", "away"), True),
        (Problem("no_key", "revoked"), False),
        (Problem("invalid_token", "withdrawn"), False),
        (Problem("forbidden", "less scopes"), False),
    ],
)
async def test_only_a_refusal_ends_a_listener(error, listens, monkeypatch):
    monkeypatch.setattr(stream, "PING_S", 0.0)

    async def again():
        if error is not None:
            raise error
        return Principal("other", frozenset({"read"}))

    holder = stream.Holder(Principal("first", frozenset({"read"})), again)

    assert await holder.may_listen() is listens
    assert holder.access.name == ("other" if error is None else "first")


async def test_a_listener_waits_no_longer_than_its_access_lasts():
    async def again():
        raise AssertionError("too early")

    ended, short = (Principal("a", until=time.time() + s) for s in (-1.0, 5.0))

    assert not await stream.Holder(ended, again).may_listen()
    assert await stream.Holder(short, again).may_listen()
    assert stream.Holder(ended, again).wait_s() == 0.0
    assert stream.Holder(short, again).wait_s() <= 5.0
    assert stream.Holder(Principal("b"), again).wait_s() <= stream.PING_S
