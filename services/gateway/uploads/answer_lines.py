"""Answers to requests with `receipts=all`: a line of JSON for each document, once it is known."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiohttp import web

from services.gateway.decoding import encoded
from services.gateway.operations import NDJSON
from services.gateway.routes import REQUEST_ID
from services.gateway.uploads.many import Tell
from services.gateway.uploads.models import UploadLine
from services.host.http_server import CLIENT_S

log = structlog.get_logger(__name__)


async def answer_lines(
    request: web.Request, refusals: Iterable[UploadLine], sending: Callable[[Tell], Awaitable[str]]
) -> web.StreamResponse:
    """Answer with the refusals, and then with what becomes of the documents that are sent.

    A client that goes away, or does not take a line within CLIENT_S, gets no more of them; its
    documents are sent all the same. A fault breaks the connection: the answer must not look whole.
    """
    lines = _Lines(request)
    await lines.begin()
    try:
        for line in refusals:
            await lines.tell(line)
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
        self._gone = False
        self.response = web.StreamResponse(
            headers={
                "Content-Type": NDJSON,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # proxies must not wait for more
                "Request-Id": request[REQUEST_ID],
            }
        )

    async def begin(self) -> None:
        await self._within(self.response.prepare(self._request))

    async def tell(self, line: UploadLine) -> None:
        """Send a line, if the client is still there."""
        if self._gone:
            return
        found = line.model_dump(mode="json", exclude_none=True)
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        await self._within(self.response.write(encoded(text + "\n")))

    async def end(self) -> None:
        if not self._gone:
            await self._within(self.response.write_eof())

    def abort(self) -> None:
        self._gone = True
        if isinstance(self._request.transport, asyncio.WriteTransport):
            self._request.transport.abort()

    async def _within(self, writing: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(CLIENT_S):
                await writing
        except TimeoutError:
            self.abort()
        except ConnectionResetError:
            self._gone = True
