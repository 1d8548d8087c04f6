"""JSON and JSON Lines to blocks: every key and value, a record of a list in a block of its own.

Numbers stay as they are written, and keys that are given twice stay. What is no JSON is read as
text, and so is what is nested deeper than the parser goes.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from shared.formats import source
from shared.formats.blocks import Content, clean
from shared.formats.data.tree import Line, blocks_of

_CONSTANTS: Final = {True: "true", False: "false", None: "null"}


class _Pairs(list[tuple[str, Any]]):
    """An object with all its keys."""


class _Raw(str):
    """A line that is no JSON."""

    __slots__ = ()


def read(text: str) -> Content:
    """Read a document, or a record a line."""
    try:
        value = _loaded(text)
    except ValueError:
        value = _records(text)
    if value is None:
        return source.read(text)
    return Content("", {}, blocks_of(list(_lines(value))))


def _loaded(text: str) -> Any:
    """The value. Raises ValueError."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_Pairs,
            parse_int=str,
            parse_float=str,
            parse_constant=str,
            strict=False,
        )
    except RecursionError:
        raise ValueError from None
    return _CONSTANTS[value] if value in (True, False, None) else value


def _records(text: str) -> list[Any] | None:
    """A value a line; None where the first line is no record."""
    found: list[Any] = []
    for line in filter(str.strip, text.split("\n")):
        try:
            found.append(_loaded(line))
        except ValueError:
            found.append(_Raw(line))
        if not isinstance(found[0], list):
            return None
    return found


def _lines(value: Any) -> Iterator[Line]:
    waiting: list[tuple[int, str, Any]] = [(0, "", value)]
    while waiting:
        depth, name, value = waiting.pop()
        label = f"{name}:" if name else ""
        if not isinstance(value, list):
            yield Line(depth, f"{label} {_shown(value)}".strip())
        elif not isinstance(value, _Pairs) and not any(isinstance(v, list) for v in value):
            yield Line(depth, f"{label} {', '.join(map(_shown, value))}".strip())
        else:
            yield Line(depth, label, True, name)
            pairs = value if isinstance(value, _Pairs) else [("", one) for one in value]
            waiting += [(depth + 1, _shown(key), one) for key, one in reversed(pairs)]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else _CONSTANTS[value]
    return text if text.isascii() and text.isprintable() else clean(text)
