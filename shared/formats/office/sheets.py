"""XLSX, XLS and ODS to metadata and blocks: one heading and one table a sheet, by calamine."""

import datetime as dt
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import SECTION, Block, Content, clean, titled
from shared.formats.office import package

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

MAX_CELLS: Final = 1_000_000
"""Of all sheets; a file of a few bytes may claim billions."""

MOST_HEAD_LINES: Final = 4
"""Titles and header of a table; after more single values it is a list rather than a table."""


def read(data: bytes) -> Content:
    """Read a workbook.

    Raises:
        DocumentRefused: `corrupt`, `encrypted`; `too_large` above MAX_CELLS.
    """
    import python_calamine as calamine

    metadata: Metadata = {}
    if data.startswith(b"PK"):
        with package.unpack(data) as parts:
            for name in ("docProps/core.xml", "meta.xml"):
                metadata |= package.properties(package.part(parts, name))
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        blocks = list(_blocks(book))
    except calamine.PasswordError:
        raise DocumentRefused(
            "encrypted", "the workbook needs a password; save it without one"
        ) from None
    except (calamine.CalamineError, OSError, ValueError):
        raise DocumentRefused(
            "corrupt", "the file is no workbook, or it is damaged; save it anew"
        ) from None
    return Content(str(metadata.pop("title", "")), metadata, blocks)


def _blocks(book: Any) -> Iterator[Block]:
    cells = 0
    for name in book.sheet_names:
        sheet = book.get_sheet_by_name(name)
        cells += sheet.height * sheet.width
        if cells > MAX_CELLS:
            raise DocumentRefused("too_large", f"it has more than {MAX_CELLS:,} cells")
        table = table_of(sheet.to_python(skip_empty_area=True))
        if table:
            yield from titled(name, SECTION)
            yield table


def table_of(rows: Iterable[Sequence[Any]]) -> Block | None:
    """A table of the rows that are not empty; None where all are.

    Its head is its first row, and where that has one value, as a title above the table has, all
    rows to the first that has more.
    """
    lines: list[str] = []
    head = 0
    for row in rows:
        cells = [_shown(value) for value in row]
        line = " | ".join(cells).rstrip(" |")
        if line.strip(" |"):
            lines.append(line)
            if not head and sum(map(bool, cells)) > 1:
                head = len(lines)
    if not lines:
        return None
    return Block("table", "\n".join(lines), head if 0 < head <= MOST_HEAD_LINES else 1)


def _shown(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return " ".join(clean(str(value)).split())
