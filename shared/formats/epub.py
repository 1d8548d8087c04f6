"""EPUB to a title, metadata and blocks: the pages of the spine, in its order, as HTML."""

import posixpath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from shared.domain.errors import DocumentRefused
from shared.formats import html
from shared.formats.blocks import Block, Content, ranges
from shared.formats.charset import declared_in, decode
from shared.formats.office import package

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

_NO_PAGES: Final = ("image/", "audio/", "video/", "font/")
"""Beginnings of the media types of parts without text."""
_DRAWING: Final = "image/svg+xml"


def read(data: bytes) -> Content:
    """Read a book. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    with package.unpack(data) as parts:
        if package.part(parts, "META-INF/rights.xml"):
            raise _protected()
        protected = _named(package.part(parts, "META-INF/encryption.xml"), "CipherReference", "URI")
        container = package.part(parts, "META-INF/container.xml")
        opf = next(iter(_named(container, "rootfile", "full-path")), "")
        description = package.part(parts, opf) if opf else b""
        if not description:
            raise DocumentRefused("corrupt", "the file is no EPUB, or it is damaged")
        metadata = package.properties(description)
        blocks: list[Block] = []
        damaged: list[int] = []
        spine = _spine(description, posixpath.dirname(opf))
        for number, name in enumerate(spine, 1):
            if name in protected:
                raise _protected()
            page = package.part(parts, name)
            found = _page(page)
            blocks += found or ()
            damaged += [] if found is not None else [number]
    if damaged and not blocks:
        raise DocumentRefused("corrupt", "none of its pages can be read")
    told: Metadata = {"pages_damaged": ranges(damaged)} if damaged else {}
    title = str(metadata.pop("title", ""))
    return Content(title, metadata | told, blocks, dict.fromkeys(told, "pages"))


def _page(data: bytes) -> list[Block] | None:
    """None for a page that is no text, as an image under the media type of a page."""
    try:
        text = decode(data, declared=declared_in(data, is_html=True)).text if data.strip() else ""
    except DocumentRefused:
        return None
    return html.read(text).blocks


def _protected() -> DocumentRefused:
    return DocumentRefused("encrypted", "the book is protected against reading")


def _named(data: bytes, element: str, attribute: str) -> list[str]:
    """The parts that the elements of this name refer to."""
    found: list[str] = []

    def opens(name: str, attributes: dict[str, str]) -> None:
        if name == element and attributes.get(attribute):
            found.append(unquote(attributes[attribute]))

    if data:
        package.walk(data, opens, lambda _: None, lambda _: None)
    return found


def _spine(description: bytes, folder: str) -> list[str]:
    """Names of the pages in the order of reading."""
    items: dict[str, str] = {}
    order: list[str] = []

    def opens(name: str, attributes: dict[str, str]) -> None:
        media_type = attributes.get("media-type", "").strip().lower()
        if name == "item" and (_DRAWING in media_type or not media_type.startswith(_NO_PAGES)):
            target = unquote(attributes.get("href", "").partition("#")[0])
            joined = posixpath.normpath(posixpath.join(folder, target))
            items[attributes.get("id", "")] = joined.lstrip("/")
        elif name == "itemref":
            order.append(attributes.get("idref", ""))

    package.walk(description, opens, lambda _: None, lambda _: None)
    return [items[one] for one in dict.fromkeys(order) if one in items]
