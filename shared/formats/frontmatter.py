"""The YAML or TOML block at the head of a Markdown file. Pure."""

import datetime as dt
import math
import re
import tomllib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from shared.domain.metadata import stored_name
from shared.formats.blocks import clean, one_line

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata, Scalar

MAX_CHARS: Final = 16 * 1024
MAX_DEPTH: Final = 20
MAX_KEYS: Final = 32
MAX_VALUE_CHARS: Final = 500
_MAX_NAME_CHARS: Final = 64
_ENDS: Final = {
    "---\n": re.compile(r"^(?:---|\.\.\.)$", re.MULTILINE),
    "+++\n": re.compile(r"^\+\+\+$", re.MULTILINE),
}
"""The line that ends a block, by the one that begins it."""
_KEY = re.compile(r"(?:#.*\n)*+[\"']?\w[^:\n]*:(?:\s|$)")
"""How a block begins that is meant as YAML; between two rules of Markdown may be anything."""


@dataclass(frozen=True, slots=True)
class Front:
    """The front matter of a document, and the document below it."""

    body: str
    title: str = ""
    """In one line of any length."""
    metadata: "Metadata" = field(default_factory=dict)
    text: str = ""
    """Values that metadata have no room for, one a line; or the whole block, if it is broken."""


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


def _number(loader: _Plain, node: yaml.ScalarNode) -> "Scalar":
    """An integer; `12:30` and `007` stay as they are, which YAML 1.1 takes for 750 and 7."""
    digits = node.value.lstrip("+-")
    if ":" in digits or (digits[0] == "0" and digits.isdecimal() and digits != "0"):
        return str(node.value)
    return int(loader.construct_yaml_int(node))


_Plain.add_constructor("tag:yaml.org,2002:int", _number)


def split(text: str) -> Front:
    """The front matter of a clean text.

    A block that is no YAML or TOML mapping of reasonable size stays text, so nothing is lost.
    """
    end = _end(text)
    if end is None:
        return Front(text)
    raw, body = text[4 : end.start()].rstrip("\n"), text[end.end() :].lstrip("\n")
    try:
        loaded = _loaded(raw, is_toml=text[0] == "+")
        if isinstance(loaded, Mapping):
            return _front(loaded, body)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        if text[0] == "+" or (_KEY.match(raw) and (len(raw) <= MAX_CHARS or "\n\n" not in raw)):
            return Front(body, text=raw)
    return Front(text)


def length(text: str) -> int:
    """Characters of a text that go to the parser of YAML or TOML."""
    end = _end(text)
    return 0 if end is None else end.end()


def _end(text: str) -> re.Match[str] | None:
    """The line that ends the block; None where there is no block."""
    ends = _ENDS.get(text[:4])
    return None if ends is None else ends.search(text, 4)


def _loaded(raw: str, *, is_toml: bool) -> Any:
    if len(raw) > MAX_CHARS:
        raise ValueError
    return tomllib.loads(raw) if is_toml else yaml.load(raw, _Plain)


def _front(mapping: Mapping[Hashable, Any], body: str) -> Front:
    written = {key: value for key, value in mapping.items() if str(key).casefold() != "title"}
    title = " ".join(_flat(mapping[key]) for key in mapping if key not in written)
    metadata, rest = fields(written)
    return Front(body, title, metadata, "\n".join(rest))


def fields(mapping: Mapping[Hashable, Any]) -> "tuple[Metadata, list[str]]":
    """Metadata, and lines of text for what does not fit there.

    Values are strings, numbers, booleans, dates as ISO 8601; lists and mappings become text.
    """
    found: Metadata = {}
    rest: list[str] = []
    for key, value in mapping.items():
        written = _flat(key)
        name = stored_name(written)
        name = written if name in found else name
        fits = 0 < len(name) <= _MAX_NAME_CHARS and name not in found and len(found) < MAX_KEYS
        scalar = _scalar(value)
        if fits:
            found[name] = scalar
        if not fits or (isinstance(scalar, str) and scalar != _flat(value)):
            rest.append(f"{written}: {_flat(value)}")
    return found, rest


def _scalar(value: Any) -> "Scalar":
    is_finite = not isinstance(value, float) or math.isfinite(value)
    is_short = not isinstance(value, int) or -(2**63) <= value < 2**63
    if value is None or (isinstance(value, (int, float)) and is_finite and is_short):
        return value
    return one_line(_flat(value), MAX_VALUE_CHARS)


def _flat(value: Any) -> str:
    """The value as one line of text."""
    return " ".join(clean(_text(value)).split())


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(key)}: {_text(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple, set)):
        return ", ".join(map(_text, value))
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return hex(value)
    return "" if value is None else str(value)
