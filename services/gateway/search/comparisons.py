"""One comparison of a filter: a name, an operator, values. Pure.

A day as a date means all of it: `at:2026-01-31` is any moment of the day, `at>2026-01-31` any after
it, `at<=2026-01-31` any up to its end.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from shared.domain.filters.kinds import (
    FieldKind,
    Scalar,
    boolean_of,
    fits,
    keyword_of,
    moments_of,
    number_of,
    seen,
)
from shared.domain.filters.where import (
    AnyOf,
    BelowPath,
    HasField,
    InSources,
    IsBetween,
    IsOneOf,
    NoneOf,
    Where,
)

Fields = Mapping[str, FieldKind]
"""The declared fields, by name."""
Operator = Literal["in", "lt", "lte", "gt", "gte", "exists", "prefix"]
MOST_PARTS: Final = 200
"""Values that a filter compares."""
DEEPEST: Final = 16
"""Parentheses, or objects of JSON, within each other."""
SHOWN: Final = 80
"""Characters of a value that a message repeats."""
TOLD: Final = 8
"""Declared fields that a message names."""


@dataclass
class FilterFault(Exception):
    """What is wrong, and how to put it right if that is no matter of course."""

    said: str
    fix: str = ""


def compared(fields: Fields, name: str, operator: Operator, values: Sequence[Scalar]) -> Where:
    """The expression for a comparison with one of the values.

    Raises FilterFault.
    """
    if name == "source":
        return InSources(_texts(name, operator, "in", values))
    if name == "path":
        prefixes = _texts(name, operator, "prefix", values)
        parts = tuple(map(BelowPath, prefixes))
        return parts[0] if len(parts) == 1 else AnyOf(parts)
    kind = fields.get(name)
    if kind is None:
        raise undeclared(fields, name)
    if operator == "exists":
        return _exists(name, kind, values)
    if operator == "prefix":
        raise FilterFault(f"prefix is for path, and {name} is a {kind}")
    if kind in ("keyword", "keywords", "boolean"):
        if operator != "in":
            raise FilterFault(f"{name} is a {kind}; < and > compare numbers and dates")
        return _is_one_of(name, kind, values)
    ordered: Literal["number", "date"] = "number" if kind == "number" else "date"
    ranges = tuple(_range(name, ordered, operator, value) for value in values)
    return ranges[0] if len(ranges) == 1 else AnyOf(ranges)


def unfit(metadata: Mapping[str, Scalar], fields: Fields) -> dict[str, str]:
    """The kinds of the fields whose values in the metadata do not fit them."""
    visible = seen(metadata)
    return {
        name: fields[name]
        for name, value in metadata.items()
        if name in fields and value is not None and not fits(fields[name], visible.get(name))
    }


def undeclared(fields: Fields, name: str) -> FilterFault:
    """Says that a filter has no such field, which ones there are, and how to declare it."""
    known = ["source", "path", *sorted(fields)]
    near = difflib.get_close_matches(name[:SHOWN], known, n=1)
    some = ", ".join(known[:TOLD]) + (", …" if len(known) > TOLD else "")
    told = f"did you mean {near[0]}?" if near else f"fields are {some}"
    return FilterFault(
        f"{name[:SHOWN]!r} is not a field to filter by; {told}",
        f'declare it in the settings, as {name[:SHOWN]} = "keyword" below [sources.NAME.fields], '
        "and start instep again"
        if not near
        else "",
    )


def _texts(name: str, found: str, wanted: str, values: Sequence[Scalar]) -> tuple[str, ...]:
    if found != wanted:
        raise FilterFault(f"{name} is compared by {wanted} only")
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) < len(values):
        raise FilterFault(f"{name} is a text")
    return texts


def _exists(name: str, kind: FieldKind, values: Sequence[Scalar]) -> Where:
    if len(values) != 1 or not isinstance(values[0], bool):
        raise FilterFault("exists is true or false")
    held = HasField(name, kind)
    return held if values[0] else NoneOf(held)


def _is_one_of(
    name: str, kind: Literal["keyword", "keywords", "boolean"], values: Sequence[Scalar]
) -> Where:
    wanted: list[str] = []
    for value in values:
        given = boolean_of(value) if kind == "boolean" else value
        word = keyword_of(given)
        if word is None:
            what = "true nor false" if kind == "boolean" else "a text nor a number"
            raise FilterFault(f"{name} is a {kind}, and {_shown(value)} is neither {what}")
        wanted.append(word)
    return IsOneOf(name, kind, tuple(wanted))


def _range(
    name: str, kind: Literal["number", "date"], operator: Operator, value: Scalar
) -> IsBetween:
    if kind == "number":
        number = number_of(value)
        if number is None:
            raise FilterFault(f"{name} is a number, and {_shown(value)} is none")
        below, above = math.nextafter(number, -math.inf), math.nextafter(number, math.inf)
        return _between(name, kind, operator, (below, number, number, above))
    moments = moments_of(value) if isinstance(value, str) else None
    if moments is None:
        raise FilterFault(
            f"{name} is a date, and {_shown(value)} is none",
            "write 2026-01-31 or 2026-01-31T12:00:00Z",
        )
    first, last = moments
    return _between(name, kind, operator, (first - 1, first, last, last + 1))


def _between(
    name: str,
    kind: Literal["number", "date"],
    operator: Operator,
    places: tuple[float, float, float, float],
) -> IsBetween:
    """places: the last value below, the first and last one that are equal, the first one above."""
    below, first, last, above = places
    low, high = {
        "in": (first, last),
        "lt": (None, below),
        "lte": (None, last),
        "gt": (above, None),
        "gte": (first, None),
    }[operator]
    return IsBetween(name, kind, low, high)


def _shown(value: Scalar) -> str:
    return repr(value if isinstance(value, bool | None) else str(value)[:SHOWN])
