"""The page that takes files: a form, and what became of each file of it.

With scripts a browser sends files to the interface itself and follows their receipts there.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import BodyPartReader, web

from services.gateway.answers import may
from services.gateway.operations import OPERATIONS
from services.gateway.pages.frame import ask, show
from services.gateway.problems import Problem, problem_of
from services.gateway.routes import ACCESS, FACES
from services.gateway.uploads.bodies import FormBody, in_turn, names_of, whole
from services.gateway.uploads.handlers import FORM, MOST_FILES, SLOTS, FormFiles, check_plain
from services.gateway.uploads.many import ManyDocuments, UploadOutcome, send
from services.gateway.uploads.models import UploadLine
from services.gateway.uploads.uploads import Uploads
from services.gateway.views import ReceiptAnswer
from shared.domain.errors import InstepError

PUSHED: Final = "push"
"""The kind of sources that take documents."""
FIRST: Final = "inbox"
"""The source that a form proposes where there is none."""
WAIT_S: Final = 10.0
"""How long the answer waits until all files are searchable or have failed."""
ASKED_AT_ONCE: Final = 16
NAME_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of the form: why it was not taken, or its receipt with the outcome so far."""

    name: str
    doc_key: str = ""
    refusal: str = ""
    receipt: ReceiptAnswer | None = None


@dataclass(frozen=True, slots=True)
class SentForm:
    """What became of a form."""

    source: str
    batch: str
    files: Sequence[SentFile]


async def upload(request: web.Request) -> web.Response:
    """The form."""
    return await _shown(request, request.query.get("source", ""))


async def send_upload(request: web.Request) -> web.Response:
    """Take the files of the form, and tell what became of each.

    What is wrong with the form is told at its field.
    """
    if request.content_type != FORM:
        raise Problem("format_not_supported", f"send the files as {FORM}")
    check_plain(request)
    body, source = FormBody(request), ""
    parts = body.parts()
    try:
        source = await _source(body, parts)
        sent = await _sent(request, source, body, parts)
    except InstepError as error:
        problem = problem_of(error)
        if problem.code in ("forbidden", "malformed", "request_timeout"):
            raise
        place = "source" if problem.code in ("invalid_request", "source_watched") else "file"
        place = "file" if "file" in problem.detail else place
        return await _shown(request, source, faults={place: problem.detail})
    return await _shown(request, source, sent=sent)


async def _source(body: FormBody, parts: AsyncIterator[BodyPartReader]) -> str:
    """The source that the form names, before its files. Raises Problem: it names none."""
    part = await anext(parts, None)
    if part is None or names_of(part) != ("source", None):
        raise Problem("malformed", "the form must begin with the field source")
    try:
        return (await whole(body.reader(part), NAME_BYTES)).decode().strip()
    except UnicodeDecodeError:
        raise Problem("not_unicode", "source: not UTF-8") from None


async def _sent(
    request: web.Request, source: str, body: FormBody, parts: AsyncIterator[BodyPartReader]
) -> SentForm:
    uploads = _uploads(request)
    await uploads.check(source)
    outcome, lines = UploadOutcome(most_errors=MOST_FILES), list[UploadLine]()

    async def tell(line: UploadLine) -> None:
        lines.append(line)

    async with in_turn(request.app[SLOTS]):
        form = FormFiles(uploads, source, outcome)
        await form.read(body, _chosen(parts))
        items = await form.items()
        if not items and not outcome.refused:
            raise Problem("invalid_request", "choose at least one file")
        many = ManyDocuments(lambda: items, len(items))
        refused = [SentFile(one.path, refusal=one.detail) for one in outcome.errors]
        batch = await send(uploads, source, many, outcome, None, tell)
    if outcome.stopped is not None and not outcome.accepted:
        raise outcome.stopped
    taken = await _followed(request, sorted(lines, key=lambda line: line.path))
    return SentForm(source, batch, [*refused, *taken])


async def _chosen(parts: AsyncIterator[BodyPartReader]) -> AsyncIterator[BodyPartReader]:
    """Without the part that browsers send where no file is chosen."""
    async for part in parts:
        if names_of(part)[1] != "":
            yield part


async def _followed(request: web.Request, lines: Sequence[UploadLine]) -> list[SentFile]:
    """The files with their outcomes, as far as they have one within WAIT_S."""
    until, slots = time.monotonic() + WAIT_S, asyncio.Semaphore(ASKED_AT_ONCE)
    may_ask = may(request[ACCESS], OPERATIONS["receipt"])

    async def one(line: UploadLine) -> SentFile:
        key = line.document.doc_key if line.document else ""
        if line.code is not None or line.receipt is None:
            return SentFile(line.path, key, line.detail or line.code or "")
        if not may_ask:
            return SentFile(line.path, key)
        async with slots:
            wait = round(max(0.0, until - time.monotonic()), 3)
            try:
                found = await ask(request, "receipt", receipt=line.receipt, wait=wait)
            except InstepError:  # it is taken all the same
                found = None
        return SentFile(line.path, key, receipt=found)

    return list(await asyncio.gather(*map(one, lines)))


async def _shown(
    request: web.Request,
    source: str,
    *,
    sent: SentForm | None = None,
    faults: dict[str, str] | None = None,
) -> web.Response:
    known = await _sources(request)
    return show(
        request,
        "upload.html",
        "upload",
        source=source or next(iter(known), FIRST),
        sources=known,
        sent=sent,
        faults=faults or {},
        may_follow=may(request[ACCESS], OPERATIONS["receipt"]),
    )


async def _sources(request: web.Request) -> list[str]:
    """The names of sources that take documents, as far as the sender may know them."""
    if not may(request[ACCESS], OPERATIONS["sources"]):
        return []
    try:
        known: Any = await ask(request, "sources")
    except InstepError:
        return []
    return [one.name for one in known.sources if one.kind == PUSHED]


def _uploads(request: web.Request) -> Uploads:
    uploads = request[FACES].uploads
    if uploads is None:
        raise Problem("unavailable", "this gateway takes no documents")
    return uploads
