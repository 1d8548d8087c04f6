"""AsciiDoc to a title, metadata and blocks, by its lines. No other file is ever read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.formats.blocks import Block, Content, clean, first_heading, one_line, titled
from shared.formats.markup.names import Replacements
from shared.formats.office.sheets import table_of

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

_HEADING: Final = re.compile(r"(={1,6}|#{1,6}) +(\S.*)$")
_ATTRIBUTE: Final = re.compile(r":!?([\w-]{1,80})!?:(?:\s+(.*))?$")
_AUTHOR: Final = re.compile(r"[^\W\d_][^:=\[\]]{0,200}(?:<[^<>]{1,200}>)?$")
_REVISION: Final = re.compile(r"(?:v[\w.]{1,20},? ?)?(\d{4}-\d\d-\d\d)?")
_COMMENT: Final = re.compile(r"//(?!/)")
_ABOUT: Final = re.compile(r"\[([^\[\]]*)\]$|\[\[[^\[\]]*\]\]$")
_CAPTION: Final = re.compile(r"\.(?![ .])(\S.*)$")
_UNSEEN: Final = re.compile(r"(?:include|ifdef|ifndef|ifeval|endif|toc)::")
_BLOCK_MACRO: Final = re.compile(r"(?:image|video|audio)::[^\[\]]*\[(.*)\]$")
_FENCE: Final = re.compile(r"(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|`{3}\w*|--)$")
_TABLE: Final = re.compile(r"[|,:!]={3,}$")
_ITEM: Final = re.compile(r"\s*([*.-]{1,6}|\d{1,9}\.|<\d{1,4}>|<\.>)\s+(?=\S)")
_TERM: Final = re.compile(r"(\S[^\n]{0,300}?)(:{2,4}|;;)(?:\s+|$)")
_CELL: Final = re.compile(
    r"(?<![\\\S])(?:\d{1,4}(?:\.\d{1,4})?[+*])?[<^>]?(?:\.[<^>])?[adehlmsv]?\||(?<!\\)\|"
)
_VERBATIM: Final = "-.`+/"
_MARKS_INSIDE: Final = 2
"""Marks around marks, as of bold italics."""
_BREAKS: Final = frozenset({"'''", "<<<", "---", "+"})
_ADMONITIONS: Final = frozenset({"NOTE", "TIP", "IMPORTANT", "WARNING", "CAUTION"})
_INLINE: Final = re.compile(
    r"(?:link:|mailto:|xref:)[^\s\[\]]{1,500}\[(?P<linked>[^\[\]]*)\]"
    r"|(?P<url>(?:https?|ftp|irc)://[^\s\[\]<>]{1,500})\[(?P<labelled>[^\[\]]*)\]"
    r"|(?:image|icon):[^\s\[\]]{1,500}\[(?P<alt>[^\[\]]*)\]"
    r"|(?:kbd|btn|menu|footnote|pass|stem|indexterm2?):[^\s\[\]]{0,100}\[(?P<shown>[^\[\]]*)\]"
    r"|<<[^<>,]{1,300}(?:,(?P<named>[^<>]{0,500}))?>>"
    r"|\[\[[^\[\]]{1,300}\]\]"
    r"|\[[.#%][^\[\]]{1,200}\](?=[#*_`])"
    r"|\{(?P<attribute>[\w-]{1,80})\}"
)
_MARKS: Final = re.compile(
    r"(?<![\w\\])(?:"
    + "|".join(
        rf"{m}(?![\s{m}])([^{m}\n]+)(?<!\s){m}(?![\w{m}])"
        for m in (r"\*\*", "__", "``", "##", r"\+\+", r"\*", "_", "`", "#", r"\+")
    )
    + ")"
)


def read(text: str) -> Content:
    """Read a document."""
    reader = _Reader()
    lines = [line.rstrip() for line in clean(text).split("\n")]
    blocks = list(reader.document(lines))
    metadata = reader.metadata
    origins = dict.fromkeys(metadata, "document attributes")
    title = first_heading(blocks)
    if title:
        origins["title"] = "heading"
    return Content(one_line(title), metadata, blocks, origins)


@dataclass(slots=True)
class _Reader:
    attributes: Replacements = field(default_factory=Replacements)
    metadata: "Metadata" = field(default_factory=dict)

    def document(self, lines: Sequence[str]) -> Iterator[Block]:
        at = 0
        while at < len(lines) and (not lines[at] or _COMMENT.match(lines[at])):
            at += 1
        match = _HEADING.match(lines[at]) if at < len(lines) else None
        if match and len(match[1]) == 1:
            yield from titled(self._inline(match[2]), 1)
            at = self._header(lines, at + 1)
        yield from self._blocks(lines[at:])

    def _header(self, lines: Sequence[str], at: int) -> int:
        """Author, revision and attributes below the title; the number of the line after them."""
        first = at
        while at < len(lines) and lines[at]:
            line = lines[at]
            if _ATTRIBUTE.match(line) or _COMMENT.match(line):
                self._attribute(line)
            elif at == first and _AUTHOR.match(line):
                self.metadata["author"] = one_line(line, 500)
            elif "date" not in self.metadata and (match := _REVISION.match(line)) and match[1]:
                self.metadata["date"] = match[1]
                self.metadata["revision"] = one_line(line, 500)
            else:
                break
            at += 1
        return at

    def _attribute(self, line: str) -> None:
        match = _ATTRIBUTE.match(line)
        if match is None:
            return
        name, value = match[1].lower(), self._inline(match[2] or "")
        self.attributes.give(name, value)
        known = {"author": "author", "revdate": "date", "description": "description",
                 "keywords": "keywords", "lang": "language"}.get(name)  # fmt: skip
        if known and value:
            self.metadata[known] = one_line(value, 500)

    def _blocks(self, lines: Sequence[str]) -> Iterator[Block]:
        at = 0
        while at < len(lines):
            at, found = self._next(lines, at)
            yield from found

    def _next(self, lines: Sequence[str], at: int) -> tuple[int, list[Block]]:
        """The end of what begins at a line, and its blocks."""
        line = lines[at]
        if (found := self._line(line)) is not None:
            return at + 1, found
        take = self._text
        if _TABLE.match(line):
            take = self._table
        elif _FENCE.match(line):
            take = self._fenced
        elif _begins_item(line):
            take = self._list
        return take(lines, at)

    def _line(self, line: str) -> list[Block] | None:
        """The blocks of a line that stands for itself; None for any other."""
        if not line or _COMMENT.match(line) or _UNSEEN.match(line) or line in _BREAKS:
            return []
        if match := _HEADING.match(line):
            return titled(self._inline(match[2]), len(match[1]))
        if match := _ABOUT.match(line):
            return self._about((match[1] or "").split(","))
        if _ATTRIBUTE.match(line):
            self._attribute(line)
            return []
        match = _CAPTION.match(line) or _BLOCK_MACRO.match(line)
        return self._paragraph([match[1]]) if match else None

    def _about(self, values: Sequence[str]) -> list[Block]:
        """What a person sees of the attributes of a block: its kind, or where a quote is from."""
        kind, *others = (value.strip() for value in values)
        if kind in _ADMONITIONS:
            return self._paragraph([f"{kind}:"])
        return self._paragraph([", ".join(others)]) if kind in ("quote", "verse") else []

    def _fenced(self, lines: Sequence[str], at: int) -> tuple[int, list[Block]]:
        """What stands between two equal lines of a sign, or after one that is alone."""
        fence = lines[at]
        if fence == "--" or fence[0] not in _VERBATIM:
            return at + 1, []  # the blocks inside follow, and its end is passed over as well
        closing = fence[:3] if fence[0] == "`" else fence
        end = next((n for n in range(at + 1, len(lines)) if lines[n] == closing), len(lines))
        return end + 1, [] if fence[0] == "/" else _code(lines[at + 1 : end])

    def _table(self, lines: Sequence[str], at: int) -> tuple[int, list[Block]]:
        end = next((n for n in range(at + 1, len(lines)) if lines[n] == lines[at]), len(lines))
        by = lines[at][0]
        inner = lines[at + 1 : end]
        rows = [line.split(by) for line in inner] if by in ",:" else _rows(inner)
        found = table_of([self._inline(cell) for cell in row] for row in rows)
        return end + 1, [found] if found else []

    def _list(self, lines: Sequence[str], at: int) -> tuple[int, list[Block]]:
        """Items, with the lines that follow each; a blank line ends it unless an item follows."""
        written: list[str] = []
        while at < len(lines):
            line = lines[at]
            if match := _ITEM.match(line):
                indent = "  " * (len(match[1]) - 1 if match[1][0] in "*.-" else 0)
                written.append(
                    f"{indent}{match[1][-2:].strip('.*') or '-'} "
                    + self._inline(line[match.end() :])
                )
            elif match := _TERM.match(line):
                written.append(
                    f"{self._inline(match[1])}: {self._inline(line[match.end() :])}".rstrip()
                )
            elif not line and at + 1 < len(lines) and _begins_item(lines[at + 1]):
                pass
            elif not line or not written or _begins_other(line):
                break
            else:
                written.append(f"  {self._inline(line.strip())}")
            at += 1
        return at, [Block("list", "\n".join(written))]

    def _text(self, lines: Sequence[str], at: int) -> tuple[int, list[Block]]:
        end = at + 1
        while end < len(lines) and lines[end] and not _begins_other(lines[end]):
            end += 1
        if lines[at][0] == " ":
            return end, _code(lines[at:end])
        return end, self._paragraph([line for line in lines[at:end] if not _COMMENT.match(line)])

    def _paragraph(self, lines: Sequence[str]) -> list[Block]:
        text = "\n".join(" ".join(self._inline(line.removesuffix(" +")).split()) for line in lines)
        return [Block("paragraph", text)] if text.strip() else []

    def _inline(self, text: str) -> str:
        text = _INLINE.sub(self._plain, text)
        for _ in range(_MARKS_INSIDE):
            text = _MARKS.sub(lambda match: str(match[match.lastindex or 0]), text)
        return text

    def _plain(self, match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind is None:
            return ""
        inside = match[kind].strip('"')
        if kind == "attribute":
            return self.attributes.text(inside, match[0])
        if kind == "labelled" and not inside:
            return str(match["url"])
        return inside.removesuffix("^")


def _code(lines: Sequence[str]) -> list[Block]:
    text = "\n".join(lines).strip("\n")
    return [Block("code", text)] if text.strip() else []


def _rows(lines: Sequence[str]) -> list[list[str]]:
    """The rows of a table: the first line of several cells, or of one above a blank line, tells
    how many cells each has."""
    rows: list[list[list[str]]] = []
    """Of cells, each by its lines: to lengthen a text by each of them takes the square of time."""
    width = 0
    for line in lines:
        cells = [[cell] for cell in _cells(line)]
        if not cells:
            width = width or (len(rows[0]) if rows else 0)
            if rows:
                rows[-1][-1].append(line)
            elif line:
                rows.append([[line]])
        elif rows and len(rows[-1]) < width and len(cells) < width:
            rows[-1] += cells
        else:
            rows.append(cells)
            width = width or len(cells) * (len(cells) > 1)
    return [["\n".join(cell) for cell in row] for row in rows]


def _cells(line: str) -> list[str]:
    """The cells that begin in a line; none where it goes on with the cell before it."""
    first, *cells = _CELL.split(line)
    return [cell.strip() for cell in ([first, *cells] if first.strip() and cells else cells)]


def _begins_item(line: str) -> bool:
    return bool(_ITEM.match(line) or _TERM.match(line))


def _begins_other(line: str) -> bool:
    """Whether the line begins something else than the next line of a paragraph."""
    patterns = (_FENCE, _ABOUT, _TABLE, _UNSEEN)
    return line == "+" or any(pattern.match(line) for pattern in patterns)
