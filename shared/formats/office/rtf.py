"""RTF to a title, metadata and blocks: its text by striprtf, one paragraph a line, and tables."""

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import Block, Content, clean, one_line
from shared.formats.office.sheets import table_of

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

_INFO: Final = re.compile(r"\{\\(title|author|subject|keywords)\s([^{}]{0,2000})\}")
_NAMES: Final = {"subject": "description"}


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`."""
    source = data.decode("latin-1")
    try:
        text = clean(_text(source))
        found: Metadata = {
            _NAMES.get(name, name): one_line(_text(rf"{{\rtf1\ansi {value}}}"), 500)
            for name, value in _INFO.findall(source[: 64 * 1024])
        }
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - striprtf checks no numbers
        raise DocumentRefused("corrupt", "the file is no RTF, or it is damaged") from None
    lines = (line.strip() for line in text.split("\n"))
    blocks: list[Block] = []
    for is_row, run in groupby(filter(None, lines), key=lambda line: line.endswith("|")):
        if is_row:  # striprtf ends each cell of a table so
            table = table_of(line.removesuffix("|").split("|") for line in run)
            blocks += [table] if table else []
        else:
            blocks += [Block("paragraph", line) for line in run]
    return Content(str(found.pop("title", "")), found, blocks)


def _text(source: str) -> str:
    """The text; characters beyond 16 bits, which RTF writes as two, are one."""
    from striprtf.striprtf import rtf_to_text

    text = str(rtf_to_text(source, errors="replace"))
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
