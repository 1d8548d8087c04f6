"""HTML to a title, metadata and blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from services.enricher.formats.blocks import Block, Kind, clean, one_line, titled
from shared.domain.errors import DocumentRefused

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from selectolax.lexbor import LexborNode

    from shared.domain.events import Metadata

MAX_DEPTH: Final = 2_000
"""Elements inside each other. The parser takes quadratic time in it, minutes at 200,000."""

_DROPPED: Final = frozenset(
    {"script", "style", "nav", "template", "noscript", "svg", "head", "iframe"}
)
_BREAKS: Final = frozenset(
    {
        *("address", "article", "aside", "body", "br", "caption", "center", "dd", "details"),
        *("dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form"),
        *("header", "hr", "main", "p", "section", "summary", "tbody", "tfoot", "thead"),
    }
)
_CONTAINERS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("ul", "ol", "menu"), "list"),
    **{"table": "table", "pre": "code", "blockquote": "quote"},
}
_HEADINGS: Final = {f"h{n}": n for n in range(1, 7)}
_NAMED: Final = {"author", "description", "date", "keywords"}
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# they close themselves, so an old page has thousands of them open in the source
_FLAT: Final = frozenset(
    {
        *("p", "li", "dd", "dt", "td", "th", "tr", "option", "area", "base", "br", "col", "embed"),
        *("hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    }
)
_BLANKS = re.compile(r"\s+")
_LONE_MARK = re.compile(r"^( *+(?:-|\d++\.))\n", re.MULTILINE)
"""Of an item whose text is in a paragraph of its own."""


@dataclass(frozen=True, slots=True)
class Page:
    """The content of an HTML document or fragment. Blocks without heading paths."""

    title: str
    metadata: "Metadata"
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
        tree = LexborHTMLParser(text)
    except SelectolaxError:
        raise MemoryError from None  # any text is HTML: only memory can fail
    writer = _Writer()
    if tree.body is not None:
        for node, opens in _walk(tree.body):
            if node.is_text_node:
                writer.write(node.text_content or "")
            elif opens:
                writer.enter(node.tag or "")
            else:
                writer.leave(node.tag or "")
    writer.flush()
    title = tree.css_first("head > title")
    return Page(one_line(title.text()) if title else "", _metadata(tree.root), writer.blocks)


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
    while node is not None:
        if node.is_text_node:
            yield node, True
        elif node.is_element_node and node.tag not in _DROPPED:
            yield node, True
            if node.child is not None:
                node, depth = node.child, depth + 1
                continue
            yield node, False
        while node is not None and depth and node.next is None:
            node, depth = node.parent, depth - 1
            if node is not None:
                yield node, False
        node = node.next if node is not None and depth else None


def _metadata(root: "LexborNode | None") -> "Metadata":
    found: Metadata = {}
    if root is None:
        return found
    html = root if root.tag == "html" else root.css_first("html")
    language = html.attributes.get("lang") if html else None
    if language:
        found["language"] = one_line(language, 35)
    for meta in root.css("head > meta[name][content]"):
        name = (meta.attributes["name"] or "").strip().lower()
        if name in _NAMED and meta.attributes["content"]:
            found[name] = one_line(meta.attributes["content"], 500)
    return found


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

    def write(self, text: str) -> None:
        self.pieces.append(text if self.pre else _BLANKS.sub(" ", text))

    def enter(self, tag: str) -> None:
        if tag in _CONTAINERS:
            self._open(tag)
        elif tag in _HEADINGS and not self.within:
            self.flush()
            self.level = _HEADINGS[tag]
        elif tag == "li":
            self._item()
        elif tag in ("td", "th"):
            self.pieces.append(" | ")
        elif tag in _BREAKS or tag in _HEADINGS or tag == "tr":
            self._break(tag)

    def leave(self, tag: str) -> None:
        if tag in _CONTAINERS and tag in self.within:
            self._close(tag)
        elif tag in _HEADINGS and self.level:
            self.flush()
            self.level = 0
        elif tag in _BREAKS and tag != "br":
            self._break(tag)

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
        text = _tidy(text, kind)
        if text:
            self.blocks.append(Block(kind, text))

    def _open(self, tag: str) -> None:
        if not self.within:
            self.flush()
        else:
            self.pieces.append("\n")
        self.within.append(tag)
        if _CONTAINERS[tag] == "list":
            self.counters.append(0 if tag == "ol" else -1)
        self.pre += tag == "pre"

    def _close(self, tag: str) -> None:
        if len(self.within) == 1:
            self.flush()
        else:
            self.pieces.append("\n")
        self.within.pop()
        if _CONTAINERS[tag] == "list" and self.counters:
            self.counters.pop()
        self.pre -= tag == "pre"

    def _item(self) -> None:
        mark = "-"
        if self.counters and self.counters[-1] >= 0:
            self.counters[-1] += 1
            mark = f"{self.counters[-1]}."
        indent = "\x01" * min(len(self.counters) - 1, 20)  # survives the collapsing of blanks
        self.pieces.append(f"\n{indent}{mark} ")

    def _break(self, tag: str) -> None:
        if self.within or self.level or tag == "br":
            in_row = self.within and self.within[-1] == "table" and tag != "tr"
            self.pieces.append(" " if in_row or self.level else "\n")
        else:
            self.flush()


def _tidy(text: str, kind: Kind) -> str:
    if kind == "code":
        return clean(text).strip("\n")
    lines = []
    for raw in text.split("\n"):
        line = " ".join(raw.replace("\x01", " \x01 ").split())
        if kind == "table":
            line = line.removeprefix("| ").removesuffix(" |").strip("|") if line.strip("| ") else ""
        lines.append(line.replace("\x01 ", "  "))
    tidy = clean("\n".join(line for line in lines if line.strip())).strip("\n")
    return _LONE_MARK.sub(r"\1 ", tidy) if kind == "list" else tidy
