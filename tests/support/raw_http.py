"""A gateway on a real socket, and requests to it byte by byte."""

import asyncio
import contextlib
import json
from dataclasses import dataclass

from gateway_world import Index

from services.gateway.access.bearer import NONE_NEEDED, Credentials
from services.gateway.app import build_app, refused
from services.gateway.build import _site
from services.host.http_server import LimitedRunner

KEY = "k" * 32


@dataclass
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class RawGateway:
    def __init__(self, port, index, runner):
        self.port = port
        self.runner = runner
        self.index = index

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, raw):
        """Send bytes, and read what comes until the gateway closes the connection."""
        reader, writer = await self.connect()
        writer.write(raw)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (one.partition(":") for one in rest)}
        return Told(int(line.split(" ")[1]), headers, body)

    async def request(self, method, target, *, body=b"", headers=()):
        given = {name.lower() for name, _ in headers}
        lines = [f"{method} ".encode() + target + b" HTTP/1.1", b"Connection: close"]
        if b"host" not in given:
            lines.append(f"Host: 127.0.0.1:{self.port}".encode())
        lines += [name + b": " + value for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}".encode())
        return await self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)


@contextlib.asynccontextmanager
async def raw_gateway(*, key=None, index=None):
    index = index or Index()
    app = build_app(
        index.queries, index.commands, known=NONE_NEEDED if key is None else Credentials(key)
    )
    runner = LimitedRunner(app, refusal=refused, shutdown_timeout=0.1)
    await runner.setup()
    try:
        yield RawGateway(await _site(runner, "127.0.0.1", 0), index, runner)
    finally:
        await runner.cleanup()


def check(told):
    """Never a fault of the gateway, and every refusal is a problem."""
    assert told.status < 500 or told.status == 503, told
    if told.status < 400 or (told.status == 503 and "ready" in told.json):
        return
    assert told.headers["content-type"].startswith("application/problem+json"), told
    body = told.json
    assert body["status"] == told.status
    assert body["type"] == f"/problems/{body['code']}"
    assert body["request_id"] == told.headers["request-id"]
    assert len(told.body) < 20_000
