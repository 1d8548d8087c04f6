"""The terms of a row, by which every store filters metadata, and those of a comparison. Pure.

A store keeps one column of terms beside the row and knows nothing of kinds, declarations and
ranges: a comparison is true where the row has one of a few terms.

    {"lang": "en", "price": 12.5}  ->  klang  klang:en  llang  llang:en  kprice  …  nprice:c029…
    lang is en                     ->  klang:en
    price < 20                     ->  the beginnings of numbers below 20: nprice:0 … nprice:c033

A number has a term for each beginning of its 16 hexadecimal digits, so a range is covered by at
most 15 terms a digit at each end. A row has the terms of every kind that its values fit: what a
declaration says of a field changes no row.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from shared.domain.filters.kinds import (
    Scalar,
    boolean_of,
    keyword_of,
    keywords_of,
    moment_of,
    number_of,
    seen,
)
from shared.domain.filters.where import HasField, IsBetween, IsOneOf

VERSION: Final = 1
"""Counts changes of the terms that `terms_of` makes; each has a column of its own."""
NAMED: Final = "terms_"
COLUMN: Final = f"{NAMED}{VERSION}"
LONGEST: Final = 120
"""Characters of a part of a term; a longer one is written as its digest."""
DIGITS: Final = 16
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.~-]")
"""All but the characters that `quote` leaves."""
_LETTER: Final = {"keyword": "k", "keywords": "l", "number": "n", "date": "d", "boolean": "b"}
_BEFORE_TIME: Final = 2**50
"""Added to a moment, which may lie a day before the year 1."""


def terms_of(metadata: Mapping[str, Scalar]) -> list[str]:
    """Those of a row: ASCII without blanks and wildcards, each once, in order."""
    found: set[str] = set()
    for name, value in seen(metadata).items():
        if value is not None:
            found.update(_terms_of(_safe(name), value))
    return sorted(found)


def terms_for(leaf: IsOneOf | IsBetween | HasField) -> tuple[str, ...]:
    """Those of which a row has one where the comparison is true; at least one."""
    head = _LETTER[leaf.kind] + _safe(leaf.field)
    if isinstance(leaf, IsOneOf):
        return tuple(dict.fromkeys(f"{head}:{_safe(value)}" for value in leaf.values))
    if isinstance(leaf, HasField):
        return (head,)
    low = 0 if leaf.low is None else _place(leaf.kind, leaf.low)
    high = 16**DIGITS - 1 if leaf.high is None else _place(leaf.kind, leaf.high)
    return tuple(f"{head}:{digits}" if digits else head for digits in covering(low, high))


def _terms_of(name: str, value: Scalar) -> Iterator[str]:
    if (word := keyword_of(value)) is not None:
        yield f"k{name}"
        yield f"k{name}:{_safe(word)}"
    if words := keywords_of(value):
        yield f"l{name}"
        yield from (f"l{name}:{_safe(word)}" for word in words)
    if (flag := boolean_of(value)) is not None:
        yield f"b{name}"
        yield f"b{name}:{str(flag).lower()}"
    if (number := number_of(value)) is not None:
        yield from _beginnings(f"n{name}", _place("number", number))
    if (moment := moment_of(value)) is not None:
        yield from _beginnings(f"d{name}", _place("date", moment))


def _beginnings(head: str, place: int) -> list[str]:
    longest = f"{head}:{place:0{DIGITS}x}"
    return [head, *(longest[:end] for end in range(len(longest) - DIGITS + 1, len(longest) + 1))]


def covering(low: int, high: int) -> Iterator[str]:
    """The fewest beginnings of hexadecimal numbers that all from `low` to `high` have, and no
    other. From 0 to 16**DIGITS - 1; the empty one covers all."""
    for length in range(DIGITS, -1, -1):
        while low <= high and (low % 16 or not length):
            yield _digits(low, length)
            low += 1
        while low <= high and high % 16 != 15:
            yield _digits(high, length)
            high -= 1
        if low > high:
            return
        low, high = low // 16, high // 16


def _digits(value: int, length: int) -> str:
    return f"{value:0{length}x}" if length else ""


def _place(kind: str, value: float) -> int:
    """The number or moment as a whole number of 64 bits that is greater when it is."""
    if kind == "date":
        return int(value) + _BEFORE_TIME
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # there is one zero
    return int(bits ^ (2**64 - 1)) if bits >> 63 else int(bits | 1 << 63)


def _safe(text: str) -> str:
    """The text in ASCII, without anything that a store could read as more than a letter."""
    if len(text) <= LONGEST and not _UNSAFE.search(text):
        return text
    found = quote(text, safe="", errors="surrogatepass")
    if len(found) <= LONGEST:
        return found
    return "#" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
