"""The expression of a filter, and whether it admits a row. Pure.

A comparison with a field that is missing, or whose value does not fit the kind, is false; so its
negation is true.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from shared.domain.filters.kinds import (
    FieldKind,
    Scalar,
    boolean_of,
    fits,
    keyword_of,
    keywords_of,
    moment_of,
    number_of,
    seen,
)


@dataclass(frozen=True, slots=True)
class InSources:
    """Rows of one of these sources."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BelowPath:
    """Rows whose path begins like this."""

    prefix: str


@dataclass(frozen=True, slots=True)
class IsOneOf:
    """Rows whose field has one of these values, as `keyword_of` gives them, or `true`, `false`."""

    field: str
    kind: Literal["keyword", "keywords", "boolean"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IsBetween:
    """Rows whose field lies between these, both included; None: without a bound.

    Numbers as `number_of` gives them, moments as `moment_of` does.
    """

    field: str
    kind: Literal["number", "date"]
    low: float | int | None = None
    high: float | int | None = None


@dataclass(frozen=True, slots=True)
class HasField:
    """Rows with a value of this kind in the field."""

    field: str
    kind: FieldKind


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: "tuple[Where, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: "tuple[Where, ...]"


@dataclass(frozen=True, slots=True)
class NoneOf:
    part: "Where"


Leaf = InSources | BelowPath | IsOneOf | IsBetween | HasField
Where = Leaf | AllOf | AnyOf | NoneOf
T = TypeVar("T")


def admits(where: Where, source: str, path: str, metadata: Mapping[str, Scalar]) -> bool:
    """Whether a row passes."""
    visible = seen(metadata)

    def passes(leaf: Leaf) -> bool:
        if isinstance(leaf, InSources):
            return source in leaf.names
        if isinstance(leaf, BelowPath):
            return path.startswith(leaf.prefix)
        return _compares(leaf, visible.get(leaf.field))

    return folded(where, passes, all, any, lambda one: not one)


def folded(
    where: Where,
    of_leaf: Callable[[Leaf], T],
    of_all: Callable[[list[T]], T],
    of_any: Callable[[list[T]], T],
    of_none: Callable[[T], T],
) -> T:
    """The expression in other words, as a store's own filter."""

    def fold(one: Where) -> T:
        if isinstance(one, AllOf):
            return of_all(list(map(fold, one.parts)))
        if isinstance(one, AnyOf):
            return of_any(list(map(fold, one.parts)))
        if isinstance(one, NoneOf):
            return of_none(fold(one.part))
        return of_leaf(one)

    return fold(where)


def possible(where: Where) -> Where | bool:
    """The expression without parts that every row passes, or none; True, False: all of it is one.

    Ranges of one field that hold together are one range. Rows hold valid Unicode; a lone surrogate
    is in none of their sources and paths.
    """
    return folded(where, _possible_leaf, _all_of, _any_of, _none_of)


def reads_fields(where: Where | None) -> bool:
    """Whether it compares metadata."""
    if where is None:
        return False
    return folded(where, lambda one: not isinstance(one, InSources | BelowPath), any, any, bool)


def _compares(leaf: IsOneOf | IsBetween | HasField, value: Scalar) -> bool:
    if isinstance(leaf, HasField):
        return fits(leaf.kind, value)
    if isinstance(leaf, IsBetween):
        at = number_of(value) if leaf.kind == "number" else moment_of(value)
        if at is None:
            return False
        return (leaf.low is None or leaf.low <= at) and (leaf.high is None or at <= leaf.high)
    if leaf.kind == "keywords":
        return not keywords_of(value).isdisjoint(leaf.values)
    if leaf.kind == "boolean":
        value = boolean_of(value)
    return keyword_of(value) in leaf.values


def _possible_leaf(leaf: Leaf) -> Where | bool:
    if isinstance(leaf, InSources):
        names = tuple(dict.fromkeys(filter(is_unicode, leaf.names)))
        return InSources(names) if names else False
    if isinstance(leaf, BelowPath):
        return is_unicode(leaf.prefix) and (leaf if leaf.prefix else True)
    if isinstance(leaf, IsOneOf):
        return leaf if leaf.values else False
    return not _is_empty(leaf) and leaf if isinstance(leaf, IsBetween) else leaf


def without_exclusions(where: Where) -> Where | bool:
    """An expression that admits the same rows and those that `NoneOf` leaves out, as `possible`."""
    return folded(where, _possible_leaf, _all_of, _any_of, lambda _: True)


def _all_of(parts: list[Where | bool]) -> Where | bool:
    left = tuple(_with_joined_ranges(part for part in parts if not isinstance(part, bool)))
    if False in parts or any(isinstance(one, IsBetween) and _is_empty(one) for one in left):
        return False
    return (AllOf(left) if len(left) > 1 else left[0]) if left else True


def _with_joined_ranges(parts: Iterable[Where]) -> Iterable[Where]:
    """The parts, those ranges of one field as one: a row has one value, and two ends cost more."""
    found: dict[object, Where] = {}
    for n, part in enumerate(parts):
        key = (part.field, part.kind) if isinstance(part, IsBetween) else n
        known = found.get(key)
        if isinstance(part, IsBetween) and isinstance(known, IsBetween):
            found[key] = _both(known, part)
        else:
            found[key] = part
    return found.values()


def _both(one: IsBetween, other: IsBetween) -> IsBetween:
    lows = [at for at in (one.low, other.low) if at is not None]
    highs = [at for at in (one.high, other.high) if at is not None]
    return replace(one, low=max(lows, default=None), high=min(highs, default=None))


def _is_empty(leaf: IsBetween) -> bool:
    return leaf.low is not None and leaf.high is not None and leaf.low > leaf.high


def _any_of(parts: list[Where | bool]) -> Where | bool:
    left = tuple(part for part in parts if not isinstance(part, bool))
    if True in parts:
        return True
    return (AnyOf(left) if len(left) > 1 else left[0]) if left else False


def _none_of(part: Where | bool) -> Where | bool:
    return not part if isinstance(part, bool) else NoneOf(part)


def is_unicode(text: str) -> bool:
    """Whether it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
