"""The filter of search as JSON. Pure.

{"all": [{"field": "source", "in": ["docs"]},
         {"field": "price", "gte": 1, "lt": 5},
         {"any": [{"field": "path", "prefix": "a/"}, {"not": {"field": "draft", "in": [true]}}]}]}
"""

import difflib
from dataclasses import dataclass
from typing import Any, Final

from services.gateway.search.comparisons import (
    DEEPEST,
    MOST_PARTS,
    Fields,
    FilterFault,
    Operator,
    compared,
)
from shared.domain.filters.kinds import Scalar
from shared.domain.filters.where import AllOf, AnyOf, NoneOf, Where

_GROUPS: Final = ("all", "any", "not")
_OPERATORS: Final[tuple[Operator, ...]] = ("in", "lt", "lte", "gt", "gte", "exists", "prefix")


@dataclass
class JsonFault(Exception):
    """What is wrong with a filter, and where: a JSON pointer."""

    fault: FilterFault
    at: str


def parsed(value: Any, fields: Fields) -> Where:
    """The expression. Raises JsonFault."""
    return _Reader(fields).read(value, "", 0)


@dataclass
class _Reader:
    fields: Fields
    parts: int = 0

    def read(self, value: Any, at: str, depth: int) -> Where:
        if depth > DEEPEST:
            raise _fault(f"the filter has more than {DEEPEST} objects within each other", at)
        if not isinstance(value, dict):
            raise _fault('a filter is an object, as {"field": "source", "in": ["docs"]}', at)
        if "field" in value:
            return self._comparisons(value, at)
        if len(value) != 1 or not value.keys() <= {*_GROUPS}:
            raise _fault(_not_one_of(value), at)
        ((name, inner),) = value.items()
        if name == "not":
            return NoneOf(self.read(inner, f"{at}/not", depth + 1))
        if not isinstance(inner, list):
            raise _fault(f"{name} has a list of filters", f"{at}/{name}")
        self._count(inner, at)
        parts = tuple(self.read(one, f"{at}/{name}/{n}", depth + 1) for n, one in enumerate(inner))
        return AllOf(parts) if name == "all" else AnyOf(parts)

    def _comparisons(self, value: dict[str, Any], at: str) -> Where:
        name = value["field"]
        if not isinstance(name, str):
            raise _fault("field is the name of one", f"{at}/field")
        rest = {key: one for key, one in value.items() if key != "field"}
        if not rest:
            raise _fault(f"a comparison has one of {', '.join(_OPERATORS)}", at)
        parts = tuple(self._one(name, key, one, at) for key, one in rest.items())
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def _one(self, name: str, key: str, given: Any, at: str) -> Where:
        operator = next((known for known in _OPERATORS if known == key), None)
        if operator is None:
            raise _fault(_unknown(key, _OPERATORS), at)
        is_list = operator in ("in", "prefix") and isinstance(given, list)
        if operator == "in" and not is_list:
            raise _fault("in has a list of values", f"{at}/in")
        values: list[Scalar] = given if is_list else [given]
        self._count(values, at)
        if any(isinstance(one, dict | list) for one in values):
            raise _fault("a value is a text, a number, true or false", f"{at}/{key}")
        try:
            return compared(self.fields, name, operator, values)
        except FilterFault as fault:
            raise JsonFault(fault, f"{at}/{key}") from None

    def _count(self, values: list[Any], at: str) -> None:
        self.parts += len(values)
        if self.parts > MOST_PARTS:
            raise _fault(f"the filter has more than {MOST_PARTS} values and parts", at)


def _not_one_of(value: dict[str, Any]) -> str:
    odd = next((key for key in value if key not in _GROUPS), None)
    if odd is not None and len(value) == 1:
        return _unknown(odd, ("field", *_GROUPS))
    return "an object has a field with its comparisons, or one of all, any and not"


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name[:80], known, n=1)
    told = f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(known)}"
    return f"{name[:80]!r} is unknown; {told}"


def _fault(said: str, at: str) -> JsonFault:
    return JsonFault(FilterFault(said), at)
