"""Rows as LanceDB holds them: the Arrow schema, both directions, and filters as SQL. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.terms import terms_for, terms_of
from shared.domain.filters.where import BelowPath, InSources, Leaf, folded
from shared.domain.text import words
from shared.ports import Filter, Hit, Row, Vector, Vectors
from shared.stores import seal
from shared.stores.checks import metadata_of

COLUMNS: Final = (
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
SEALS: Final = frozenset({"seal", "marks"})
"""Columns that prove the written content (`shared.stores.seal`)."""
_PRIMARY_KEY: Final = {"lance-schema:unenforced-primary-key": "true"}


def schema(dimensions: int) -> Any:
    """Columns of the table as `pyarrow.Schema`.

    The key must be declared at creation: without it two writers that insert one new id leave two
    rows, silently.
    """
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            pa.field("id", text, nullable=False, metadata=_PRIMARY_KEY),
            pa.field("doc_key", text, nullable=False),
            pa.field("source", text, nullable=False),
            pa.field("path", text, nullable=False),
            pa.field("born", pa.int64(), nullable=False),
            pa.field("chunk_key", text, nullable=False),
            pa.field("title", text, nullable=False),
            pa.field("heading", pa.list_(text), nullable=False),
            pa.field("text", text, nullable=False),
            pa.field("metadata", text, nullable=False),
            pa.field("words", text, nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
            pa.field("seal", pa.int64(), nullable=False),
            pa.field("marks", pa.list_(pa.float32(), seal.MARKS), nullable=False),
            terms_field(),
        ]
    )


def terms_field() -> Any:
    """The column of terms for filters; null in rows of a version before."""
    import pyarrow as pa

    return pa.field(TERMS, pa.list_(pa.string()), nullable=True)


def to_arrow(rows: Sequence[Row], dimensions: int) -> Any:
    """The rows as `pyarrow.Table` of `schema(dimensions)`; `words` is what keywords match."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in COLUMNS if name != "metadata"
    }
    columns["metadata"] = [seal.metadata_text(row.metadata) for row in rows]
    columns["words"] = [words.column(row.title, row.heading, row.text) for row in rows]
    vectors = np.stack([np.asarray(row.vector, np.float32) for row in rows])
    columns["vector"] = _lists(vectors)
    columns["seal"] = list(map(seal.seal_of, rows, columns["words"]))
    columns["marks"] = _lists(seal.marks_of(vectors))
    columns[TERMS] = [terms_of(row.metadata) for row in rows]
    return pa.table(columns, schema=schema(dimensions))


def _lists(matrix: Vectors) -> Any:
    """One list of fixed size for each row of the matrix."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def to_hit(found: Mapping[str, Any], score: float) -> Hit:
    """The hit of one row of a result, given as column name to value."""
    return Hit(
        id=found["id"],
        doc_key=found["doc_key"],
        source=found["source"],
        path=found["path"],
        born=found["born"],
        chunk_key=found["chunk_key"],
        title=found["title"],
        heading=tuple(found["heading"]),
        text=found["text"],
        score=score,
        metadata=metadata_of(found["metadata"]),
    )


def distance(one: Vector, other: Vector) -> float:
    """One minus the cosine of two vectors, as LanceDB gives it."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return 1 - float(np.dot(one, other)) / norms if norms else 1.0


def cosine(distance: float) -> float:
    """The cosine that a distance of LanceDB stands for."""
    return max(-1.0, min(1.0, 1.0 - distance))


def literal(value: str) -> str:
    """An SQL string: only the quote is special, for backslash, percent and NUL it was tried."""
    return "'" + value.replace("'", "''") + "'"


def among(column: str, values: Collection[str]) -> str:
    """`column` is one of `values` (at least one)."""
    return f"{column} IN ({','.join(map(literal, values))})"


def starting_with(column: str, prefixes: Collection[str]) -> str:
    """`column` starts with one of `prefixes` (at least one)."""
    return " OR ".join(f"starts_with({column},{literal(prefix)})" for prefix in prefixes)


def condition(asked: Filter) -> str | None:
    """The filter as SQL, None when it does not restrict; empty `sources` is the caller's case."""
    parts = []
    if asked.sources:
        parts.append(_comparison(InSources(asked.sources)))
    if asked.path_prefix:
        parts.append(_comparison(BelowPath(asked.path_prefix)))
    if asked.where is not None:
        parts.append(folded(asked.where, _comparison, _all, _any, "(NOT {})".format))
    return " AND ".join(parts) or None


def _comparison(leaf: Leaf) -> str:
    if isinstance(leaf, InSources):
        return among("source", leaf.names)
    if isinstance(leaf, BelowPath):
        return f"starts_with(path, {literal(leaf.prefix)})"
    found = ",".join(map(literal, terms_for(leaf)))
    return f"array_has_any({TERMS},make_array({found}))"


def _all(parts: Sequence[str]) -> str:
    return f"({' AND '.join(parts)})"


def _any(parts: Sequence[str]) -> str:
    return f"({' OR '.join(parts)})"
