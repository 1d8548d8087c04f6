"""Handlers of uploads: each reads its body piece by piece, and answers when all is accepted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, TypeVar

from aiohttp import BodyPartReader, web

from services.gateway.answers import request_of
from services.gateway.decoding import fields_of as request_fields
from services.gateway.models import Request
from services.gateway.operations import CSV, NDJSON, OPERATIONS
from services.gateway.problems import KINDS, Problem, problem_of
from services.gateway.routes import FACES, fields_in, reply
from services.gateway.uploads.answer_lines import answer_lines
from services.gateway.uploads.bodies import (
    MAX_BODY_BYTES,
    FormBody,
    in_turn,
    lines,
    names_of,
    reader,
    whole,
)
from services.gateway.uploads.lines import (
    FIELDS,
    OURS,
    SUBMISSION,
    checked,
    conditional,
    media_type_of,
    message_id,
    of_line,
    path_of,
    refuse_fields,
    revision_of,
    too_long,
)
from services.gateway.uploads.many import (
    Item,
    ManyDocuments,
    Spool,
    Tell,
    UploadOutcome,
    Where,
    send,
    spooled,
)
from services.gateway.uploads.models import (
    BulkRequest,
    DeleteAnswer,
    DeleteRequest,
    UploadAnswer,
    UploadLine,
    UploadRequest,
    UploadsAnswer,
    UploadsRequest,
)
from services.gateway.uploads.table import TableColumns, columns_of, path_in, rows, submission_of
from services.gateway.uploads.uploads import Sending, Uploads, accepted, problem_of_refusal
from shared.domain.errors import DocumentRefused
from shared.domain.ids import check_document_path
from shared.domain.submissions import LARGEST_BYTES, PIECE_BYTES, check_fields, fields_of

R = TypeVar("R", bound=Request)

LINES: Final = (NDJSON, "application/ndjson", "application/jsonl")
FORM: Final = "multipart/form-data"
MOST_FILES: Final = 10_000
INLINE_BYTES: Final = 16 * 1024**2
"""Contents of a form that wait in memory for its end; further ones are stored as pieces."""
BODIES_AT_ONCE: Final = 4
"""Bodies of lines, and forms: each has a share of memory, and of the place for temporary files."""
OF_FILES: Final = frozenset({*OURS, "op", "text", "data_base64", "chunks", "ref"})
"""Fields that `meta` must not have: the file tells them."""
Refuse = Callable[[Where, str, Problem], None]
SLOTS: Final[web.AppKey[asyncio.Semaphore]] = web.AppKey("upload_slots")


async def put(request: web.Request) -> web.Response:
    """A document, as it is or as the fields of a submission."""
    asked = await _request(request, "put_document", UploadRequest)
    uploads = _uploads(request)
    revision, key = _conditions(request, asked.source)
    check_plain(request)
    if "Content-Range" in request.headers:
        raise Problem("malformed", "Content-Range: send the whole document", "do not resume a PUT")
    await uploads.check(asked.source)
    path = _path(asked.path)
    joined = ""
    kind = request.headers.get("Content-Type", "")
    bare = kind.partition(";")[0].strip().lower()
    if bare.startswith("multipart/"):
        raise Problem("format_not_supported", "send the document itself; a form goes to POST")
    if bare == SUBMISSION:
        fields = _submission(await whole(reader(request), LARGEST_BYTES))
    else:
        fields, joined = await uploads.content(asked.source, path, reader(request))
        fields |= media_type_of(path, kind)
    try:
        body = checked(conditional({"path": path, **fields}, revision))
    except DocumentRefused as error:
        raise problem_of_refusal(error) from None
    return await _one(uploads, asked, body, key, joined)


async def delete(request: web.Request) -> web.Response:
    """One document leaves the index."""
    asked = await _request(request, "delete_document", UploadRequest)
    uploads = _uploads(request)
    revision, key = _conditions(request, asked.source)
    await uploads.check(asked.source)
    body = conditional({"op": "delete", "path": _path(asked.path)}, revision)
    return await _one(uploads, asked, body, key)


async def _one(
    uploads: Uploads,
    asked: UploadRequest,
    body: Mapping[str, Any],
    key: str | None,
    joined: str = "",
) -> web.Response:
    answer = await _sent(uploads, asked, body, key, joined)
    response = reply(answer.model_dump(mode="json"), 200 if answer.final else 202)
    response.headers["Location"] = f"/api/v1/receipts/{answer.receipt}"
    response.headers["ETag"] = f'"{answer.document.revision}"'
    return response


async def remove(uploads: Uploads, source: str, path: str) -> UploadAnswer:
    """Delete a document, as `delete` does for a request.

    Raises:
        Problem: the source is watched, or does not take it.
    """
    await uploads.check(source)
    asked = UploadRequest(source=source, path=path)
    return await _sent(uploads, asked, {"op": "delete", "path": _path(path)}, None)


async def _sent(
    uploads: Uploads,
    asked: UploadRequest,
    body: Mapping[str, Any],
    key: str | None,
    joined: str = "",
) -> UploadAnswer:
    receipt = accepted(
        await uploads.once(asked.source, body, key, Sending(joined)),
        versioned=body.get("source_version") is not None,
        conditional="if_revision" in body,
    )
    return await uploads.answer(receipt, asked.wait)


async def post_lines(request: web.Request) -> web.StreamResponse:
    """Lines of JSON, each a submission, or rows of a table, as one batch."""
    asked = await _request(request, "bulk", BulkRequest)
    uploads = _uploads(request)
    key = _key(request, asked.source)
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in (*LINES, CSV):
        raise Problem(
            "format_not_supported", f"send lines of JSON as {NDJSON}, or a table as {CSV}"
        )
    await uploads.check(asked.source)
    outcome = UploadOutcome()
    async with in_turn(request.app[SLOTS]):
        with spooled(asked.source) as spool:
            refuse = spool.refuse if asked.receipts else outcome.refuse
            if kind == CSV:
                await _take_table(request, asked, spool, refuse)
            else:
                async for number, line in lines(reader(request, MAX_BODY_BYTES)):
                    _take_line(spool, refuse, number, line)
            if not spool.size and not outcome.refused:
                raise Problem("invalid_request", "the body has no lines")
            many = spool.documents()

            async def sending(tell: Tell | None = None) -> str:
                return await send(uploads, asked.source, many, outcome, key, tell)

            if asked.receipts:
                return await answer_lines(request, spool.refusals(), sending)
            batch = await sending()
    return _many(outcome, outcome.answer(batch))


async def _take_table(
    request: web.Request, asked: BulkRequest, spool: Spool, refuse: Refuse
) -> None:
    """Take the rows of a table. They are sent when all of it is there."""
    columns: TableColumns | None = None
    async for number, cells in rows(reader(request, MAX_BODY_BYTES)):
        if columns is None:
            columns = columns_of(cells, asked.path_column, asked.text_column)
            continue
        where = Where(line=number)
        try:
            spool.add(where, submission_of(columns, cells))
        except DocumentRefused as error:
            refuse(where, path_in(columns, cells), problem_of_refusal(error))
        await asyncio.sleep(0)  # a table that is there already must not hold the event loop


def _take_line(spool: Spool, refuse: Refuse, number: int, line: bytes | None) -> None:
    where = Where(line=number)
    if line is None:
        refuse(where, "", problem_of_refusal(too_long()))
        return
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        spool.add(where, of_line(line))
    except DocumentRefused as error:
        refuse(where, path_of(line), problem_of_refusal(error))


async def post_files(request: web.Request) -> web.StreamResponse:
    """Files of a form, as one batch."""
    asked = await _request(request, "upload_documents", UploadsRequest)
    uploads = _uploads(request)
    key = _key(request, asked.source)
    if request.content_type != FORM:
        raise Problem("format_not_supported", f"send the files as {FORM}")
    check_plain(request)
    await uploads.check(asked.source)
    outcome = UploadOutcome()
    if asked.receipts:
        outcome.most_errors = MOST_FILES
    async with in_turn(request.app[SLOTS]):
        form, body = FormFiles(uploads, asked.source, outcome), FormBody(request)
        await form.read(body, body.parts())
        items = await form.items()
        if not items and not outcome.refused:
            raise Problem("invalid_request", "the form has no files")
        many = ManyDocuments(lambda: items, sum("batch" not in body for _, body in items))

        async def sending(tell: Tell | None = None) -> str:
            return await send(uploads, asked.source, many, outcome, key, tell)

        if asked.receipts:
            refused = [
                UploadLine(**error.model_dump(), status=KINDS[error.code].status)
                for error in outcome.errors
            ]
            return await answer_lines(request, refused, sending)
        batch = await sending()
    return _many(outcome, outcome.answer(batch))


class FormFiles:
    """The files of a form, and what its field `meta` says about them."""

    def __init__(self, uploads: Uploads, source: str, outcome: UploadOutcome) -> None:
        self._uploads, self._source, self._outcome = uploads, source, outcome
        self._files: dict[str, dict[str, Any]] = {}
        self._meta: dict[str, Any] | None = None
        self._inline = INLINE_BYTES
        self._seen = 0

    async def read(self, body: FormBody, parts: AsyncIterator[BodyPartReader]) -> None:
        """Take the parts of a form, or those that are left of it."""
        async for part in parts:
            read = body.reader(part)
            name, file = names_of(part)
            if file is None and name == "meta":
                if self._meta is not None:
                    raise Problem("invalid_request", "meta: the form has more than one")
                self._meta = request_fields(await whole(read, 1024**2))
                continue
            if file is None:
                raise Problem("invalid_request", "a part of the form has no file name")
            self._seen += 1
            if self._seen > MOST_FILES:
                raise Problem("request_too_large", f"more than {MOST_FILES:,} files in one form")
            await self._file(file, part.headers.get("Content-Type", ""), read)

    async def _file(self, name: str, kind: str, read: Any) -> None:
        try:
            path = _path(name)
            if name in self._files:
                raise Problem("invalid_request", "another file of the form has the same name")
            inline = PIECE_BYTES if self._inline > 0 else -1
            fields, _ = await self._uploads.content(self._source, path, read, inline=inline)
        except Problem as problem:
            if problem.code in ("request_timeout", "malformed", "request_too_large"):
                raise
            if problem.kind.status >= 500:
                raise
            self._outcome.refuse(Where(file=name), name, problem)
            return
        self._inline -= len(fields.get("text") or fields.get("data_base64") or "")
        self._files[name] = fields | media_type_of(path, kind)

    async def items(self) -> list[Item]:
        """The files as submissions. Raises Problem: `meta` names a file that is not there."""
        seen = {*self._files, *(error.file for error in self._outcome.errors)}
        meta = self._meta or {}
        missing = next((name for name in meta if name not in seen), None)
        if missing is not None:
            raise Problem("invalid_request", f"meta: the form has no file {missing[:200]!r}")
        found: list[Item] = []
        for name, fields in self._files.items():
            told = meta.get(name, {})
            await asyncio.sleep(0)  # files that are there already must not hold the event loop
            try:
                if not isinstance(told, dict):
                    raise DocumentRefused("invalid_request", "meta: must be an object by file name")
                refuse_fields(told, OF_FILES)
                body = conditional({"path": name, **fields, **told}, told.get("if_revision"))
                check_fields(body)
                found.append((Where(file=name), checked({**body, "path": _path(body["path"])})))
            except DocumentRefused as error:
                self._outcome.refuse(Where(file=name), name, problem_of_refusal(error))
            except Problem as problem:
                self._outcome.refuse(Where(file=name), name, problem)
        return self._different(found)

    def _different(self, items: list[Item]) -> list[Item]:
        """Without those that name a document that one before names."""
        paths: set[str] = set()
        found: list[Item] = []
        for where, body in items:
            if body["path"] in paths:
                told = "another file of the form is the same document"
                self._outcome.refuse(where, body["path"], Problem("invalid_request", told))
                continue
            paths.add(body["path"])
            found.append((where, body))
        return found


async def delete_many(request: web.Request) -> web.Response:
    """Documents leave the index: those that are named, or all below a prefix."""
    asked = await _request(request, "delete_documents", DeleteRequest)
    uploads = _uploads(request)
    key = _key(request, asked.source)
    paths, remaining = await uploads.named(asked)
    outcome, items = UploadOutcome(), dict[str, Item]()
    for n, given in enumerate(paths, 1):
        try:
            path = _path(given)
        except Problem as problem:
            outcome.refuse(Where(line=n), given, problem)
        else:
            items[path] = (Where(line=n), {"op": "delete", "path": path})
    batch = ""
    if items and not asked.dry_run:
        many = ManyDocuments(items.values, len(items))
        batch = await send(uploads, asked.source, many, outcome, key)
    answer = DeleteAnswer(
        **outcome.answer(batch).model_dump(),
        matched=len(paths),
        remaining=remaining,
        dry_run=asked.dry_run,
    )
    return _many(outcome, answer)


def _many(outcome: UploadOutcome, answer: UploadsAnswer) -> web.Response:
    """All were taken, some, or none: the status says which."""
    if not outcome.accepted and outcome.stopped is not None:
        raise outcome.stopped
    body = answer.model_dump(mode="json")
    if outcome.status != 422:
        return reply(body, outcome.status)
    body["errors"] = [
        {"at": f"/{error['line'] or error['file']}", **error} for error in body["errors"]
    ]
    told = f"none of {outcome.refused:,} documents was taken"
    raise Problem("all_refused", told, fault_count=outcome.refused, more=body)


def check_plain(request: web.Request) -> None:
    """Refuse a compressed document: the HTTP server does not tell that one was cut off."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise Problem("format_not_supported", "send documents without Content-Encoding")


def _uploads(request: web.Request) -> Uploads:
    uploads = request[FACES].uploads
    if uploads is None:
        raise Problem("unavailable", "this gateway takes no documents")
    return uploads


async def _request(request: web.Request, name: str, kind: type[R]) -> R:
    row = OPERATIONS[name]
    found = request_of(row, await fields_in(request, row, row.place))
    assert isinstance(found, kind)
    return found


def _conditions(request: web.Request, source: str) -> tuple[int | None, str | None]:
    """The revision that the document shall have, and the name of the message."""
    headers = request.headers
    revision = revision_of(headers.get("If-Match"), headers.get("If-None-Match"))
    key = _key(request, source)
    return revision, None if key is None else message_id(source, key)


def _key(request: web.Request, source: str) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None:
        message_id(source, key)  # refuses one that is none
    return key


def _path(given: str) -> str:
    try:
        return check_document_path(given)
    except DocumentRefused as error:
        raise problem_of(error) from None


def _submission(data: bytes) -> dict[str, Any]:
    """The fields of a submission, whose path the address tells."""
    try:
        body = fields_of(data)
        refuse_fields(body, FIELDS)
        check_fields({"path": "x", **body})
    except DocumentRefused as error:
        raise problem_of_refusal(error) from None
    return body
