"""The common form of all formats: a title and a run of blocks. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from shared.domain.errors import DocumentRefused
from shared.domain.ordering import MAX_ROWS
from shared.domain.text.unicode_text import normalised

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

Kind = Literal["heading", "paragraph", "code", "table", "list", "quote"]

MAX_LINE_TITLE: Final = 120
"""Characters of a title or heading, which is context; `titled` keeps a longer one as text, too."""
MAX_BLOCKS: Final = 20 * MAX_ROWS
"""Blocks of a document. A row holds many, but each costs memory, however short it is."""

SECTION: Final = 2
"""Level of the heading of a sheet or slide, which is never the title of its document."""

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_TERMINAL = re.compile("\x1b\\[[0-?]*+[ -/]*+[@-~]|.\x08")
"""Colours of a terminal, and characters that the next one is printed over."""
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of text that a person would not tear apart.

    The text of a table is one row a line, cells between ` | `, its head first: the caption, if
    there is one, and the header.
    """

    kind: Kind
    text: str
    level: int = 0
    """Of a heading, 1 to 6; of a table, the lines of its head, which each piece of it repeats; else
    0."""
    path: tuple[str, ...] = ()
    """Headings above the block, outermost first."""


@dataclass(frozen=True, slots=True)
class Content:
    """What the reader of a format finds. Blocks have heading paths only where none is a heading."""

    title: str
    metadata: "Metadata"
    blocks: list[Block]
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extracted:
    """A document without its format. Texts are clean: `\\n` only, no control characters."""

    title: str
    """Explicit, or found in the document; never made from its path, so a move changes nothing."""
    blocks: tuple[Block, ...]
    metadata: "Metadata"
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where the title and each value of the metadata come from, as `front matter`; and `encoding`,
    where it was guessed."""


def clean(text: str) -> str:
    """The text in one spelling: line ends, trailing blanks, runs of blank lines, Unicode's NFC.

    Controls of terminals and other control characters and marks that part words invisibly are
    dropped; lone surrogates become U+FFFD.
    """
    text = _TERMINAL.sub("", _LINE_END.sub("\n", text)).replace("\x1f", " ")
    text = _SURROGATE.sub("\ufffd", normalised(_CONTROL.sub("", text)))
    kept: list[str] = []
    blank = True
    for raw in text.split("\n"):
        line = raw.rstrip()
        if line or not blank:
            kept.append(line)
        blank = not line
    return "\n".join(kept).rstrip("\n")


def one_line(text: str, limit: int = MAX_LINE_TITLE) -> str:
    """Text as a title: white space collapsed, cut at a word after `limit` characters."""
    flat = " ".join(clean(text[: limit * 20]).split())
    if len(flat) <= limit:
        return flat
    head = flat[:limit]
    return (head.rsplit(" ", 1)[0] if " " in head else head) + "…"


def titled(text: str, level: int) -> list[Block]:
    """The heading of this text; a paragraph keeps the words of one that is too long."""
    flat = " ".join(clean(text).split())
    if not flat:
        return []
    heading = Block("heading", one_line(flat), level)
    return [heading] if heading.text == flat else [heading, Block("paragraph", flat)]


def with_paths(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks with their heading paths; a heading's own path ends with itself.

    A path that a reader has given stays.
    """
    path: list[tuple[int, str]] = []
    placed: list[Block] = []
    for block in blocks:
        if block.kind == "heading":
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, block.text))
        above = tuple(text for _, text in path)
        placed.append(Block(block.kind, block.text, block.level, block.path or above))
    return tuple(placed)


def first_heading(blocks: Sequence[Block]) -> str:
    """The first heading of level 1, or an empty string."""
    return next((b.text for b in blocks if b.kind == "heading" and b.level == 1), "")


def only_heading(blocks: Sequence[Block]) -> str:
    """The heading of level 1, or an empty string where there are several: those are chapters."""
    found = [b.text for b in blocks if b.kind == "heading" and b.level == 1]
    return found[0] if len(found) == 1 else ""


def check_amount(blocks: Sequence[Block], max_chars: int) -> None:
    """Refuse a document that needs more than MAX_ROWS pieces, before it costs memory and time.

    Raises:
        DocumentRefused: `too_large`.
    """
    if len(blocks) > MAX_BLOCKS or sum(len(block.text) for block in blocks) > max_chars:
        raise too_large()


def too_large() -> DocumentRefused:
    return DocumentRefused("too_large", f"the document would have more than {MAX_ROWS:,} chunks")


def ranges(numbers: Sequence[int]) -> str:
    """`1-3, 7` for 1, 2, 3, 7."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return one_line(", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found), 500)
