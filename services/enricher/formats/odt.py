"""ODT and ODP to a title, metadata and blocks: headings, paragraphs, lists, tables and slides."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from services.enricher.formats import office
from services.enricher.formats.blocks import Block, Content, Kind, clean, titled

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    pass

_LEFT_OUT: Final = frozenset({"tracked-changes", "annotation", "sequence-decls", "forms"})
_DEEPEST: Final = 6
_PARAGRAPHS: Final = frozenset({"p", "h", "svg:title", "svg:desc"})
"""The last two are the texts of an image or shape."""
_MARKS: Final = {"s": " ", "tab": " ", "line-break": "\n", "note-citation": "^", "ruby-text": " ("}
"""What parts a text from the word before it."""


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    with office.unpack(data) as parts:
        metadata = office.properties(office.part(parts, "meta.xml"))
        content = office.part(parts, "content.xml")
    writer = _Writer()
    office.walk(content, writer.opens, writer.closes, writer.text)
    return Content(str(metadata.pop("title", "")), metadata, writer.blocks)


@dataclass(slots=True)
class _Writer:
    """Collects text and cuts it into blocks as elements open and close."""

    blocks: list[Block] = field(default_factory=list)
    _pieces: list[list[str]] = field(default_factory=list)
    """Of the open paragraphs: a footnote or a text box lies inside another one."""
    _levels: list[int] = field(default_factory=list)
    """Of the same: 0 for a paragraph."""
    _left_out: int = 0
    _lists: int = 0
    _tables: int = 0
    _items: list[str] = field(default_factory=list)
    _cells: list[list[str]] = field(default_factory=list)
    _rows: list[str] = field(default_factory=list)

    def opens(self, name: str, attributes: dict[str, str]) -> None:
        if name in _LEFT_OUT:
            self._left_out += 1
        elif self._left_out:
            return
        elif name in _PARAGRAPHS:
            self._pieces.append([])
            self._levels.append(_level(attributes) if name == "h" else 0)
        elif name in _MARKS and self._pieces:
            self._pieces[-1].append(_MARKS[name])
        elif name == "list":
            self._lists += 1
        elif name == "table":
            self._tables += 1
        elif name == "table-cell" and self._tables:
            self._cells.append([])
        elif name == "page" and attributes.get("name"):  # a slide
            self.blocks += titled(attributes["name"], 1)

    def closes(self, name: str) -> None:
        if name in _LEFT_OUT:
            self._left_out -= 1
        elif self._left_out:
            return
        elif name in _PARAGRAPHS and self._pieces:
            self._paragraph("".join(self._pieces.pop()), self._levels.pop())
        elif name == "ruby-text" and self._pieces:
            self._pieces[-1].append(")")
        elif name == "list":
            self._end_of_list()
        elif name == "table-row" and self._tables == 1:
            row = " | ".join(" ".join(cell) for cell in self._cells).rstrip(" |")
            self._cells.clear()
            if row.strip(" |"):
                self._rows.append(row)
        elif name == "table":
            self._tables -= 1
            if not self._tables and self._rows:
                self.blocks.append(Block("table", "\n".join(self._rows), 1))
                self._rows.clear()

    def text(self, text: str) -> None:
        if self._pieces and not self._left_out:
            self._pieces[-1].append(text)

    def _end_of_list(self) -> None:
        self._lists -= 1
        if not self._lists and not self._tables:
            self._add("list", "\n".join(self._items))
            self._items.clear()

    def _paragraph(self, raw: str, level: int) -> None:
        lines = (" ".join(line.split()) for line in clean(raw).split("\n"))
        text = "\n".join(line for line in lines if line)
        if not text:
            return
        if self._cells:
            self._cells[-1].append(" ".join(text.split()))
        elif level:
            self.blocks += titled(text, level)
        elif self._lists:
            self._items.append("  " * (self._lists - 1) + "- " + text)
        else:
            self._add("paragraph", text)

    def _add(self, kind: Kind, text: str) -> None:
        if text.strip():
            self.blocks.append(Block(kind, text))


def _level(attributes: dict[str, str]) -> int:
    """Of a heading; 1 where it is not told."""
    told = attributes.get("outline-level", "")
    return min(max(int(told), 1), _DEEPEST) if told.isdecimal() and len(told) < 10 else 1
