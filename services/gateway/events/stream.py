"""`GET /api/v1/events`: outcomes as they come, as server-sent events that resume exactly."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web
from pydantic import Field, field_validator

from services.gateway.access.access import Principal
from services.gateway.answers import request_of
from services.gateway.decoding import encoded
from services.gateway.events.hub import EventHub, Told
from services.gateway.events.views import EVENT_TYPES, EventView, type_of
from services.gateway.models import Request
from services.gateway.operations import OPERATIONS
from services.gateway.problems import Problem, hint
from services.gateway.routes import ACCESS, ASK_AGAIN, REQUEST_ID, AskAgain, fields_in
from services.host.http_server import CLIENT_S
from shared.domain.errors import TransientError

LISTENERS: Final = 128
"""At once: a server has 256 connections, and the others must get their answers."""
PING_S: Final = 15.0
"""Interval of signs of life, and at which it is looked whether the listener may still hear."""
AGAIN_MS: Final = 1_000
"""After which a browser connects again."""


class EventsRequest(Request):
    """Which events to hear, and from where on."""

    types: str = ""
    """Types with commas between: `document`, `validation`, `batch`; empty: all."""
    source: str = ""
    """Of this source only; empty: of all."""
    after: int | None = Field(default=None, ge=0, lt=2**63)
    """Id of the last event that was heard; a header `Last-Event-ID` counts before it. 0: all that
    are kept. None: only what comes from now on."""

    @field_validator("types")
    @classmethod
    def _known(cls, value: str) -> str:
        for word in filter(None, value.split(",")):
            if word not in EVENT_TYPES:
                raise ValueError(
                    f"{word[:80]!r} is not a type of events{hint(word, EVENT_TYPES)}; "
                    f"types are {', '.join(EVENT_TYPES)}"
                )
        return value

    def wants(self, view: EventView) -> bool:
        """Whether the listener has asked for this event."""
        types = list(filter(None, self.types.split(",")))
        return self.source in ("", view.source) and (not types or type_of(view) in types)


def resumed(request: EventsRequest, last_event_id: str | None) -> EventsRequest:
    """The request with the id that a browser sends when it connects again. Pure.

    Raises:
        Problem: `invalid_request`, it is not an id.
    """
    if last_event_id is None:
        return request
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19):
        raise Problem("invalid_request", "Last-Event-ID: is not the id of an event")
    return request.model_copy(update={"after": int(last_event_id)})


def event_bytes(kind: str, data: str, sequence: int) -> bytes:
    """One server-sent event. Pure. `data`: JSON in one line."""
    return encoded(f"event: {kind}\nid: {sequence}\ndata: {data}\n\n")


class Holder:
    """The access of one listener, asked for again every PING_S: keys are revoked meanwhile."""

    def __init__(self, access: Principal, again: AskAgain) -> None:
        self.access = access
        self._again, self._asked_at = again, time.monotonic()

    def wait_s(self) -> float:
        """For how long nothing need be asked."""
        left_s = float("inf") if self.access.until is None else self.access.until - time.time()
        return max(0.0, min(self._asked_at + PING_S - time.monotonic(), left_s))

    async def may_listen(self) -> bool:
        """Whether the access counts; what cannot be told now is asked for again later."""
        if time.monotonic() - self._asked_at >= PING_S:
            self._asked_at = time.monotonic()
            try:
                self.access = await self._again()
            except TransientError:
                pass
            except Problem as problem:
                if problem.kind.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return False
        return self.access.until is None or time.time() < self.access.until


class EventStreams:
    """The listeners of one gateway.

    A server that stops ends their answers; browsers connect again, here or elsewhere.
    """

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._listeners = 0

    async def answer(self, request: web.Request, wanted: EventsRequest) -> web.StreamResponse:
        """Send events until the client goes away, its access ends, or it takes none in CLIENT_S.

        Raises:
            Problem: `too_many_listeners`.
            BusUnavailable: nothing was sent yet.
        """
        if self._listeners >= LISTENERS:
            raise Problem("too_many_listeners", f"{LISTENERS} listeners are connected")
        self._listeners += 1
        try:
            oldest, newest = await self._hub.bounds()
            at = {None: newest, 0: oldest - 1}.get(wanted.after, wanted.after or 0)
            lost = not oldest - 1 <= at <= newest
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",  # proxies must not wait for more
                }
            )
            response.headers["Request-Id"] = request[REQUEST_ID]
            await response.prepare(request)
            at = newest if lost else at
            with contextlib.suppress(ConnectionResetError):
                begin = f"retry: {AGAIN_MS}\nid: {at}\n\n"  # for one that breaks before an event
                await self._send(request, response, begin.encode())
                if lost:
                    await self._send(request, response, event_bytes("reset", "{}", at))
                await self._follow(request, response, wanted, at)
            return response
        finally:
            self._listeners -= 1

    async def close(self, _: web.Application) -> None:
        self._hub.close()

    async def _follow(
        self, request: web.Request, response: web.StreamResponse, wanted: EventsRequest, at: int
    ) -> None:
        holder, told = Holder(request[ACCESS], request[ASK_AGAIN]), time.monotonic()
        while not self._hub.closed and await holder.may_listen():
            access = holder.access
            try:
                page: Sequence[Told] = await self._hub.after(at, wait_s=holder.wait_s())
                oldest, newest = (0, at) if page else await self._hub.bounds()
                if not oldest - 1 <= at <= newest:  # the stream was made anew
                    at = newest
                    await self._send(request, response, event_bytes("reset", "{}", at))
            except TransientError:  # the client waits for the bus here as well as elsewhere
                await asyncio.sleep(AGAIN_MS / 1000)
                page = ()
            chosen = [
                event_bytes(type_of(view), _json(view), sequence)
                for sequence, view in page
                if view is not None and wanted.wants(view) and access.sees(view.source)
            ]
            at = page[-1].sequence if page else at
            if chosen or access.sources is None:
                await self._send(request, response, b"".join(chosen) or _ping(page, at))
                told = time.monotonic()
            elif time.monotonic() - told >= PING_S:  # events of other sources leave no trace
                await self._send(request, response, _ping((), at))
                told = time.monotonic()

    async def _send(self, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
        """Raises ConnectionResetError: the client is gone, or was cut off."""
        try:
            async with asyncio.timeout(CLIENT_S):
                await response.write(data)
        except TimeoutError:
            if isinstance(request.transport, asyncio.WriteTransport):
                request.transport.abort()
            raise ConnectionResetError from None


STREAMS: Final = web.AppKey("streams", EventStreams)


async def events(request: web.Request) -> web.StreamResponse:
    """Outcomes as they come, until the client goes away."""
    row = OPERATIONS["events"]
    wanted = request_of(row, await fields_in(request, row, row.place))
    streams = request.app.get(STREAMS)
    if streams is None:
        raise Problem("unavailable", "this gateway has no bus to listen to")
    return await streams.answer(request, resumed(wanted, request.headers.get("Last-Event-ID")))


def _ping(page: Sequence[object], at: int) -> bytes:
    """A comment, or the place of events that this listener did not ask for."""
    return f"id: {at}\n\n".encode() if page else b": ping\n\n"


def _json(view: EventView) -> str:
    return json.dumps(view.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
