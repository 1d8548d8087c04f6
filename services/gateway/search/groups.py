"""Equal documents as one hit, and counts of what was found. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.gateway.search.rank import Ranked
from shared.domain.ids import is_url
from shared.domain.ordering import Record
from shared.ports import Hit

MOST_VALUES: Final = 50
"""Values of one facet that an answer tells, the most frequent ones."""
FOLDER: Final = "folder"
"""The facet of the first folder of a path, or of the host of a URL."""


@dataclass(frozen=True, slots=True)
class Alike:
    """The best hit of several equal documents."""

    best: Ranked
    copies: tuple[Hit, ...] = ()
    """Hits of the other documents, as they were ranked."""


def without_copies(ranked: Sequence[Ranked], records: Mapping[str, Record]) -> list[Alike]:
    """One hit for documents whose chunks are all equal, titles, headings and metadata included.

    Args:
        ranked: one hit for each document, best first.
    """
    groups: dict[tuple[str, ...], list[Ranked]] = defaultdict(list)
    for item in ranked:
        settled = records[item.hit.doc_key].settled
        rows = settled.rows if settled else ()
        groups[tuple(row.chunk_key for row in rows)].append(item)
    return [Alike(best, tuple(item.hit for item in others)) for best, *others in groups.values()]


def facets(names: Iterable[str], hits: Iterable[Hit]) -> dict[str, dict[str, int]]:
    """How many documents have each value of a field, the most frequent first.

    Args:
        names: `source`, `folder`, or a key of the metadata.
    """
    documents = {hit.doc_key: hit for hit in hits}.values()
    found = {}
    for name in names:
        values = (_value(name, hit) for hit in documents)
        counts = Counter(value for value in values if value is not None)
        ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        found[name] = dict(ranked[:MOST_VALUES])
    return found


def _value(name: str, hit: Hit) -> str | None:
    if name == "source":
        return hit.source
    if name == FOLDER:
        return _folder(hit.path)
    value = hit.metadata.get(name)
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _folder(path: str) -> str:
    """The first folder of a path, the host of a URL."""
    if is_url(path):
        return urlsplit(path).netloc + "/"
    first, slash, _ = path.partition("/")
    return first + slash if slash else ""
