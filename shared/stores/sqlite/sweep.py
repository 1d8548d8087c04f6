"""The check of every row of an SQLite file: is it as it was written under its id?"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from shared.domain.ids import bucket_of
from shared.ports import Digest, Holding
from shared.stores import checks, seal
from shared.stores.looks import SweptRow, digested, held
from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite.codes import codes_of

PAGE: Final = 512
EVERY: Final = """
SELECT rows.n, id, doc_key, source, path, chunk_key, title, text, metadata, heading, born,
    words, terms, seal, marks, vector, code, length
FROM rows LEFT JOIN vectors ON vectors.n = rows.n LEFT JOIN held ON held.n = rows.n
WHERE rows.n > ?
"""
OF_BUCKET: Final = " AND doc_key >= ? AND doc_key < ?"
IN_ORDER: Final = " ORDER BY rows.n LIMIT ?"

Check = Callable[[], None]
"""Raises where the work is to end."""


def digests(
    connection: sqlite3.Connection, dimensions: int, check: Check, *, termed: bool
) -> dict[str, Digest]:
    """See `shared.ports.VectorStore.digests`. Raises sqlite3.Error.

    termed: every row is noted to have the terms of this version.
    """
    found: dict[str, Digest] = {}
    for page in pages(connection, check):
        looks = looks_at(page, dimensions, termed=termed)
        fresh = digested((look.id, look.doc_key, look.sound) for look in looks)
        for bucket, digest in fresh.items():
            found[bucket] = found.get(bucket, Digest()) + digest
    return found


def holdings(
    connection: sqlite3.Connection,
    dimensions: int,
    buckets: Collection[str],
    check: Check,
    *,
    termed: bool,
) -> dict[str, Holding]:
    """See `shared.ports.VectorStore.holdings`. Raises sqlite3.Error."""
    looks: list[SweptRow] = []
    for bucket in sorted(buckets):
        for page in pages(connection, check, bucket):
            seen = looks_at(page, dimensions, termed=termed)
            looks += [look for look in seen if bucket_of(look.doc_key) == bucket]
    return held(looks)


def pages(
    connection: sqlite3.Connection, check: Check, bucket: str | None = None
) -> Iterator[list[Any]]:
    """All rows, or those whose documents' keys begin with a bucket: the columns of `EVERY`."""
    beyond = checks.after(bucket) if bucket else None
    bounds = () if bucket is None or beyond is None else (bucket, beyond)
    statement = EVERY + (OF_BUCKET if bounds else "") + IN_ORDER
    last = 0
    while page := connection.execute(statement, (last, *bounds, PAGE)).fetchall():
        check()
        last = page[-1][0]
        yield page


def looks_at(page: Sequence[Sequence[Any]], dimensions: int, *, termed: bool) -> list[SweptRow]:
    """The look at each row of the columns of `EVERY`. Pure.

    termed: every row has the terms of this version; else some may have others.
    """
    vectors = sqlite_rows.matrix([row[15] for row in page], dimensions, "<f4")
    codes = sqlite_rows.matrix([row[16] for row in page], dimensions, "i1")
    marks = sqlite_rows.matrix([row[14] for row in page], seal.MARKS, "<f4")
    near = seal.agree(seal.marks_of(vectors), marks) & vectors.any(axis=1)
    near &= (codes_of(vectors) == codes).all(axis=1)
    return [_look(row, same, termed) for row, same in zip(page, near.tolist(), strict=True)]


def _look(row: Sequence[Any], near: bool, termed: bool) -> SweptRow:
    row_id, key, source, path = map(str, row[1:5])
    filtered = not termed or row[12] == sqlite_rows.terms_text(checks.terms_of_text(str(row[8])))
    sound = near and filtered and is_sealed(row) and row[17] == sqlite_rows.length_of(row[11])
    return SweptRow(row_id, key, source, path, sound)


def is_sealed(row: Sequence[Any]) -> bool:
    """Whether the fields and words of a row of `EVERY` are those that its seal is of."""
    fields, column = sealed_fields(row), row[11]
    if fields is None or not isinstance(column, str):
        return False
    (words,) = seal.word_digests([_bytes(column)])
    return bool((fields + int(words) + 2**63) % 2**64 - 2**63 == row[13])


def sealed_fields(row: Sequence[Any]) -> int | None:
    """The seal of the fields without the words; None: a field is no text."""
    texts = row[1:9]
    if not all(isinstance(text, str) for text in (*texts, row[9])) or type(row[10]) is not int:
        return None
    heading = list(map(_bytes, sqlite_rows.heading_of(row[9])))
    try:
        (found,) = seal.digests([seal.packed(row[10], list(map(_bytes, texts)), heading)])
    except ValueError:
        return None
    return int(found)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
