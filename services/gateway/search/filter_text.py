"""The filter language of search, `source:docs created_at>=2026-01-01 -(draft or tags:nats)`. Pure.

Values of one name are alternatives, all else must hold together, `-` excludes, `or` and parentheses
group. A value with blanks is quoted: `path:"my notes/"`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from services.gateway.search.comparisons import (
    DEEPEST,
    MOST_PARTS,
    Fields,
    FilterFault,
    Operator,
    compared,
)
from shared.domain.filters.where import AllOf, AnyOf, NoneOf, Where

_BLANK: Final = re.compile(r"\s*+")
_WORD: Final = re.compile(r"(?i)(and|or)(?=[\s()]|\Z)")
_HEAD: Final = re.compile(r'([^\s"():<>=]*+)(<=|>=|[:<>=]|)')
_OPERATORS: Final[dict[str, Operator]] = {
    ":": "in",
    "=": "in",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
}
ANY: Final = "*"
"""As a value that is not quoted: any value of the field."""


@dataclass(frozen=True, slots=True)
class FilterTerm:
    """`sign name operator value`. at: where it begins, in characters."""

    sign: Literal["", "-"]
    name: str
    operator: Operator
    value: str | bool
    at: int


@dataclass
class TextFault(Exception):
    """What is wrong with a filter, and in which character it begins, counting from 1."""

    fault: FilterFault
    at: int


def parsed(text: str, fields: Fields) -> Where | None:
    """The expression; None: the text is empty. Raises TextFault."""
    if text.count('"') % 2:
        said = "a quote in the filter is never closed"
        raise TextFault(FilterFault(said), text.rindex('"') + 1)
    reader = _Reader(text, fields)
    found = reader.alternatives(0) if not reader.is_at_end() else None
    if not reader.is_at_end():
        raise reader.fault("a ) has no ( before it", reader.at)
    return found


@dataclass
class _Reader:
    """Reads from left to right, each character once."""

    text: str
    fields: Fields
    at: int = 0
    parts: int = 0

    def is_at_end(self) -> bool:
        self._skip()
        return self.at == len(self.text)

    def fault(self, said: str, at: int, fix: str = "") -> TextFault:
        return TextFault(FilterFault(said, fix), at + 1)

    def alternatives(self, depth: int) -> Where:
        """What stands between `or`."""
        if depth > DEEPEST:
            raise self.fault(f"more than {DEEPEST} parentheses are open", self.at)
        found = [self._together(depth)]
        while self._says("or"):
            found.append(self._together(depth))
        return found[0] if len(found) == 1 else AnyOf(tuple(found))

    def _together(self, depth: int) -> Where:
        """Terms and groups up to an `or`, a parenthesis or the end."""
        begin = self.at
        terms: list[FilterTerm] = []
        groups: list[Where] = []
        while not self.is_at_end() and self.text[self.at] != ")":
            if self._says("and"):
                continue
            if _or_follows(self.text, self.at):
                break
            if (group := self._group(depth)) is not None:
                groups.append(group)
            else:
                terms.append(self._term())
        if not terms and not groups:
            raise self.fault("something is missing beside a parenthesis, an and or an or", begin)
        found = (*_joined(self.fields, terms), *groups)
        return found[0] if len(found) == 1 else AllOf(found)

    def _group(self, depth: int) -> Where | None:
        """What stands in parentheses; None: no parenthesis is next."""
        begin = self.at
        sign = self.text.startswith("-", begin)
        if not self.text.startswith("(", begin + sign):
            return None
        self.at += 1 + sign
        found = self.alternatives(depth + 1)
        if self.is_at_end():
            raise self.fault("a ( is never closed", begin)
        self.at += 1
        return NoneOf(found) if sign else found

    def _term(self) -> FilterTerm:
        begin = self.at
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise self.fault(f"the filter has more than {MOST_PARTS} terms", begin)
        sign: Literal["", "-"] = "-" if self.text.startswith("-", begin) else ""
        head = _HEAD.match(self.text, begin + len(sign))
        name, operator = (head[1], head[2]) if head else ("", "")
        self.at = begin + len(sign) + len(name) + len(operator)
        if not operator:
            return self._flag(sign, name, begin)
        is_quoted = self.text.startswith('"', self.at)
        value = self._quoted() if is_quoted else self._plain()
        if not value and not is_quoted:
            raise self.fault(f"{name}{operator} has no value", begin)
        if value == ANY and not is_quoted and operator == ":" and name in self.fields:
            return FilterTerm(sign, name, "exists", True, begin)
        how = _OPERATORS[operator]
        is_prefix = name == "path" and how == "in"
        return FilterTerm(sign, name, "prefix" if is_prefix else how, value, begin)

    def _flag(self, sign: Literal["", "-"], name: str, begin: int) -> FilterTerm:
        """A name alone, which means that it is true."""
        if self.fields.get(name) == "boolean":
            return FilterTerm(sign, name, "in", True, begin)
        said = name or (self._quoted() if self.text.startswith('"', self.at) else self._plain())
        raise self.fault(
            f"{said[:80]!r} is not a filter: write source:NAME, path:PREFIX or FIELD:VALUE", begin
        )

    def _quoted(self) -> str:
        end = self.text.index('"', self.at + 1)
        value, self.at = self.text[self.at + 1 : end], end + 1
        return value

    def _plain(self) -> str:
        """Up to a blank, a quote, or a parenthesis that closes none of its own."""
        begin, opened = self.at, 0
        while self.at < len(self.text):
            letter = self.text[self.at]
            opened += (letter == "(") - (letter == ")")
            if letter.isspace() or letter == '"' or opened < 0:
                break
            self.at += 1
        return self.text[begin : self.at]

    def _says(self, word: str) -> bool:
        self._skip()
        found = _WORD.match(self.text, self.at)
        if found is None or found[1].lower() != word:
            return False
        self.at = found.end()
        return True

    def _skip(self) -> None:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at


def _or_follows(text: str, at: int) -> bool:
    found = _WORD.match(text, at)
    return found is not None and found[1].lower() == "or"


def _joined(fields: Fields, terms: list[FilterTerm]) -> list[Where]:
    """The expression of each term; values of one name that are not excluded are one."""
    together: dict[tuple[str, Operator], list[FilterTerm]] = {}
    found: list[Where] = []
    for term in terms:
        if term.sign or term.operator not in ("in", "prefix"):
            one = _of(fields, [term])
            found.append(NoneOf(one) if term.sign else one)
        else:
            together.setdefault((term.name, term.operator), []).append(term)
    return [*(_of(fields, alike) for alike in together.values()), *found]


def _of(fields: Fields, alike: list[FilterTerm]) -> Where:
    first = alike[0]
    for term in alike:  # each alone, for the place of a fault
        try:
            compared(fields, term.name, term.operator, [term.value])
        except FilterFault as fault:
            raise TextFault(fault, term.at + 1) from None
    return compared(fields, first.name, first.operator, [term.value for term in alike])
