"""Addresses of the gateway: each reads its fields, does one operation, and answers with JSON."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from services.gateway.decoding import encoded, fields_of
from services.gateway.models import BatchesRequest, Request
from services.gateway.operations import OPERATIONS, Faces, answer
from services.gateway.pages.history import history_page
from services.gateway.pages.layout import POLICY, wants_html
from services.gateway.pages.report import report_page
from services.gateway.problems import KINDS, Problem
from services.gateway.views import BatchesAnswer
from services.host.http_server import CLIENT_S
from shared.batches.reports import BatchReport

BASE: Final = "/api/v1"
TREND: Final = 30
"""Batches before a report that its page shows."""
ANY: Final = r"[\s\S]+"
"""A part of an address: slashes and line breaks are letters of it."""
FACES: Final = web.AppKey("faces", Faces)
_LISTS: Final = frozenset({"source"})
_TRUE: Final = {"1": True, "true": True, "": True, "0": False, "false": False}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(body: Any, status: int = 200) -> web.Response:
    """JSON, with the letters of every script as they are."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return web.Response(
        body=encoded(text), status=status, content_type="application/json", charset="utf-8"
    )


def get(operation: str, **in_path: str) -> Handler:
    """A handler of GET: fields from the query and, as `field="part"`, from the address."""

    async def handler(request: web.Request) -> web.Response:
        fields = query_fields(request.query, OPERATIONS[operation].request)
        for field, part in in_path.items():
            fields[field] = request.match_info[part]
        return reply(await answer(request.app[FACES], operation, fields))

    return handler


def post(operation: str, status: int = 200) -> Handler:
    """A handler of POST: fields from a JSON object."""

    async def handler(request: web.Request) -> web.Response:
        fields = await body_fields(request)
        return reply(await answer(request.app[FACES], operation, fields), status)

    return handler


async def body_fields(request: web.Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    try:
        async with asyncio.timeout(CLIENT_S):
            body = await request.read()
    except web.RequestPayloadError:
        raise Problem("malformed", "the body cannot be decompressed") from None
    except TimeoutError:
        raise Problem("request_timeout", f"the body did not come within {CLIENT_S:g} s") from None
    return fields_of(body)


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
    fields = {"batch": request.match_info["batch"], **_without_format(request)}
    body = await answer(request.app[FACES], "report", fields)
    if not _is_page(request):
        return reply(body)
    found = BatchReport.model_validate(body)
    near = {"source": found.batch.source, "limit": TREND}
    before = await request.app[FACES].queries.batches(BatchesRequest.model_validate(near))
    return page(report_page(found, before.batches))


async def reports(request: web.Request) -> web.Response:
    """The last batches and validations as a page."""
    fields = query_fields(_without_format(request), BatchesRequest)
    queries = request.app[FACES].queries
    listed = await answer(request.app[FACES], "batches", fields)
    lines = BatchesAnswer.model_validate(listed).batches
    wanted = BatchesRequest.model_validate({"source": fields.get("source", ""), "limit": 50})
    validations = (await queries.validations(wanted)).validations
    return page(history_page(lines, validations, wanted.source))


def page(text: str) -> web.Response:
    """A page that is for reading only."""
    headers = {
        "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
    }
    return web.Response(text=text, content_type="text/html", headers=headers)


def _without_format(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.query.items() if name != "format"}


def _is_page(request: web.Request) -> bool:
    form = request.query.get("format", "")
    if form not in ("", "html", "json"):
        raise Problem("invalid_request", f"format is html or json, not {form[:80]!r}")
    return wants_html(form, request.headers.get("Accept", ""))


async def livez(_: web.Request) -> web.Response:
    """Whether the event loop runs."""
    return reply({"live": True})


async def readyz(request: web.Request) -> web.Response:
    """Whether bus, store and model answer; 503 when one does not."""
    body = await answer(request.app[FACES], "checks", {})
    return reply(body, 200 if body["ready"] else 503)


async def problem_page(request: web.Request) -> web.Response:
    """The meaning and the fix of an error code, in plain text."""
    code = request.match_info["code"]
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not_found", f"{code[:80]!r} is not an error code")
    lines = [f"{code} ({kind.status})", kind.title, f"What to do: {kind.fix}" if kind.fix else ""]
    return web.Response(text="\n".join(filter(None, lines)) + "\n")


def routes() -> list[web.RouteDef]:
    """Every address."""
    return [
        web.get(f"{BASE}/search", get("search")),
        web.post(f"{BASE}/search", post("search")),
        web.get(f"{BASE}/status", get("status")),
        web.get(f"{BASE}/documents", get("documents")),
        web.get(f"{BASE}/documents/{{name:{ANY}}}", get("document", name="name")),
        web.get(f"{BASE}/left-out", get("left_out")),
        web.get(f"{BASE}/receipts/{{receipt}}", get("receipt", receipt="receipt")),
        web.get(f"{BASE}/failures", get("failures")),
        web.post(f"{BASE}/failures/retry", post("retry")),
        web.post(f"{BASE}/failures/drop", post("drop")),
        web.get(f"{BASE}/holds", get("holds")),
        web.post(f"{BASE}/holds/release", post("release")),
        web.post(f"{BASE}/holds/keep", post("keep")),
        web.post(f"{BASE}/sources/forget", post("forget")),
        web.post(f"{BASE}/validate", post("validate")),
        web.post(f"{BASE}/sweep", post("sweep")),
        web.post("/api/tasks/generate-embeddings", post("generate", status=202)),
        web.get(f"{BASE}/batches", get("batches")),
        web.get(f"{BASE}/batches/{{batch:{ANY}}}/report", report),
        web.get(f"{BASE}/reports", reports),
        web.get(f"{BASE}/validations", get("validations")),
        web.get(f"{BASE}/checks", get("checks")),
        web.get(f"{BASE}/version", get("version")),
        web.get("/livez", livez),
        web.get("/readyz", readyz),
        web.get("/problems/{code}", problem_page),
    ]
