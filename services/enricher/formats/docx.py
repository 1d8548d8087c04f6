"""DOCX to a title, metadata and blocks: mammoth makes HTML of it, which our HTML reader reads.

Text boxes, footnotes, tables in tables and alternative texts of images stay. Equations, headers,
footers and comments are left out.
"""

import io
from typing import Any

from services.enricher.formats import html, office
from services.enricher.formats.blocks import Content
from shared.domain.errors import DocumentRefused


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    import mammoth

    with office.unpack(data) as parts:
        metadata = office.properties(office.part(parts, "docProps/core.xml"))
    try:
        made = mammoth.convert_to_html(
            io.BytesIO(data), convert_image=mammoth.images.img_element(_without_bytes)
        )
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - mammoth raises whatever its parsers do
        raise DocumentRefused(
            "corrupt", "the file is no DOCX document, or it is damaged; save it anew"
        ) from None
    page = html.read(made.value)
    title = str(metadata.pop("title", ""))
    return Content(title, metadata, page.blocks)


def _without_bytes(_: Any) -> dict[str, str]:
    """An image whose alternative text is kept."""
    return {"src": ""}
