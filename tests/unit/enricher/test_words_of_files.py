"""No word that a person sees in a file is lost, whatever its format: in blocks and in chunks."""

from collections.abc import Callable
from html import escape
from itertools import accumulate
from typing import get_args

import office_files as made
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from words import SEEN, words_lost

from services.enricher.chunking.chunk import chunk
from shared.domain.formats import Format
from shared.settings import Chunking


def numbered(lengths):
    """Paragraphs of so many words, no two of which are the same."""
    ends = list(accumulate(lengths))
    return [
        " ".join(f"wörd{n}" for n in range(end - length, end))
        for end, length in zip(ends, lengths, strict=True)
    ]


PARAGRAPHS = st.lists(st.integers(1, 60), min_size=1, max_size=8).map(numbered)


def pdf(paragraphs):
    lines = [" ".join(words[n : n + 6]) for p in paragraphs for words in [p.split()]
             for n in range(0, len(words), 6)]  # fmt: skip
    pages = [lines[n : n + 40] for n in range(0, len(lines), 40)]
    return made.pdf([[(11, 740 - 16 * n, line) for n, line in enumerate(page)] for page in pages])


def docx(paragraphs):
    def fill(document):
        document.add_heading(paragraphs[0], 1)
        for text in paragraphs:
            document.add_paragraph(text)
            document.add_paragraph(text, style="List Bullet")
        table = document.add_table(len(paragraphs), 2)
        for row, text in zip(table.rows, paragraphs, strict=True):
            row.cells[0].text, row.cells[1].text = text, f"{text}\nnext"

    return made.docx(fill)


def pptx(paragraphs):
    def slide(text):
        table = made.slide_table([[text, "price"], ["bolt", text]])
        return [made.shape("title", text), made.shape("body", text, text), table]

    slides = [slide(text) for text in paragraphs]
    return made.pptx(slides, notes=dict(enumerate(paragraphs)))


def odt(paragraphs):
    form = (
        '<text:h text:outline-level="2">{0}</text:h><text:p>{0}<text:line-break/>{0}</text:p>'
        "<text:list><text:list-item><text:p>{0}</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>{0}</text:p></table:table-cell>"
        "</table:table-row></table:table>"
    )
    inside = "".join(form.format(escape(text)) for text in paragraphs)
    return made.odt(f"<office:body><office:text>{inside}</office:text></office:body>")


def rtf(paragraphs):
    def spelt(text):
        return "".join(one if ord(one) < 128 else f"\\u{ord(one)}?" for one in text)

    inside = "".join(rf"{{\b {spelt(text)}}}\par {spelt(text)}\line x\par" for text in paragraphs)
    return rf"{{\rtf1\ansi\ansicpg1252{{\fonttbl{{\f0 Arial;}}}}{inside}}}".encode("ascii")


MADE: dict[Format, Callable[[list[str]], bytes]] = {
    "pdf": pdf,
    "docx": docx,
    "pptx": pptx,
    "odt": odt,
    "sheets": lambda texts: made.xlsx({"First": [texts, ["one"]], "Second": [[t] for t in texts]}),
    "epub": lambda texts: made.epub([f"<h1>{t}</h1><p>{t}</p><ul><li>{t}</ul>" for t in texts]),
    "rtf": rtf,
    "csv": lambda texts: "\n".join(["a,b", *(f'"{t}, ""x""",{t}' for t in texts)]).encode(),
}


def test_every_format_has_another_reader_that_tells_its_words():
    assert {*get_args(Format)} - SEEN.keys() == {"adoc"}


@pytest.mark.parametrize("format_", MADE)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(paragraphs=PARAGRAPHS)
def test_no_word_of_any_file_is_lost_in_blocks_or_in_chunks(format_, words, paragraphs):
    data = MADE[format_](paragraphs)

    assert words_lost(format_, data) == {}
    assert words_lost(format_, data, lambda found: chunk(found, Chunking(), words)) == {}


@pytest.mark.parametrize("format_", MADE)
def test_the_other_reader_sees_all_words(format_):
    seen = SEEN[format_](MADE[format_](["Größe eins", "zwei"]))

    assert {"Größe", "eins", "zwei"} <= {*seen.replace('"', " ").replace(",", " ").split()}
