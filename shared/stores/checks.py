"""The checks that all stores share: which rows may be written, and in which order. Pure."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np

from shared.domain.errors import GARBAGE, StoreMismatch, VectorsRejected
from shared.domain.events import Scalar
from shared.domain.filters import where as expressions
from shared.domain.filters.terms import terms_of
from shared.domain.filters.where import is_unicode
from shared.domain.text.unicode_text import normalised
from shared.ports import Filter, Row, Vector, Vectors

TOLD_EVERY: Final = 10_000
"""Rows between two messages of a long work on all of them."""
SAME: Final = 1e-3
"""Cosine distance below which two vectors are one: equal texts tie, and any of them is found."""

NO_TERMS: Final = "rows of a version before have no terms for filters over metadata yet"

T = TypeVar("T")

_SURROGATES: Final = range(0xD800, 0xE000)


def vet(rows: Sequence[Row], dimensions: int) -> tuple[list[Row], frozenset[str]]:
    """Part a batch into rows to write and ids to refuse.

    Returns:
        The rows with a sound vector, each id once, sorted by id, and the ids of the others.
        Engines raise on or duplicate repeated ids, and deadlock on unsorted ones.
    """
    once = {row.id: row for row in reversed(rows)}
    bad = frozenset(row.id for row in once.values() if not sound(row.vector, dimensions))
    return [once[key] for key in sorted(once.keys() - bad)], bad


def sound(vector: Vector, dimensions: int) -> bool:
    """Whether it has the right length, is finite as float32, and points somewhere."""
    if vector.shape != (dimensions,):
        return False
    square = float(np.dot(vector, vector))
    if not np.isfinite(square):  # the square may overflow where the vector does not
        return bool(np.isfinite(vector).all())
    return square > 0 or bool(np.any(vector))


def refusal(bad: frozenset[str]) -> VectorsRejected:
    return VectorsRejected(
        f"{len(bad)} vectors have the wrong length, are not finite or are zero", bad
    )


def checked_query(vector: Vector, dimensions: int) -> bool:
    """Whether a search by `vector` can find anything.

    Raises:
        StoreMismatch: the vector is of another model than the index.
    """
    if vector.shape != (dimensions,):
        raise StoreMismatch(
            f"the index holds {dimensions} dimensions, the query has {vector.shape}; "
            "search with the model that the index was built with"
        )
    return sound(vector, dimensions)


def possible(asked: Filter) -> Filter | None:
    """The filter without impossible values; None when no row can match.

    Rows hold valid Unicode; a lone surrogate, which JSON can spell, is in none of them.
    """
    if asked.path_prefix is not None and not is_unicode(asked.path_prefix):
        return None
    where = True if asked.where is None else expressions.possible(asked.where)
    if where is False:
        return None
    rest = replace(asked, where=None if where is True else where)
    if rest.sources is None:
        return rest
    sources = tuple(filter(is_unicode, rest.sources))
    return replace(rest, sources=sources) if sources else None


def after(prefix: str) -> str | None:
    """The first text behind all that begin with `prefix`, in order of bytes; None: there is none.

    Only a prefix of the last character there is has none behind it.
    """
    for at in range(len(prefix) - 1, -1, -1):
        if (code := ord(prefix[at])) < sys.maxunicode:
            return prefix[:at] + chr(0xE000 if code + 1 in _SURROGATES else code + 1)
    return None


def unit(vectors: Vectors) -> Vectors:
    """The vectors with the norm 1, shape (rows, dimensions): in float32 the square of a very
    short or long one is lost."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / norms, np.float32)


def clean_query(text: str) -> str:
    """The text as valid UTF-8 without NUL, spelt as documents are: a person may paste anything."""
    return normalised(text.replace("\0", " ").encode("utf-8", "replace").decode())


def words_told(done: int, of: int) -> str:
    """The message about rows of a version before that get the words of this one."""
    if done >= of:
        return f"all {of:,} rows of the index have the words of this version"
    return (
        f"this version finds words otherwise: {done:,} of {of:,} rows of the index have theirs; no "
        "text is embedded again, and searches by words answer meanwhile"
    )


def terms_told(done: int, of: int) -> str:
    """The message about rows of a version before that get the terms of filters."""
    if done >= of:
        return f"all {of:,} rows of the index can be filtered by their metadata"
    return (
        f"this version filters by metadata: {done:,} of {of:,} rows of the index have the terms "
        "for it; no text is embedded again, and searches without such a filter answer meanwhile"
    )


def slices(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """The items in order, at most `most` at a time."""
    return (items[start : start + most] for start in range(0, len(items), most))


def spread(items: Mapping[str, T], most: int) -> dict[str, T]:
    """At most `most` of the items, evenly over their order."""
    keys = list(items)
    step = max(1, -(-len(keys) // most))
    return {key: items[key] for key in keys[::step]}


@lru_cache(maxsize=64)
def terms_of_text(text: str) -> tuple[str, ...]:
    """The terms of a row, by its metadata as they are stored; rows of a document share them."""
    return tuple(terms_of(metadata_of(text)))


def metadata_of(text: str) -> dict[str, Scalar]:
    """The metadata of a row as they are stored; none, where they were altered: the sweep writes
    such a row anew."""
    try:
        found = json.loads(text)
    except GARBAGE:
        return {}
    return found if isinstance(found, dict) else {}
