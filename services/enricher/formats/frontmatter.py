"""The YAML block at the head of a Markdown file. Pure."""

import datetime as dt
import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final

import yaml

from services.enricher.formats.blocks import one_line

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata, Scalar

MAX_CHARS: Final = 16 * 1024
MAX_DEPTH: Final = 20
MAX_KEYS: Final = 32
MAX_VALUE_CHARS: Final = 500
_ENDS: Final = ("---", "...")


class _Plain(yaml.SafeLoader):
    """A safe loader that refuses aliases, which grow to gigabytes, and deep nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent) or self._depth > MAX_DEPTH:
            raise yaml.YAMLError("neither aliases nor deep nesting are read")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        # the scanner looks ahead of the composer, over every collection that is open
        if self.flow_level > MAX_DEPTH:
            raise yaml.YAMLError("neither aliases nor deep nesting are read")
        super().fetch_flow_collection_start(TokenClass)


def split(text: str) -> "tuple[Metadata, str]":
    """The scalars of the front matter, and the text below it.

    Any block except a YAML mapping of reasonable size stays text, so nothing is lost.
    """
    lines = _lines(text)
    if not lines:
        return {}, text
    raw = "\n".join(lines[1:-1])
    try:
        loaded = yaml.load(raw, _Plain)
        found = scalars(loaded) if isinstance(loaded, Mapping) else None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        return {}, text
    if found is None:
        return {}, text
    return found, text[sum(len(line) + 1 for line in lines) - 1 :].lstrip("\n")


def length(text: str) -> int:
    """Characters of a text that go to the YAML parser."""
    return sum(len(line) + 1 for line in _lines(text))


def _lines(text: str) -> list[str]:
    """The lines of the block with those that begin and end it; none where there is no block."""
    if not text.startswith("---\n"):
        return []
    lines = text[: MAX_CHARS + 4].split("\n")
    end = next((n for n, line in enumerate(lines[1:], 1) if line in _ENDS), None)
    return [] if end is None else lines[: end + 1]


def scalars(mapping: Mapping[Hashable, Any]) -> "Metadata":
    """Values that fit a row: strings, numbers, booleans, dates as ISO 8601; never lists."""
    found: Metadata = {}
    for key, value in mapping.items():
        name = one_line(str(key), 64)
        if not name or len(found) >= MAX_KEYS:
            continue
        if value is None or isinstance(value, (str, int, float, dt.date)):
            found[name] = _scalar(value)
    return found


def _scalar(value: Any) -> "Scalar":
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return one_line(value, MAX_VALUE_CHARS)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return one_line(hex(value), MAX_VALUE_CHARS)
    return value  # type: ignore[no-any-return]  # None, bool, int or float by now
