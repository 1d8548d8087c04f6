"""Small documents of each binary format, made here."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

LETTER = (612, 792)
Line = tuple[float, float, str]
"""Size of the letters and distance from the foot of the page, in points, and the text."""


def pdf(
    pages: Sequence[Sequence[Line]],
    *,
    outline: Sequence[tuple[str, int, int]] = (),
    properties: Mapping[str, str] | None = None,
    password: str = "",
) -> bytes:
    """A PDF of lines in Helvetica.

    Args:
        outline: titles, levels from 0, and pages from 0.
    """
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    writer = PdfWriter()
    for lines in pages:
        page = writer.add_blank_page(*LETTER)
        stream = DecodedStreamObject()
        stream.set_data(b"".join(map(_shown, lines)))
        page[NameObject("/Contents")] = writer._add_object(stream)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    parents: list = []
    for title, level, number in outline:
        parent = parents[level - 1] if level else None
        parents[level:] = [writer.add_outline_item(title=title, page_number=number, parent=parent)]
    if properties:
        writer.add_metadata({f"/{name}": value for name, value in properties.items()})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def pdf_of(page: bytes, *forms: bytes, filter_: bytes = b"") -> bytes:
    """A PDF of one page of this content, and of forms, each of which knows the next one as `/X`."""
    known = b"/Resources<</XObject<</X %d 0 R>>/Font<</F1 4 0 R>>>>"
    head = b"/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R" + known % 6
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page" + head + b">>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        _stream(page, filter_),
    ]
    for number, form in enumerate(forms, 7):
        kind = b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]" + known % number
        objects.append(_stream(form, kind))
    body, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    body += b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
    start = body.rindex(b"xref")
    return body + b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (size, start)


def _stream(data: bytes, attributes: bytes) -> bytes:
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (attributes, len(data), data)


def _shown(line: Line) -> bytes:
    size, y, text = line
    for mark in "\\()":
        text = text.replace(mark, f"\\{mark}")
    return f"BT /F1 {size} Tf 72 {y} Td ({text}) Tj ET\n".encode("cp1252")


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return made.getvalue()


def core(**properties: str) -> str:
    """`docProps/core.xml`."""
    inside = "".join(f"<dc:{k}>{escape(v)}</dc:{k}>" for k, v in properties.items())
    return (
        '<p:coreProperties xmlns:p="http://schemas.openxmlformats.org/package/2006/metadata/'
        'core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        + inside
        + "</p:coreProperties>"
    )


_DRAWING = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def shape(kind: str, *paragraphs: str) -> str:
    """A shape of a slide; kind: of its placeholder."""
    inside = "".join(f"<a:p><a:r><a:t>{escape(p)}</a:t></a:r></a:p>" for p in paragraphs)
    return (
        f"<p:sp><p:nvSpPr><p:nvPr><p:ph type={quoteattr(kind)}/></p:nvPr></p:nvSpPr>"
        f"<p:txBody>{inside}</p:txBody></p:sp>"
    )


def slide_table(rows: Sequence[Sequence[str]]) -> str:
    cell = "<a:tc><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>"
    made = "".join(
        "<a:tr>" + "".join(cell.format(escape(c)) for c in row) + "</a:tr>" for row in rows
    )
    return f"<p:graphicFrame><a:graphic><a:tbl>{made}</a:tbl></a:graphic></p:graphicFrame>"


def pptx(
    slides: Sequence[Sequence[str]], *, notes: Mapping[int, str] | None = None, **properties: str
) -> bytes:
    """A presentation.

    Args:
        slides: the shapes of each; they are stored under other numbers than they are shown.
        notes: by the number of the slide, from 0.
    """
    parts: dict[str, str] = {"docProps/core.xml": core(**properties)}
    stored = [len(slides) - n for n in range(len(slides))]
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="r{n}"/>' for n in range(len(slides)))
    parts["ppt/presentation.xml"] = (
        f"<p:presentation {_DRAWING}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>"
    )
    parts["ppt/_rels/presentation.xml.rels"] = _relations(
        (f"r{n}", "slide", f"slides/slide{number}.xml") for n, number in enumerate(stored)
    )
    for n, (shapes, number) in enumerate(zip(slides, stored, strict=True)):
        parts[f"ppt/slides/slide{number}.xml"] = _sheet("sld", "".join(shapes))
        if notes and n in notes:
            parts[f"ppt/slides/_rels/slide{number}.xml.rels"] = _relations(
                [("r1", "notesSlide", f"../notesSlides/notesSlide{number}.xml")]
            )
            said = shape("sldImg") + shape("body", notes[n]) + shape("sldNum", str(n))
            parts[f"ppt/notesSlides/notesSlide{number}.xml"] = _sheet("notes", said)
    return zipped(parts)


def _sheet(name: str, inside: str) -> str:
    return f"<p:{name} {_DRAWING}><p:cSld><p:spTree>{inside}</p:spTree></p:cSld></p:{name}>"


def _relations(of) -> str:
    made = "".join(
        f'<Relationship Id="{one}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for one, kind, target in of
    )
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        + made
        + "</Relationships>"
    )


_OPEN = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "draw", "presentation", "style")
)


def odt(inside: str, **properties: str) -> bytes:
    """An OpenDocument text with this content."""
    names = "".join(f"<dc:{k}>{escape(v)}</dc:{k}>" for k, v in properties.items())
    meta = '<m xmlns:dc="http://purl.org/dc/elements/1.1/">' + names + "</m>"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {_OPEN}>{inside}</office:document-content>",
            "meta.xml": meta,
        }
    )


def epub(pages: Sequence[str], **properties: str) -> bytes:
    """A book of these pages of HTML; the package lists them in another order than the spine."""
    names = "".join(f"<dc:{k}>{escape(v)}</dc:{k}>" for k, v in properties.items())
    items = "".join(
        f'<item id="p{n}" href="text/p%20{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in reversed(range(len(pages)))
    )
    spine = "".join(f'<itemref idref="p{n}"/>' for n in range(len(pages)))
    package = (
        '<package xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata>{names}</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<c><rootfile full-path="OEBPS/book.opf"/></c>',
            "OEBPS/book.opf": package,
            **{f"OEBPS/text/p {n}.xhtml": page for n, page in enumerate(pages)},
        }
    )


def docx(build, **properties: str) -> bytes:
    """A document that `build` fills."""
    import docx as python_docx

    document = python_docx.Document()
    build(document)
    for name, value in properties.items():
        setattr(document.core_properties, name, value)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def xlsx(sheets: Mapping[str, Sequence[Sequence[object]]], **properties: str) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    for name, value in properties.items():
        setattr(book.properties, name, value)
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()
