"""Markdown to blocks: CommonMark, and of GFM and its kin tables, strikethrough, footnotes and
definition lists.

markdown-it-py parses. Its rules nest to `MAX_DEPTH`; nothing here recurses. The tokens of one
top-level block become a draft before those of the next are made, because tokens take many times the
memory of their text. What is inside the blocks is parsed at the end, when all link definitions are
known.

Left out by design: marks of emphasis, targets and titles of links, sources and titles of images,
link definitions, marks of references to footnotes, the info line of code, HTML tags and comments,
identifiers of headings, and Liquid tags. What CommonMark does not show but a person may have meant
as text stays: cells beyond those of the header, unknown tags such as `<path>`, footnotes without a
reference, and `[INFO]: done`, a definition whose target is a word.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.common.html_blocks import block_names
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote import footnote_plugin

from shared.formats.blocks import Block, Kind, clean, titled

MAX_DEPTH: Final = 20
"""Levels of nested blocks that are parsed, two for each list; what is deeper stays as it is."""
_DENSE: Final = 8
"""Links are not looked for in a long text with more than one bracket in so many characters: it
costs ten times the time of prose."""
_LONG: Final = 1024
_SLICE_CHARS: Final = 64 * 1024
"""Of a text that is parsed at a time: its tokens take a hundred times its memory."""

_MAX_INDENT: Final = 12
"""Of the lines below the mark of an item: a label of a footnote may be as long as a document."""

_Env = dict[str, Any]
_How = Literal["inline", "tags", "verbatim", "rows"]

_CONTAINERS: Final[dict[str, Kind]] = {
    "bullet_list": "list",
    "ordered_list": "list",
    "dl": "list",
    "blockquote": "quote",
    "footnote_reference": "paragraph",
}
_BLANK = re.compile(r"\s")
_MARKED = re.compile(r"[\\`*_~\[<&]")
_LIQUID_TITLE = re.compile(r"title=\"([^\"]*)\"")
_HEADING_ID = re.compile(r"[^\s{}]+\}")
_FOOTNOTE = re.compile(r"\[\^([^\s\[\]]+)\]")
_TARGET = re.compile(r"[/#:@\\]|[.?=&]\w")
"""What tells the target of a link from a word."""
_HTML = re.compile(r"^[^a-zA-Z`<\n]*+<[a-zA-Z/!?]", re.MULTILINE)
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9-]*)")
_ALT = re.compile(r"\salt\s*+=\s*+(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_WITHIN_WORDS: Final = frozenset(
    {
        *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn"),
        *("em", "font", "i", "ins", "kbd", "mark", "nobr", "q", "rb", "rp", "rt", "ruby", "s"),
        *("samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var"),
        "wbr",
    }
)
_BETWEEN_WORDS: Final = frozenset(
    {
        *(*block_names, "area", "audio", "br", "button", "canvas", "datalist", "embed", "hgroup"),
        *("img", "input", "label", "map", "math", "meta", "meter", "noscript", "object", "output"),
        *("picture", "pre", "progress", "script", "select", "slot", "source", "style", "svg"),
        *("template", "textarea", "video"),
    }
)
_EDGE: Final = "\x1f"
"""Parts words where nothing else does. A clean text has no such character."""
_EDGES = re.compile(rf"(?<=\w){_EDGE}++(?=\w)")


def read(text: str) -> list[Block]:
    """The blocks of a clean text without front matter, without heading paths.

    Raises:
        DocumentRefused: `corrupt`, by the reader of HTML.
    """
    env: _Env = {}
    state = StateBlock(text, _PARSER, env, [])
    rules = _PARSER.block.ruler.getRules("")
    drafts = _Drafts()
    line = 0
    while (line := state.skipEmptyLines(line)) < state.lineMax:
        next(rule for rule in rules if rule(state, line, state.lineMax, False))
        drafts.add(state.tokens)
        state.tokens.clear()
        line = state.line
    return [block for draft in drafts.found for block in draft.blocks(env)]


def has_html(text: str) -> bool:
    """Whether any line might begin HTML, which another parser reads. False is certain.

    HTML begins where a block does, so nothing but marks of blocks stands before it on its line:
    letters only as the label of a footnote.
    """
    return "<" in text and ("[^" in text or _HTML.search(text) is not None)


# -- rules of blocks -------------------------------------------------------------------------------


def _too_deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Takes what is left of a container as it is: the parser would drop what is deeper."""
    if silent or state.level < MAX_DEPTH:
        return False
    line = start
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
    lines = state.getLines(start, line, state.blkIndent, False).split("\n")
    state.push("inline", "", 0).content = "\n".join(line.lstrip("> \t") for line in lines)
    state.line = line
    return True


def _liquid(state: StateBlock, start: int, _end: int, silent: bool) -> bool:
    """Takes a line that is one Liquid tag; of its words, the title is for readers."""
    line = getLine(state, start).strip()
    if state.is_code_block(start) or not line.startswith("{%"):
        return False
    if line.find("%}") != len(line) - 2:
        return False
    if not silent:
        title = _LIQUID_TITLE.search(line)
        state.push("liquid", "", 0).content = title[1] if title else ""
        state.line = start + 1
    return True


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Takes a table as one token: its own rule makes many of each cell, and drops those beyond the
    header."""
    if not table(state, start, min(start + 2, end), True):
        return False
    if silent:
        return True
    above, state.parentType = state.parentType, "table"
    line = start + 2
    while line < end and not _ends_table(state, line, end):
        line += 1
    state.parentType = above
    rows = (getLine(state, n).strip() for n in (start, *range(start + 2, line)))
    state.push("rows", "", 0).content = "\n".join(rows)
    state.line = line
    return True


def _ends_table(state: StateBlock, line: int, end: int) -> bool:
    return (
        state.sCount[line] < state.blkIndent
        or state.isEmpty(line)
        or state.is_code_block(line)
        or any(rule(state, line, end, True) for rule in state.md.block.ruler.getRules("blockquote"))
    )


def _footnote_reference(state: StateInline, _silent: bool) -> bool:
    """Takes the mark of a footnote that there is. The plugin's rule takes quadratic time."""
    known = state.env.get("footnotes", {}).get("refs", {})
    if not known or not state.src.startswith("[^", state.pos):
        return False
    mark = _FOOTNOTE.match(state.src, state.pos)
    if mark is None or f":{mark[1]}" not in known:
        return False
    state.pos = mark.end()
    return True


def _comment(state: StateInline, _silent: bool) -> bool:
    """Takes a comment up to the first `-->`. The parser's own pattern takes quadratic time."""
    if not state.src.startswith("<!--", state.pos):
        return False
    if state.html_terminator_last("-->") < state.pos + 2:
        return False
    end = state.src.find("-->", state.pos + 2, state.posMax)
    if end < 0:
        return False
    state.pos = end + 3
    return True


def _parser() -> MarkdownIt:
    # definitions become tokens; two levels more than MAX_DEPTH, because a list takes two at once
    options = {"inline_definitions": True, "maxNesting": MAX_DEPTH + 2}
    made = MarkdownIt("commonmark", options).enable("strikethrough")
    made.use(footnote_plugin, inline=False).use(deflist_plugin)
    made.inline.ruler.at("footnote_ref", _footnote_reference)
    made.inline.ruler.before("html_inline", "comment", _comment)
    rules = made.block.ruler
    rules.enable("table")
    rules.at("table", _table, {"alt": ["paragraph", "reference"]})
    rules.before("table", "too_deep", _too_deep)
    everywhere = ["paragraph", "reference", "blockquote", "list"]
    rules.before("table", "liquid", _liquid, {"alt": everywhere})
    return made


def _tag_parser() -> MarkdownIt:
    """Parses no Markdown, only tags and entities."""
    made = MarkdownIt("zero", {"html": True}).enable(["html_inline", "entity"])
    made.inline.ruler.before("html_inline", "comment", _comment)
    return made


_PARSER: Final = _parser()
_TAG_PARSER: Final = _tag_parser()


# -- blocks ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines of a draft, which begin with marks and indents."""

    how: _How
    text: str
    first: str = ""
    rest: str = ""

    def lines(self, env: _Env) -> str:
        if self.how in ("inline", "tags"):
            text = _plain(self.text, env, _PARSER if self.how == "inline" else _TAG_PARSER)
        elif self.how == "rows":
            rows = (_row(line, env) for line in self.text.split("\n"))
            text = "\n".join(row for row in rows if row)
        else:
            text = self.text
        return (self.first + text.replace("\n", f"\n{self.rest}")) if text else self.first.rstrip()


@dataclass(frozen=True, slots=True)
class _Draft:
    """A block whose text is not parsed yet."""

    kind: Kind
    parts: Sequence[_Part]
    level: int = 0

    def blocks(self, env: _Env) -> list[Block]:
        lines = (part.lines(env) for part in self.parts)
        text = "\n".join(each for each in lines if each.strip())
        if self.kind == "heading":
            return titled(text, self.level)
        level = 0
        if self.kind == "table":
            level = 1 if _row(self.parts[0].text.partition("\n")[0], env) else 0
        return [Block(self.kind, text, level)] if text else []


@dataclass(frozen=True, slots=True)
class _Read:
    """Blocks that another reader has made."""

    made: Sequence[Block]

    def blocks(self, _env: _Env) -> Sequence[Block]:
        return self.made


@dataclass(slots=True)
class _Drafts:
    """Collects the tokens of top-level blocks, one block after the other."""

    found: list[_Draft | _Read] = field(default_factory=list)
    within: list[Kind] = field(default_factory=list)
    """Open containers; the outermost is the kind of the block."""
    parts: list[_Part] = field(default_factory=list)
    """Of the outermost container."""
    level: int = 0
    """Of the open heading."""
    widths: list[int] = field(default_factory=list)
    """Of the marks of the open items."""
    marks: str = ""
    """Of items that have no text yet."""

    def add(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            name, _, end = token.type.rpartition("_")
            if name in _CONTAINERS:
                self._container(name, token)
            elif name in ("list_item", "dd"):
                self._item(f"{token.info}{token.markup}" or ":", end == "open")
            elif token.type == "heading_open":
                self.level = int(token.tag[1])
            elif token.type == "html_block":
                self._html(token.content)
            elif token.type == "definition":
                self._definition(**token.meta)
            elif token.nesting == 0:
                self._text(token)

    def _text(self, token: Token) -> None:
        if token.type == "inline" and self.level:
            self._write("heading", "inline", _without_id(token.content))
            self.level = 0
        elif token.type == "inline":
            self._write("paragraph", "inline", token.content)
        elif token.type == "rows":
            self._write("table", "rows", token.content)
        elif token.type in ("fence", "code_block"):
            self._write("code", "verbatim", token.content.strip("\n"))
        elif token.type == "liquid":
            self._write("paragraph", "verbatim", token.content)

    def _container(self, name: str, token: Token) -> None:
        if token.nesting > 0:
            self.within.append(_CONTAINERS[name])
        if name == "footnote_reference":
            self._item(f"[^{token.meta.get('label')}]:", token.nesting > 0)
        if token.nesting < 0:
            kind = self.within.pop()
            if not self.within:
                self.found.append(_Draft(kind, self.parts))
                self.parts = []

    def _item(self, mark: str, opens: bool) -> None:
        if opens:
            self.widths.append(min(len(mark) + 1, _MAX_INDENT))
            self.marks += f"{mark} "
        else:
            if self.marks:
                self._add("verbatim", "")
            self.widths.pop()

    def _write(self, kind: Kind, how: _How, text: str) -> None:
        if not text.strip():
            return
        if self.within:
            self._add(how, text)
        else:
            self.found.append(_Draft(kind, [_Part(how, text)], self.level))

    def _add(self, how: _How, text: str) -> None:
        """Another part of the outermost container."""
        indent = " " * sum(self.widths)
        self.parts.append(_Part(how, text, indent[len(self.marks) :] + self.marks, indent))
        self.marks = ""

    def _html(self, text: str) -> None:
        tag = _TAG.match(text.lstrip())
        if tag and not _is_known(tag[1]):
            self._write("paragraph", "tags", text)
            return
        from shared.formats import html

        page = html.read(text)
        title = [Block("paragraph", page.title)] if page.title else []
        if self.within:
            for block in (*title, *page.blocks):
                self._add("verbatim", block.text)
        else:
            self.found.append(_Read([*title, *page.blocks]))

    def _definition(self, label: str, url: str, title: str, **_: object) -> None:
        target = unquote(url)
        if target and not _TARGET.search(target):
            self._write("paragraph", "verbatim", f"[{label}]: {target} {title}".rstrip())


def _without_id(heading: str) -> str:
    before, found, after = heading.rpartition("{#")
    return before.rstrip() if found and _HEADING_ID.fullmatch(after) else heading


def _row(line: str, env: _Env) -> str:
    """The cells of a row, or nothing if all are blank."""
    cells = escapedSplit(line) if "\\" in line else line.split("|")
    cells = cells[not cells[0].strip() : len(cells) - (len(cells) > 1 and not cells[-1].strip())]
    texts = [" ".join(_plain(cell.strip(), env, _PARSER).split()) for cell in cells]
    return " | ".join(texts).rstrip() if any(texts) else ""


# -- text ------------------------------------------------------------------------------------------


def _plain(text: str, env: _Env, parser: MarkdownIt) -> str:
    """The text without inline markup, its lines without blanks around them."""
    if _MARKED.search(text):
        plain = "".join(_parsed(each, env, parser) for each in _slices(text))
        plain = _EDGES.sub(" ", plain).replace(_EDGE, "")
        text = clean(plain) if "&" in text else plain  # numbers name any character
    return "\n".join(line for raw in text.split("\n") if (line := raw.strip()))


def _slices(text: str) -> Iterator[str]:
    """The text, cut before blanks."""
    at = 0
    while at < len(text):
        blank = _BLANK.search(text, at + _SLICE_CHARS)
        end = blank.start() if blank else len(text)
        yield text[at:end]
        at = end


def _parsed(text: str, env: _Env, parser: MarkdownIt) -> str:
    if _is_dense(text):
        return text
    return "".join(_texts(parser.inline.parse(text, parser, env, [])))


def _is_dense(text: str) -> bool:
    return len(text) > _LONG and text.count("[") * _DENSE > len(text)


def _texts(tokens: Iterable[Token]) -> Iterator[str]:
    waiting = list(tokens)[::-1]
    while waiting:
        token = waiting.pop()
        if token.type == "html_inline":
            yield _of_tag(token.content)
        elif token.type == "image":
            edge = Token("text", "", 0, content=_EDGE)
            waiting += [edge, *(token.children or [])[::-1], edge]
        elif token.type in ("softbreak", "hardbreak"):
            yield "\n"
        else:
            yield token.content


def _of_tag(tag: str) -> str:
    """What stands in the text for a tag: words of a person, or what parts them."""
    named = _TAG.match(tag)
    if named is None:
        return ""
    name = named[1].lower()
    if not _is_known(name):
        return tag
    if name == "br":
        return "\n"
    if name == "img" and (alt := _ALT.search(tag)):
        return f"{_EDGE}{alt[1] or alt[2] or ''}{_EDGE}"
    return "" if name in _WITHIN_WORDS else _EDGE


def _is_known(name: str) -> bool:
    return name.lower() in _WITHIN_WORDS or name.lower() in _BETWEEN_WORDS
