"""Rows as an SQLite file holds them, and the parts of statements that speak of them. Pure.

FTS5 folds the case of ASCII, which instep's words and terms tell apart: `IT` is a name. So capitals
are marked in what is indexed and in what is asked for.
"""

import json
import re
import string
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.domain.errors import GARBAGE
from shared.domain.filters.terms import terms_for, terms_of
from shared.domain.filters.where import BelowPath, InSources, Leaf, folded
from shared.domain.text import words
from shared.ports import Filter, Hit, Row, Vectors
from shared.stores import checks, seal

VERSION: Final = 1
"""Counts changes of `MAKE`; a file of another one is put aside and filled anew."""
APPLICATION: Final = 0x1257E9
"""Marks the header of a file of instep's."""
SHOWN: Final = "id, doc_key, source, path, born, chunk_key, title, heading, text, metadata"
SHOWN_AS_JSON: Final = ", ".join(
    f"CAST(rows.{name} AS {'INTEGER' if name == 'born' else 'TEXT'})" for name in SHOWN.split(", ")
)
"""The same where JSON is made of them, which takes no bytes: a row may have been altered."""
_PUNCTUATION: Final = string.punctuation.replace("'", "''").replace('"', '""')
_TOKENS: Final = f"ascii tokenchars '{_PUNCTUATION}'"
"""Cuts at blanks only: all that is not ASCII is part of a word anyway."""

MAKE: Final = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rows (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    doc_key TEXT NOT NULL,
    source TEXT NOT NULL,
    path TEXT NOT NULL,
    born INTEGER NOT NULL,
    chunk_key TEXT NOT NULL,
    title TEXT NOT NULL,
    heading TEXT NOT NULL,
    seal INTEGER NOT NULL,
    marks BLOB NOT NULL,
    metadata TEXT NOT NULL,
    text TEXT NOT NULL,
    words TEXT NOT NULL,
    terms TEXT NOT NULL
);
CREATE INDEX rows_of_documents ON rows (doc_key, born, id);
CREATE INDEX rows_of_places ON rows (path, source);
CREATE TABLE vectors (n INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE held (n INTEGER PRIMARY KEY, code BLOB NOT NULL, length INTEGER NOT NULL);
CREATE TABLE gone (at INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL);
CREATE VIRTUAL TABLE worded
    USING fts5(words, content='rows', content_rowid='n', tokenize="{_TOKENS}");
CREATE VIRTUAL TABLE termed
    USING fts5(terms, content='rows', content_rowid='n', detail=none, columnsize=0,
               tokenize="{_TOKENS}");
CREATE VIRTUAL TABLE terms USING fts5vocab('termed', 'instance');
CREATE VIRTUAL TABLE listed USING fts5vocab('worded', 'instance');
CREATE TRIGGER rows_inserted AFTER INSERT ON rows BEGIN
    INSERT INTO worded (rowid, words) VALUES (new.n, new.words);
    INSERT INTO termed (rowid, terms) VALUES (new.n, new.terms);
END;
CREATE TRIGGER rows_rewritten AFTER UPDATE OF words, terms ON rows BEGIN
    INSERT INTO worded (worded, rowid, words) VALUES ('delete', old.n, old.words);
    INSERT INTO termed (termed, rowid, terms) VALUES ('delete', old.n, old.terms);
    INSERT INTO worded (rowid, words) VALUES (new.n, new.words);
    INSERT INTO termed (rowid, terms) VALUES (new.n, new.terms);
END;
CREATE TRIGGER rows_deleted AFTER DELETE ON rows BEGIN
    INSERT INTO worded (worded, rowid, words) VALUES ('delete', old.n, old.words);
    INSERT INTO termed (termed, rowid, terms) VALUES ('delete', old.n, old.terms);
    DELETE FROM vectors WHERE n = old.n;
    DELETE FROM held WHERE n = old.n;
    INSERT INTO gone (n) VALUES (old.n);
END;
"""
"""What is large stands in tables of its own or behind what is read often. `held` is what each
process that searches keeps in memory, and `gone` tells it which rows were deleted."""
INSERT: Final = f"""
INSERT OR IGNORE INTO rows ({SHOWN}, seal, marks, words, terms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_VECTOR: Final = "INSERT OR IGNORE INTO vectors SELECT n, ? FROM rows WHERE id = ?"
INSERT_HELD: Final = "INSERT OR IGNORE INTO held SELECT n, ?, ? FROM rows WHERE id = ?"

_CAPITAL: Final = re.compile("[A-Z^]")


def marked(text: str) -> str:
    """The text without capitals of ASCII; other texts stay other ones."""
    return _CAPITAL.sub(lambda found: f"^{found[0].lower()}", text)


def matching(word: str) -> str:
    """What FTS5 is asked for the rows with a word; no character of it is syntax."""
    return '"' + marked(word).replace('"', '""') + '"'


def words_of(title: str, heading: Sequence[str], text: str) -> str:
    """The column of words."""
    return marked(words.column(title, heading, text))


def length_of(column: str) -> int:
    """How many words the column of words has."""
    return column.count(" ") + 1 if column else 0


def times_of(word: str, column: str) -> int:
    """How often the column of words has a word."""
    return column.split(" ").count(marked(word))


def terms_text(terms: Sequence[str]) -> str:
    """The column of terms."""
    return marked(" ".join(terms))


def condition(asked: Filter) -> tuple[str, list[Any]]:
    """The filter as SQL and its parameters; empty when it does not restrict."""
    values: list[Any] = []

    def compared(leaf: Leaf) -> str:
        if isinstance(leaf, InSources):
            values.extend(leaf.names)
            return f"source IN ({','.join('?' * len(leaf.names))})"
        if isinstance(leaf, BelowPath):
            beyond = checks.after(leaf.prefix)
            values.extend((leaf.prefix,) if beyond is None else (leaf.prefix, beyond))
            return "path >= ?" if beyond is None else "(path >= ? AND path < ?)"
        values.append(json.dumps(list(map(marked, terms_for(leaf)))))
        found = "SELECT doc FROM terms WHERE term IN (SELECT value FROM json_each(?))"
        return f"n IN ({found})"

    parts = []
    if asked.sources is not None:
        parts.append(compared(InSources(asked.sources)))
    if asked.path_prefix:
        parts.append(compared(BelowPath(asked.path_prefix)))
    if asked.where is not None:
        parts.append(folded(asked.where, compared, _all, _any, "(NOT {})".format))
    return " AND ".join(parts), values


def _all(parts: Sequence[str]) -> str:
    return f"({' AND '.join(parts)})"


def _any(parts: Sequence[str]) -> str:
    return f"({' OR '.join(parts)})"


def parameters(rows: Sequence[Row], vectors: Vectors) -> list[tuple[Any, ...]]:
    """The values of `INSERT` for each row. `vectors`: theirs, of norm 1."""
    marks = seal.marks_of(vectors).astype("<f4")
    return [_values(row, mark.tobytes()) for row, mark in zip(rows, marks, strict=True)]


def _values(row: Row, marks: bytes) -> tuple[Any, ...]:
    column = words_of(row.title, row.heading, row.text)
    return (
        *(row.id, row.doc_key, row.source, row.path, row.born, row.chunk_key, row.title),
        json.dumps(row.heading),
        row.text,
        seal.metadata_text(row.metadata),
        seal.seal_of(row, column),
        marks,
        column,
        terms_text(terms_of(row.metadata)),
    )


def to_hit(found: Sequence[Any], score: float) -> Hit:
    """The hit of the columns `SHOWN`."""
    row_id, key, source, path, born, chunk_key, title, heading, text, metadata = found[:10]
    return Hit(
        id=row_id,
        doc_key=key,
        source=source,
        path=path,
        born=born,
        chunk_key=chunk_key,
        title=title,
        heading=heading_of(heading),
        text=text,
        score=score,
        metadata=checks.metadata_of(metadata),
    )


def heading_of(text: str) -> tuple[str, ...]:
    """The heading of a row; none, where it was altered."""
    try:
        found = json.loads(text)
    except GARBAGE:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def numbers_of(listed: str | None) -> NDArray[np.int64]:
    """The numbers that SQLite's group_concat joined, in order, as often as they are there."""
    return np.sort(np.fromstring(listed, np.int64, sep=",") if listed else np.empty(0, np.int64))


def matrix(blobs: Sequence[bytes | None], dimensions: int, kind: str) -> Any:
    """The blobs as an array of `kind`, shape (blobs, dimensions); zeros where one is none of that
    length."""
    size = dimensions * np.dtype(kind).itemsize
    whole = (
        blob if isinstance(blob, bytes) and len(blob) == size else bytes(size) for blob in blobs
    )
    return np.frombuffer(b"".join(whole), kind).reshape(len(blobs), dimensions)
