"""PDF, Office, OpenDocument, EPUB, RTF and CSV documents."""

import io
import random
import re
import zipfile
from collections import Counter

import office_files as made
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.enricher.chunking.chunk import chunk
from shared.domain.errors import DocumentRefused
from shared.domain.events import with_context
from shared.formats import pdf
from shared.formats.extract import _read, extract, format_of
from shared.formats.office import package, sheets
from shared.settings import Chunking

_WORD = re.compile(r"\w+")
LINES = st.lists(st.text("abcdefg äöüß", min_size=12, max_size=30), min_size=1, max_size=6)
"""PDFium takes letters below each other for vertical writing."""
SENTENCES = st.lists(st.text("abcdefg äöüß", min_size=1, max_size=30), min_size=1, max_size=6)


def read(data, path, media_type=None):
    return extract(data, path=path, media_type=media_type, title=None)


def refusal(data, path, media_type=None):
    with pytest.raises(DocumentRefused) as refused:
        read(data, path, media_type)
    return refused.value


def outcome(data, path):
    """The code of the refusal, or `read`."""
    try:
        read(data, path)
    except DocumentRefused as refused:
        return refused.code
    return "read"


def shown(extracted, kind=None):
    return [block.text for block in extracted.blocks if kind in (None, block.kind)]


def words(text):
    return Counter(_WORD.findall(text))


# -- PDF -------------------------------------------------------------------------------------------

DATE = "D:20240131120000+01'00'"
PAGE = [(20, 720, "Pumps"), (11, 690, "They move water."), (11, 676, "All of them leak.")]


def test_headings_of_a_pdf_are_told_by_the_size_of_their_letters_and_pages_end_the_path():
    found = read(made.pdf([PAGE, [(14, 700, "Valves"), (11, 680, "Open them.")]]), "a.pdf")

    assert [(b.text, b.path) for b in found.blocks if b.kind == "paragraph"] == [
        ("They move water. All of them leak.", ("Pumps", "page 1")),
        ("Open them.", ("Pumps", "Valves", "page 2")),
    ]
    assert found.title == "Pumps"


def test_the_outline_tells_headings_and_their_levels():
    pages = [[(11, 700, "Part One"), (11, 680, "text")], [(11, 700, "more"), (11, 500, "Sub")]]
    outline = [("Part One", 0, 0), ("Sub", 1, 1), ("Not on the page", 1, 1)]

    found = read(made.pdf(pages, outline=outline), "a.pdf")

    headings = [(b.text, b.level) for b in found.blocks if b.kind == "heading" and b.level < 7]
    assert headings == [("Part One", 1), ("Not on the page", 2), ("Sub", 2)]


def test_paragraphs_end_at_larger_distances_and_items_keep_their_lines():
    lines = [(11, 700 - 14 * n, f"line {n}") for n in range(4)]
    lines += [(11, 610, "- one"), (11, 596, "- two")]

    assert shown(read(made.pdf([lines]), "a.pdf"), "paragraph") == [
        "line 0 line 1 line 2 line 3",
        "- one\n- two",
    ]


def test_numbers_that_count_pages_are_left_out_and_other_numbers_stay():
    first = [(9, 740, "42"), (11, 700, "answers to the question"), (9, 60, "1999")]
    pages = [
        [(11, 700, f"text of page {n} is this"), (9, 60, mark.format(n + 7))]
        for n, mark in enumerate(("{}", "- {} -", "{}", "\u2013 {} \u2013"), 1)
    ]

    assert shown(read(made.pdf([first, *pages]), "a.pdf"), "paragraph") == [
        "42",
        "answers to the question",
        "1999",
        *(f"text of page {n} is this" for n in range(1, 5)),
    ]


def test_the_outline_finds_headings_whose_number_it_leaves_out():
    page = [(11, 700, "text before"), (11, 680, "2.1 Pumps"), (11, 660, "text below")]

    found = read(made.pdf([page], outline=[("Pumps", 0, 0)]), "a.pdf")

    assert [(b.kind, b.text) for b in found.blocks if b.level < 7] == [
        ("paragraph", "text before"),
        ("heading", "2.1 Pumps"),
        ("paragraph", "text below"),
    ]


def test_entries_of_a_table_of_contents_keep_their_lines_without_their_dots():
    dots = " ." * 40
    lines = [(11, 700, f"1 Pumps{dots} 3"), (11, 686, f"2 Valves{dots.replace(' ', '')}12")]

    assert shown(read(made.pdf([lines]), "a.pdf"), "paragraph") == ["1 Pumps … 3\n2 Valves … 12"]


def test_a_word_that_was_parted_at_the_end_of_a_line_is_whole():
    lines = [(11, 700, "the inter-"), (11, 686, "national pump"), (11, 672, "works")]

    assert shown(read(made.pdf([lines]), "a.pdf"), "paragraph") == ["the international pump works"]


def test_properties_of_a_pdf_are_its_metadata_and_pages_without_text_are_named():
    data = made.pdf(
        [PAGE, [], [], PAGE, []],
        properties={
            "Title": "On pumps",
            "Author": "Ada",
            "CreationDate": DATE,
        },
    )

    found = read(data, "a.pdf")

    assert found.title == "On pumps"
    assert found.metadata == {
        "author": "Ada",
        "date": "2024-01-31T12:00:00+01:00",
        "pages_without_text": "2-3, 5",
    }
    assert found.origins["author"] == found.origins["title"] == "properties"
    assert found.origins["pages_without_text"] == "pages"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("D:2024", "2024"),
        ("D:202401", "2024-01"),
        ("20240131", "2024-01-31"),
        ("D:20240131120000Z", "2024-01-31T12:00:00Z"),
        ("D:20240131120000-05'30'", "2024-01-31T12:00:00-05:30"),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_of_pdf(text, date):
    assert pdf.date_of(text) == date


def test_a_scan_is_named_as_one():
    refused = refusal(made.pdf([[], [], []]), "a.pdf")

    assert refused.code == "no_text"
    assert "a scan of 3 pages" in refused.reason


def test_a_pdf_with_a_password_says_so():
    assert refusal(made.pdf([PAGE], password="secret"), "a.pdf").code == "encrypted"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_pdf_that_was_cut_off_is_corrupt(share):
    whole = made.pdf([PAGE] * 20)
    cut = whole[: int(len(whole) * share)]

    assert outcome(cut, "a.pdf") == "corrupt"


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(LINES, min_size=1, max_size=4), st.integers(0, 2**32))
def test_no_word_of_a_pdf_is_lost(pages, seed):
    from pypdf import PdfReader

    chance = random.Random(seed)
    lines = [
        [(chance.choice((9, 11, 11, 18)), 740 - 20 * n, text) for n, text in enumerate(page)]
        for page in pages
    ]
    data = made.pdf(lines)
    seen = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    if not _WORD.search(seen):
        return

    found = words("\n".join(shown(read(data, "a.pdf"))))

    assert words(seen) - found == Counter()


# -- Office ----------------------------------------------------------------------------------------


def report(document):
    document.add_heading("Pumps", 1)
    document.add_paragraph("They move water & oil <fast>.")
    table = document.add_table(2, 2)
    for row, column, text in ((0, 0, "Part"), (0, 1, "Price"), (1, 0, "Bolt"), (1, 1, "3")):
        table.cell(row, column).text = text
    document.add_heading("Valves", 2)
    document.add_paragraph("one", style="List Bullet")


@pytest.mark.parametrize(
    "name",
    [
        "Microsoft Word - Minutes",
        "microsoft word - minutes.docx",
        "minutes final.doc",
        r"C:\wp\MT_r1.wpd [PFP#1181003885]",
        "untitled",
        "PowerPoint Presentation",
    ],
)
def test_the_name_of_a_file_is_no_title(name):
    found = read(made.pdf([[(30, 750, "Minutes"), *PAGE]], properties={"Title": name}), "a.pdf")

    assert (found.title, found.origins["title"]) == ("Minutes", "heading")
    assert found.metadata["title_property"] == name


@pytest.mark.parametrize("title", ["How to print a .pdf file", "Untitled works of Klee", "a.b"])
def test_a_title_that_only_mentions_files_is_one(title):
    found = read(made.pdf([[(30, 750, "Minutes"), *PAGE]], properties={"Title": title}), "a.pdf")

    assert (found.title, found.origins["title"]) == (title, "properties")


def test_a_docx_has_headings_tables_lists_and_properties():
    found = read(made.docx(report, title="On pumps", author="Ada"), "a.docx")

    assert (found.title, found.metadata["author"]) == ("On pumps", "Ada")
    assert [(b.kind, b.text) for b in found.blocks] == [
        ("heading", "Pumps"),
        ("paragraph", "They move water & oil <fast>."),
        ("table", "Part | Price\nBolt | 3"),
        ("heading", "Valves"),
        ("list", "- one"),
    ]


def test_a_paragraph_of_the_style_title_is_the_title_of_a_docx_above_all_headings():
    def fill(document):
        document.add_paragraph("Draft")
        document.add_heading("Minutes <of> the board", 0)
        document.add_heading("Decisions", 1)
        document.add_heading("Steps", 2)
        document.add_paragraph("Ask the landlord.")
        document.add_heading("Budget", 1)

    found = read(made.docx(fill), "a.docx")

    assert (found.title, found.origins["title"]) == ("Minutes <of> the board", "heading")
    assert [(b.level, b.text) for b in found.blocks] == [
        (0, "Draft"),
        (1, "Minutes <of> the board"),
        (2, "Decisions"),
        (3, "Steps"),
        (0, "Ask the landlord."),
        (2, "Budget"),
    ]


CHAPTERS = "".join(f'<text:h text:outline-level="1">{name}</text:h>' for name in ("One", "Two"))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (made.docx(lambda d: (d.add_heading("One", 1), d.add_heading("Two", 1))), "a.docx"),
        (made.odt(CHAPTERS), "a.odt"),
        (made.epub(["<h1>One</h1><p>x</p>", "<h1>Two</h1><p>y</p>"]), "a.epub"),
        (made.pdf([[(11, 700, "One")], [(11, 700, "Two")]], outline=[("One", 0, 0), ("Two", 0, 1)]),
         "a.pdf"),
        (made.xlsx({"One": [["x"]], "Two": [["y"]]}), "a.xlsx"),
        (made.xlsx({"Sheet1": [["x"]]}), "a.xlsx"),
        (made.pptx([[made.shape("body", "x")]]), "a.pptx"),
    ],
)  # fmt: skip
def test_the_first_of_several_chapters_or_sheets_is_no_title(data, name):
    found = extract_any(data, name)

    assert found.title == ""
    assert "title" not in found.origins


def extract_any(data, name):
    """The document, also of headings alone."""
    return _read(data, format_of(data, name, None), None, "")


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(SENTENCES, SENTENCES)
def test_no_word_of_a_docx_is_lost(paragraphs, cells):
    import docx as python_docx

    def fill(document):
        for text in paragraphs:
            document.add_paragraph(text)
        table = document.add_table(1, len(cells))
        for n, text in enumerate(cells):
            table.cell(0, n).text = text

    data = made.docx(fill)
    read_back = python_docx.Document(io.BytesIO(data))
    seen = [p.text for p in read_back.paragraphs]
    seen += [cell.text for row in read_back.tables[0].rows for cell in row.cells]
    if not _WORD.search(" ".join(seen)):
        return

    found = words("\n".join(shown(read(data, "a.docx"))))

    assert words("\n".join(seen)) - found == Counter()


def test_slides_come_in_the_order_they_are_shown_with_tables_and_notes():
    slides = [
        [made.shape("ctrTitle", "Welcome"), made.shape("subTitle", "to the show")],
        [
            made.shape("title", "Numbers"),
            made.shape("body", "one", "two"),
            made.slide_table([["Part", "Price"], ["Bolt", "3"]]),
            made.shape("sldNum", "7"),
        ],
    ]

    found = read(made.pptx(slides, notes={1: "say hello"}, title="Deck", creator="Bob"), "a.pptx")

    assert (found.title, found.metadata) == ("Deck", {"author": "Bob"})
    assert [(b.path, b.text) for b in found.blocks if b.kind != "heading"] == [
        (("slide 1", "Welcome"), "to the show"),
        (("slide 2", "Numbers"), "one\ntwo"),
        (("slide 2", "Numbers"), "Part | Price\nBolt | 3"),
        (("slide 2", "Numbers", "notes"), "say hello"),
    ]


ODP = """<office:body><office:presentation>
<draw:page draw:name="page1"><draw:frame presentation:class="title"><draw:text-box>
<text:p>Welcome</text:p></draw:text-box></draw:frame><draw:frame><draw:text-box>
<text:p>to the show</text:p></draw:text-box></draw:frame>
<presentation:notes><draw:frame presentation:class="notes"><draw:text-box><text:p>say hello</text:p>
</draw:text-box></draw:frame></presentation:notes></draw:page>
<draw:page draw:name="page2"><draw:frame><draw:text-box><text:p>Thanks</text:p></draw:text-box>
</draw:frame><presentation:notes/></draw:page>
</office:presentation></office:body>"""


@pytest.mark.parametrize("style", ["Title", "P1"])
def test_a_paragraph_of_the_style_title_is_the_title_of_an_open_document(style):
    data = made.odt(
        '<office:automatic-styles><style:style style:name="P1" style:parent-style-name="Title"/>'
        "</office:automatic-styles><office:body><office:text>"
        f'<text:p text:style-name="{style}">Minutes</text:p><text:p text:style-name="P2">Draft'
        f"</text:p>{CHAPTERS}</office:text></office:body>"
    )

    found = read(data, "a.odt")

    assert (found.title, found.origins["title"]) == ("Minutes", "heading")
    assert [(b.level, b.text) for b in found.blocks] == [
        (1, "Minutes"),
        (0, "Draft"),
        (2, "One"),
        (2, "Two"),
    ]


def test_slides_of_both_kinds_of_presentations_look_the_same():
    shapes = [[made.shape("title", "Welcome"), made.shape("body", "to the show")]]
    shapes.append([made.shape("body", "Thanks")])
    ours = read(made.pptx(shapes, notes={0: "say hello"}), "a.pptx")

    found = read(made.odt(ODP), "a.odp")

    assert (found.title, found.origins["title"]) == ("Welcome", "heading")
    assert found == ours
    assert [(b.path, b.text) for b in found.blocks if b.kind != "heading"] == [
        (("slide 1", "Welcome"), "to the show"),
        (("slide 1", "Welcome", "notes"), "say hello"),
        (("slide 2",), "Thanks"),
    ]


def texts_to_encode(data, path, wordpiece):
    chunks = chunk(read(data, path), Chunking(), wordpiece)
    return {with_context("Book", c.heading, c.text) for c in chunks}


@pytest.mark.parametrize("kind", ["a.pdf", "a.pptx", "a.odp"])
def test_a_page_more_at_the_front_changes_the_texts_of_no_other_page(kind, wordpiece):
    def made_of(pages):
        if kind == "a.pdf":
            return made.pdf([[(11, 700, f"The {page} is here.")] for page in pages])
        if kind == "a.pptx":
            shapes = [[made.shape("title", p), made.shape("body", "is here")] for p in pages]
            return made.pptx([*shapes, [made.shape("title", "The end")]])
        slide = (
            '<draw:page><draw:frame presentation:class="title"><text:p>{}</text:p></draw:frame>'
            "<draw:frame><text:p>is here</text:p></draw:frame></draw:page>"
        )
        body = "".join(map(slide.format, pages))
        return made.odt(
            f"<office:body><office:presentation>{body}</office:presentation></office:body>"
        )

    before = texts_to_encode(made_of(["valve", "pump"]), kind, wordpiece)
    after = texts_to_encode(made_of(["cover", "valve", "pump"]), kind, wordpiece)

    assert before < after
    assert len(after - before) == 1


def test_each_sheet_is_a_table_below_its_name():
    import datetime as dt

    rows = [["Part", "Price", "Since"], ["Bolt", 3.0, dt.datetime(2024, 1, 31)], [None] * 3]
    data = made.xlsx({"Prices": rows, "Stock": [["Nut", 2.5, None]]}, title="Shop", creator="Eve")

    found = read(data, "a.xlsx")

    assert (found.title, found.metadata["author"]) == ("Shop", "Eve")
    assert [(b.path, b.text, b.level) for b in found.blocks if b.kind == "table"] == [
        (("Prices",), "Part | Price | Since\nBolt | 3 | 2024-01-31", 1),
        (("Stock",), "Nut | 2.5", 1),
    ]


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(SENTENCES, min_size=1, max_size=5))
def test_no_word_of_a_workbook_is_lost(rows):
    rows = [["a word"], *rows]
    data = made.xlsx({"Sheet": rows})
    seen = "\n".join(text for row in rows for text in row)

    found = words("\n".join(shown(read(data, "a.xlsx"))))

    assert words(seen) - found == Counter()


ODT = """<office:body><office:text>
<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>
<text:h text:outline-level="1">Pumps</text:h>
<text:p>They<text:s/>move<text:line-break/>water<text:note><text:p>and oil</text:p></text:note>.
</text:p>
<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>inner</text:p>
</text:list-item></text:list></text:list-item></text:list>
<table:table><table:table-row><table:table-cell><text:p>Part</text:p></table:table-cell>
<table:table-cell><text:p>Price</text:p></table:table-cell></table:table-row></table:table>
</office:text></office:body>"""


def test_an_open_document_has_headings_lists_tables_and_footnotes():
    found = read(made.odt(ODT, title="On pumps", creator="Ada"), "a.odt")

    assert (found.title, found.metadata) == ("On pumps", {"author": "Ada"})
    assert [(b.kind, b.text) for b in found.blocks] == [
        ("heading", "Pumps"),
        ("paragraph", "and oil"),
        ("paragraph", "They move\nwater."),
        ("list", "- one\n  - inner"),
        ("table", "Part | Price"),
    ]


def test_pages_of_a_book_come_in_the_order_of_its_spine():
    pages = [f"<html><body><h1>Part {n}</h1><p>text {n}</p></body></html>" for n in range(3)]

    found = read(made.epub(pages, title="Book", creator="Ada", language="de"), "a.epub")

    assert (found.title, found.metadata) == ("Book", {"author": "Ada", "language": "de"})
    assert shown(found, "paragraph") == ["text 0", "text 1", "text 2"]


def test_rtf_is_read_with_its_properties():
    data = rb"{\rtf1\ansi{\info{\title On pumps}{\author Ada}}They {\b move} water.\par Na\'efve.}"

    found = read(data, "a.rtf")

    assert (found.title, found.metadata) == ("On pumps", {"author": "Ada"})
    assert shown(found) == ["They move water.", "Na\u00efve."]


def test_a_table_of_rtf_is_a_table():
    row = r"\trowd\cellx1\cellx2 {}\cell {}\cell\row"
    table = row.format("Name", "Town") + row.format("Ann", "Oslo")
    data = (r"{\rtf1\ansi Before.\par" + table + r"\pard After.\par}").encode()

    assert [(b.kind, b.text) for b in read(data, "a.rtf").blocks] == [
        ("paragraph", "Before."),
        ("table", "Name | Town\nAnn | Oslo"),
        ("paragraph", "After."),
    ]


def test_a_title_above_a_table_is_a_part_of_its_head_and_a_single_column_has_one_line_of_it():
    rows = [["Report of March"], [], ["Name", "Town"], ["Ann", "Oslo"]]
    lines = "\n".join(";".join(row) for row in rows)
    tables = [read(lines.encode(), "a.csv").blocks[-1]]
    tables.append(read(made.xlsx({"A": rows}), "a.xlsx").blocks[-1])

    for table in tables:
        assert (table.text, table.level) == ("Report of March\nName | Town\nAnn | Oslo", 2)
    column = "\n".join(["mail", *(f"a{n}@b.org" for n in range(9))])
    assert read(column.encode(), "a.csv").blocks[0].level == 1


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("Made on 1.1.\n\nName;Town\nAnn;Oslo", "Name | Town"),
        ("Part;Price\nBolt;1,25\nNut;0,50\nPin;12,00", "Bolt | 1,25"),
        ("1,5;2,5;3,5\n4,5;5,5;6,5", "4,5 | 5,5 | 6,5"),
        ("sep=;\nName;Town\nAnn, Bo;Oslo", "Ann, Bo | Oslo"),
        ('Name, "Town, or city"\nAnn, "Oslo, Bergen"', "Ann | Oslo, Bergen"),
        ("Name\tTown\nAnn, Bo\tOslo, Bergen", "Ann, Bo | Oslo, Bergen"),
    ],
)
def test_the_separator_of_a_csv_is_the_one_that_its_lines_agree_on(text, second):
    assert read(text.encode(), "a.csv").blocks[0].text.split("\n")[1] == second


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_csv_is_one_table_whatever_separates_its_values(separator):
    rows = [["part", "price"], ["bolt", "3"], ["nut", "4"]]
    data = "\r\n".join(separator.join(row) for row in rows).encode()

    [block] = read(data, "a.csv").blocks

    assert (block.kind, block.level) == ("table", 1)
    assert block.text == "part | price\nbolt | 3\nnut | 4"


def test_quoted_values_of_a_csv_keep_separators_and_line_ends():
    [block] = read(b'name,note\n"Bolt, long","two\nlines"\n', "a.csv").blocks

    assert block.text == "name | note\nBolt, long | two lines"


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_a_line_that_tells_the_separator_of_a_csv_is_no_header(separator):
    rows = [["part", "note"], ["bolt", "1,5; or 2|3"]]
    lines = [separator.join(f'"{value}"' for value in row) for row in rows]

    [block] = read("\r\n".join([f"sep={separator}", *lines]).encode(), "a.csv").blocks

    assert block.text == "part | note\nbolt | 1,5; or 2|3"


# -- which format ----------------------------------------------------------------------------------


def test_what_the_bytes_tell_wins_over_name_and_media_type():
    assert format_of(made.pdf([PAGE]), "a.txt", "text/plain") == "pdf"
    assert format_of(made.docx(report), "a", "application/octet-stream") == "docx"
    assert format_of(made.xlsx({"A": [["b"]]}), "a.bin", None) == "sheets"
    assert format_of(made.xlsx({"A": [["b"]]}), "a.docx", None) == "sheets"
    assert format_of(made.docx(report), "a.odt", None) == "docx"
    assert format_of(made.epub(["<p>x</p>"]), "book", None) == "epub"
    assert format_of(made.odt(ODT), "text", None) == "odt"
    assert format_of(b"{\\rtf1 x}", "a.txt", None) == "rtf"


@pytest.mark.parametrize(
    "name", ["a.docx", "a.pptx", "a.xlsx", "a.odt", "a.epub", "a.pdf", "a.rtf"]
)
def test_a_document_under_the_name_of_another_format_is_read(name):
    documents = {
        "docx": made.docx(report),
        "sheets": made.xlsx({"A": [["b"]]}),
        "pptx": made.pptx([[made.shape("body", "x")]]),
        "odt": made.odt(ODT),
        "epub": made.epub(["<p>x</p>"]),
        "pdf": made.pdf([PAGE]),
        "rtf": b"{\\rtf1 x}",
    }

    assert {f: format_of(data, name, None) for f, data in documents.items()} == {
        f: f for f in documents
    }


@pytest.mark.parametrize(
    "name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.odt", "a.epub", "a.rtf"]
)
def test_text_under_the_name_of_another_format_is_corrupt(name):
    assert refusal(b"just some text", name).code == "corrupt"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (made.zipped({"a.txt": "text"}), "ZIP"),
        (b"\x1f\x8b\x08rest", "gzip"),
        (b"7z\xbc\xaf\x27\x1crest", "7-Zip"),
        (b"Rar!\x1a\x07rest", "RAR"),
    ],
)
def test_archives_are_refused_by_name(data, named):
    refused = refusal(data, "a.bin")

    assert refused.code == "unknown_format"
    assert f"archive ({named})" in refused.reason


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.doc", "a"])
def test_a_protected_office_file_is_encrypted_and_an_old_one_is_named_whatever_its_name(name):
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    protected = container + "EncryptedPackage".encode("utf-16-le") + bytes(600)

    assert refusal(protected, name).code == "encrypted"
    assert refusal(container, name).code == ("corrupt" if name == "a.xlsx" else "unknown_format")


def test_a_table_that_a_program_exported_as_xls_is_read_as_what_it_is():
    page = b"\n<html><table><tr><th>Year<th>Hail<tr><td>2025<td>12 days</table></html>"

    for data in (page, b"\xef\xbb\xbf" + page, b"Year\tHail\n2025\t12 days\n"):
        assert shown(read(data, "a.xls")) == ["Year | Hail\n2025 | 12 days"]
    assert refusal(bytes(range(256)), "a.xls").code == "unknown_format"


# -- hostile ones ----------------------------------------------------------------------------------


def test_a_bomb_is_too_large_before_it_is_unpacked():
    bomb = made.zipped({"word/document.xml": b"<a>" + b" " * 50_000_000 + b"</a>"})

    assert len(bomb) < 100_000
    assert refusal(bomb, "a.docx").code == "too_large"


def test_a_part_that_lies_about_its_size_is_corrupt():
    data = bytearray(made.zipped({"content.xml": "<a>" + "text " * 1000 + "</a>"}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (5).to_bytes(4, "little")  # its size when unpacked

    assert refusal(bytes(data), "a.odt").code in ("corrupt", "no_text")


@pytest.mark.parametrize("name", ["a.odt", "a.epub", "a.pptx", "a.docx"])
def test_entities_are_refused(name):
    laughs = '<!DOCTYPE a [<!ENTITY b "haha"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    parts = (
        "content.xml", "META-INF/container.xml", "ppt/presentation.xml", "docProps/core.xml",
        "word/document.xml",
    )  # fmt: skip

    assert refusal(made.zipped(dict.fromkeys(parts, laughs)), name).code == "corrupt"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.odt", "content.xml"),
        ("a.pptx", "ppt/slides/slide1.xml"),
        ("a.docx", "word/document.xml"),
        ("a.docx", "word/footnotes.xml"),
    ],
)
@pytest.mark.parametrize("element", ["p", "fldSimple"])
def test_elements_nested_without_end_break_nothing(name, part, element):
    deep = f"<{element}>" * 20_000 + "x" + f"</{element}>" * 20_000

    assert outcome(made.zipped({part: deep}), name) in ("corrupt", "no_text", "read")


def test_a_million_cells_are_too_many(monkeypatch):
    monkeypatch.setattr(sheets, "MAX_CELLS", 1000)

    assert refusal(made.xlsx({"A": [["x"] * 40] * 40}), "a.xlsx").code == "too_large"


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damage_anywhere_is_refused_or_read_and_never_an_error(data):
    whole = data.draw(st.sampled_from(SAMPLES), label="file")
    name, content = whole
    at = data.draw(st.integers(0, len(content) - 1), label="at")
    damage = data.draw(st.binary(min_size=1, max_size=20), label="damage")
    broken = content[:at] + damage + content[at + len(damage) :]

    assert outcome(broken, name) in {
        *("read", "corrupt", "no_text", "unknown_format", "encrypted", "too_large"),
        "wrong_encoding",
    }


SAMPLES = [
    ("a.pdf", made.pdf([PAGE, PAGE], outline=[("Pumps", 0, 0)])),
    ("a.docx", made.docx(report)),
    ("a.pptx", made.pptx([[made.shape("title", "T"), made.shape("body", "x")]])),
    ("a.xlsx", made.xlsx({"A": [["b", 1]]})),
    ("a.odt", made.odt(ODT)),
    ("a.epub", made.epub(["<p>x</p>"])),
    ("a.rtf", rb"{\rtf1\ansi They {\b move} water.\par}"),
]


def test_parts_are_listed_by_their_numbers():
    with zipfile.ZipFile(io.BytesIO(made.zipped({f"s{n}.xml": "" for n in (10, 9, 1)}))) as parts:
        assert list(package.numbered(parts, "s")) == ["s1.xml", "s9.xml", "s10.xml"]


# -- words that a reader may lose or glue ----------------------------------------------------------

_WORDS_NS = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:v="urn:schemas-microsoft-com:vml"'
)


def run(text):
    return f"<w:r><w:t>{text}</w:t></w:r>"


def drawn(text):
    box = f"<wps:txbx><w:txbxContent><w:p>{text}</w:p></w:txbxContent></wps:txbx>"
    return (
        "<w:drawing><wp:anchor><a:graphic><a:graphicData><wps:wsp>"
        f"{box}</wps:wsp></a:graphicData></a:graphic></wp:anchor></w:drawing>"
    )


def drawn_in_a_run(text):
    return f"<w:r>{drawn(run(text))}</w:r>"


def alternative(text, fallback=""):
    return (
        '<w:r><mc:AlternateContent><mc:Choice Requires="wps">'
        f"{drawn(text)}</mc:Choice>{fallback}</mc:AlternateContent></w:r>"
    )


def docx_of(body):
    """A document with this in its first paragraph."""
    with zipfile.ZipFile(io.BytesIO(made.docx(lambda _: None))) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    inside = f"<w:body><w:p>{body}</w:p></w:body>"
    parts["word/document.xml"] = f"<w:document {_WORDS_NS}>{inside}</w:document>"
    return made.zipped(parts)


_BOX = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (run("see ") + f"<w:fldSimple>{run('Figure 7')}</w:fldSimple>", ["see Figure 7"]),
        (f'<w:bdo w:val="rtl">{run("one")}</w:bdo><w:dir>{run(" two")}</w:dir>', ["one two"]),
        (
            f"<w:r><w:ruby><w:rt>{run('kana')}</w:rt><w:rubyBase>{run('kanji')}</w:rubyBase>"
            "</w:ruby></w:r>",
            ["kanji (kana)"],
        ),
        ("<w:r><w:t>a</w:t><w:cr/><w:t>b</w:t><w:ptab/><w:t>c</w:t></w:r>", ["a\nb c"]),
        (f"<w:r><w:pict><v:oval><v:textbox>{_BOX}</v:textbox></v:oval></w:pict></w:r>", ["boxed"]),
        (f"<w:r>{drawn(run('boxed'))}</w:r>", ["boxed"]),
        (alternative(run("boxed")), ["boxed"]),
        (alternative(run("boxed"), "<mc:Fallback><w:pict/></mc:Fallback>"), ["boxed"]),
        (
            alternative(
                run("boxed"),
                f"<mc:Fallback><w:pict><v:rect>{_BOX}</v:rect></w:pict></mc:Fallback>",
            ),
            ["boxed"],
        ),
        (f"<w:r>{drawn(run('outer') + drawn_in_a_run('inner'))}</w:r>", ["outer", "inner"]),
    ],
)
def test_every_element_of_a_docx_that_holds_text_is_read_and_once(body, texts):
    assert shown(read(docx_of(body), "a.docx")) == texts


def open_document(inside):
    return made.odt(f"<office:body><office:text>{inside}</office:text></office:body>")


_SVG = 'xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"'


@pytest.mark.parametrize(
    ("inside", "texts"),
    [
        (
            "<text:p>water<text:note><text:note-citation>1</text:note-citation><text:p>it is wet"
            "</text:p></text:note> flows</text:p>",
            ["it is wet", "water^1 flows"],
        ),
        (
            f"<text:p {_SVG}>a<draw:frame><svg:title>Alt</svg:title><svg:desc>words</svg:desc>"
            "</draw:frame> b</text:p>",
            ["Alt", "words", "a b"],
        ),
        ("<text:p>by <text:title>Name</text:title>!</text:p>", ["by Name!"]),
        (
            "<text:p><text:ruby><text:ruby-base>kanji</text:ruby-base><text:ruby-text>kana"
            "</text:ruby-text></text:ruby></text:p>",
            ["kanji (kana)"],
        ),
        *(
            (f'<text:h text:outline-level="{level}">Head</text:h><text:p>x</text:p>', ["Head", "x"])
            for level in ("x", "1.5", "-1", "0", "", "9" * 5000)
        ),
    ],
)
def test_marks_and_alternative_texts_of_an_open_document_join_no_words(inside, texts):
    assert shown(read(open_document(inside), "a.odt")) == texts


def test_a_diagram_of_a_slide_is_read_and_a_shape_for_old_programs_is_no_second_one():
    shapes = (
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
        f"<mc:Choice>{made.shape('body', 'once')}</mc:Choice>"
        f"<mc:Fallback>{made.shape('body', 'once')}</mc:Fallback></mc:AlternateContent>"
    )
    point = '<m xmlns:d="d" xmlns:a="a"><d:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></d:t></m>'
    with zipfile.ZipFile(io.BytesIO(made.pptx([[shapes]]))) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    parts["ppt/slides/_rels/slide1.xml.rels"] = made._relations(
        [("r9", "diagramData", "../diagrams/data1.xml")]
    )
    parts["ppt/diagrams/data1.xml"] = point.format("drawn words")

    assert shown(read(made.zipped(parts), "a.pptx")) == ["slide 1", "once", "drawn words"]


def test_a_slide_that_is_listed_twice_is_read_once():
    data = made.pptx([[made.shape("body", "one")], [made.shape("body", "two")]])
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    listed = b'<p:sldId id="256" r:id="r0"/>'
    parts["ppt/presentation.xml"] = parts["ppt/presentation.xml"].replace(listed, listed * 3)

    assert shown(read(made.zipped(parts), "a.pptx"), "paragraph") == ["one", "two"]


def book(items, pages, metadata="", **parts):
    """A book with these items, each in the spine."""
    ids = re.findall(r'id="(\w+)"', items)
    spine = "".join(f'<itemref idref="{one}"/>' for one in ids)
    package = (
        f'<package xmlns:dc="d"><metadata>{metadata}</metadata><manifest>{items}</manifest>'
        f"<spine>{spine}</spine></package>"
    )
    return made.zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<c><rootfile full-path="OEBPS/book.opf"/></c>',
            "OEBPS/book.opf": package,
            **pages,
            **parts,
        }
    )


@pytest.mark.parametrize(
    ("href", "media_type", "name"),
    [
        ("a.xhtml", "application/xhtml+xml", "OEBPS/a.xhtml"),
        ("a.xhtml", "Application/XHTML+XML; charset=utf-8", "OEBPS/a.xhtml"),
        ("a.xml", "application/xml", "OEBPS/a.xml"),
        ("a.html", "", "OEBPS/a.html"),
        ("a.svg", "image/svg+xml", "OEBPS/a.svg"),
        ("/OEBPS/a.xhtml", "application/xhtml+xml", "OEBPS/a.xhtml"),
        ("../text/a%20b.xhtml#part", "application/xhtml+xml", "text/a b.xhtml"),
        ("a%231.xhtml", "application/xhtml+xml", "OEBPS/a#1.xhtml"),
    ],
)
def test_every_page_of_the_spine_is_read_whatever_its_media_type_and_address(
    href, media_type, name
):
    page = "<svg><text>some words</text></svg>" if "svg" in media_type else "<p>some words</p>"
    data = book(f'<item id="a" href="{href}" media-type="{media_type}"/>', {name: page})

    assert shown(read(data, "a.epub")) == ["some words"]


def test_a_page_of_a_book_that_is_no_text_costs_no_other():
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256))

    found = read(made.epub(["<p>one</p>", image, "<p>two</p>", image]), "a.epub")

    assert shown(found) == ["one", "two"]
    assert found.metadata["pages_damaged"] == "2, 4"
    assert found.origins["pages_damaged"] == "pages"
    assert refusal(made.epub([image]), "a.epub").code == "corrupt"


def test_a_book_whose_pages_are_protected_says_so_and_one_with_hidden_fonts_is_read():
    item = '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    pages = {"OEBPS/a.xhtml": "<p>some words</p>"}

    def protected(name):
        inside = f'<e><CipherReference URI="{name}"/></e>'
        return book(item, pages, **{"META-INF/encryption.xml": inside})

    assert refusal(protected("OEBPS/a.xhtml"), "a.epub").code == "encrypted"
    assert shown(read(protected("OEBPS/font.otf"), "a.epub")) == ["some words"]


PROPERTIES = (
    "<x:title>Main</x:title><x:title>Sub</x:title><x:creator>Ada</x:creator>"
    "<x:creator>Bob</x:creator><x:subject>pumps</x:subject><x:description>On water</x:description>"
    "<x:language>en</x:language><x:language>fr</x:language>{}"
)
TOLD = {
    "author": "Ada, Bob",
    "description": "pumps, On water",
    "language": "en",
}


@pytest.mark.parametrize(
    ("dates", "date"),
    [
        ("<x:date>2020</x:date>", "2020"),
        ("<x:creation-date>2019</x:creation-date><x:date>2020</x:date>", "2020"),
        ("<x:date>2020</x:date><x:creation-date>2019</x:creation-date>", "2020"),
        ("<x:modified>2020</x:modified><x:created>2019</x:created>", "2020"),
        ("<x:created>2019</x:created>", "2019"),
    ],
)
def test_properties_keep_the_main_title_all_authors_and_the_last_date(dates, date):
    found = package.properties(f'<m xmlns:x="x">{PROPERTIES.format(dates)}</m>'.encode())

    assert found == {"title": "Main", "date": date, **TOLD}


def test_characters_beyond_16_bits_in_rtf_are_one():
    data = rb"{\rtf1\ansi a \u-10179?\u-8704? b}"

    assert shown(read(data, "a.rtf")) == ["a \U0001f600 b"]


# -- nothing but refusals --------------------------------------------------------------------------


def with_text(where):
    """A PDF with a title, in its properties or outline, that is half a character."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import ByteStringObject, NameObject

    whole = made.pdf([PAGE], outline=[("x", 0, 0)], properties={"Title": "x"})
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(whole)))
    outline = writer._root_object["/Outlines"]["/First"].get_object()
    of = outline if where == "outline" else writer._info.get_object()
    of[NameObject("/Title")] = ByteStringObject(b"\xfe\xff\x00A\xd8\x00\x00B")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


@pytest.mark.parametrize("where", ["outline", "properties"])
def test_a_title_of_a_pdf_that_is_no_unicode_costs_no_page(where):
    assert "They move water. All of them leak." in shown(read(with_text(where), "a.pdf"))


@pytest.mark.parametrize("number", ["9999999999", "-99999", "1114112"])
def test_a_character_of_rtf_that_there_is_not_is_refused(number):
    assert outcome(rb"{\rtf1 a\u%b? b}" % number.encode(), "a.rtf") in ("corrupt", "read")


@pytest.mark.parametrize("encoding", ["no-such", "utf-7", "rot13", "base64", "idna", "x\u00e9"])
@pytest.mark.parametrize("name", ["a.odt", "a.pptx", "a.epub", "a.docx"])
def test_an_encoding_of_xml_that_there_is_not_is_refused(name, encoding):
    part = f'<?xml version="1.0" encoding="{encoding}"?><a>\u00e9</a>'
    names = {
        "a.odt": "content.xml",
        "a.pptx": "ppt/slides/slide1.xml",
        "a.epub": "META-INF/container.xml",
        "a.docx": "docProps/core.xml",
    }

    assert outcome(made.zipped({names[name]: part}), name) == "corrupt"


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damage_in_a_part_is_corrupt_however_it_is_packed(method):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as parts:
        parts.writestr("content.xml", "<a>" + "some words " * 300 + "</a>")
    data = whole.getvalue()
    end = data.index(b"PK\x01\x02")

    for at in range(41, end, 3):
        broken = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        assert outcome(broken, "a.odt") in ("corrupt", "no_text", "too_large", "read")
