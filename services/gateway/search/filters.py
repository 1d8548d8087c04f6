"""The filter of a search, in its language or as JSON, as one condition. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.gateway.problems import Fault, Problem
from services.gateway.search import filter_json, filter_text
from services.gateway.search.comparisons import Fields
from services.gateway.search.filter_json import JsonFault
from services.gateway.search.filter_text import TextFault
from shared.domain.events import Scalar
from shared.domain.filters.terms import terms_for
from shared.domain.filters.where import (
    AllOf,
    BelowPath,
    InSources,
    Leaf,
    Where,
    admits,
    folded,
    possible,
)
from shared.ports import Filter

CODE: Final = "invalid_filter"
MOST_TERMS: Final = 2_000
"""Values and ends of ranges that a store compares a row with: a range has about 105 of them, and
20,000 in one question to LanceDB took 1.7 s."""
NO_FIELDS: Final[Fields] = {}


@dataclass(frozen=True, slots=True)
class Condition:
    """The documents that a search may return; None does not restrict."""

    expression: Where | None = None

    def where(self) -> Filter:
        """What the store is asked: all of it."""
        sources: tuple[str, ...] | None = None
        prefix: str | None = None
        rest: list[Where] = []
        for part in self._parts:
            if isinstance(part, InSources):
                sources = tuple(s for s in part.names if sources is None or s in sources)
            elif isinstance(part, BelowPath) and prefix is None:
                prefix = part.prefix
            else:
                rest.append(part)
        left = None if not rest else rest[0] if len(rest) == 1 else AllOf(tuple(rest))
        return Filter(sources=sources, path_prefix=prefix, where=left)

    def admits(self, source: str, path: str, metadata: Mapping[str, Scalar]) -> bool:
        """Whether a row may be shown."""
        return self.expression is None or admits(self.expression, source, path, metadata)

    def within(self, sources: Collection[str]) -> "Condition":
        """The same, and only in these sources, whatever the expression says."""
        return Condition(AllOf((InSources(tuple(sources)), *self._parts)))

    @property
    def sources(self) -> tuple[str, ...]:
        """Those that it asks for."""
        if self.expression is None:
            return ()
        named: tuple[str, ...] = folded(self.expression, _names, _together, _together, lambda _: ())
        return named

    @property
    def _parts(self) -> tuple[Where, ...]:
        """What must hold together."""
        if self.expression is None:
            return ()
        if isinstance(self.expression, AllOf):
            return self.expression.parts
        return (self.expression,)


def parse(
    given: str | Mapping[str, Any], sources: tuple[str, ...] = (), fields: Fields = NO_FIELDS
) -> Condition:
    """Read a filter.

    Args:
        given: in the language, or as JSON, also as text that begins with {; empty does not
            restrict.
        sources: of an option. Those that the language names beside everything else join them; any
            other filter holds within them.
        fields: the declared ones.

    Raises:
        Problem: `invalid_filter`, with the place and a suggestion.
    """
    found = _parsed(given, sources, fields)
    if (count := _terms(found)) > MOST_TERMS:
        raise Problem(
            CODE,
            f"the filter has {count:,} terms for the store, and may have {MOST_TERMS:,}: "
            "a range of numbers or dates takes about 105",
            "compare fewer ranges, or search once for each of them",
        )
    return found


def _terms(condition: Condition) -> int:
    """The number of terms that a store compares a row with."""
    found = True if condition.expression is None else possible(condition.expression)
    return 0 if isinstance(found, bool) else folded(found, _terms_of, _sum, _sum, int)


def _sum(counts: list[int]) -> int:
    return sum(counts)


def _terms_of(leaf: Leaf) -> int:
    return 1 if isinstance(leaf, InSources | BelowPath) else len(terms_for(leaf))


def _parsed(given: str | Mapping[str, Any], sources: tuple[str, ...], fields: Fields) -> Condition:
    text = given.strip() if isinstance(given, str) else None
    try:
        if text is None or text.startswith("{"):
            return _within(_of_json(given if text is None else _loaded(text), fields), sources)
        return _of_text(text, sources, fields)
    except TextFault as error:
        fault, place = error.fault, f"at character {error.at}"
        raise Problem(CODE, f"{fault.said} ({place})", fault.fix) from None
    except JsonFault as error:
        fault, at = error.fault, f"/filter{error.at}"
        faults = (Fault(at, CODE, fault.said),)
        raise Problem(CODE, f"{fault.said} (at {at})", fault.fix, faults) from None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(CODE, "the filter begins with { and is not JSON") from None


def _of_json(value: Any, fields: Fields) -> Condition:
    return Condition(filter_json.parsed(value, fields) if value else None)


def _within(condition: Condition, sources: tuple[str, ...]) -> Condition:
    return condition.within(sources) if sources else condition


def _of_text(text: str, sources: tuple[str, ...], fields: Fields) -> Condition:
    found = Condition(filter_text.parsed(text, fields))
    parts = found._parts
    named = [part for part in parts if isinstance(part, InSources)]
    if not (sources and named):
        return _within(found, sources)
    rest = [part for part in parts if not isinstance(part, InSources)]
    names = tuple(name for part in named for name in part.names)
    return Condition(AllOf((InSources((*sources, *names)), *rest)))


def _names(leaf: Where) -> tuple[str, ...]:
    return leaf.names if isinstance(leaf, InSources) else ()


def _together(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for part in parts for name in part)
