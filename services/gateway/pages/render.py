"""Templates of pages, and the files that they load. Every value is escaped.

A value of a template is shown as `markup.text` shows it: HTML is escaped, and control and
direction characters are spelt out, in text and in attributes.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from services.gateway.models import STATES
from services.gateway.pages import layout, markup, words
from services.gateway.problems import Problem
from shared.domain.formats import in_words

PACKAGE: Final = "services.gateway.pages"
TYPES: Final = {
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
    "forms.css": "text/css",
    "search.css": "text/css",
    "search.js": "text/javascript",
    "upload.css": "text/css",
    "upload.js": "text/javascript",
    "live.js": "text/javascript",
}
"""The files of the folder `static`."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load."""

    body: bytes
    media_type: str
    tag: str
    """A digest of the body: the address of a file changes with it."""


@cache
def asset(name: str) -> Asset:
    """A file of the folder `static`. Raises Problem `not_found`."""
    if name not in TYPES:
        raise Problem("not_found", f"{name[:80]!r} is not a file of the page")
    body = files(PACKAGE).joinpath("static", name).read_bytes()
    if name == "page.css":  # with the style that saved reports have, too
        body = layout.STYLE.encode() + body
    return Asset(body, TYPES[name], sha256(body).hexdigest()[:16])


def asset_link(name: str) -> str:
    """The address of a file, which changes with its content."""
    return f"/static/{name}?v={asset(name).tag}"


@cache
def environment() -> Environment:
    """The templates, each read once."""
    made = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"states": STATES, "link": words.link, "asset": asset_link}
    made.filters |= {
        "name": markup.name,
        "moment": markup.moment,
        "seconds": markup.seconds,
        "plural": words.plural,
        "ago": words.ago,
        "state": words.badge,
        "prose": words.prose,
        "raw": words.raw,
        "sentence": words.sentence,
        "why": words.why,
        "took": words.took,
        "instant": words.instant,
        "in_words": in_words,
    }
    return made


def render(template: str, **values: Any) -> str:
    """A whole page. Pure but for the first reading of its templates."""
    return environment().get_template(template).render(**values)


def _shown(value: Any) -> Any:
    """A value as HTML; what macros and blocks have made is HTML already."""
    return value if hasattr(value, "__html__") else markup.text(value)
