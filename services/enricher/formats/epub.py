"""EPUB to a title, metadata and blocks: the pages of the spine, in its order, as HTML."""

import posixpath
from typing import Final
from urllib.parse import unquote

from services.enricher.formats import html, office
from services.enricher.formats.blocks import Block, Content
from services.enricher.formats.charset import declared_in, decode
from shared.domain.errors import DocumentRefused

_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})


def read(data: bytes) -> Content:
    """Read a book. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    with office.unpack(data) as parts:
        if office.part(parts, "META-INF/rights.xml"):
            raise DocumentRefused("encrypted", "the book is protected against reading")
        package = _package(office.part(parts, "META-INF/container.xml"))
        description = office.part(parts, package) if package else b""
        if not description:
            raise DocumentRefused("corrupt", "the file is no EPUB, or it is damaged")
        metadata = office.properties(description)
        blocks: list[Block] = []
        for name in _spine(description, posixpath.dirname(package)):
            page = office.part(parts, name)
            if page.strip():
                text = decode(page, declared=declared_in(page, is_html=True)).text
                blocks += html.read(text).blocks
    return Content(str(metadata.pop("title", "")), metadata, blocks)


def _package(container: bytes) -> str:
    found: list[str] = []

    def opens(name: str, attributes: dict[str, str]) -> None:
        if name == "rootfile":
            found.append(attributes.get("full-path", ""))

    if container:
        office.walk(container, opens, lambda _: None, lambda _: None)
    return next(filter(None, found), "")


def _spine(package: bytes, folder: str) -> list[str]:
    """Names of the pages in the order of reading."""
    items: dict[str, str] = {}
    order: list[str] = []

    def opens(name: str, attributes: dict[str, str]) -> None:
        if name == "item" and attributes.get("media-type") in _PAGES:
            target = unquote(attributes.get("href", "")).partition("#")[0]
            items[attributes.get("id", "")] = posixpath.normpath(posixpath.join(folder, target))
        elif name == "itemref":
            order.append(attributes.get("idref", ""))

    office.walk(package, opens, lambda _: None, lambda _: None)
    return [items[one] for one in dict.fromkeys(order) if one in items]
