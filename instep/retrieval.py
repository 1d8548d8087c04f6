"""What the retrievers of frameworks ask of a client, and keep of a hit: one place for all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, cast

if TYPE_CHECKING:
    from instep.fields import SearchFields
    from services.gateway.views import HitView

__all__ = ["Filter", "GroupBy", "Mode", "combined", "compared", "metadata_of", "search_fields"]

Mode = Literal["vector", "keyword", "hybrid"]
Filter = str | Mapping[str, Any]
"""`path:guide/ language:en`, or the same as a mapping."""
GroupBy = Literal["document", "content", "chunk"]
"""`chunk`: the best passages, also several of one document. `document`: the best one of each.
`content`: the same, and equal documents once."""


_BOUNDS: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def search_fields(
    limit: int,
    *,
    mode: Mode | None = None,
    filter: Filter | None = None,
    source: Sequence[str] = (),
    group_by: GroupBy = "chunk",
) -> SearchFields:
    """The fields of a search; `None` and empty ones are left to the gateway.

    Args:
        limit: most passages.
        source: only of these sources.
    """
    given = {"mode": mode, "filter": filter, "source": list(source)}
    known = {name: value for name, value in given.items() if value}
    return cast("SearchFields", {"limit": limit, "group_by": group_by, **known})


def compared(field: str, operator: str, value: Any) -> dict[str, Any]:
    """The filter of a comparison, with the operators that frameworks have.

    Args:
        field: `source`, or a field that the settings of its source declare. (Paths have prefixes,
            which frameworks have no comparison for.)
        operator: `==`, `!=`, `>`, `>=`, `<`, `<=`, `in`, or `not in`.

    Raises:
        ValueError: instep has no such comparison.
    """
    if operator in ("!=", "not in"):
        return {"not": compared(field, "==" if operator == "!=" else "in", value)}
    if operator in _BOUNDS:
        return {"field": field, _BOUNDS[operator]: value}
    if operator not in ("==", "in"):
        raise ValueError(f"instep has no filter {operator!r}; use ==, !=, >, >=, <, <=, in, not in")
    return {"field": field, "in": [value] if operator == "==" else list(value)}


def combined(word: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The filter of several: `and`, `or`; `not` is that not all of them hold. Empty for none.

    Raises:
        ValueError: it is another word.
    """
    if not parts:
        return {}
    match word.lower():
        case "and":
            return {"all": list(parts)}
        case "or":
            return {"any": list(parts)}
        case "not":
            return {"not": {"all": list(parts)}}
        case _:
            raise ValueError(f"{word!r} combines no filters; write and, or, not")


def metadata_of(hit: HitView) -> dict[str, Any]:
    """Where a passage stands, in values that JSON has.

    Returns:
        `source`, `path`, `title`, `heading` (the headings above it, the outermost first), `chunk`
        (its position in the document, from 1), `revision` (of the document; higher is newer),
        `score`, and `stale`: a newer version of the document is known, and not searchable yet.
    """
    document, chunk = hit.document, hit.chunk
    return {
        "source": document.source,
        "path": document.path,
        "title": document.title,
        "heading": list(chunk.heading),
        "chunk": chunk.n,
        "revision": document.revision,
        "score": hit.score,
        "stale": document.stale,
    }
