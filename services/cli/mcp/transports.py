"""How an assistant reaches the tools: its own pipe, or HTTP with the key of its caller."""

import asyncio
import ipaddress
import json
import signal
import socket
from collections.abc import Mapping
from typing import Any, Final

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from instep.client import AsyncClient
from services.cli.exits import Stop
from services.cli.mcp.tools import Reach
from services.cli.terminal import note
from services.host.options import Options

PATH: Final = "/mcp"
CONNECTIONS: Final = 256
STOP_S: Final = 5
"""For answers that are on their way when the server is stopped."""


def of_owner(options: Options) -> Reach:
    """The client of the person who has started the server."""

    def reach(_: Context[Any, Any]) -> AsyncClient:
        return AsyncClient(options.url, data=options.data, key=options.key())

    return reach


def of_caller(options: Options) -> Reach:
    """The client with the key of each request; the owner's is shown for nobody."""

    def reach(ctx: Context[Any, Any]) -> AsyncClient:
        return AsyncClient(options.url, data=options.data, key=bearer(ctx.headers or {}))

    return reach


def bearer(headers: Mapping[str, str]) -> str:
    """The key in `Authorization: Bearer KEY`; empty: there is none. Pure."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; port 0 is any free one. Pure.

    Raises:
        Stop: it is no address, or not one of this machine alone.
    """
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise Stop(f"--http {text}: is no address", fix="write HOST:PORT, as 127.0.0.1:8770")
    try:
        alone = ipaddress.ip_address(host).is_loopback
    except ValueError:
        alone = False
    if not alone:
        raise Stop(
            f"--http {text}: keys would cross the network in clear",
            fix="listen on 127.0.0.1, and put a proxy with TLS before it",
        )
    return host, int(port)


def named(host: str, port: int) -> str:
    """`HOST:PORT`, as a URL has it. Pure."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class KeyAsked:
    """Lets a request through that shows a key; whether the key is good, the gateway says."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not bearer(_headers(scope)):
            await _refuse(send)
        else:
            await self.app(scope, receive, send)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _refuse(send: Send) -> None:
    detail = "show a key of the gateway: Authorization: Bearer KEY"
    body = json.dumps({"code": "no_key", "detail": detail, "fix": "instep keys create"}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b'Bearer realm="instep"'),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def run_stdio(server: MCPServer[Any]) -> None:
    """Serve one assistant on standard input and output, until it closes them."""
    # the thread that reads standard input cannot be interrupted otherwise
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(server.run_stdio_async())


def run_http(server: MCPServer[Any], host: str, port: int) -> None:
    """Serve on an address of this machine until a signal comes.

    Raises:
        Stop: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise Stop(
                f"--http {named(host, port)}: {error.strerror}", fix="name another"
            ) from None
        place = named(host, listening.getsockname()[1])
        note(f"tools for assistants at http://{place}{PATH}   Ctrl-C stops")
        config = uvicorn.Config(
            http_app(server, place),
            access_log=False,
            log_level="warning",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=STOP_S,
        )
        uvicorn.Server(config).run(sockets=[listening])


def http_app(server: MCPServer[Any], place: str) -> ASGIApp:
    """The server over HTTP, without sessions: every request shows its key.

    Args:
        place: `HOST:PORT` where it listens. A request to another name is refused, for a page could
            have had a browser send it (DNS rebinding); so is one of a page of another origin.
    """
    names = [place, f"localhost:{place.rpartition(':')[2]}"]
    return KeyAsked(
        server.streamable_http_app(
            streamable_http_path=PATH,
            stateless_http=True,
            json_response=True,
            transport_security=TransportSecuritySettings(
                allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]
            ),
        )
    )
