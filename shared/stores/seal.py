"""Proofs that a row is as it was written: a seal of its fields, a mark of its vector. Pure.

Both are computed from the row that is written, with its column of words, and kept beside it. A
store may alter how it writes a vector (normalise it again, round it), but not where it points; so
a vector has no digest, but projections that are compared with a tolerance.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.domain.events import Scalar
from shared.ports import Hit, Row, Vectors

MARKS: Final = 5
"""The norm and four projections: another unit vector passes by chance once in 10**12."""
TOLERANCE: Final = 1e-3
TEXTS: Final = ("id", "doc_key", "source", "path", "chunk_key", "title", "text", "metadata")
"""The fields of the seal in their order; `born` stands before them, `heading` behind."""
HEADER: Final = struct.Struct(f"<q{len(TEXTS) + 1}I")
"""`born`, the number of headings, and the length in bytes of every text, so no two rows are one."""

_WRITTEN: Final = attrgetter(*TEXTS[:-1])
_JSON: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


def metadata_text(metadata: Mapping[str, Scalar]) -> str:
    """The metadata in the one form that is sealed: JSON, keys in order, nothing escaped."""
    return _JSON.encode(dict(metadata))


def seal_of(row: Row | Hit, words: str | None = None) -> int:
    """64 bits (signed) over every field of the row but its vector, and over its column of words.

    Args:
        words: None for a store without that column, and for rows of versions before it.
    """
    texts = list(map(_bytes, (*_WRITTEN(row), metadata_text(row.metadata))))
    found = _number(_digest(packed(row.born, texts, list(map(_bytes, row.heading)))))
    if words is not None:
        found += _number(_word_digest(_bytes(words)))
    return (found + 2**63) % 2**64 - 2**63


def packed(born: int, texts: Sequence[bytes], heading: Sequence[bytes]) -> bytes:
    """The bytes that are sealed. `texts`: UTF-8 of the fields `TEXTS`."""
    header = HEADER.pack(born, len(heading), *map(len, texts))
    lengths = struct.pack(f"<{len(heading)}I", *map(len, heading))
    return b"".join((header, *texts, lengths, *heading))


def digests(packed: Iterable[bytes]) -> NDArray[np.int64]:
    """The seals of rows that are packed as `packed` does it. Shape (rows,)."""
    return np.frombuffer(b"".join(map(_digest, packed)), "<i8")


def word_digests(columns: Iterable[bytes]) -> NDArray[np.int64]:
    """What columns of words, in UTF-8, add to the seals of their rows. Shape (rows,)."""
    return np.frombuffer(b"".join(map(_word_digest, columns)), "<i8")


def marks_of(vectors: Vectors) -> Vectors:
    """The norm of each vector and its projections on four fixed directions.

    Args:
        vectors: float32, shape (rows, dimensions).

    Returns:
        float32, shape (rows, MARKS).
    """
    # vecdot stays in this thread; a matrix product of this shape waits for threads of BLAS
    with np.errstate(invalid="ignore", over="ignore"):
        projections = np.vecdot(vectors[:, np.newaxis, :], _directions(vectors.shape[1]))
        norms = np.sqrt(np.vecdot(vectors, vectors))
    return np.column_stack((norms, projections))


def agree(found: Vectors, written: Vectors) -> NDArray[np.bool_]:
    """Which rows of the marks are the same; non-finite ones never are. Shape (rows,)."""
    slack = TOLERANCE * np.maximum(1.0, np.abs(written[:, :1]))
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(found - written) <= slack).all(axis=1))


@lru_cache(maxsize=8)
def _directions(dimensions: int) -> Vectors:
    """float32, shape (MARKS - 1, dimensions), mean 0, variance 1.

    Stored marks are compared with later ones, so a digest makes the numbers: the generators of
    numpy may change with its version.
    """
    count = dimensions * (MARKS - 1)
    raw = hashlib.shake_256(b"instep: directions of marks").digest(4 * count)
    uniform = np.frombuffer(raw, "<u4").astype(np.float64) / 2**32
    spread = (2 * uniform - 1) * np.sqrt(3)
    return np.asarray(spread.reshape(MARKS - 1, dimensions), np.float32)


def _digest(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=8).digest()


def _word_digest(column: bytes) -> bytes:
    """Of what is written, whichever version of words made it: that is noted beside the index. The
    mark in front keeps a column apart from the fields of a row."""
    return _digest(b"1\0" + column)


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "little", signed=True)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
