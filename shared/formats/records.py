"""CSV and TSV to one table. Pure."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from shared.formats.blocks import Block
from shared.formats.office.sheets import table_of

_SEPARATORS: Final = "\t;|,"
"""The likeliest first: a comma is a part of numbers and of prose, too."""
_SAMPLE_CHARS: Final = 16 * 1024
_TOLD: Final = re.compile(r"sep=([,;:|]?)\n", re.IGNORECASE)
"""The line by which a file tells spreadsheets its separator; a clean line has no tab at its end."""


def read(text: str) -> list[Block]:
    """The table of a clean text; the separator is the one that most of its first lines agree on."""
    told = _TOLD.match(text)
    if told:
        text = text[told.end() :]
    csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))  # of the whole process
    table = table_of(_rows(text, (told[1] or "\t") if told else separator(text[:_SAMPLE_CHARS])))
    return [table] if table else []


def separator(sample: str) -> str:
    """The separator that cuts the most rows into the same number of values."""

    def agreeing(candidate: str) -> int:
        sizes = Counter(len(row) for row in _rows(sample, candidate) if len(row) > 1)
        return max(sizes.values(), default=0)

    return max(_SEPARATORS, key=agreeing)


def _rows(text: str, by: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text), delimiter=by, skipinitialspace=True)
