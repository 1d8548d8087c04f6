"""What all pages have in common: who may ask what, the frame around the content, and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from services.gateway.access.access import Principal
from services.gateway.access.sessions import SESSION_S
from services.gateway.answers import allow, done, may, request_of
from services.gateway.operations import HTML, OPERATIONS, resolve
from services.gateway.pages.layout import wants_html
from services.gateway.pages.render import asset, render
from services.gateway.pages.table import AT, PAGES, PageRoute
from services.gateway.pages.words import link
from services.gateway.problems import Problem
from services.gateway.routes import ACCESS, ANY, FACES, fields_in

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # with no-referrer, browsers send `Origin: null` with the forms of a page, as foreign ones do
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a template knows of its surroundings."""

    here: str
    """The name of the page in the table, or that of the list that it belongs to."""
    access: Principal

    @property
    def links(self) -> list[tuple[str, str, bool]]:
        """The navigation: address, label, and whether it is this page."""
        return [
            (row.place.address, row.label, row.name == self.here)
            for row in PAGES.values()
            if row.label and may(self.access, row)
        ]

    def may(self, operation: str) -> bool:
        """Whether an action of the page would be done."""
        return may(self.access, OPERATIONS[operation])


async def ask(request: web.Request, operation: str, /, **fields: Any) -> Any:
    """The answer to an operation, as the sender of the request may see it: a model.

    Raises:
        Problem: the sender may not ask it, the fields do not fit, or the answer is no.
    """
    allow(request[ACCESS], OPERATIONS[operation])
    return await done(request[FACES], operation, fields)


def show(request: web.Request, template: str, here: str, /, **values: Any) -> web.Response:
    """A page around a template."""
    frame = Frame(here, request[ACCESS])
    return html_page(render(template, frame=frame, **values))


def html_page(text: str, status: int = 200) -> web.Response:
    """HTML with the headers that all pages have."""
    return web.Response(text=text, status=status, content_type=HTML, headers=HEADERS)


def page_of(request: web.Request) -> PageRoute | None:
    """The page of the table that a request asks for; None: it asks for none."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return AT.get((method, resource.canonical)) if resource is not None else None


def is_for_people(request: web.Request) -> bool:
    """Whether errors are told as a page: to browsers, of addresses beside the interface."""
    accept = request.headers.get("Accept", "")
    return not request.path.startswith("/api/") and wants_html("", accept)


def problem_page(request: web.Request, problem: Problem, request_id: str) -> web.Response:
    """A problem as a page."""
    access = request.get(ACCESS)
    frame = Frame("", access) if access is not None else None
    body, again = problem.body(request_id), request.method == "GET"
    text = render("problem.html", frame=frame, problem=body, again=again)
    return html_page(text, problem.kind.status)


async def sign_in(request: web.Request) -> web.Response:
    """Go to the first page that the key opens; a browser has asked for the key before."""
    links = Frame("", request[ACCESS]).links
    if not links:
        raise Problem("forbidden", "this key opens no page", "instep keys create --scope read")
    return go_on(links[0][0])


async def static_file(request: web.Request) -> web.Response:
    """A file that pages load; the address with its digest is good for ever."""
    found = asset(request.match_info["file"])
    headers = {
        "Cache-Control": FOR_EVER if request.query.get("v") == found.tag else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    known = any(one.value == found.tag for one in request.if_none_match or ())
    response = (
        web.Response(status=304, headers=headers)
        if known
        else web.Response(
            body=found.body, content_type=found.media_type, charset="utf-8", headers=headers
        )
    )
    response.etag = found.tag
    return response


async def enter(request: web.Request) -> web.Response:
    """Exchange the token of a link for a session; go on to the overview, without it."""
    row = OPERATIONS["enter"]
    wanted = request_of(row, await fields_in(request, row, row.place))
    response = html_page(render("enter.html"))
    response.headers["Referrer-Policy"] = "no-referrer"
    sessions = request[FACES].access.sessions
    if wanted.once and sessions is not None and request.method != "HEAD":
        response.set_cookie(
            sessions.cookie,
            sessions.enter(wanted.once),
            max_age=SESSION_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
    return response


def page_routes() -> list[web.RouteDef]:
    """Every page, in the order of the table."""
    return [_route(row) for row in PAGES.values()]


def _route(row: PageRoute) -> web.RouteDef:
    path, handler = row.place.pattern(ANY), resolve(row.handler)
    return web.get(path, handler) if row.place.method == "GET" else web.post(path, handler)


def go_on(path: str, /, **query: str | int | None) -> web.Response:
    """After an action, another page: to load it again repeats nothing."""
    return web.Response(status=303, headers={"Location": link(path, **query), **HEADERS})
