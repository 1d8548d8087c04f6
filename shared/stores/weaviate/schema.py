"""The schema of instep's Weaviate collections, and the differences in one that is found. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.domain.errors import ConfigurationError, StoreMismatch
from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.text import words

if TYPE_CHECKING:
    from weaviate.collections.classes.config import _CollectionConfig as Config

OLDEST: Final = (1, 32)
WANTED: Final = (1, 38)

EXCLUDES: Final = (1, 33)
"""The first with NOT in filters."""

Kind = Literal["text", "text[]", "int", "number[]"]


@dataclass(frozen=True, slots=True)
class Column:
    """A property. whole: matched as one word, not as words; ready: words between blanks."""

    name: str
    kind: Kind
    filtered: bool = False
    ranged: bool = False
    searched: bool = False
    whole: bool = False
    ready: bool = False


WORDS: Final = f"words_{words.VERSION}"
"""The property that keywords match. Another version of words has one of another name, so a server
holds both while the rows are written anew."""
NAMED: Final = "words_"
WORDS_WRITTEN: Final = "every row has its words"
WORDS_AWAITED: Final = "rows of a version before get their words"
"""Descriptions of that property, and of those of other versions."""
TERMS_WRITTEN: Final = "every row has its terms"
TERMS_AWAITED: Final = "rows of a version before get their terms"
"""Descriptions of the property of terms for filters."""
ADDED: Final = {WORDS: WORDS_AWAITED, TERMS: TERMS_AWAITED}
"""Properties that collections of versions before lack, and their descriptions until all rows have
them."""
COLUMNS: Final = (
    Column("row_id", "text", whole=True),
    Column("doc_key", "text", filtered=True, whole=True),
    Column("source", "text", filtered=True, whole=True),
    Column("path", "text", filtered=True, whole=True),
    Column("bucket", "text", filtered=True, whole=True),
    Column("slot", "int", filtered=True),
    Column("born", "int", filtered=True, ranged=True),
    Column("chunk_key", "text", whole=True),
    Column("title", "text", searched=True),
    Column("heading", "text[]", searched=True),
    Column("text", "text", searched=True),
    Column("metadata", "text", whole=True),
    Column(WORDS, "text", searched=True, ready=True),
    Column("seal", "text", whole=True),
    Column("marks", "number[]"),
    Column(TERMS, "text[]", filtered=True, whole=True),
)
NAMES: Final = tuple(column.name for column in COLUMNS)


def collection_name(prefix: str, generation: str) -> str:
    """The name of a generation's collection, e.g. `Instep_g3k7m2qxa`.

    Raises:
        ConfigurationError: no name of a collection begins like this.
    """
    name = f"{prefix}_{generation}"
    if not re.fullmatch(r"[A-Z][A-Za-z0-9_]{0,200}", name):
        raise ConfigurationError(
            "store.weaviate.prefix begins with a capital letter and holds letters, digits and _"
        )
    return name


def alias_name(prefix: str) -> str:
    """The alias of the live generation's collection."""
    return f"{prefix}_live"


def judge_version(version: str) -> str:
    """A message about a server's version; empty when it is new enough. Pure.

    Raises:
        ConfigurationError: it is too old.
    """
    found = _numbers(version)
    wanted = ".".join(map(str, WANTED))
    if found < OLDEST:
        raise ConfigurationError(
            f"Weaviate {version or 'of an unknown version'} is too old: "
            f"instep needs {'.'.join(map(str, OLDEST))} or higher, {wanted} is better"
        )
    return "" if found >= WANTED else f"Weaviate {version} is old: instep asks for {wanted}"


def can_exclude(version: str) -> bool:
    """Whether filters of a server know NOT. Pure."""
    return _numbers(version) >= EXCLUDES


def _numbers(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@dataclass(frozen=True, slots=True)
class Described:
    """The parts of a collection's schema that decide how rows are kept and found."""

    columns: Mapping[str, Column]
    vectors: Sequence[str]
    index: str
    distance: str
    vectorizer: str


WANTED_SCHEMA: Final = Described(
    {column.name: column for column in COLUMNS}, ("default",), "hnsw", "cosine", "none"
)


def other_dimensions(found: int, wanted: int) -> StoreMismatch:
    return StoreMismatch(
        f"the collection holds vectors of {found} dimensions, the model makes {wanted}: "
        "set another store.weaviate.prefix, which fills another and keeps this one"
    )


def differences(found: Described) -> list[str]:
    """The differences to the wanted schema, e.g. `no property born`. Pure."""
    said = [f"no property {name}" for name in WANTED_SCHEMA.columns.keys() - found.columns.keys()]
    said += [
        f"property {name} of another kind"
        for name, column in WANTED_SCHEMA.columns.items()
        if name in found.columns and found.columns[name] != column
    ]
    said += [
        f"{name} is {getattr(found, name)}, not {getattr(WANTED_SCHEMA, name)}"
        for name in ("vectors", "index", "distance", "vectorizer")
        if getattr(found, name) != getattr(WANTED_SCHEMA, name)
    ]
    return sorted(said)


@dataclass(frozen=True, slots=True)
class WordsNote:
    """What a collection notes of the words and terms of its rows.

    complete: every row has those of this version. others: the properties of other versions, in
    which rows may have theirs until then. searched: the properties that find every row by its words
    meanwhile; none where rows have no words at all. termed: every row has its terms for filters.
    """

    complete: bool
    others: tuple[str, ...] = ()
    searched: tuple[str, ...] = (WORDS,)
    termed: bool = True


def noted(config: "Config") -> WordsNote:
    """What the collection notes, as the client reads it. Pure."""
    notes = {found.name: found.description for found in config.properties}
    termed = notes.get(TERMS) == TERMS_WRITTEN
    if notes.get(WORDS) == WORDS_WRITTEN:
        return WordsNote(complete=True, termed=termed)
    others = sorted(name for name in notes if name.startswith(NAMED) and name != WORDS)
    whole = [name for name in others if notes[name] == WORDS_WRITTEN]
    return WordsNote(False, tuple(others), (WORDS, *whole) if whole else (), termed)


def described(config: "Config") -> Described:
    """The schema as the client reads it, in our words. Pure."""
    columns = {}
    for found in config.properties:
        wanted = WANTED_SCHEMA.columns.get(found.name)
        if wanted is None:
            continue  # an addition does not change our properties
        cut = getattr(found.tokenization, "value", None)
        columns[found.name] = Column(
            found.name,
            found.data_type.value,  # type: ignore[arg-type]  # any kind may be found
            filtered=found.index_filterable,
            ranged=found.index_range_filters,
            searched=found.index_searchable,
            whole=cut == "field",
            ready=cut == "whitespace",
        )
    vectors = config.vector_config or {}
    first: Any = vectors.get("default")
    index = first.vector_index_config if first else None
    return Described(
        columns,
        tuple(vectors),
        index.vector_index_type() if index else "",
        str(getattr(getattr(index, "distance_metric", None), "value", "")),
        str(getattr(first.vectorizer.vectorizer, "value", "")) if first else "",
    )
