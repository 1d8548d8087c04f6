"""CSV and TSV to one table. Pure."""

import csv
import io
from typing import Final

from services.enricher.formats.blocks import Block
from services.enricher.formats.sheets import lines_of

_SEPARATORS: Final = ",;\t|"
_SAMPLE_CHARS: Final = 16 * 1024


def read(text: str) -> list[Block]:
    """The table of a clean text; the separator is the one that its first lines agree on."""
    sample = text[:_SAMPLE_CHARS]
    try:
        dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(sample, _SEPARATORS)
    except csv.Error:
        dialect = "excel-tab" if "\t" in sample.partition("\n")[0] else "excel"
    csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))  # of the whole process
    rows = lines_of(csv.reader(io.StringIO(text), dialect))
    return [Block("table", "\n".join(rows), 1)] if rows else []
