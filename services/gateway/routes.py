"""Handlers of the gateway: each reads its fields, does one operation, and answers with JSON."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from time import monotonic
from typing import Any, Final

from aiohttp import web

from services.gateway.access.access import Principal
from services.gateway.answers import Faces, answer, request_of
from services.gateway.decoding import encoded, fields_of
from services.gateway.models import BatchesRequest, Request
from services.gateway.openapi import text as openapi_text
from services.gateway.operations import HTML, JSON, OPERATIONS, TEXT, Operation, Route, resolve
from services.gateway.pages.history import history_page
from services.gateway.pages.layout import POLICY, wants_html
from services.gateway.pages.report import report_page
from services.gateway.problems import KINDS, Problem
from services.host.http_server import CLIENT_S
from shared.batches.reports import BatchReport

READY_S: Final = 1.0
"""How long an answer to `/readyz` is given again."""
TREND: Final = 30
"""Batches before a report that its page shows."""
ANY: Final = r"[\s\S]+"
"""A part of an address: slashes and line breaks are letters of it."""
FACES: Final = web.RequestKey("faces", Faces)
"""The instance as far as the sender of a request may see it."""
ACCESS: Final = web.RequestKey("access", Principal)
"""What the sender of a request may do."""
AskAgain = Callable[[], Awaitable[Principal]]
"""What the sender of a request may do by now. Raises as the request itself would be refused."""
ASK_AGAIN: Final[web.RequestKey[AskAgain]] = web.RequestKey("ask_again")
"""For answers that go on for long."""
REQUEST_ID: Final = web.RequestKey("request_id", str)
"""Where a request has the id of its answer, for answers that send their headers themselves."""
_LISTS: Final = frozenset({"source", "facets"})
_TRUE: Final = {"1": True, "true": True, "": True, "0": False, "false": False}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(body: Any, status: int = 200) -> web.Response:
    """JSON, with the letters of every script as they are."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return web.Response(body=encoded(text), status=status, content_type=JSON, charset="utf-8")


def ordinary(operation: Operation, place: Route) -> Handler:
    """The handler of an operation: fields of address, query and JSON; JSON as the answer."""

    async def handler(request: web.Request) -> web.Response:
        fields = await fields_in(request, operation, place)
        body = await answer(request[FACES], operation.name, fields)
        response = reply(body, operation.status)
        return unless_known(request, body, response) if operation.conditional else response

    return handler


def unless_known(
    request: web.Request, body: Mapping[str, Any], response: web.Response
) -> web.Response:
    """The answer with its ETag; 304 without a body if the client has it already.

    The tag is the sequence of the newest change and a digest of the answer: while a change is
    worked on, the answer changes and the sequence does not.
    """
    known = body.get("newest") or body.get("pending") or body.get("served") or {}
    assert isinstance(response.body, bytes), "made by reply"
    tag = f"{known.get('sequence', 0)}-{sha256(response.body).hexdigest()[:16]}"
    if any(one.value in (tag, "*") for one in request.if_none_match or ()):
        response = web.Response(status=304)
    response.etag = tag
    return response


async def fields_in(request: web.Request, operation: Operation, place: Route) -> dict[str, Any]:
    """The fields of a request, wherever they are.

    Raises:
        Problem: `unknown_field`: a field of the address is given again.
    """
    if operation.fields_in_json(place):
        fields = await body_fields(request)
    else:
        fields = query_fields(request.query, resolve(operation.request))
    for name in place.parameters:
        if name in fields:
            raise Problem("unknown_field", f"{name}: the address holds it already")
        fields[name] = request.match_info[name]
    return fields


async def body_fields(request: web.Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    return fields_of(await whole_body(request))


async def whole_body(request: web.Request) -> bytes:
    """A body of at most 1 MiB. Raises Problem."""
    try:
        async with asyncio.timeout(CLIENT_S):
            return await request.read()
    except web.RequestPayloadError:
        raise Problem("malformed", "the body cannot be decompressed") from None
    except TimeoutError:
        raise Problem("request_timeout", f"the body did not come within {CLIENT_S:g} s") from None


def query_fields(query: Mapping[str, str], model: type[Request]) -> dict[str, Any]:
    """The fields of an address: numbers as text, booleans as 1 or true, lists with commas."""
    fields: dict[str, Any] = {}
    for name, value in query.items():
        field = model.model_fields.get(name)
        if field and "bool" in str(field.annotation):
            if value.lower() not in _TRUE:
                raise Problem("invalid_request", f"{name}: must be 1 or 0")
            fields[name] = _TRUE[value.lower()]
        elif field and name in _LISTS and "tuple" in str(field.annotation):
            fields[name] = tuple(filter(None, value.split(",")))
        else:
            fields[name] = value
    return fields


async def report(request: web.Request) -> web.Response:
    """The report of a batch as JSON, or as a page (`format=html`, or a browser asks)."""
    row = OPERATIONS["report"]
    fields = await fields_in(request, row, row.place)
    body = await answer(request[FACES], "report", fields)
    if not wants_html(fields.get("format", ""), request.headers.get("Accept", "")):
        return reply(body)
    found = BatchReport.model_validate(body)
    near = {"source": found.batch.source, "limit": TREND}
    before = await request[FACES].queries.batches(BatchesRequest.model_validate(near))
    return page(report_page(found, before.batches))


async def reports(request: web.Request) -> web.Response:
    """The last batches and validations as a page."""
    row = OPERATIONS["reports"]
    wanted = request_of(row, await fields_in(request, row, row.place))
    queries = request[FACES].queries
    lines = (await queries.batches(wanted)).batches
    verdicts = BatchesRequest.model_validate({"source": wanted.source, "limit": 50})
    validations = (await queries.validations(verdicts)).validations
    return page(history_page(lines, validations, wanted.source))


def page(text: str) -> web.Response:
    """A page that is for reading only."""
    headers = {
        "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
    }
    return web.Response(text=text, content_type=HTML, headers=headers)


class Readiness:
    """The last answer to `/readyz`, which anybody may ask as often as they like."""

    def __init__(self) -> None:
        self._asked_at = 0.0
        self._answer: asyncio.Task[dict[str, Any]] | None = None

    async def of(self, shown: Faces) -> Mapping[str, Any]:
        """The answer; it is at most READY_S old, or is being made."""
        task = self._answer
        if task is None or (task.done() and monotonic() - self._asked_at >= READY_S):
            self._asked_at = monotonic()
            task = self._answer = asyncio.create_task(answer(shown, "checks", {}), name="readyz")
        return await asyncio.shield(task)


READINESS: Final = web.AppKey("readiness", Readiness)


async def livez(_: web.Request) -> web.Response:
    """Whether the event loop runs."""
    return reply({"live": True})


async def readyz(request: web.Request) -> web.Response:
    """Whether bus, store and model answer; 503 when one does not."""
    body = await request.app[READINESS].of(request[FACES])
    return reply(body, 200 if body["ready"] else 503)


async def openapi(_: web.Request) -> web.Response:
    """The OpenAPI document; to make it takes a moment, once."""
    text = await asyncio.to_thread(openapi_text)
    return web.Response(text=text, content_type=JSON)


async def problem_page(request: web.Request) -> web.Response:
    """The meaning and the fix of an error code, in plain text."""
    code = request.match_info["code"]
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not_found", f"{code[:80]!r} is not an error code")
    lines = [f"{code} ({kind.status})", kind.title, f"What to do: {kind.fix}" if kind.fix else ""]
    return web.Response(text="\n".join(filter(None, lines)) + "\n", content_type=TEXT)


_AT: Final[Mapping[tuple[str, str], Operation]] = {
    (place.method, place.address): row
    for row in OPERATIONS.values()
    for place in (*row.places, *row.aliases)
}


def operation_of(request: web.Request) -> Operation | None:
    """The operation of the table that a request asks for; None: it asks for none."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return _AT.get((method, resource.canonical)) if resource is not None else None


def routes() -> list[web.RouteDef]:
    """Every address, in the order of the table."""
    return [
        _route(operation, place)
        for operation in OPERATIONS.values()
        for place in (*operation.places, *operation.aliases)
    ]


def _route(operation: Operation, place: Route) -> web.RouteDef:
    path = place.pattern(ANY)
    handler = resolve(operation.handler) if operation.handler else ordinary(operation, place)
    return (
        web.get(path, handler) if place.method == "GET" else web.route(place.method, path, handler)
    )
