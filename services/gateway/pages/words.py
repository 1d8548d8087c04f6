"""Words of pages: states with a shape and a colour, numbers with their nouns, ages. Pure."""

import html
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

from services.gateway.documents import reasons
from services.gateway.pages import markup
from services.gateway.pages.markup import Markup, text
from services.gateway.views import DocumentLine
from shared.domain.ordering import Reason, State

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


def why(line: DocumentLine) -> str:
    """One sentence that says why a document is in its state."""
    reason = Reason(line.reason.code, line.reason.text) if line.reason else None
    return reasons.why(State(line.state, line.stale, line.stage, reason))


def sentence(value: str) -> str:
    """A clause as a sentence; the name of a command stays as it is."""
    end = "" if value[-1:] in ".!?" else "."
    start = value[:1] if value.startswith("instep ") else value[:1].upper()
    return f"{start}{value[1:]}{end}"


def took(seconds: float | None) -> str:
    """`620 ms`, `9,400 ms`, then as `markup.seconds`."""
    if seconds is None or seconds >= 10:
        return markup.seconds(seconds)
    return f"{1000 * seconds:,.0f} ms"


def instant(at: datetime) -> Markup:
    """A time in UTC to the millisecond, also for machines."""
    utc = at.astimezone(UTC)
    shown = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}"
    return Markup(f'<time datetime="{shown.replace(" ", "T")}Z">{shown} UTC</time>')


DONE: Final[Mapping[str, str]] = {
    "retry": "sent again",
    "dismiss": "dismissed",
    "approve": "taken out of the index",
    "reject": "kept",
    "forget": "taken out of the index",
}
"""What an action has done to documents."""


def notice(query: Mapping[str, str]) -> str:
    """The outcome of the action before, as the address of a page tells it; empty: there was none.

    Args:
        query: its fields `did`, `done` and `skipped`, which anybody may have written.
    """
    did, done, skipped = query.get("did", ""), _count(query, "done"), _count(query, "skipped")
    if did == "remove":
        return "The removal is on its way."
    if did == "compare":
        return "Sources, ledger and index are being compared; what differs is repaired."
    if did not in DONE:
        return ""
    left = f"; {skipped:,} left as they were" if skipped else ""
    return f"{plural(done, 'document')} {DONE[did]}{left}."


def _count(query: Mapping[str, str], name: str) -> int:
    told = query.get(name, "")
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 10 else 0


def raw(value: str | int) -> Markup:
    """A value as it is, for what is sent back in a form or names a place: no comma, nothing spelt
    out, but escaped."""
    return Markup(html.escape(str(value)))


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


def link(path: str, /, **query: str | int | None) -> str:
    """An address of this gateway; absent and empty fields are left out.

    Args:
        path: is quoted; slashes stay.
    """
    fields = {name: value for name, value in query.items() if value not in (None, "")}
    return quote(path) + (f"?{urlencode(fields)}" if fields else "")
