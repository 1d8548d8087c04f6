"""Equal documents as one hit, and counts of what was found. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.gateway.search.rank import Ranked
from shared.domain.filters.kinds import FieldKind, keyword_of, keywords_of
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


def facets(
    names: Iterable[str], hits: Iterable[Hit], fields: Mapping[str, FieldKind]
) -> dict[str, dict[str, int]]:
    """How many documents have each value of a field, the most frequent first.

    Args:
        names: `source`, `folder`, or a key of the metadata.
        fields: the declared ones; of a list of keywords each is counted.
    """
    documents = {hit.doc_key: hit for hit in hits}.values()
    found = {}
    for name in names:
        is_list = fields.get(name) == "keywords"
        counts = Counter(value for hit in documents for value in _values(name, hit, is_list))
        ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        found[name] = dict(ranked[:MOST_VALUES])
    return found


def _values(name: str, hit: Hit, is_list: bool) -> Collection[str]:
    if name == "source":
        return (hit.source,)
    if name == FOLDER:
        return (_folder(hit.path),)
    value = hit.metadata.get(name)
    if is_list:
        return keywords_of(value)
    word = keyword_of(value)
    return () if word is None else (word,)


def _folder(path: str) -> str:
    """The first folder of a path, the host of a URL."""
    if is_url(path):
        return urlsplit(path).netloc + "/"
    first, slash, _ = path.partition("/")
    return first + slash if slash else ""
