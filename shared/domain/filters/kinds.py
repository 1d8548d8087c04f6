"""The kinds of fields that filters compare, and what a value of the metadata is to each. Pure.

A value that does not fit a kind counts as missing. So does null.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, get_args

from shared.domain.metadata import CONTEXT, ORIGINS
from shared.domain.text.unicode_text import normalised

Scalar = str | int | float | bool | None
FieldKind = Literal["keyword", "keywords", "number", "date", "boolean"]
KINDS: Final[tuple[FieldKind, ...]] = get_args(FieldKind)
RESERVED: Final = frozenset({"source", "path", "and", "or", "not"})
"""Names with a meaning of their own in a filter."""
MOST_FIELDS: Final = 256
"""Names of the metadata of a document that a filter sees, the first in their order."""
MOST_LISTED: Final = 4_000
"""Characters of a text that is read as a list of keywords."""
MICROSECOND: Final = timedelta(microseconds=1)

_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,4})?"
)
_MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,12})?)?) ?"
    r"([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_NAME: Final = re.compile(r"[^\s\"():<>=-][^\s\"():<>=]{0,199}")


def fault_of_name(name: str) -> str:
    """Why a field cannot have this name; empty: it can."""
    if name in RESERVED:
        return f"{name} has a meaning of its own in a filter"
    if name in (ORIGINS, CONTEXT) or not _NAME.fullmatch(name):
        return "a field has no blanks, quotes, brackets, :, <, > or =, and no - in front"
    return ""


def seen(metadata: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The metadata that a filter sees."""
    own = {name: value for name, value in metadata.items() if name not in (ORIGINS, CONTEXT)}
    if len(own) <= MOST_FIELDS:
        return own
    return {name: own[name] for name in sorted(own)[:MOST_FIELDS]}


def keyword_of(value: Scalar) -> str | None:
    """Any value as one word: true and false, numbers as Python writes them, a text as it is."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return normalised(value)
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return None


def keywords_of(value: Scalar) -> frozenset[str]:
    """The words between the commas of a text; of any other value, it as one word."""
    word = keyword_of(value)
    if word is None or len(word) > MOST_LISTED:
        return frozenset()
    return frozenset(filter(None, map(str.strip, word.split(","))))


def number_of(value: Scalar) -> float | None:
    """As a 64-bit float, which has 15 digits; never infinite. A text may spell a number."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _NUMBER.fullmatch(text) else None
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None  # there is one zero


def boolean_of(value: Scalar) -> bool | None:
    """True and false, also as a text or as 1 and 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return {0: False, 1: True}.get(value)
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().casefold())
    return None


def moment_of(value: Scalar) -> int | None:
    """The first moment of `moments_of`."""
    found = moments_of(value) if isinstance(value, str) else None
    return None if found is None else found[0]


def moments_of(text: str) -> tuple[int, int] | None:
    """The first and the last microsecond of a day, or twice that of a time of day; None: neither.

    ISO 8601, in microseconds since the year 1 in UTC; without a zone UTC is meant.
    """
    found = _MOMENT.fullmatch(text.strip())
    return _moments(found[1], found[2] or "", found[3] or "") if found else None


@lru_cache(maxsize=1024)
def _moments(day: str, time: str, zone: str) -> tuple[int, int] | None:
    try:
        at = datetime.fromisoformat(f"{day} {time or '00:00'}")
    except ValueError:
        return None
    since = (at - datetime.min) // MICROSECOND
    if not time:
        return since, since + timedelta(days=1) // MICROSECOND - 1
    since -= _offset(zone) // MICROSECOND  # may lie before the year 1
    return since, since


def _offset(zone: str) -> timedelta:
    if zone in ("", "Z", "z"):
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


def fits(kind: FieldKind, value: Scalar) -> bool:
    """Whether a filter on a field of this kind sees the value."""
    if kind == "keyword":
        return keyword_of(value) is not None
    if kind == "keywords":
        return bool(keywords_of(value))
    if kind == "number":
        return number_of(value) is not None
    if kind == "date":
        return moment_of(value) is not None
    return boolean_of(value) is not None
