"""DOCX to a title, metadata and blocks: mammoth makes HTML of it, which our HTML reader reads.

Text boxes, footnotes, tables in tables and alternative texts of images stay. Equations, headers,
footers and comments are left out.
"""

import io
import re
from typing import Any, Final

from services.enricher.formats import html, office
from services.enricher.formats.blocks import Content
from shared.domain.errors import DocumentRefused

_STYLES: Final = "p[style-name='Title'] => h1.title:fresh"
"""Mammoth takes a paragraph of this style for plain text."""
_TITLE: Final = '<h1 class="title">'
_HEADING: Final = re.compile(r"<(/?)h([1-5])>")


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    import mammoth

    with office.unpack(data) as parts:
        metadata = office.properties(office.part(parts, "docProps/core.xml"))
    try:
        made = mammoth.convert_to_html(
            io.BytesIO(data),
            style_map=_STYLES,
            convert_image=mammoth.images.img_element(_without_bytes),
        )
    except MemoryError:
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


def _without_bytes(_: Any) -> dict[str, str]:
    """An image whose alternative text is kept."""
    return {"src": ""}
