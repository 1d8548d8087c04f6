"""The table of pages: addresses, names in the navigation, and the operation that each asks. Data.

A page needs the scope of its operation, and a key of some sources may see it where it may ask the
operation. Whatever else a page shows, it asks in the same way (`services.gateway.pages.frame.ask`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.operations import OPERATIONS, Route, Scope

_HANDLERS: Final = "services.gateway.pages.handlers:"
_FRAME: Final = "services.gateway.pages.frame:"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """An address that people open, or that a form of a page is sent to."""

    name: str
    place: Route
    asks: str = ""
    """The operation whose scope it needs; empty: it needs no key."""
    handler: str
    """`module:name` of an aiohttp handler."""
    label: str = ""
    """Its name in the navigation; empty: it is not there."""

    @property
    def scope(self) -> Scope:
        """What a key must allow."""
        return OPERATIONS[self.asks].scope if self.asks else "none"

    @property
    def of_sources(self) -> bool:
        """Whether a key of some sources may ask for it."""
        return OPERATIONS[self.asks].of_sources if self.asks else True


def _page(name: str, path: str, asks: str, label: str = "") -> PageRoute:
    place = Route("GET", path, whole=True)
    return PageRoute(name=name, place=place, asks=asks, handler=_HANDLERS + name, label=label)


def _action(name: str, path: str, asks: str) -> PageRoute:
    place = Route("POST", path, whole=True)
    return PageRoute(name=name, place=place, asks=asks, handler=_HANDLERS + name)


def _plain(name: str, path: str, asks: str = "") -> PageRoute:
    place = Route("GET", path, whole=True)
    return PageRoute(name=name, place=place, asks=asks, handler=_FRAME + name)


_SEARCHING: Final = (
    PageRoute(
        name="search",
        place=Route("GET", "/search", whole=True),
        asks="search",
        handler="services.gateway.pages.search.handlers:search",
        label="Search",
    ),
)
_UPLOADING: Final = (
    PageRoute(
        name="upload",
        place=Route("GET", "/upload", whole=True),
        asks="upload_documents",
        handler="services.gateway.pages.upload.handlers:upload",
        label="Upload",
    ),
    PageRoute(
        name="send_upload",
        place=Route("POST", "/upload", whole=True),
        asks="upload_documents",
        handler="services.gateway.pages.upload.handlers:send_upload",
    ),
)

_ROWS: Final = (
    _page("overview", "/", "status", "Overview"),
    _page("documents", "/documents", "documents", "Documents"),
    _page("document", "/documents/{+name}", "document"),
    _page("failures", "/failures", "failures", "Failures"),
    _page("removals", "/removals", "removals", "Removals"),
    _page("sources", "/sources", "sources", "Sources"),
    _page("source", "/sources/{source}", "source"),
    _page("batches", "/batches", "batches", "Batches"),
    _page("batch", "/batches/{+batch}", "report"),
    _action("retry", "/failures/retry", "retry"),
    _action("dismiss", "/failures/dismiss", "dismiss"),
    _action("approve", "/removals/{source}/approve", "approve"),
    _action("reject", "/removals/{source}/reject", "reject"),
    _action("forget", "/sources/{source}/forget", "forget"),
    _action("remove", "/documents/{+name}/remove", "delete_document"),
    _action("compare", "/compare", "generate"),
    _plain("static_file", "/static/{file}"),
    _plain("sign_in", "/sign-in"),
    *_SEARCHING,
    *_UPLOADING,
)

PAGES: Final[Mapping[str, PageRoute]] = {row.name: row for row in _ROWS}
AT: Final[Mapping[tuple[str, str], PageRoute]] = {
    (row.place.method, row.place.address): row for row in _ROWS
}
"""By method and address, with fields as `{field}`."""
