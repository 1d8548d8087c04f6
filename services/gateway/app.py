"""The gateway's web application."""

import asyncio
import difflib
import json
import uuid
from typing import Final

import structlog
from aiohttp import web

from services.gateway.access.requests import check_request
from services.gateway.answers import Faces
from services.gateway.commands import Commands
from services.gateway.decoding import encoded
from services.gateway.events.hub import EventHub
from services.gateway.events.stream import STREAMS, EventStreams
from services.gateway.operations import OPERATIONS
from services.gateway.problems import Problem, problem_of
from services.gateway.queries import Queries
from services.gateway.routes import FACES, REQUEST_ID, Handler, routes
from services.gateway.uploads.handlers import BODIES_AT_ONCE, SLOTS
from services.gateway.uploads.uploads import Uploads
from shared.ports import Results

MAX_BODY_BYTES: Final = 1024**2
KEY: Final[web.AppKey[str | None]] = web.AppKey("key")

HEADERS: Final = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": 'Basic realm="instep"'}}

OPEN: Final = frozenset(
    place.address for row in OPERATIONS.values() if row.scope == "none" for place in row.places
)
"""Addresses that need no key, for supervisors."""

log = structlog.get_logger(__name__)


def build_app(
    queries: Queries,
    commands: Commands,
    *,
    key: str | None = None,
    uploads: Uploads | None = None,
    results: Results | None = None,
) -> web.Application:
    """The application, not yet listening.

    Args:
        key: with it, a request may have any Host; None: requests with a foreign Host are refused.
        results: what listeners to events hear; None: nobody can listen.
    """
    app = web.Application(middlewares=[_errors, _guard], client_max_size=MAX_BODY_BYTES)
    app[FACES] = Faces(queries, commands, uploads)
    app[KEY] = key
    app[SLOTS] = asyncio.Semaphore(BODIES_AT_ONCE)
    if results is not None:
        app[STREAMS] = streams = EventStreams(EventHub(results))
        app.on_shutdown.append(streams.close)
    app.add_routes(routes())
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path not in OPEN or request.app[KEY] is None:
        check_request(request.method, request.headers, request.app[KEY])
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as a problem; give every answer a Request-Id."""
    request_id = request[REQUEST_ID] = _request_id(request.headers.get("Request-Id", ""))
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = _problem(_of_http(error, request), request_id)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    except Exception as error:  # the edge: the client gets an answer to every error
        problem = problem_of(error)
        if problem.code == "internal_error":
            log.exception("request_failed", code=problem.code, request_id=request_id)
        elif problem.kind.status >= 500:
            log.warning(
                "request_failed", code=problem.code, request_id=request_id, reason=str(error)
            )
        response = _problem(problem, request_id)
    response.headers["Request-Id"] = request_id
    return response


def _request_id(given: str) -> str:
    return given if given.isascii() and given.isalnum() and len(given) <= 64 else uuid.uuid4().hex


def _problem(problem: Problem, request_id: str) -> web.Response:
    headers = {**HEADERS.get(problem.kind.status, {}), **problem.headers}
    return web.Response(
        body=encoded(json.dumps(problem.body(request_id), ensure_ascii=False)),
        status=problem.kind.status,
        content_type="application/problem+json",
        charset="utf-8",
        headers=headers,
    )


def refused(status: int) -> web.Response:
    """The answer to bytes other than an HTTP request, and where no handler could answer."""
    request_id = _request_id("")
    problem = Problem("internal_error", "the log has the details")
    if status == 400:
        problem = Problem("not_http", "the bytes sent are not HTTP")
    response = _problem(problem, request_id)
    response.headers["Request-Id"] = request_id
    return response


def _of_http(error: web.HTTPException, request: web.Request) -> Problem:
    if error.status == 404:
        return Problem("not_found", f"{request.path[:200]} is not an address{_near(request.path)}")
    if error.status == 405:
        return Problem("method_not_allowed", f"{request.method} is not possible here")
    if error.status == 413:
        return Problem("request_too_large", "the body is larger than 1 MiB")
    return Problem("invalid_request", error.reason)


def _near(path: str) -> str:
    known = [place.address for row in OPERATIONS.values() for place in row.places]
    near = difflib.get_close_matches(path, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
