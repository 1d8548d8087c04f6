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

    A connection above the limit takes the place of one whose client keeps the server waiting:
    longest for a request, else to take an answer, else for a body. Where every one is being
    answered, the new one is closed.
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
    __slots__ = ("_answered",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answered = False
        """The last request has its answer; the rest of its body may still be awaited."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(self._manager, _Server)
        assert isinstance(transport, asyncio.WriteTransport)
        others = self._manager.connections
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # an answer is written when it was taken
        if len(others) >= CONNECTIONS:
            waiting = (one for one in others if isinstance(one, _Connection) and one.place)
            min(waiting, key=lambda one: one.place, default=self)._give_way()

    @property
    def place(self) -> tuple[int, float] | tuple[()]:
        """Its place among those that a new connection may replace, the first first; empty: none."""
        request, used = self._current_request, self._next_keepalive_close_time
        if self._waiter is not None:
            return () if self._waiter.done() else (0, used)
        if self._paused:
            return (1, used)
        if request is None:
            return (0, used) if self._answered else ()
        return () if getattr(request.content, "_waiter", None) is None else (2, used)

    def _give_way(self) -> None:
        transport = self.transport
        self.force_close()
        if self._paused and isinstance(transport, asyncio.WriteTransport):
            transport.abort()  # the client does not take what is still to be sent

    async def _handle_request(self, *args: Any) -> tuple[web.StreamResponse, bool]:
        self._answered = False
        try:
            return await super()._handle_request(*args)
        finally:
            self._answered = True

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
        server = self._manager  # None: the client is gone
        response = server.refusal(status) if isinstance(server, _Server) else plain(status)
        response.force_close()
        return response
