"""An HTTP server that no client can hold: connections are limited, every wait for a client ends."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web

CONNECTIONS: Final = 256
"""Of one server. A process may often have 1,024 files open, and needs them for bus and store."""
CLIENT_S: Final = 15.0
"""How long a server waits for a client: for its next request and the headers of it, for the body,
and until it has taken the answer."""
SLOWEST: Final = 64 * 1024
"""Bytes a second that a client has to take of an answer; a large one has that much more time."""

Refusal = Callable[[int], web.Response]
"""The answer with this status to malformed HTTP, or where the application cannot answer."""


def plain(status: int) -> web.Response:
    return web.Response(status=status)


class LimitedRunner(web.AppRunner):
    """Runs an application as `aiohttp.web.AppRunner` does, behind these limits.

    A connection above the limit takes the place of the one that has waited longest for a request;
    where every one is being answered, the new one is closed.
    """

    __slots__ = ("_refusal",)

    def __init__(self, app: web.Application, *, refusal: Refusal = plain, **kwargs: Any) -> None:
        kwargs |= {"keepalive_timeout": CLIENT_S, "lingering_time": CLIENT_S}
        super().__init__(app, access_log=None, **kwargs)
        self._refusal = refusal

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = _Server(self._handle, request_factory=made.request_factory, **self._kwargs)
        server.refusal = self._refusal
        return server

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """As the application, which would break at an `Expect` with characters beyond ASCII."""
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return self._refusal(400)
        return await self.app._handle(cast(web.Request, request))


class _Server(web.Server):
    refusal: Refusal

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(self._manager, _Server)
        assert isinstance(transport, asyncio.WriteTransport)
        others = self._manager.connections
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # an answer is written when it was taken
        if len(others) >= CONNECTIONS:
            idle = (one for one in others if isinstance(one, _Connection) and one.is_idle)
            min(idle, key=lambda one: one._next_keepalive_close_time, default=self).force_close()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; a client that does not take it in time is cut off."""
        size = resp.content_length if isinstance(resp, web.Response) else None
        try:
            async with asyncio.timeout(CLIENT_S + (size or 0) / SLOWEST):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if isinstance(self.transport, asyncio.WriteTransport):
                self.transport.abort()
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer in the application's own format; the log does not get the client's bytes."""
        if status != 400:
            super().handle_error(request, status, exc, message)
        assert isinstance(self._manager, _Server)
        response = self._manager.refusal(status)
        response.force_close()
        return response
