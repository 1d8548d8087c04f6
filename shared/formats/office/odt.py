"""ODT and ODP to a title, metadata and blocks: headings, paragraphs, lists, tables and slides."""

from dataclasses import dataclass, field
from typing import Final

from shared.formats.blocks import Block, Content, Kind, clean, titled
from shared.formats.office import package
from shared.formats.office.pptx import NOTES, slide_blocks, titled_deck

_LEFT_OUT: Final = frozenset({"tracked-changes", "annotation", "sequence-decls", "forms"})
_OF_SLIDES: Final = frozenset({"page", "notes", "frame"})
_TITLE: Final = "Title"
_DEEPEST: Final = 6
_PARAGRAPHS: Final = frozenset({"p", "h", "svg:title", "svg:desc"})
"""The last two are the texts of an image or shape."""
_MARKS: Final = {"s": " ", "tab": " ", "line-break": "\n", "note-citation": "^", "ruby-text": " ("}
"""What parts a text from the word before it."""


def read(data: bytes) -> Content:
    """Read a document. Raises DocumentRefused `corrupt`, `encrypted`, `too_large`."""
    with package.unpack(data) as parts:
        metadata = package.properties(package.part(parts, "meta.xml"))
        content = package.part(parts, "content.xml")
    writer = _Writer()
    package.walk(content, writer.opens, writer.closes, writer.text)
    return titled_deck(metadata, writer.blocks, writer.first_slide)


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
    _titles: set[str] = field(default_factory=lambda: {_TITLE})
    """Styles of paragraphs that are the title of the document."""
    _has_title: bool = False
    first_slide: str = ""
    """Title of the first slide."""
    _slides: int = 0
    _slide: int = 0
    """Where the blocks of the open slide begin."""
    _notes: int = 0
    """Where those of its notes begin."""
    _title: list[str] = field(default_factory=list)
    _in_title: bool = False

    def opens(self, name: str, attributes: dict[str, str]) -> None:
        if name in _LEFT_OUT:
            self._left_out += 1
        elif self._left_out:
            return
        elif name == "style" and attributes.get("parent-style-name") == _TITLE:
            self._titles.add(attributes.get("name", ""))
        elif name in _PARAGRAPHS:
            self._pieces.append([])
            self._levels.append(self._level(name, attributes))
        elif name in _MARKS and self._pieces:
            self._pieces[-1].append(_MARKS[name])
        elif name == "list":
            self._lists += 1
        elif name == "table":
            self._tables += 1
        elif name == "table-cell" and self._tables:
            self._cells.append([])
        elif name in _OF_SLIDES:
            self._opens_slide(name, attributes)

    def _level(self, name: str, attributes: dict[str, str]) -> int:
        if name == "h":
            return min(_level(attributes) + self._has_title, _DEEPEST)
        is_title = name == "p" and attributes.get("style-name") in self._titles
        self._has_title = self._has_title or is_title
        return int(is_title)

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
            self._closes_table()
        elif name in _OF_SLIDES:
            self._closes_slide(name)

    def _closes_table(self) -> None:
        self._tables -= 1
        if not self._tables and self._rows:
            self.blocks.append(Block("table", "\n".join(self._rows), 1))
            self._rows.clear()

    def _opens_slide(self, name: str, attributes: dict[str, str]) -> None:
        if name == "page":
            self._slides, self._slide = self._slides + 1, len(self.blocks)
        elif name == "notes":
            self._notes = len(self.blocks)
        else:
            self._in_title = attributes.get("class") == "title" and not self._title

    def _closes_slide(self, name: str) -> None:
        if name == "page":
            self._end_slide()
        elif name == "notes" and self._notes < len(self.blocks):
            self.blocks.insert(self._notes, NOTES)
        elif name == "frame":
            self._in_title = False

    def _end_slide(self) -> None:
        title = " ".join(self._title)
        self._title.clear()
        if self._slides == 1:
            self.first_slide = title
        self.blocks[self._slide :] = slide_blocks(self._slides, title, self.blocks[self._slide :])

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
        if self._in_title:
            self._title.append(" ".join(text.split()))
        elif self._cells:
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
