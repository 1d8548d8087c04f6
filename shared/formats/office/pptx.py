"""PPTX to a title, metadata and blocks: one heading a slide, then its text, tables and notes."""

import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.formats.blocks import SECTION, Block, Content, Kind, clean, one_line, titled
from shared.formats.office import package

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

_TITLES: Final = frozenset({"title", "ctrTitle"})
_NOT_TEXT: Final = frozenset({"sldNum", "dt", "ftr", "hdr"})
"""Placeholders that repeat on every slide: its number, the date, footer and header."""
NOTES: Final = Block("heading", "notes", SECTION + 2)
_BLANKS: Final = re.compile(r"[ \t]+")


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    with package.unpack(data) as parts:
        metadata = package.properties(package.part(parts, "docProps/core.xml"))
        blocks: list[Block] = []
        first = ""
        for number, name in enumerate(_in_order(parts), 1):
            slide = _Shapes()
            slide.read(package.part(parts, name))
            first = slide.title if number == 1 else first
            for diagram in _related(parts, name, "diagramData"):
                slide.read(package.part(parts, diagram))
            for notes in _related(parts, name, "notesSlide"):
                said = _Shapes()
                said.read(package.part(parts, notes))
                if said.blocks:
                    slide.blocks += [NOTES, *said.blocks]
            blocks += slide_blocks(number, slide.title, slide.blocks)
    return titled_deck(metadata, blocks, first)


def slide_blocks(number: int, title: str, blocks: list[Block]) -> list[Block]:
    """A slide under the heading of its number; its title is the text of one that has no other."""
    if not blocks:
        blocks = [Block("paragraph", title)] if title else []
    else:
        blocks = titled(title, SECTION + 1) + blocks
    return [Block("heading", f"slide {number}", SECTION), *blocks] if blocks else []


def titled_deck(metadata: "Metadata", blocks: list[Block], first: str) -> Content:
    """A presentation; without a title among its properties, that of its first slide is its own."""
    given = str(metadata.pop("title", ""))
    origins = {"title": "heading"} if first and not given else {}
    return Content(given or one_line(first), metadata, blocks, origins)


def _in_order(parts: zipfile.ZipFile) -> list[str]:
    """Slides as they are shown: the presentation lists them by their relations."""
    listed: list[str] = []
    by_id = dict(_relations(parts, "ppt/presentation.xml"))

    def opens(name: str, attributes: dict[str, str]) -> None:
        target = by_id.get(attributes.get("r:id", "")) if name == "sldId" else None
        if target:
            listed.append(target)

    presentation = package.part(parts, "ppt/presentation.xml")
    if presentation:
        package.walk(presentation, opens, lambda _: None, lambda _: None)
    return list(dict.fromkeys([*listed, *package.numbered(parts, "ppt/slides/slide")]))


def _relations(parts: zipfile.ZipFile, name: str, kind: str = "") -> Iterator[tuple[str, str]]:
    """Ids and parts that a part refers to."""
    folder, _, file = name.rpartition("/")
    found: list[tuple[str, str]] = []

    def opens(element: str, attributes: dict[str, str]) -> None:
        is_wanted = not kind or attributes.get("Type", "").endswith(f"/{kind}")
        if element == "Relationship" and is_wanted:
            target = posixpath.normpath(posixpath.join(folder, attributes.get("Target", "")))
            found.append((attributes.get("Id", ""), target.lstrip("/")))

    data = package.part(parts, f"{folder}/_rels/{file}.rels")
    if data:
        package.walk(data, opens, lambda _: None, lambda _: None)
    return iter(found)


def _related(parts: zipfile.ZipFile, name: str, kind: str) -> list[str]:
    return [target for _, target in _relations(parts, name, kind)]


@dataclass(slots=True)
class _Shapes:
    """Collects the text of a slide or of its notes, shape by shape."""

    title: str = ""
    blocks: list[Block] = field(default_factory=list)
    _placeholder: str = ""
    _paragraphs: list[str] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)
    _in_text: bool = False
    _cells: list[str] | None = None
    _rows: list[str] = field(default_factory=list)
    _fallbacks: int = 0
    """Open elements that repeat a shape for old programs."""

    def read(self, data: bytes) -> None:
        if data:
            package.walk(data, self._opens, self._closes, self._text)
            self._shape()  # a diagram has none

    def _opens(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Fallback":
            self._fallbacks += 1
        elif self._fallbacks:
            return
        elif name == "sp":
            self._placeholder = ""
        elif name == "ph":
            self._placeholder = attributes.get("type", "body")
        elif name == "t":
            self._in_text = True
        elif name == "br":
            self._pieces.append("\n")
        elif name == "tr":
            self._cells = []
        elif name == "cNvPr" and attributes.get("descr"):
            self._add("paragraph", attributes["descr"])

    def _closes(self, name: str) -> None:
        if name == "Fallback":
            self._fallbacks -= 1
        elif self._fallbacks:
            return
        elif name == "t":
            self._in_text = False
        elif name == "p":
            self._paragraphs.append("".join(self._pieces))
            self._pieces.clear()
        elif name == "tc" and self._cells is not None:
            self._cells.append(" ".join(self._taken().split()))
        elif name == "tr" and self._cells is not None:
            self._rows.append(" | ".join(self._cells).rstrip())
            self._cells = None
        elif name == "tbl":
            rows = "\n".join(row for row in self._rows if row.strip(" |"))
            self._rows.clear()
            if rows:
                self.blocks.append(Block("table", clean(rows), 1))
        elif name in ("sp", "graphicFrame"):
            self._shape()

    def _text(self, text: str) -> None:
        if self._in_text and not self._fallbacks:
            self._pieces.append(text)

    def _taken(self) -> str:
        text = "\n".join(self._paragraphs)
        self._paragraphs.clear()
        return text

    def _shape(self) -> None:
        kind, text = self._placeholder, self._taken()
        self._placeholder = ""
        if kind in _NOT_TEXT:
            return
        if kind in _TITLES and not self.title:
            self.title = " ".join(text.split())
        else:
            self._add("paragraph", text)

    def _add(self, kind: Kind, text: str) -> None:
        lines = (_BLANKS.sub(" ", line).strip() for line in clean(text).split("\n"))
        kept = "\n".join(line for line in lines if line)
        if kept:
            self.blocks.append(Block(kind, kept))
