"""The filter language of search: `source:docs path:guide/ -path:guide/old`. Pure.

Terms of one name are alternatives, different names must all hold, `-` excludes. A value with
spaces is quoted: `path:"my notes/"`.
"""

import difflib
import re
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Final

from services.gateway.problems import Problem
from shared.ports import Filter

NAMES: Final = ("source", "path")
NOWHERE: Final = "-"
_TERM = re.compile(r'\s*+(-?)(?:([A-Za-z_]+):)?("[^"]*"|[^\s"]+)')


@dataclass(frozen=True, slots=True)
class Condition:
    """The documents that a search may return; an empty tuple does not restrict."""

    sources: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    not_sources: tuple[str, ...] = ()
    not_prefixes: tuple[str, ...] = ()

    def within(self, sources: Set[str]) -> "Condition":
        """The same, of these sources only. No source has the name NOWHERE."""
        both = (name for name in self.sources or sorted(sources) if name in sources)
        return replace(self, sources=tuple(both) or (NOWHERE,))

    def where(self) -> Filter:
        """The part that the store can decide."""
        prefix = self.prefixes[0] if len(self.prefixes) == 1 else None
        return Filter(sources=self.sources or None, path_prefix=prefix)

    @property
    def beyond_store(self) -> bool:
        """Whether `where` lets documents through that `admits` refuses."""
        return bool(self.not_sources or self.not_prefixes or len(self.prefixes) > 1)

    def admits(self, source: str, path: str) -> bool:
        """Whether the document may be shown."""
        return (
            (not self.sources or source in self.sources)
            and (not self.prefixes or path.startswith(self.prefixes))
            and source not in self.not_sources
            and not (self.not_prefixes and path.startswith(self.not_prefixes))
        )


def parse(text: str, sources: tuple[str, ...] = ()) -> Condition:
    """Read a filter.

    Args:
        text: the filter; empty does not restrict.
        sources: further sources to choose from, as of an option.

    Raises:
        Problem: `invalid_filter`, with the term and a suggestion.
    """
    found: dict[str, list[str]] = {name: [] for name in ("source", "path", "-source", "-path")}
    at, text = 0, text.strip()
    if text.count('"') % 2:
        raise Problem("invalid_filter", "a quote in the filter is never closed")
    while term := _TERM.match(text, at):
        sign, name, value = term[1], term[2], term[3].strip('"')
        if name not in NAMES:
            raise Problem("invalid_filter", _unknown(name, value))
        found[sign + name].append(value)
        at = term.end()
    return Condition(
        sources=(*sources, *found["source"]),
        prefixes=tuple(found["path"]),
        not_sources=tuple(found["-source"]),
        not_prefixes=tuple(found["-path"]),
    )


def _unknown(name: str | None, value: str) -> str:
    if name is None:
        return f"{value!r} is not a filter: write source:NAME or path:PREFIX"
    near = difflib.get_close_matches(name, NAMES, n=1)
    meant = f"; did you mean {near[0]}:{value}?" if near else ""
    return f"{name!r} is not a field to filter by{meant}"
