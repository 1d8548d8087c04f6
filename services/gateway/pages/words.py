"""Words of pages: states with a shape and a colour, numbers with their nouns, ages. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from services.gateway.pages.markup import Markup, text

_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "searchable": ("good", "✓"),
    "queued": ("soft", "…"),
    "working": ("info", "◐"),
    "inactive": ("soft", "○"),
    "refused": ("warn", "!"),
    "failed": ("bad", "✗"),
    "dropped": ("soft", "□"),
    "removed": ("soft", "◇"),
    "indexed": ("good", "✓"),
}
"""The class and the sign of each state of a document, and outcome of a revision."""


def badge(word: str, stale: bool = False) -> Markup:
    """A state as a word with a shape and a colour."""
    kind, sign = _STATES.get(word, ("soft", "○"))
    shown = sign_of(kind, sign, word)
    return Markup(shown + " " + sign_of("warn", "!", "stale")) if stale else shown


def sign_of(kind: str, sign: str, word: str) -> Markup:
    """A word with a sign before it, which readers of the screen do not hear.

    Args:
        kind: `good`, `info`, `warn`, `bad` or `soft`.
    """
    return Markup(
        f'<span class="badge {kind}"><span aria-hidden="true">{text(sign)}</span> '
        f"{text(word)}</span>"
    )


def plural(count: int, noun: str, more: str = "") -> str:
    """`1 document`, `1,204 documents`; `more` is the plural where it has no s."""
    return f"{count:,} {noun if count == 1 else more or f'{noun}s'}"


def ago(at: datetime, now: datetime) -> str:
    """`just now`, `12 s ago`, `5 min ago`, `3 h ago`, `2 days ago`."""
    passed = (now - at).total_seconds()
    if passed < 1:
        return "just now"
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if passed >= 2 * size:
            return f"{passed / size:,.0f} {unit} ago"
    return f"{passed:.0f} s ago"


def prose(value: str) -> Markup:
    """Text of a document: as `text`, with its line breaks and tabs as they are."""
    parts = value.replace("\r\n", "\n").split("\n")
    return Markup("\n".join("\t".join(map(text, part.split("\t"))) for part in parts))


def link(path: str, **query: str | int | None) -> str:
    """An address of this gateway; absent and empty fields are left out.

    Args:
        path: is quoted; slashes stay.
    """
    fields = {name: value for name, value in query.items() if value not in (None, "")}
    return quote(path) + (f"?{urlencode(fields)}" if fields else "")
