"""The gateway's web application."""

import asyncio
import difflib
import json
import uuid
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from services.gateway.access.access import NOBODY, Principal
from services.gateway.access.bearer import NONE_NEEDED, Credentials, access_of
from services.gateway.access.limited import limited
from services.gateway.access.manage import AccessCommands
from services.gateway.access.requests import check_host, check_site
from services.gateway.answers import Faces, Guarded, allow
from services.gateway.commands import Commands
from services.gateway.decoding import encoded
from services.gateway.events.hub import EventHub
from services.gateway.events.stream import STREAMS, EventStreams
from services.gateway.operations import OPERATIONS
from services.gateway.pages.frame import is_for_people, page_of, page_routes, problem_page
from services.gateway.pages.table import PAGES
from services.gateway.problems import Problem, problem_of
from services.gateway.queries import Queries
from services.gateway.routes import (
    ACCESS,
    ASK_AGAIN,
    FACES,
    READINESS,
    REQUEST_ID,
    AskAgain,
    Handler,
    Readiness,
    operation_of,
    routes,
)
from services.gateway.uploads.handlers import BODIES_AT_ONCE, SLOTS
from services.gateway.uploads.uploads import Uploads
from services.gateway.webhooks.webhooks import Webhooks
from shared.ports import Results

MAX_BODY_BYTES: Final = 1024**2
KNOWN: Final = web.AppKey("known", Credentials)
WHOLE: Final = web.AppKey("whole", Faces)
"""The whole instance; a request has the part that its sender may see (`FACES`)."""


log = structlog.get_logger(__name__)


def build_app(
    queries: Queries,
    commands: Commands,
    *,
    known: Credentials = NONE_NEEDED,
    uploads: Uploads | None = None,
    results: Results | None = None,
    webhooks: Webhooks | None = None,
) -> web.Application:
    """The application, not yet listening.

    Args:
        known: what requests must show; by default nothing, and a foreign Host is refused.
        results: what listeners to events hear; None: nobody can listen.
    """
    app = web.Application(middlewares=[_errors, _guard], client_max_size=MAX_BODY_BYTES)
    access = AccessCommands(known.keys, known.sessions)
    app[WHOLE] = Faces(queries, commands, uploads, access, webhooks or Webhooks())
    app[KNOWN] = known
    app[READINESS] = Readiness()
    app[SLOTS] = asyncio.Semaphore(BODIES_AT_ONCE)
    if results is not None:
        app[STREAMS] = streams = EventStreams(EventHub(results))
        app.on_shutdown.append(streams.close)
    app.add_routes(routes())
    app.add_routes(page_routes())
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request pass that its sender may make, or raise Problem.

    Every route is a row of the table of operations or of that of pages; any other is refused.
    """
    access = await _access_of(request)
    again: AskAgain = partial(_access_of, request)
    request[ACCESS], request[ASK_AGAIN] = access, again
    request[FACES] = limited(request.app[WHOLE], access)
    return await handler(request)


async def _access_of(request: web.Request) -> Principal:
    """What the sender of a request may do, now. Raises Problem: not this."""
    known = request.app[KNOWN]
    row: Guarded | None = operation_of(request) or page_of(request)
    # to sign in needs a key, of any scope
    is_open = row is not None and row.scope == "none" and row is not PAGES["sign_in"]
    access = NOBODY
    if not (is_open and known.are_asked_for):
        access = await _by_cookie(request, known) or await access_of(
            request.headers.get("Authorization", ""), known
        )
        if not known.any_host:
            check_host(request.headers)
        check_site(request.method, request.headers)
    request[ACCESS] = access  # for the navigation of a page that refuses
    if row is not None:
        allow(access, row)
    elif request.match_info.http_exception is None:
        raise Problem("forbidden", "this address is in no table")
    return access


async def _by_cookie(request: web.Request, known: Credentials) -> Principal | None:
    """What a browser may do by its session; a key that is shown goes before it."""
    if known.sessions is None or "Authorization" in request.headers:
        return None
    access = known.sessions.access(request.cookies, request.headers)
    if access is None or access.key is None or known.keys is None:
        return access
    return access if await known.keys.is_open(access.key) else None


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as a problem; give every answer a Request-Id."""
    request_id = request[REQUEST_ID] = _request_id(request.headers.get("Request-Id", ""))
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = _refusal(request, _of_http(error, request), request_id)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    except Exception as error:  # the edge: the client gets an answer to every error
        problem = problem_of(error)
        if isinstance(error, ConnectionResetError) and request.transport is None:
            problem = Problem(
                "request_timeout", "the client has gone away before its body was there"
            )
        if problem.code == "internal_error":
            log.exception("request_failed", code=problem.code, request_id=request_id)
        elif problem.kind.status >= 500:
            log.warning(
                "request_failed", code=problem.code, request_id=request_id, reason=str(error)
            )
        response = _refusal(request, problem, request_id)
    response.headers["Request-Id"] = request_id
    return response


def _refusal(request: web.Request, problem: Problem, request_id: str) -> web.Response:
    """A page for people, JSON for programs."""
    for_people, status = is_for_people(request), problem.kind.status
    if for_people:
        response = problem_page(request, problem, request_id)
    else:
        response = _problem(problem, request_id)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _challenge(request, for_people=for_people)
    response.headers.update(problem.headers)
    return response


def _challenge(request: web.Request, *, for_people: bool) -> str:
    """Basic only where a browser shall ask the person for the key.

    It would ask before it shows a page that says what to do, and each time that a script asks.
    """
    asks = (
        page_of(request) is PAGES["sign_in"]
        if for_people
        else request.headers.get("Sec-Fetch-Dest", "document") == "document"
    )
    return f'{"Basic" if asks else "Bearer"} realm="instep"'


def _request_id(given: str) -> str:
    return given if given.isascii() and given.isalnum() and len(given) <= 64 else uuid.uuid4().hex


def _problem(problem: Problem, request_id: str) -> web.Response:
    return web.Response(
        body=encoded(json.dumps(problem.body(request_id), ensure_ascii=False)),
        status=problem.kind.status,
        content_type="application/problem+json",
        charset="utf-8",
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
