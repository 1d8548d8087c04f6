"""CSV and TSV to one table. Pure."""

import csv
import io
import re
from typing import Any, Final

from services.enricher.formats.blocks import Block
from services.enricher.formats.sheets import lines_of

_SEPARATORS: Final = ",;\t|"
_TOLD: Final = re.compile(r"sep=([,;| :]?)\n", re.IGNORECASE)
"""A first line that tells a spreadsheet the separator, and is not shown; a tab at the
end of a clean line is gone."""
_SAMPLE_CHARS: Final = 16 * 1024


def read(text: str) -> list[Block]:
    """The table of a clean text; the separator is the one that its first lines agree on."""
    if told := _TOLD.match(text):
        return _table(text[told.end() :], csv.excel, delimiter=told[1] or "\t")
    sample = text[:_SAMPLE_CHARS]
    try:
        dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(sample, _SEPARATORS)
    except csv.Error:
        dialect = "excel-tab" if "\t" in sample.partition("\n")[0] else "excel"
    return _table(text, dialect)


def _table(text: str, dialect: type[csv.Dialect] | str, **more: Any) -> list[Block]:
    csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))  # of the whole process
    rows = lines_of(csv.reader(io.StringIO(text), dialect, **more))
    return [Block("table", "\n".join(rows), 1)] if rows else []
