"""Bodies of CSV: each row is a document. Quotation as in RFC 4180; the separator is a comma."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from services.gateway.problems import Problem, cut
from services.gateway.uploads.lines import checked
from shared.domain.errors import DocumentRefused
from shared.domain.submissions import LARGEST_BYTES, check_fields

TEXTS: Final = ("text", "content")
"""Columns of the text, where the request names none."""
SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table. `title`: None, there is none. The rest is metadata."""

    names: tuple[str, ...]
    path: str
    text: str
    title: str | None


def columns_of(names: Sequence[str], path: str, text: str) -> Columns:
    """The columns of a header. Pure.

    Args:
        path: the column of the paths.
        text: the column of the texts; empty: `text` or `content`.

    Raises:
        Problem: `invalid_request`.
    """
    doubled = next((name for n, name in enumerate(names) if name in names[:n]), None)
    if doubled is not None:
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
    return Columns(tuple(names), path, texts[0], title)


def submission_of(columns: Columns, cells: Sequence[str]) -> dict[str, Any]:
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


def path_in(columns: Columns, cells: Sequence[str]) -> str:
    """The path in a row that is refused, as far as there is one. Pure."""
    at = columns.names.index(columns.path)
    return cells[at] if at < len(cells) else ""


def rows(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that are not blank, the header first, each with the number of its first
    line, counting from 1.

    Raises:
        Problem: `malformed`: it is not UTF-8, or a quotation is wrong, with the line.
    """
    csv.field_size_limit(max(LARGEST_BYTES, csv.field_size_limit()))  # of the whole process
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    number = 1
    try:
        for cells in reader:
            if cells:
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        told = cut(str(error), SHOWN)
        raise Problem("malformed", f"line {number:,}: not CSV ({told}); nothing was sent") from None
    except UnicodeDecodeError:
        raise Problem("malformed", "the table is not UTF-8; nothing was sent") from None
    finally:
        text.detach()


def _wrong(told: str) -> Problem:
    return Problem("invalid_request", told)
