"""The reading of bodies that are not held in memory: every wait for the client ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Final, TypeVar

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    MultipartReader,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from services.gateway.problems import Problem
from services.gateway.uploads.uploads import Read
from services.host.http_server import CLIENT_S
from shared.domain.submissions import LARGEST_BYTES
from shared.domain.topology import KB

T = TypeVar("T")

UPLOAD_S: Final = 1800.0
"""For a whole body: pieces of a document are kept for an hour."""
SLOWEST_BODY: Final = 1024
"""Bytes a second that a client has to send of a body, after the first CLIENT_S: one that comes byte
by byte would hold a place of others."""
READ_BYTES: Final = 64 * 1024
LINES_AT_ONCE: Final = 100
"""Lines that are read before others have their turn; to refuse one takes 50 us."""
MAX_BODY_BYTES: Final = 256 * 1024**2
"""Of a body of lines, after its decompression, and of the submissions that it becomes."""
MOST_DOCUMENTS: Final = 200_000
"""Documents of one request: their keys are in memory. So many lines a body has, blank ones too."""
MAX_FORM_BYTES: Final = 1024**3
"""Of all files of a form."""
MAX_LINE_BYTES: Final = LARGEST_BYTES + 4 * KB
"""Of a submission with a batch of its own."""
_BROKEN: Final = (
    web.RequestPayloadError,
    HttpProcessingError,
    ValueError,
    AssertionError,
    LookupError,
    RuntimeError,
    BadContentDispositionHeader,
    BadContentDispositionParam,
)
"""What aiohttp raises for bodies that are not what their headers say."""


class UploadDeadline:
    """The time that one upload has."""

    def __init__(self) -> None:
        self._end = time.monotonic() + UPLOAD_S
        self._waited_s, self._came = 0.0, 0

    async def within(self, reading: Awaitable[T]) -> T:
        """The result of reading from the client.

        Raises:
            Problem: `request_timeout`, `malformed`.
        """
        begin = time.monotonic()
        patience = CLIENT_S + self._came / SLOWEST_BODY - self._waited_s
        try:
            async with asyncio.timeout(min(CLIENT_S, patience, self._end - begin)):
                result = await reading
        except TimeoutError:
            told = (
                f"no bytes of the body came for {CLIENT_S:g} s, fewer than {SLOWEST_BODY:,} a "
                f"second, or all not in {UPLOAD_S:g} s"
            )
            raise Problem("request_timeout", told) from None
        except _BROKEN:
            raise Problem("malformed", "the body is not what its headers say") from None
        self._waited_s += time.monotonic() - begin
        self._came += len(result) if isinstance(result, bytes | bytearray) else 0
        return result


def reader(request: web.Request, most: int | None = None) -> Read:
    """Reads the body of a request, decompressed.

    Args:
        most: bytes; None: the caller counts.

    Raises:
        Problem: `request_too_large`.
    """
    clock, seen = UploadDeadline(), 0

    async def read(size: int) -> bytes:
        nonlocal seen
        data = await clock.within(request.content.read(min(size, READ_BYTES)))
        seen += len(data)
        if most is not None and seen > most:
            raise Problem("request_too_large", f"the body has more than {most:,} bytes")
        return data

    return read


async def whole(read: Read, most: int) -> bytes:
    """All bytes of a body. Raises Problem `request_too_large`."""
    data = bytearray()
    while some := await read(READ_BYTES):
        data += some
        if len(data) > most:
            raise Problem("request_too_large", f"the body has more than {most:,} bytes of JSON")
    return bytes(data)


async def lines(read: Read) -> AsyncIterator[tuple[int, bytes | None]]:
    """The lines of a body that are not blank, with their numbers; None: one is too long.

    Raises:
        Problem: `request_too_large`: there are too many.
    """
    number, line, too_long = 1, bytearray(), False
    while data := await read(READ_BYTES):
        first, *rest = data.split(b"\n")
        line += first
        for after in rest:
            if too_long or len(line) > MAX_LINE_BYTES:
                yield number, None
            elif line.strip():
                yield number, bytes(line)
            number, line, too_long = number + 1, bytearray(after), False
            if number > MOST_DOCUMENTS + 1:  # the last may be empty
                told = f"more than {MOST_DOCUMENTS:,} lines in one request"
                raise Problem("request_too_large", told)
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a body that is there already must not hold the event loop
        if len(line) > MAX_LINE_BYTES:
            line, too_long = bytearray(), True
        await asyncio.sleep(0)
    if too_long or len(line) > MAX_LINE_BYTES:
        yield number, None
    elif line.strip():
        yield number, bytes(line)


class FormBody:
    """The body of a form, which is read part by part."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._clock, self._budget = UploadDeadline(), Budget()

    async def parts(self) -> AsyncIterator[BodyPartReader]:
        """The parts, each to be read before the next.

        Raises:
            Problem: `malformed`, `request_timeout`, `request_too_large`.
        """
        try:
            form = await self._request.multipart()
        except _BROKEN:
            raise Problem("malformed", "the body is not a form of several parts") from None
        while (part := await self._clock.within(form.next())) is not None:
            if isinstance(part, MultipartReader):
                raise Problem("malformed", "a part of the form has parts of its own")
            yield part
            while unread := await _chunk(part, self._clock):
                self._budget.spend(len(unread))

    def reader(self, part: BodyPartReader) -> Read:
        """Reads a part, as `part_reader`."""
        return part_reader(part, self._clock, self._budget)


def names_of(part: BodyPartReader) -> tuple[str | None, str | None]:
    """The names of a part's field and of its file. Raises Problem `malformed`."""
    try:
        return part.name, part.filename
    except _BROKEN:
        raise Problem("malformed", "a part of the form has a broken header") from None


def part_reader(part: BodyPartReader, clock: UploadDeadline, budget: "Budget") -> Read:
    """Reads a part of a form.

    Raises:
        Problem: `request_too_large`, `invalid_request` where it is encoded.
    """
    coding = part.headers.get("Content-Transfer-Encoding", "binary").lower()
    if coding not in ("binary", "8bit", "7bit") or "Content-Encoding" in part.headers:
        raise Problem("invalid_request", "send the file as it is, without an encoding of its part")

    left = bytearray()

    async def read(size: int) -> bytes:
        nonlocal left
        if not left:
            left = bytearray(await _chunk(part, clock))
            budget.spend(len(left))
        data, left = bytes(left[:size]), left[size:]
        return data

    return read


async def _chunk(part: BodyPartReader, clock: UploadDeadline) -> bytes:
    """The next bytes of a part; none at its end. It is never asked for less than a boundary."""
    while not part.at_eof():
        if data := await clock.within(part.read_chunk(READ_BYTES)):
            return bytes(data)
    return b""


class Budget:
    """The bytes that all files of a form may have together."""

    def __init__(self) -> None:
        self.left = MAX_FORM_BYTES

    def spend(self, size: int) -> None:
        """Raises Problem `request_too_large`."""
        self.left -= size
        if self.left < 0:
            told = f"the files have more than {MAX_FORM_BYTES:,} bytes together"
            raise Problem("request_too_large", told)


@contextlib.asynccontextmanager
async def in_turn(slots: asyncio.Semaphore) -> AsyncIterator[None]:
    """A place among the uploads that run. Raises Problem `unavailable`: all are taken."""
    if slots.locked():
        raise Problem("unavailable", "as many uploads run as may")
    async with slots:
        yield
