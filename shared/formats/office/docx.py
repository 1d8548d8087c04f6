"""DOCX to a title, metadata and blocks: mammoth makes HTML of it, which our HTML reader reads.

Elements that mammoth drops with the text in them are first replaced by others that it reads.
Text boxes, footnotes, tables in tables and alternative texts of images stay. Equations, headers,
footers and comments are left out.
"""

import io
import re
import zipfile
from typing import Any, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from shared.domain.errors import DocumentRefused
from shared.formats import html
from shared.formats.blocks import Content
from shared.formats.office import package

_STYLES: Final = "p[style-name='Title'] => h1.title:fresh"
"""Mammoth takes a paragraph of this style for plain text."""
_TITLE: Final = '<h1 class="title">'
_HEADING: Final = re.compile(r"<(/?)h([1-5])>")
_TEXT: Final = re.compile(r"word/(document|footnotes|endnotes)\d*\.xml")
_KNOWN: Final = {
    **dict.fromkeys(("fldSimple", "bdo", "dir", "ruby", "rubyBase", "rt"), "smartTag"),
    **dict.fromkeys(("oval", "line", "polyline", "arc", "curve"), "rect"),
    "cr": "br",
    "ptab": "tab",
}
"""Elements that mammoth drops with the text in them, and such as it reads in the same way."""
_STRANGE: Final = re.compile(
    rb"[<:](?:%b|txbxContent)[\s/>]" % b"|".join(name.encode() for name in _KNOWN)
)
_UNREAD: Final = ("docProps/", "customXml/", "word/theme/", "word/media/", "word/embeddings/")
_OF_A_STYLE: Final = ("}name", "}pPr")
"""All that mammoth asks of a style; `pPr` has the number of a list."""
_SPACE: Final = "{http://www.w3.org/XML/1998/namespace}space"


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    import mammoth

    with package.unpack(data) as parts:
        metadata = package.properties(package.part(parts, "docProps/core.xml"))
    try:
        made = mammoth.convert_to_html(
            io.BytesIO(_known(data)),
            style_map=_STYLES,
            convert_image=mammoth.images.img_element(_without_bytes),
        )
    except (MemoryError, DocumentRefused):
        raise
    except Exception:  # noqa: BLE001 - mammoth raises whatever its parsers do
        raise DocumentRefused(
            "corrupt", "the file is no DOCX document, or it is damaged; save it anew"
        ) from None
    page = html.read(_below_title(made.value))
    title = str(metadata.pop("title", ""))
    return Content(title, metadata, page.blocks)


def _below_title(page: str) -> str:
    """The HTML with its headings one level lower, if a title stands above them."""
    if _TITLE not in page:
        return page
    before, *titles = page.split(_TITLE)
    lowered = [_lowered(before)]
    for rest in titles:
        text, end, below = rest.partition("</h1>")
        lowered.append(f"<h1>{text}{end}{_lowered(below)}")
    return "".join(lowered)


def _lowered(page: str) -> str:
    return _HEADING.sub(lambda tag: f"<{tag[1]}h{int(tag[2]) + 1}>", page)


def _known(data: bytes) -> bytes:
    """The parts that mammoth may read, in elements that it reads and without the rest of styles."""
    whole = io.BytesIO()
    with package.unpack(data) as parts, zipfile.ZipFile(whole, "w") as made:
        for name in dict.fromkeys(parts.namelist()):
            if name.startswith(_UNREAD) or not name.endswith((".xml", ".rels")):
                continue
            data = package.part(parts, name)
            if _TEXT.fullmatch(name) and _STRANGE.search(data):
                data = _renamed(data)
            elif name == "word/styles.xml":
                data = _named_styles(data)
            made.writestr(name, data)
    return whole.getvalue()


def _named_styles(data: bytes) -> bytes:
    """The styles without what they look like: Word writes thousands of elements for each document,
    which take mammoth 150 ms."""
    root = ElementTree.fromstring(data)
    for style in list(root):
        if not style.tag.endswith("}style"):
            root.remove(style)
            continue
        for child in list(style):
            if not child.tag.endswith(_OF_A_STYLE):
                style.remove(child)
    return ElementTree.tostring(root)


def _renamed(data: bytes) -> bytes:
    package.walk(data, lambda *_: None, lambda _: None, lambda _: None)  # refuses entities
    root = ElementTree.fromstring(data)
    for element in list(root.iter()):
        space, _, name = element.tag.rpartition("}")
        if name == "ruby":
            _order(element, space)
        elif name == "AlternateContent":
            _choose(element)
        elif name == "drawing":
            _lift(element, space)
        element.tag = f"{space}}}{_KNOWN.get(name, name)}" if space else name
    return ElementTree.tostring(root)


def _order(ruby: Element, space: str) -> None:
    """The reading of a word after it, in brackets."""
    readings = [child for child in ruby if child.tag == f"{space}}}rt"]
    for reading in readings:
        ruby.remove(reading)
        for at, mark in ((0, " ("), (len(reading) + 1, ")")):
            text = Element(f"{space}}}t", {_SPACE: "preserve"})
            text.text = mark
            reading.insert(at, text)
    ruby.extend(readings)


def _choose(alternatives: Element) -> None:
    """Of a drawing that has no text for old programs, what it has for new ones."""
    texts = [child for child in alternatives if any(map(_is_box, child.iter()))]
    if texts and not any(child.tag.endswith("}Fallback") for child in texts):
        for child in set(alternatives) - {texts[0]}:
            alternatives.remove(child)
        texts[0].tag = texts[0].tag.replace("}Choice", "}Fallback")


def _lift(drawing: Element, space: str) -> None:
    """The text boxes of a drawing, as mammoth finds those of older ones."""
    boxes = [element for element in drawing.iter() if _is_box(element)]
    inner = {id(box) for outer in boxes for box in outer.iter() if box is not outer}
    picture = SubElement(drawing, f"{space}}}pict")
    picture.extend(box for box in boxes if id(box) not in inner)


def _is_box(element: Element) -> bool:
    return element.tag.endswith("}txbxContent")


def _without_bytes(_: Any) -> dict[str, str]:
    """An image whose alternative text is kept."""
    return {"src": ""}
