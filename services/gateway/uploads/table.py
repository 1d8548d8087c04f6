"""Bodies of CSV: each row is a document. Quotation as in RFC 4180; the separator is a comma."""

import asyncio
import codecs
import csv
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.gateway.problems import Problem, cut
from services.gateway.uploads.bodies import (
    LINES_AT_ONCE,
    MAX_LINE_BYTES,
    MOST_DOCUMENTS,
    READ_BYTES,
)
from services.gateway.uploads.lines import checked
from services.gateway.uploads.uploads import Read
from shared.domain.errors import DocumentRefused
from shared.domain.submissions import check_fields

TEXTS: Final = ("text", "content")
"""Columns of the text, where the request names none."""
SHOWN: Final = 80
MOST_COLUMNS: Final = 256
MAX_HEADER: Final = 64 * 1024
"""Characters of all names: each row says them again."""
_LINE: Final = re.compile(rb"[^\r\n]*+(?:\r\n|\r|\n|\Z)")


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a table. `title`: None, there is none. The rest is metadata."""

    names: tuple[str, ...]
    path: str
    text: str
    title: str | None


def columns_of(names: Sequence[str], path: str, text: str) -> TableColumns:
    """The columns of a header. Pure.

    Args:
        path: the column of the paths.
        text: the column of the texts; empty: `text` or `content`.

    Raises:
        Problem: `invalid_request`.
    """
    if len(names) > MOST_COLUMNS or sum(map(len, names)) > MAX_HEADER:
        told = f"at most {MOST_COLUMNS:,} columns, whose names have {MAX_HEADER:,} characters"
        raise _wrong(f"the header must have {told}; this one has {len(names):,} columns")
    if len(set(names)) < len(names):
        doubled, _ = Counter(names).most_common(1)[0]
        raise _wrong(f"the header has the column {doubled[:SHOWN]!r} twice")
    if not all(name.strip() for name in names):
        raise _wrong("the header has a column without a name")
    texts = [name for name in ([text] if text else TEXTS) if name in names]
    if path not in names:
        raise _wrong(f"the header has no column {path[:SHOWN]!r} for the path")
    if len(texts) != 1:
        wanted = f"one column {text[:SHOWN]!r}" if text else "one column text or content"
        raise _wrong(f"the header must have {wanted} for the text")
    if path == texts[0]:
        raise _wrong("path and text must be different columns")
    title = "title" if "title" in names and "title" not in (path, texts[0]) else None
    return TableColumns(tuple(names), path, texts[0], title)


def submission_of(columns: TableColumns, cells: Sequence[str]) -> dict[str, Any]:
    """The submission of a row; an empty cell of the metadata is none. Pure.

    Raises:
        DocumentRefused: it is none, or no producer would take it.
    """
    if len(cells) != len(columns.names):
        told = f"the row has {len(cells):,} cells, and the header {len(columns.names):,}"
        raise DocumentRefused("invalid_request", told)
    row = dict(zip(columns.names, cells, strict=True))
    body: dict[str, Any] = {"path": row.pop(columns.path), "text": row.pop(columns.text)}
    if columns.title is not None and (title := row.pop(columns.title)):
        body["title"] = title
    metadata = {name: cell for name, cell in row.items() if cell}
    check_fields(body)
    return checked(body | ({"metadata": metadata} if metadata else {}))


def path_in(columns: TableColumns, cells: Sequence[str]) -> str:
    """The path in a row that is refused, as far as there is one. Pure."""
    at = columns.names.index(columns.path)
    return cells[at] if at < len(cells) else ""


async def rows(read: Read) -> AsyncIterator[tuple[int, list[str]]]:
    """The rows of a table that are not blank, the header first, each with the number of its first
    line, counting from 1.

    Raises:
        Problem: `malformed`: it is not UTF-8, or a quotation is wrong. `request_too_large`: a row
            is too long, or there are too many, blank ones too. Both with the line.
    """
    records, count = _Records(), 0
    while not records.is_at_end:
        await records.fill(read)
        for number, cells in await asyncio.to_thread(records.some):
            count += 1
            if count > MOST_DOCUMENTS + 1:  # the header is one
                raise Problem("request_too_large", f"more than {MOST_DOCUMENTS:,} rows")
            if cells:
                yield number, cells


class _Records:
    """The records of a table, of which a part is in memory.

    Where a record ends only `csv` knows, so it begins with one only while more bytes wait than a
    record may have, or all that there are: it never reads beyond them.
    """

    def __init__(self) -> None:
        self._window, self._at, self._is_whole = b"", 0, False
        self._begin, self._number, self._is_first = 0, 1, True
        """Where the next record begins: in the window, and in lines of the table."""
        self._reader = csv.reader(self._lines(), strict=True)

    @property
    def is_at_end(self) -> bool:
        return self._is_whole and self._at == len(self._window)

    @property
    def _is_ready(self) -> bool:
        return self._is_whole or len(self._window) - self._at > MAX_LINE_BYTES

    async def fill(self, read: Read) -> None:
        """Read as much as the next record may have, and some more."""
        if self._is_ready:
            return
        window = bytearray(self._window[self._at :])
        while len(window) <= 2 * MAX_LINE_BYTES and not self._is_whole:
            data = await read(READ_BYTES)
            window += data
            self._is_whole = not data
        if self._is_first:
            window = window.removeprefix(codecs.BOM_UTF8)
        self._window, self._at, self._begin, self._is_first = bytes(window), 0, 0, False

    def some(self) -> list[tuple[int, list[str]]]:
        """The next records, with their lines; a blank one has no cells. Raises Problem."""
        found: list[tuple[int, list[str]]] = []
        first = self._at
        while len(found) < LINES_AT_ONCE and self._at - first < READ_BYTES and self._is_ready:
            csv.field_size_limit(max(MAX_LINE_BYTES, csv.field_size_limit()))  # of the process
            cells = self._next()
            if cells is None:
                break
            found.append((self._number, cells))
            self._number, self._begin = self._reader.line_num + 1, self._at
        return found

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            told = f"line {self._number:,}: not CSV ({cut(str(error), SHOWN)}); nothing was sent"
            raise Problem("malformed", told) from None
        except UnicodeDecodeError:
            told = f"line {self._reader.line_num + 1:,}: not UTF-8; nothing was sent"
            raise Problem("malformed", told) from None

    def _lines(self) -> Iterator[str]:
        """The lines of the window, each with its end: LF, CR LF, or CR."""
        while self._at < len(self._window):
            found = _LINE.match(self._window, self._at)
            assert found is not None, "the pattern matches everything"
            if found.end() - self._begin > MAX_LINE_BYTES:
                told = (
                    f"line {self._number:,}: the row has more than {MAX_LINE_BYTES:,} bytes, or a "
                    "quotation is never closed; nothing was sent"
                )
                raise Problem("request_too_large", told, "send large documents as files of a form")
            self._at = found.end()
            yield found[0].decode()


def _wrong(told: str) -> Problem:
    return Problem("invalid_request", told)
