"""Rows as Weaviate holds them: the properties, both directions, and names. Pure.

The server trims what it takes as one word, cannot match `*` and `?` as themselves, and turns whole
numbers into doubles. So the compared properties (document, source, path) are stored
percent-encoded, which leaves plain names readable, and the seal as text.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import numpy as np

from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.terms import terms_of
from shared.domain.ids import bucket_of
from shared.domain.text import words
from shared.ports import Hit, Row, Vectors
from shared.stores import seal
from shared.stores.checks import metadata_of, terms_of_text
from shared.stores.weaviate.schema import WORDS, WordsNote

SLOTS: Final = 64
"""Parts that the rows of one document can be asked for in, by their object ids."""
OTHER_IDS: Final = uuid.UUID("5f2b6d2e-9d3c-4f6a-8f3e-3c1f0a7f8b11")
EMPTY: Final = "%"
"""The stored form of an empty text where it is compared; no encoding yields it."""
SEARCHED: Final = ("title", "heading", "text")
"""What keywords match while rows of a version before have no words."""

SHOWN: Final = (
    "row_id",
    "doc_key",
    "source",
    "path",
    "born",
    "chunk_key",
    "title",
    "heading",
    "text",
    "metadata",
)


def object_id(row_id: str) -> str:
    """The UUID that a row is stored under: its own id if that is a UUID, else one made of it."""
    try:
        if str(uuid.UUID(row_id)) == row_id:
            return row_id
    except ValueError:
        pass
    return str(uuid.uuid5(OTHER_IDS, row_id.encode("utf-8", "surrogatepass").hex()))


def slot_of(stored_under: str) -> int:
    return int(stored_under[-2:], 16) % SLOTS


def encoded(text: str) -> str:
    """The text as it is stored where it is compared; a prefix of it encodes to a prefix."""
    return quote(text, safe="/", errors="surrogatepass") or EMPTY


def decoded(text: str) -> str:
    return "" if text == EMPTY else unquote(text, errors="surrogatepass")


def pattern(prefix: str) -> str:
    """The pattern of stored paths that begin with `prefix` (not empty)."""
    return f"{encoded(prefix)}*"


def properties(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The properties of each row, without vectors."""
    vectors = np.stack([np.asarray(row.vector, np.float32) for row in rows])
    marks = seal.marks_of(unit(vectors)).tolist()
    return [_properties(row, mark) for row, mark in zip(rows, marks, strict=True)]


def _properties(row: Row, marks: Sequence[float]) -> dict[str, Any]:
    column = words.column(row.title, row.heading, row.text)
    return {
        "row_id": row.id,
        "doc_key": encoded(row.doc_key),
        "source": encoded(row.source),
        "path": encoded(row.path),
        "bucket": encoded(bucket_of(row.doc_key)),
        "slot": slot_of(object_id(row.id)),
        "born": row.born,
        "chunk_key": row.chunk_key,
        "title": row.title,
        "heading": list(row.heading),
        "text": row.text,
        "metadata": seal.metadata_text(row.metadata),
        WORDS: column,
        "seal": str(seal.seal_of(row, column)),
        "marks": list(marks),
        TERMS: terms_of(row.metadata),
    }


def weight(row: Row) -> int:
    """About how many bytes the row takes on its way."""
    characters = sum(map(len, (row.text, row.title, row.path, *row.heading)))
    return 512 + row.vector.nbytes + 4 * characters


def batches(rows: Sequence[Row], most: int, most_bytes: int) -> Iterator[Sequence[Row]]:
    """The rows in order, at most so many and so heavy at a time, and at least one."""
    start = size = 0
    for at, row in enumerate(rows):
        size += weight(row)
        if at > start and (at - start == most or size > most_bytes):
            yield rows[start:at]
            start, size = at, weight(row)
    if rows:
        yield rows[start:]


def sealed(found: Mapping[str, Any], note: WordsNote) -> bool:
    """Whether the properties `SHOWN`, words, terms and seal are as they were written together."""
    if note.termed and fresh_terms(found) is not None:
        return False
    if found.get("seal") == str(seal.seal_of(to_hit(found, 0.0), found.get(WORDS) or "")):
        return True
    return not note.complete and _sealed_before(found, note.others)


def _sealed_before(found: Mapping[str, Any], others: Sequence[str]) -> bool:
    """Whether they are as another version wrote them, with its words or without any."""
    if found.get(WORDS):
        return False
    hit, held = to_hit(found, 0.0), found.get("seal")
    columns = {found.get(name) or "" for name in others}
    if any(held == str(seal.seal_of(hit, column)) for column in columns):
        return True
    return not any(columns) and held == str(seal.seal_of(hit))


def fresh_words(found: Mapping[str, Any], others: Sequence[str]) -> dict[str, Any] | None:
    """The changes that give it the words of this version, and the seal that belongs to them.

    None: it has them, or it is damaged, which the sweep shall see.

    Args:
        found: the properties `SHOWN`, words, those of `others`, and seal.
    """
    if not _sealed_before(found, others):
        return None
    hit = to_hit(found, 0.0)
    column = words.column(hit.title, hit.heading, hit.text)
    gone = {name: None for name in others if found.get(name) is not None}
    return gone | {WORDS: column, "seal": str(seal.seal_of(hit, column))}


def fresh_terms(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The change that gives it the terms of its metadata; None: it has them.

    Args:
        found: the properties metadata and terms.
    """
    made = list(terms_of_text(found.get("metadata") or ""))
    return None if made == list(found.get(TERMS) or ()) else {TERMS: made}


def to_hit(found: Mapping[str, Any], score: float) -> Hit:
    """The hit of the properties `SHOWN`, which may be missing where they are empty."""
    return Hit(
        id=found["row_id"],
        doc_key=decoded(found["doc_key"]),
        source=decoded(found["source"]),
        path=decoded(found["path"]),
        born=int(found["born"]),
        chunk_key=found.get("chunk_key") or "",
        title=found.get("title") or "",
        heading=tuple(found.get("heading") or ()),
        text=found.get("text") or "",
        score=score,
        metadata=metadata_of(found["metadata"]),
    )


def unit(vectors: Vectors) -> Vectors:
    """The vectors with the norm 1, as the server may write them. float32, same shape."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        return np.asarray(vectors / norms, np.float32)
