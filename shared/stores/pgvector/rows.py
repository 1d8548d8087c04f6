"""Rows as a Postgres table holds them, and the parts of statements that speak of them. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, LiteralString

import numpy as np
from numpy.typing import NDArray

from shared.domain.filters.terms import COLUMN, terms_for, terms_of
from shared.domain.filters.where import (
    BelowPath,
    InSources,
    IsBetween,
    Leaf,
    folded,
    reads_fields,
)
from shared.domain.text import words
from shared.ports import Filter, Hit, Row, Vectors
from shared.stores import checks, seal

SHOWN: Final = (
    "id",
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
TERMS: Final[LiteralString] = COLUMN
WORDS_BYTES: Final = 900_000
"""Most bytes of the different words of a row, of which Postgres takes 1 MiB; the rest is not
found by keywords."""
MOST_POSITIONS: Final = 255
"""Of a lexeme; more repetitions of a word in one chunk count as so many."""

FEW_TERMS: Final = 8
"""Up to which the operator && is used, which compares each with every term of a row. More are
looked up in a hash."""

_NEEDS_ESCAPE: Final = re.compile("[\0\1\ud800-\udfff]")
_MARK: Final = "\1"
_SURROGATES: Final = range(0xD800, 0xE000)
_ESCAPES: Final = {0: _MARK + "\2", 1: _MARK + "\1"} | {
    code: _MARK + chr(code + 0x800) for code in _SURROGATES
}
_ESCAPED: Final = re.compile(f"{_MARK}(.)", re.DOTALL)


class VectorBytes(bytes):
    """A vector in the binary form of the type `vector`."""


def stored(text: str) -> str:
    """The text as Postgres takes it: without NUL and halves of characters. A prefix of a text
    becomes a prefix, and different texts stay different."""
    return text.translate(_ESCAPES) if _NEEDS_ESCAPE.search(text) else text


def shown(text: str) -> str:
    """The inverse of `stored`."""
    return _ESCAPED.sub(_unescaped, text) if _MARK in text else text


def _unescaped(found: "re.Match[str]") -> str:
    code = ord(found[1])
    if code - 0x800 in _SURROGATES:
        return chr(code - 0x800)
    return {1: "\1", 2: "\0"}.get(code, found[0])


def condition(asked: Filter) -> tuple[LiteralString, dict[str, Any]]:
    """The filter as SQL and its parameters; `true` when it does not restrict."""
    values: dict[str, Any] = {}

    def named(value: Any) -> LiteralString:
        name = f"filter_{len(values)}"
        values[name] = value
        return f"%({name})s"

    def compared(leaf: Leaf) -> LiteralString:
        if isinstance(leaf, InSources):
            return f"source = ANY({named(list(map(stored, leaf.names)))})"
        if isinstance(leaf, BelowPath):
            first = stored(leaf.prefix)
            beyond = checks.after(first)
            begun = f"path >= {named(first)}"
            return begun if beyond is None else f"({begun} AND path < {named(beyond)})"
        found = terms_for(leaf)
        if len(found) <= FEW_TERMS:
            return f"{TERMS} && {named(list(found))}::text[]"
        one = f"EXISTS (SELECT FROM unnest({TERMS}) AS t WHERE t = ANY({named(list(found))}))"
        if not isinstance(leaf, IsBetween):
            return one
        return f"({TERMS} && {named(around(found))}::text[] AND {one})"

    parts: list[LiteralString] = ["true"]
    # every form of a comparison leaves out rows of a version before
    parts += [f"{TERMS} IS NOT NULL"] if reads_fields(asked.where) else []
    if asked.sources is not None:
        parts.append(compared(InSources(asked.sources)))
    if asked.path_prefix:
        parts.append(compared(BelowPath(asked.path_prefix)))
    if asked.where is not None:
        parts.append(folded(asked.where, compared, _all, _any, "(NOT {})".format))
    return " AND ".join(parts), values


def around(terms: Sequence[str]) -> list[str]:
    """A few beginnings that the terms of a range have, and others beside it: for the index."""
    shortest = terms[0].index(":") + 2
    for length in range(max(map(len, terms)), shortest, -1):
        cut = {term[:length] for term in terms}
        if len(cut) <= FEW_TERMS:
            return sorted(cut)
    return sorted({term[:shortest] for term in terms})


def _all(parts: Sequence[LiteralString]) -> LiteralString:
    return f"({' AND '.join(parts)})"


def _any(parts: Sequence[LiteralString]) -> LiteralString:
    return f"({' OR '.join(parts)})"


def words_in(title: str, heading: Sequence[str], text: str) -> list[str]:
    """Those of all that keywords match."""
    return words.words("\n".join((title, *heading, text)))


def found_by(title: str, heading: Sequence[str], text: str) -> dict[str, Any]:
    """The columns of words, their seal and their number."""
    found = words_in(title, heading, text)
    column = lexemes(found)
    return {"words": column, "words_seal": words_seal(column), "length": len(found)}


def lexemes(found: Sequence[str]) -> str:
    """The words as text of a `tsvector`, each with as many positions as it stands there times."""
    left, parts = WORDS_BYTES, []
    for word, count in sorted(Counter(found).items()):
        left -= len(word.encode()) + 2 * min(count, MOST_POSITIONS) + 4
        if left < 0:
            break
        positions = ",".join(map(str, range(1, 1 + min(count, MOST_POSITIONS))))
        parts.append(f"{quoted(word)}:{positions}")
    return " ".join(parts)


def quoted(word: str) -> str:
    """A lexeme as `tsvector` and `tsquery` read it; no character of it is syntax."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def words_seal(column: str) -> int:
    """64 bits (signed) over what a row is found by, as `lexemes` makes it and Postgres shows it."""
    digest = blake2b(column.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def parameters(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The values of the columns of each row, vectors as `vector_bytes`."""
    vectors = checks.unit(np.stack([np.asarray(row.vector, np.float32) for row in rows]))
    marks = seal.marks_of(vectors).tolist()
    return [
        _values(row, raw, mark)
        for row, raw, mark in zip(rows, vector_bytes(vectors), marks, strict=True)
    ]


def _values(row: Row, vector: VectorBytes, marks: Sequence[float]) -> dict[str, Any]:
    texts = ("id", "doc_key", "source", "path", "chunk_key", "title", "text")
    return {name: stored(getattr(row, name)) for name in texts} | {
        "born": row.born,
        "heading": list(map(stored, row.heading)),
        "metadata": stored(seal.metadata_text(row.metadata)),
        "vector": vector,
        "seal": seal.seal_of(row),
        "marks": list(marks),
        **found_by(row.title, row.heading, row.text),
        "terms": terms_of(row.metadata),
    }


def vector_bytes(vectors: Vectors) -> list[VectorBytes]:
    """float32, shape (rows, dimensions)."""
    head = np.array([vectors.shape[1], 0], ">i2").tobytes()
    return [VectorBytes(head + row.tobytes()) for row in vectors.astype(">f4")]


def vector_of(raw: bytes) -> NDArray[np.float32]:
    """The inverse of `vector_bytes` for one. float32, shape (dimensions,)."""
    return np.frombuffer(raw, ">f4", offset=4).astype(np.float32)


def to_hit(found: Mapping[str, Any], score: float) -> Hit:
    """The hit of the columns `SHOWN`."""
    return Hit(
        id=shown(found["id"]),
        doc_key=shown(found["doc_key"]),
        source=shown(found["source"]),
        path=shown(found["path"]),
        born=found["born"],
        chunk_key=shown(found["chunk_key"]),
        title=shown(found["title"]),
        heading=tuple(map(shown, found["heading"])),
        text=shown(found["text"]),
        score=score,
        metadata=checks.metadata_of(shown(found["metadata"])),
    )
