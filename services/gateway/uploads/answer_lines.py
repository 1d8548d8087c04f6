"""Answers to requests with `receipts=all`: a line of JSON for each document, once it is known."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiohttp import web

from services.gateway.decoding import encoded
from services.gateway.operations import NDJSON
from services.gateway.routes import REQUEST_ID
from services.gateway.uploads.many import Tell
from services.gateway.uploads.models import UploadLine
from services.host.http_server import CLIENT_S, SLOWEST

log = structlog.get_logger(__name__)


async def answer_lines(
    request: web.Request, refusals: Iterable[UploadLine], sending: Callable[[Tell], Awaitable[str]]
) -> web.StreamResponse:
    """Answer with the refusals, and then with what becomes of the documents that are sent.

    A client that goes away, does not take a line within CLIENT_S, or takes less than SLOWEST bytes
    a second after the first CLIENT_S, gets no more of them; its documents are sent all the same. A
    fault breaks the connection: the answer must not look whole.
    """
    lines = _Lines(request)
    await lines.begin()
    try:
        for line in refusals:
            if lines.is_gone:
                break
            await lines.tell(line)
            await asyncio.sleep(0)  # a client that takes all at once must not hold the event loop
        await sending(lines.tell)
        await lines.end()
    except Exception as error:  # the edge: headers are sent, so that no problem can be answered
        log.exception("request_failed", code=type(error).__name__, request_id=request[REQUEST_ID])
        lines.abort()
    return lines.response


class _Lines:
    """Lines on their way to a client."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.is_gone = False
        self._waited_s, self._taken = 0.0, 0
        self._turn = asyncio.Lock()
        self.response = web.StreamResponse(
            headers={
                "Content-Type": NDJSON,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # proxies must not wait for more
                "Request-Id": request[REQUEST_ID],
            }
        )

    async def begin(self) -> None:
        await self._within(self.response.prepare(self._request), 0)

    async def tell(self, line: UploadLine) -> None:
        """Send a line, if the client is still there."""
        if self.is_gone:
            return
        found = line.model_dump(mode="json", exclude_none=True)
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        data = encoded(text + "\n")
        async with self._turn:  # one waits at a time: what it waits is what the answer waits
            if not self.is_gone:
                await self._within(self.response.write(data), len(data))

    async def end(self) -> None:
        if not self.is_gone:
            await self._within(self.response.write_eof(), 0)

    def abort(self) -> None:
        self.is_gone = True
        if isinstance(self._request.transport, asyncio.WriteTransport):
            self._request.transport.abort()

    async def _within(self, writing: Awaitable[object], size: int) -> None:
        begin = time.monotonic()
        patience = CLIENT_S + self._taken / SLOWEST - self._waited_s
        try:
            async with asyncio.timeout(min(CLIENT_S, patience)):
                await writing
        except TimeoutError:
            self.abort()
        except ConnectionResetError:
            self.is_gone = True
        self._waited_s += time.monotonic() - begin
        self._taken += size
