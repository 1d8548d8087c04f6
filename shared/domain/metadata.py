"""The metadata of a document, and where each value comes from. Pure.

Rows store both as one mapping: origins lie under a key of their own, grouped, because every row of
a document repeats them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.domain.events import Metadata, Scalar

ORIGINS: Final = "instep:origins"
"""A publisher's value of this name is overwritten."""
CONTEXT: Final = "instep:context"
"""In rows that are embedded by a template: the texts before and after that of the chunk. A
publisher's value of this name is left out."""


OF_DOCUMENT: Final = frozenset({"title", "encoding"})
"""Names whose origin is that of the document's title and encoding; metadata of these names has
none."""


_STORED: Final = {"authors": "author", "lang": "language"} | {
    name: name for name in ("title", "author", "date", "language")
}
"""Names of metadata by those that people give them in front matter, in any case."""


def stored_name(written: str) -> str:
    """The name that metadata have for a value of front matter."""
    return _STORED.get(written.casefold(), written)


def with_origins(metadata: "Metadata", origins: Mapping[str, str]) -> "Metadata":
    """The metadata as rows store it.

    Args:
        origins: by name: one of OF_DOCUMENT, or any other name of the metadata.
    """
    names: dict[str, list[str]] = {}
    for name, origin in sorted(origins.items()):
        names.setdefault(origin, []).append(name)
    text = json.dumps(names, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    own = {name: value for name, value in metadata.items() if name != CONTEXT}
    return {**own, ORIGINS: text}


def with_embedded(metadata: "Metadata", context: Sequence[str] | None) -> "Metadata":
    """The metadata of a row, with the texts before and after that of its chunk; None: as it is."""
    if context is None:
        return metadata
    return {**metadata, CONTEXT: json.dumps(context, ensure_ascii=False, separators=(",", ":"))}


def embedded_context(stored: Mapping[str, "Scalar"]) -> tuple[str, str] | None:
    """The texts before and after that of a row's chunk; None: no template has made them."""
    if CONTEXT not in stored:
        return None
    try:
        told = json.loads(str(stored[CONTEXT]))
    except (ValueError, RecursionError):
        return None
    match told:
        case [str(before), str(after)]:
            return before, after
    return None


def parted(stored: Mapping[str, "Scalar"]) -> tuple[dict[str, "Scalar"], dict[str, str]]:
    """Metadata without origins, and the origin by name; none in rows of an older version."""
    metadata = {n: value for n, value in stored.items() if n not in (ORIGINS, CONTEXT)}
    try:
        names = json.loads(str(stored.get(ORIGINS, "{}")))
        return metadata, {str(name): str(origin) for origin in names for name in names[origin]}
    except (ValueError, TypeError, LookupError, AttributeError):
        return metadata, {}
