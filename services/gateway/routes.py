"""Addresses of the gateway: each reads its fields, does one operation, and answers with JSON."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from services.gateway.faces import OPERATIONS, Faces, answer
from services.gateway.models import Request
from services.gateway.problems import KINDS, Problem

BASE: Final = "/api/v1"
FACES: Final = web.AppKey("faces", Faces)
_LISTS: Final = frozenset({"source"})
_TRUE: Final = {"1": True, "true": True, "": True, "0": False, "false": False}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(body: Any, status: int = 200) -> web.Response:
    """JSON, with the letters of every script as they are."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return web.Response(text=text, status=status, content_type="application/json")


def get(operation: str, **in_path: str) -> Handler:
    """A handler of GET: fields from the query and, as `field="part"`, from the address."""

    async def handler(request: web.Request) -> web.Response:
        fields = query_fields(request.query, OPERATIONS[operation].request)
        for field, part in in_path.items():
            fields[field] = request.match_info[part]
        return reply(await answer(request.app[FACES], operation, fields))

    return handler


def post(operation: str) -> Handler:
    """A handler of POST: fields from a JSON object."""

    async def handler(request: web.Request) -> web.Response:
        return reply(await answer(request.app[FACES], operation, await body_fields(request)))

    return handler


async def body_fields(request: web.Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    try:
        data = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        raise Problem("malformed", "the body is not JSON") from None
    if not isinstance(data, dict):
        raise Problem("malformed", "the body is not a JSON object")
    return data


def query_fields(query: Mapping[str, str], model: type[Request]) -> dict[str, Any]:
    """The fields of an address: numbers as text, booleans as 1 or true, lists with commas."""
    fields: dict[str, Any] = {}
    for name, value in query.items():
        field = model.model_fields.get(name)
        if field and "bool" in str(field.annotation):
            if value.lower() not in _TRUE:
                raise Problem("invalid_request", f"{name} is 1 or 0")
            fields[name] = _TRUE[value.lower()]
        elif field and name in _LISTS and "tuple" in str(field.annotation):
            fields[name] = tuple(filter(None, value.split(",")))
        else:
            fields[name] = value
    return fields


async def livez(_: web.Request) -> web.Response:
    """The loop turns."""
    return reply({"live": True})


async def readyz(request: web.Request) -> web.Response:
    """Whether bus, store and model answer; 503 when one does not."""
    body = await answer(request.app[FACES], "checks", {})
    return reply(body, 200 if body["ready"] else 503)


async def problem_page(request: web.Request) -> web.Response:
    """What an error code means and what to do, in plain text."""
    code = request.match_info["code"]
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not_found", f"{code[:80]!r} is no error code")
    lines = [f"{code} ({kind.status})", kind.title, f"What to do: {kind.fix}" if kind.fix else ""]
    return web.Response(text="\n".join(filter(None, lines)) + "\n")


def routes() -> list[web.RouteDef]:
    """Every address."""
    return [
        web.get(f"{BASE}/search", get("search")),
        web.post(f"{BASE}/search", post("search")),
        web.get(f"{BASE}/status", get("status")),
        web.get(f"{BASE}/documents", get("documents")),
        web.get(f"{BASE}/documents/{{name:.+}}", get("document", name="name")),
        web.get(f"{BASE}/receipts/{{receipt}}", get("receipt", receipt="receipt")),
        web.get(f"{BASE}/failures", get("failures")),
        web.post(f"{BASE}/failures/retry", post("retry")),
        web.post(f"{BASE}/failures/drop", post("drop")),
        web.get(f"{BASE}/holds", get("holds")),
        web.post(f"{BASE}/holds/release", post("release")),
        web.post(f"{BASE}/holds/keep", post("keep")),
        web.post(f"{BASE}/validate", post("validate")),
        web.get(f"{BASE}/batches", get("batches")),
        web.get(f"{BASE}/batches/{{batch}}/report", get("report", batch="batch")),
        web.get(f"{BASE}/checks", get("checks")),
        web.get(f"{BASE}/version", get("version")),
        web.get("/livez", livez),
        web.get("/readyz", readyz),
        web.get("/problems/{code}", problem_page),
    ]
