"""XML to blocks: texts and values of attributes, with the names of their elements as labels.

What is not well-formed is read as text. Entities that a document declares stay as they are written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from shared.formats import source
from shared.formats.blocks import MAX_LINE_TITLE, Content, clean, one_line
from shared.formats.data.tree import Line, blocks_of

MAX_MIXED_CHARS: Final = 4_000
"""Of an element with text between its elements that becomes one line."""
_PARAGRAPHS: Final = frozenset({"p", "para", "simpara"})
"""Elements whose name says nothing."""
_NAMES: Final = frozenset({"title", "name", "head"})
"""Elements that name the one they are in."""
_ORIGIN: Final = "title element"


@dataclass(slots=True)
class _Row:
    depth: int
    name: str
    """Of the element; empty for a text between elements."""
    values: str = ""
    """Of its attributes, with their names."""
    text: str = ""
    opens: bool = False
    is_mixed: bool = False


def read(text: str) -> Content:
    """Read a document. Raises MemoryError: the parser got none."""
    rows = _rows(text)
    if rows is None:
        return source.read(text)
    title = next((r.text for r in rows if r.name == "title" and 0 < r.depth <= 2 and r.text), "")
    origins = {"title": _ORIGIN} if title else {}
    return Content(one_line(title), {}, blocks_of(list(_lines(rows))), origins)


def _rows(text: str) -> list[_Row] | None:
    """The elements and texts in their order; None where the text is not well-formed."""
    writer = _Writer()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = writer.opens
    parser.EndElementHandler = writer.closes
    parser.CharacterDataHandler = writer.pieces.append
    parser.DefaultHandler = writer.other
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_MEMORY]:
            raise MemoryError from None
        return None
    except ValueError:
        return None
    return writer.rows


@dataclass(slots=True)
class _Writer:
    rows: list[_Row] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    within: list[int] = field(default_factory=list)
    """Rows of the open elements."""

    def opens(self, name: str, attributes: dict[str, str]) -> None:
        self._flush()
        values = ", ".join(
            f"{_local(key)}: {' '.join(clean(value).split())}"
            for key, value in attributes.items()
            if key != "xmlns" and not key.startswith("xmlns:")
        )
        self.rows.append(_Row(len(self.within), _local(name), values, opens=True))
        self.within.append(len(self.rows) - 1)

    def closes(self, _name: str) -> None:
        self._flush()
        at = self.within.pop()
        row, inner = self.rows[at], len(self.rows) - at - 1
        if inner == 1 and not self.rows[-1].name:
            row.text, row.opens, row.is_mixed = self.rows.pop().text.strip(), False, False
        elif inner == 0:
            row.opens = False
        elif row.is_mixed:
            self._fold(at)

    def other(self, data: str) -> None:
        """Take an entity that is not expanded; all else that comes here is no text."""
        if data.startswith("&"):
            self.pieces.append(data)

    def _flush(self) -> None:
        text = "".join(self.pieces)
        self.pieces.clear()
        if not text.strip():
            if text and self.rows and self.rows[-1].text:
                self.rows[-1].text += " "
            return
        lead, end = text[:1].isspace(), text[-1:].isspace()
        text = f"{' ' * lead}{' '.join(clean(text).split())}{' ' * end}"
        self.rows.append(_Row(len(self.within), "", text=text))
        if self.within:
            self.rows[self.within[-1]].is_mixed = True

    def _fold(self, at: int) -> None:
        """Make one line of an element with text between its elements, if it is no long one."""
        size = 0
        for number in range(len(self.rows) - 1, at, -1):
            size += len(self.rows[number].text) + len(self.rows[number].values) + 1
            if size > MAX_MIXED_CHARS:
                return
        self.rows[at].text = _joined(self.rows[at + 1 :])
        self.rows[at].opens = False
        del self.rows[at + 1 :]


def _joined(rows: Sequence[_Row]) -> str:
    """The texts in one line; elements never join two words."""
    text = ""
    for row in rows:
        for piece in (row.text, f" ({row.values}) " if row.values else ""):
            if text[-1:].isalnum() and piece[:1].isalnum():
                text += " "
            text += piece
    return " ".join(text.split())


def _lines(rows: Sequence[_Row]) -> Iterator[Line]:
    for number, row in enumerate(rows):
        label = f"{row.name} ({row.values})" if row.values else row.name
        if row.opens:
            name = _named(rows[number + 1 : number + 3]) or row.name
            yield Line(row.depth, f"{label}:", True, name if row.depth else "")
        elif not row.text:
            yield Line(row.depth, label)
        elif not row.values and _says_nothing(row):
            yield Line(row.depth, row.text.strip())
        else:
            yield Line(row.depth, f"{label}: {row.text.strip()}")


def _says_nothing(row: _Row) -> bool:
    """Whether the name of the element would stand in the way of its text."""
    return row.is_mixed or len(row.text) > MAX_LINE_TITLE or row.name in {"", *_PARAGRAPHS}


def _named(first: Sequence[_Row]) -> str:
    """The name of an element that begins with these rows, where one of them tells it."""
    found = (row.text.strip() for row in first if row.name in _NAMES)
    return next((text for text in found if 0 < len(text) <= MAX_LINE_TITLE), "")


def _local(name: str) -> str:
    return name.rpartition(":")[2]
