"""HTML to a title, metadata and blocks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import Block, Kind, clean, one_line, titled

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from selectolax.lexbor import LexborNode

    from shared.domain.events import Metadata

MAX_DEPTH: Final = 2_000
"""Elements inside each other. The parser takes quadratic time in it, minutes at 200,000."""

_DROPPED: Final = frozenset(
    {
        *("script", "style", "nav", "template", "noscript", "head", "iframe", "noframes"),
        *("noembed", "rp"),
    }
)
"""What a browser does not show, and the navigation of a site."""
_DROPPED_OF_SVG: Final = frozenset({"metadata", "desc", "defs", "symbol"})
_BREAKS: Final = frozenset(
    {
        *("address", "article", "aside", "body", "br", "caption", "center", "dd", "details"),
        *("dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form"),
        *("header", "hgroup", "hr", "legend", "main", "p", "search", "section", "summary"),
        *("tbody", "tfoot", "thead"),
    }
)
_LINES: Final = frozenset({"br", "option", "optgroup"})
"""These begin a line of the same paragraph."""
_BOXES: Final = frozenset(
    {
        *("area", "button", "datalist", "img", "input", "meter", "mtd", "mtext", "mtr", "object"),
        *("output", "progress", "select", "svg", "text", "textarea", "title", "video", "audio"),
        "canvas",
    }
)
"""These stand in a line, but apart from the words around them."""
_CONTAINERS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("ul", "ol", "menu", "dir"), "list"),
    **dict.fromkeys(("pre", "listing", "xmp", "plaintext"), "code"),
    **{"table": "table", "blockquote": "quote"},
}
_RAISED: Final = {"sup": "^", "sub": "_"}
_OF_NUMBERS: Final = {"msup": "^", "msub": "_", "mfrac": "/"}
"""What parts two numbers of a formula, by the element that they are in."""
_SHOWN: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("img", "area"), ("alt",)),
    **dict.fromkeys(("option", "optgroup"), ("label",)),
    **{"input": ("value", "placeholder"), "textarea": ("placeholder",)},
}
"""Attributes that a browser shows as text; of several, the first that there is."""
_SHOWN_OF_INPUT: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("hidden", "file", "checkbox", "radio", "color", "range"), ()),
    **{"image": ("alt",), "password": ("placeholder",)},
}
_OF_A_PART: Final = frozenset({"article", "section", "main", "aside", "dialog"})
"""A footer in one of these belongs to it; any other one is that of the page."""
_HEADINGS: Final = {f"h{n}": n for n in range(1, 7)}
_NAMED: Final[dict[str, tuple[str, ...]]] = {
    "author": ("author", "dcterms.creator", "dc.creator"),
    "description": ("description",),
    "date": (
        *("date", "article:published_time", "dcterms.date", "dc.date", "dcterms.issued"),
        *("dc.date.issued", "dcterms.created", "dc.date.created"),
    ),
    "modified": ("article:modified_time", "dcterms.modified", "dc.date.modified"),
    "keywords": ("keywords",),
    "language": ("dcterms.language", "dc.language", "content-language"),
}
"""Names of `meta` elements for each value of the metadata, the best first."""
MAX_VALUE_CHARS: Final = 500
MAX_LANGUAGE_CHARS: Final = 35
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# they close themselves, so an old page has thousands of them open in the source
_FLAT: Final = frozenset(
    {
        *("p", "li", "dd", "dt", "td", "th", "tr", "option", "area", "base", "br", "col", "embed"),
        *("hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    }
)
_BLANKS = re.compile(r"\s+")
_INDENT, _CAPTION, _HEADER = "\x01", "\x02", "\x03"
"""Marks of this module in a text that is being written; they survive the collapsing of blanks."""
_OWN = re.compile("[\x01-\x03]")
_WORD_BEFORE: Final = 3
"""Small letters of a word that a raised letter or number follows but does not belong to."""
_XML = re.compile(r"\s*<\?xml\s")
_CLOSED = re.compile(r"<(iframe|noscript|script|style|textarea|title)\b([^<>]*)/>")
_LONE_MARK = re.compile(r"^( *+(?:-|\d++\.))\n", re.MULTILINE)
"""Of an item whose text is in a paragraph of its own."""


@dataclass(frozen=True, slots=True)
class Page:
    """The content of an HTML document or fragment. Blocks without heading paths."""

    title: str
    """Of the `title` element."""
    metadata: "Metadata"
    origins: dict[str, str]
    """Where each value of the metadata comes from."""
    blocks: list[Block]


def read(text: str) -> Page:
    """Read a document or a fragment.

    Raises:
        DocumentRefused: `corrupt` when elements are nested deeper than any person writes.
        MemoryError: the parser got none.
    """
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    if _depth(text) > MAX_DEPTH:
        raise DocumentRefused(
            "corrupt", f"elements are nested deeper than {MAX_DEPTH:,}; simplify the page"
        )
    try:
        tree = LexborHTMLParser(_as_html(text) if _XML.match(text) else text)
    except SelectolaxError:
        raise MemoryError from None  # any text is HTML: only memory can fail
    writer = _Writer()
    if tree.body is not None:
        for node, opens in _walk(tree.body):
            if node.is_text_node:
                writer.write(node.text_content or "")
            elif opens:
                writer.enter(node)
            else:
                writer.leave(node.tag or "")
    writer.flush()
    title = tree.css_first("head > title")
    whole = clean(title.text()) if title else ""
    metadata, origins = _metadata(tree.root)
    beyond = titled(whole, 1)[1:]
    return Page(one_line(whole), metadata, origins, beyond + writer.blocks)


def _as_html(text: str) -> str:
    """XML as HTML spells it: the parser of HTML knows neither CDATA nor that `<script/>` ends."""
    before, *sections = _CLOSED.sub(r"<\1\2></\1>", text).split("<![CDATA[")
    parts = (section.partition("]]>") for section in sections)
    return before + "".join(escape(inside) + after for inside, _, after in parts)


def _depth(text: str) -> int:
    """About how deep the parser's stack of open elements grows."""
    deepest = depth = 0
    for closing, name in _TAG.findall(text):
        if name.lower() in _FLAT:
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _walk(root: "LexborNode") -> Iterator[tuple["LexborNode", bool]]:
    """Every text node, and every element once when it opens and once when it closes."""
    node: LexborNode | None = root
    depth = 0  # not a comparison with the root: nodes compare by their whole HTML
    drawing: int | None = None
    """Depth of the outermost drawing that is open."""
    while node is not None:
        if node.is_text_node:
            yield node, True
        elif node.is_element_node and not _is_dropped(node, drawing):
            yield node, True
            if node.child is not None:
                if node.tag == "svg" and drawing is None:
                    drawing = depth
                node, depth = node.child, depth + 1
                continue
            yield node, False
        while node is not None and depth and node.next is None:
            node, depth = node.parent, depth - 1
            drawing = None if drawing is not None and depth <= drawing else drawing
            if node is not None:
                yield node, False
        node = node.next if node is not None and depth else None


def _is_dropped(node: "LexborNode", drawing: int | None) -> bool:
    tag = node.tag or ""
    if tag in _DROPPED or (drawing is not None and tag in _DROPPED_OF_SVG):
        return True
    if tag.startswith("annotation"):  # the source of a formula, which the browser draws
        return node.parent is not None and node.parent.tag == "semantics"
    return False


def _metadata(root: "LexborNode | None") -> "tuple[Metadata, dict[str, str]]":
    """The values that the page names, and where each comes from."""
    found: Metadata = {}
    if root is None:
        return found, {}
    said = _said(root)
    for key, names in _NAMED.items():
        values = next((said[name] for name in names if name in said), None)
        if values:
            limit = MAX_LANGUAGE_CHARS if key == "language" else MAX_VALUE_CHARS
            found[key] = one_line(", ".join(values), limit)
    origins = dict.fromkeys(found, "meta")
    html = root if root.tag == "html" else root.css_first("html")
    language = (html.attributes.get("lang") or html.attributes.get("xml:lang")) if html else None
    if language and language.strip():
        found["language"] = one_line(language, MAX_LANGUAGE_CHARS)
        origins["language"] = "html lang"
    return found, origins


def _said(root: "LexborNode") -> dict[str, dict[str, None]]:
    """What the `meta` elements say, by their names in small letters, each value once."""
    said: dict[str, dict[str, None]] = {}
    for meta in root.css("meta[content]"):
        given = meta.attributes
        name = given.get("name") or given.get("property") or given.get("http-equiv") or ""
        value = " ".join((given["content"] or "").split())
        if value:
            said.setdefault(name.strip().lower(), {})[value] = None
    return said


@dataclass(slots=True)
class _Writer:
    """Collects text and cuts it into blocks as elements open and close."""

    blocks: list[Block] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    within: list[str] = field(default_factory=list)
    """Containers that are open, outermost first; the outermost is the kind of the block."""
    counters: list[int] = field(default_factory=list)
    """Of the open lists: the number of the last item, or -1 when items have none."""
    level: int = 0
    """Of the open heading."""
    pre: int = 0
    between: str = ""
    """What parts the next text from a number, or a raised text from a word, before it."""
    parts: int = 0
    """Parts of the page that are open."""
    in_footer: bool = False
    """Of the page, before a heading in it."""
    row: int = 0
    """Piece that marks the open row of the outermost table as one of its header, or is empty."""
    headers: bool = False
    """Whether the open row has cells of a header only so far."""
    ruby: int = 0
    bases: list[list[str]] = field(default_factory=list)
    """Pieces of the texts whose readings are being written."""
    readings: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        text = _OWN.sub("", text)
        if self.between and text:
            self._part(text)
        self.pieces.append(text if self.pre else _BLANKS.sub(" ", text))

    def enter(self, node: "LexborNode") -> None:
        tag = node.tag or ""
        self.parts += tag in _OF_A_PART
        if tag in _CONTAINERS:
            self._open(tag, node)
        elif tag in _HEADINGS and not self.within:
            self.flush()
            self.level, self.in_footer = _HEADINGS[tag], False
        elif tag == "li":
            self._item(node)
        elif tag in ("td", "th"):
            self.headers = self.headers and (tag == "th" or len(self.within) > 1)
            self.pieces.append(" | ")
        elif tag == "tr":
            self._row(node)
        elif tag == "caption" and self.within == ["table"]:
            self.pieces.append(f"\n{_CAPTION}")
        elif tag in _BREAKS or tag in _HEADINGS or tag in _LINES:
            self._break(tag)
            if tag == "footer" and not (self.parts or self.within):
                self.in_footer = True
        else:
            self._enter_inline(tag, node)
        if tag in _SHOWN:
            self._show(node)

    def leave(self, tag: str) -> None:
        if tag in _CONTAINERS and tag in self.within:
            self._close(tag)
        elif tag in _HEADINGS and self.level:
            self.flush()
            self.level = 0
        elif tag == "tr" and self.headers and self.within == ["table"]:
            self.pieces[self.row] = _HEADER
        elif tag in _BREAKS or tag in _HEADINGS or tag == "li":
            self._break(tag)
            self.in_footer = self.in_footer and tag != "footer"
        else:
            self._leave_inline(tag)
        self.parts -= tag in _OF_A_PART

    def flush(self) -> None:
        """End the block that is being written."""
        text = "".join(self.pieces)
        self.pieces.clear()
        if not text.strip():
            return
        if self.level:
            self.blocks += titled(text, self.level)
            return
        kind: Kind = _CONTAINERS[self.within[0]] if self.within else "paragraph"
        text, head = _tidy(text, kind)
        if text:
            path = ("footer",) if self.in_footer else ()
            self.blocks.append(Block(kind, text, head, path))

    def _enter_inline(self, tag: str, node: "LexborNode") -> None:
        if tag in _BOXES or "-" in tag:  # elements of a page's own are boxes as a rule
            self.pieces.append(" ")
        elif tag in _RAISED:
            self.between = _RAISED[tag]
        elif tag == "mn" and node.parent is not None:
            parts = _OF_NUMBERS.get(node.parent.tag or "", " ")
            self.between = parts if node.prev is not None else " "
        elif tag == "tspan" and not node.attributes.keys().isdisjoint(("x", "y", "dy")):
            self.pieces.append(" ")
        elif tag == "ruby":
            self.ruby += 1
        elif tag == "rt" and self.ruby:
            self.bases.append(self.pieces)
            self.pieces = []

    def _leave_inline(self, tag: str) -> None:
        if tag in _BOXES or tag in _LINES or "-" in tag:
            self.pieces.append(" ")
        elif tag in _RAISED:
            self.between = " "
        elif tag == "ruby":
            self.ruby -= 1
            if self.readings:
                self.pieces.append(f"({''.join(self.readings)})")
                self.readings.clear()
        elif tag == "rt" and self.bases:
            self.readings.append("".join(self.pieces).strip())
            self.pieces = self.bases.pop()

    def _part(self, text: str) -> None:
        """Keep a boundary: 10 with a raised 6 is not 106, a footnote's number no part of a word."""
        between, self.between = self.between, ""
        before = "".join(self.pieces[-9:])[-_WORD_BEFORE:]
        numbers = before[-1:].isdecimal() and text[0].isdecimal()
        word = len(before) == _WORD_BEFORE and before.isalpha() and before.islower()
        if numbers or (word and between in "^_" and text[0].isalnum()):
            self.pieces.append(between)

    def _show(self, node: "LexborNode") -> None:
        if node.child is not None and node.tag == "textarea":
            return
        given = node.attributes
        names = _SHOWN[node.tag or ""]
        if node.tag == "input":
            names = _SHOWN_OF_INPUT.get((given.get("type") or "").strip().lower(), names)
        text = next((value for name in names if (value := given.get(name))), None)
        if text:
            self.write(f" {text} ")

    def _open(self, tag: str, node: "LexborNode") -> None:
        if not self.within:
            self.flush()
        else:
            self.pieces.append("\n")
        self.within.append(tag)
        if _CONTAINERS[tag] == "list":
            self.counters.append(_number(node, "start", 1) - 1 if tag == "ol" else -1)
        self.pre += _CONTAINERS[tag] == "code"

    def _close(self, tag: str) -> None:
        if len(self.within) == 1:
            self.flush()
        else:
            self.pieces.append("\n")
        self.within.pop()
        if _CONTAINERS[tag] == "list" and self.counters:
            self.counters.pop()
        self.pre -= _CONTAINERS[tag] == "code"

    def _item(self, node: "LexborNode") -> None:
        mark = "-"
        if self.counters and self.counters[-1] >= 0:
            self.counters[-1] = _number(node, "value", self.counters[-1] + 1)
            mark = f"{self.counters[-1]}."
        indent = _INDENT * min(len(self.counters) - 1, 20)
        self.pieces.append(f"\n{indent}{mark} ")

    def _row(self, node: "LexborNode") -> None:
        self.pieces.append("\n")
        if self.within == ["table"]:
            self.row, self.headers = len(self.pieces), True
            in_head = node.parent is not None and node.parent.tag == "thead"
            self.pieces.append(_HEADER if in_head else "")

    def _break(self, tag: str) -> None:
        if self.within or self.level or tag in _LINES:
            in_row = self.within and self.within[-1] == "table"
            self.pieces.append(" " if in_row or self.level else "\n")
        else:
            self.flush()


def _number(node: "LexborNode", name: str, otherwise: int) -> int:
    """The attribute that numbers items, where it is a number from zero on."""
    given = (node.attributes.get(name) or "").strip()
    return int(given) if given.isdecimal() and len(given) < 10 else otherwise


def _tidy(text: str, kind: Kind) -> tuple[str, int]:
    """The text of a block, and of a table the lines of its head, which come first."""
    if kind == "code":
        return clean(_OWN.sub("", text)).strip("\n"), 0
    lines = [" ".join(line.replace(_INDENT, f" {_INDENT} ").split()) for line in text.split("\n")]
    if kind == "table":
        return _tidy_table(lines)
    lines = [line.replace(f"{_INDENT} ", "  ") for line in lines if line.strip()]
    tidy = clean("\n".join(lines)).strip("\n")
    return _LONE_MARK.sub(r"\1 ", tidy) if kind == "list" else tidy, 0


def _tidy_table(lines: Sequence[str]) -> tuple[str, int]:
    captions: list[str] = []
    header: list[str] = []
    rows: list[str] = []
    for line in lines:
        row = clean(_OWN.sub("", line.replace(f"{_INDENT} ", "  ")))
        if line.startswith(_CAPTION):
            captions += [row] if row else []
        elif row.strip("| "):
            of_header = line.startswith(_HEADER) and not rows
            row = row.removeprefix(" ").removeprefix("| ").removesuffix(" |").strip("|")
            (header if of_header else rows).append(row)
    if not rows:
        header, rows = header[:1], header[1:]
    head = max(len(header), 1 if rows else 0)
    return "\n".join(captions + header + rows), len(captions) + head
