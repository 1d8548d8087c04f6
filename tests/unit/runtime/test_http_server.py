"""No client holds a server: real sockets that send nothing, little, or take nothing."""

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web

from services.host import http_server
from services.host.http_server import LimitedRunner

SMALLEST = 1
"""Asks for the smallest buffer that the system gives."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Site:
    def __init__(self, port, gate):
        self.port = port
        self.gate = gate
        """Open: `/held` answers."""
        self.writers = []

    async def connect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer


@contextlib.asynccontextmanager
async def serving(size=0):
    gate = asyncio.Event()

    async def held(_):
        await gate.wait()
        return web.Response(text="held")

    async def here(_):
        return web.Response(text="here")

    async def large(_):
        return web.Response(body=b"x" * size)

    async def taken(request):
        return web.Response(text=str(len(await request.read())))

    app = web.Application(client_max_size=10)
    app.add_routes([web.get("/", here), web.get("/held", held), web.get("/large", large)])
    app.add_routes([web.post("/", taken)])
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
    runner = LimitedRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        site = Site(runner.addresses[0][1], gate)
        yield site
    finally:
        for writer in site.writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        gate.set()
        await runner.cleanup()


async def closed(reader):
    """Returns when the server has closed the connection."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 20):
            pass


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(4)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: y",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n",
        REQUEST,
        REQUEST + b"GET / HT",
    ],
)
async def test_a_connection_that_sends_no_whole_request_is_closed(sent, monkeypatch):
    monkeypatch.setattr(http_server, "CLIENT_S", 0.05)
    async with serving() as site:
        reader, writer = await site.connect()
        writer.write(sent)
        await closed(reader)


async def test_a_client_that_sends_headers_byte_by_byte_is_closed(monkeypatch):
    monkeypatch.setattr(http_server, "CLIENT_S", 0.1)

    async def drip(writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with serving() as site:
        reader, writer = await site.connect()
        dripping = asyncio.create_task(drip(writer))
        await closed(reader)
        dripping.cancel()


@pytest.mark.parametrize("size", [110_000, 50_000_000])
async def test_a_client_that_does_not_take_its_answer_is_cut_off(size, monkeypatch, eventually):
    monkeypatch.setattr(http_server, "CLIENT_S", 0.05)
    monkeypatch.setattr(http_server, "SLOWEST", size / 0.05)
    async with serving(size) as site:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST)
            client.connect(("127.0.0.1", site.port))
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            client.setblocking(False)
            await eventually(lambda: _is_reset(client))


async def test_a_large_answer_has_the_time_that_a_slow_client_needs(monkeypatch):
    monkeypatch.setattr(http_server, "CLIENT_S", 0.05)
    size, taken = 8_000_000, 0
    async with serving(size) as site:
        reader, writer = await site.connect()
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while data := await reader.read(1 << 16):
            taken += len(data)
            await asyncio.sleep(0.005)

    assert taken == size


def _is_reset(client):
    """Whether the other side has ended the connection; takes nothing of what has come."""
    try:
        client.send(b"x")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


async def test_a_connection_above_the_limit_takes_the_place_of_an_idle_one(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    async with serving() as site:
        idle = [await site.connect() for _ in range(3)]
        for reader, writer in idle:
            writer.write(REQUEST)
            await answer(reader)
        reader, writer = await site.connect()
        writer.write(REQUEST)
        assert (await answer(reader))[1] == b"here"
        await closed(idle[0][0])
        for reader, writer in idle[1:]:
            writer.write(REQUEST)
            assert (await answer(reader))[1] == b"here"


async def test_of_idle_connections_the_one_that_was_used_last_stays(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    async with serving() as site:
        idle = [await site.connect() for _ in range(3)]
        for reader, writer in (*idle, idle[0]):
            writer.write(REQUEST)
            await answer(reader)
        await site.connect()
        await closed(idle[1][0])
        writer = idle[0][1]
        writer.write(REQUEST)
        assert (await answer(idle[0][0]))[1] == b"here"


async def test_a_connection_above_the_limit_is_closed_while_all_others_are_answered(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    monkeypatch.setattr(http_server, "CLIENT_S", 3_600)
    async with asyncio.timeout(30), serving() as site:
        busy = [await site.connect() for _ in range(3)]
        for _, writer in busy:
            writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        late = [await site.connect() for _ in range(10)]
        for reader, _ in late:
            await closed(reader)
        site.gate.set()
        for reader, _ in busy:
            assert (await answer(reader))[1] == b"held"


async def test_as_many_connections_as_come_stay_below_the_limit(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS", 8)
    async with serving() as site:
        many = [await site.connect() for _ in range(200)]
        ended = [asyncio.create_task(closed(reader)) for reader, _ in many]
        while sum(task.done() for task in ended) < 192:
            await asyncio.wait([t for t in ended if not t.done()], return_when="FIRST_COMPLETED")
        reader, writer = await site.connect()
        writer.write(REQUEST)
        assert (await answer(reader))[1] == b"here"
        for task in ended:
            task.cancel()


async def hold_reading(site):
    """A request whose handler waits for the rest of the body."""
    reader, writer = await site.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
    return reader


async def hold_unread_body(site):
    """A request that was answered without its body, the rest of which is still to come."""
    reader, writer = await site.connect()
    writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
    await reader.readuntil(b"\r\n\r\n")
    return reader


async def hold_untaken(site):
    """A request whose answer is larger than all buffers, of a client that takes nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", site.port))
    reader, writer = await asyncio.open_connection(sock=client, limit=SMALLEST)
    writer.transport.pause_reading()
    site.writers.append(writer)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    return reader


@pytest.mark.parametrize("hold", [hold_reading, hold_unread_body, hold_untaken])
async def test_clients_that_keep_the_server_waiting_keep_no_other_from_it(hold, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    async with serving(50_000_000) as site:
        for _ in range(3):
            await hold(site)
        for _ in range(100):
            reader, writer = await site.connect()
            writer.write(REQUEST)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                assert (await answer(reader))[1] == b"here"
                return
    pytest.fail("nobody else was answered")


async def test_a_client_that_waits_for_its_answer_is_never_replaced(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    async with serving() as site:
        busy, writer = await site.connect()
        writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(20):
            await hold_unread_body(site)
        site.gate.set()
        assert (await answer(busy))[1] == b"held"
