"""Markdown to blocks: the block structure of CommonMark and GFM tables, read line by line.

An own reader, because it must be fast (tens of microseconds a file) and safe against nesting: no
function recurses, and every regular expression takes linear time
(`tests/unit/shared/test_linear_time.py`). Link targets, image sources and marks of emphasis are
dropped: they cost tokens and say nothing about the meaning.
"""

import re
from collections.abc import Callable, Sequence
from html import unescape
from typing import Final

from services.enricher.formats.blocks import Block, titled

Taken = tuple[list[Block], int]
"""Blocks found, and the line after them."""

_FENCE = re.compile(r"^(\s*+)(`{3,}+|~{3,}+)([^`]*+)$")
_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_SETEXT = re.compile(r"^ {0,3}(=+|-+)$")
_RULE = re.compile(r"^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)")
_QUOTE = re.compile(r"^ {0,3}>")
_QUOTE_MARKS = re.compile(r"^(?: {0,3}> ?)+")
_LIQUID = re.compile(r"^ {0,3}\{%.*%\}$")
_LIQUID_TITLE = re.compile(r"title=\"([^\"]*)\"")
_DEFINITION = re.compile(r"^ {0,3}\[[^\[\]]+\]:\s*\S")
_HTML = re.compile(
    r"^ {0,3}<(?:!--|/?(?:address|article|aside|blockquote|body|center|dd|details|dialog|div|dl|dt|"
    r"fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|li|link|main|menu|meta|"
    r"nav|ol|p|pre|script|section|style|summary|svg|table|tbody|td|template|textarea|tfoot|th|thead|"
    r"title|tr|ul)(?=[\s/>]|$))",
    re.IGNORECASE | re.MULTILINE,
)
_HTML_VERBATIM = re.compile(r"^ {0,3}<(script|style|pre|textarea|!--)", re.IGNORECASE)

_IMAGE = re.compile(
    r"!\[([^\[\]]*)\](?:\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"]*\")?\s*\)|\[[^\[\]]*\])"
)
_LINK = re.compile(
    r"(?<![\w\]])\[([^\[\]]*)\]\((?:<[^<>]*>|(?:[^()\s]|\([^()\s]*\))*)(?:\s+\"[^\"]*\")?\s*\)"
)
_LINK_BY_NAME = re.compile(r"(?<![\w\]])\[([^\[\]]+)\]\[[^\[\]]*\]")
_TAG = re.compile(
    r"</?(?:a|abbr|b|br|code|del|details|div|em|font|i|img|ins|kbd|mark|p|q|s|small|span|strong|sub|"
    r"summary|sup|u|video)(?=[\s/>])[^<>]*>",
    re.IGNORECASE,
)
_STRONG = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_CELL = re.compile(r"(?<!\\)\|")
_TABLE_RULE: Final = frozenset("|-: \t")


def read(text: str) -> list[Block]:
    """The blocks of a clean text without front matter, without heading paths."""
    lines = text.split("\n")
    found: list[Block] = []
    at = 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        for take in _TAKERS:
            taken = take(lines, at)
            if taken is not None:
                blocks, at = taken
                found += blocks
                break
    return found


def has_html(text: str) -> bool:
    """Whether any line might begin HTML, which another parser reads. False is certain."""
    return "<" in text and _HTML.search(text) is not None


def plain(text: str) -> str:
    """A line or paragraph without inline markup."""
    if "[" in text:
        text = _IMAGE.sub(r"\1", text)
        text = _LINK_BY_NAME.sub(r"\1", _LINK.sub(r"\1", text))
    parts = text.split("`")
    parts[::2] = [_plain_part(part) for part in parts[::2]]
    return "".join(parts)


def _plain_part(text: str) -> str:
    if "<" in text:
        text = _TAG.sub("", text)
    if "*" in text:
        text = _STRONG.sub("", text)
    if "\\" in text:
        text = _ESCAPE.sub(r"\1", text)
    return unescape(text) if "&" in text else text


def _fence(lines: Sequence[str], at: int) -> Taken | None:
    opening = _FENCE.match(lines[at])
    if not opening:
        return None
    indent, mark = len(opening[1]), opening[2]
    body: list[str] = []
    for end in range(at + 1, len(lines)):
        if _closes(lines[end], mark):
            return _code(body), end + 1
        body.append(_dedent(lines[end], indent))
    return _code(body), len(lines)


def _closes(line: str, mark: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(mark) and stripped == mark[0] * len(stripped)


def _dedent(line: str, width: int) -> str:
    lead = len(line) - len(line.lstrip(" "))
    return line[min(lead, width) :]


def _code(body: Sequence[str]) -> list[Block]:
    text = "\n".join(body).strip("\n")
    return [Block("code", text)] if text.strip() else []


def _heading(lines: Sequence[str], at: int) -> Taken | None:
    match = _ATX.match(lines[at])
    if not match:
        return None
    text = match[2] or ""
    bare = text.rstrip("#")
    return _titled(bare if not bare or bare[-1] in " \t" else text, len(match[1])), at + 1


def _titled(text: str, level: int) -> list[Block]:
    if text.endswith("}"):
        text = text.partition("{#")[0]
    return titled(plain(text), level)


def _dropped(lines: Sequence[str], at: int) -> Taken | None:
    line = lines[at]
    if _LIQUID.match(line):
        title = _LIQUID_TITLE.search(line)
        return ([Block("paragraph", title[1])] if title and title[1].strip() else []), at + 1
    if _RULE.match(line) or _DEFINITION.match(line):
        return [], at + 1
    return None


def _html(lines: Sequence[str], at: int) -> Taken | None:
    if not _HTML.match(lines[at]):
        return None
    from services.enricher.formats import html

    verbatim = _HTML_VERBATIM.match(lines[at])
    close = verbatim and ("-->" if verbatim[1] == "!--" else f"</{verbatim[1].lower()}")
    end = at
    while end < len(lines) and (close or lines[end]):
        end += 1
        if close and close in lines[end - 1].lower():
            break
    return html.read("\n".join(lines[at:end])).blocks, end


def _quote(lines: Sequence[str], at: int) -> Taken | None:
    if not _QUOTE.match(lines[at]):
        return None
    end = at + 1
    while (
        end < len(lines)
        and lines[end]
        and (_QUOTE.match(lines[end]) or not _starts_block(lines, end))
    ):
        end += 1
    text = "\n".join(plain(_QUOTE_MARKS.sub("", line)).rstrip() for line in lines[at:end]).strip()
    return ([Block("quote", text)] if text else []), end


def _table(lines: Sequence[str], at: int) -> Taken | None:
    if not _is_table(lines, at):
        return None
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    rows = [_row(line) for line in (lines[at], *lines[at + 2 : end])]
    return [Block("table", "\n".join(row for row in rows if row))] if any(rows) else [], end


def _is_table(lines: Sequence[str], at: int) -> bool:
    if "|" not in lines[at] or at + 1 >= len(lines):
        return False
    below = lines[at + 1]
    return "-" in below and "|" in below and _TABLE_RULE.issuperset(below)


def _row(line: str) -> str:
    cells = _CELL.split(line.strip().removeprefix("|").removesuffix("|"))
    texts = [plain(cell.replace("\\|", "|")).strip() for cell in cells]
    return " | ".join(texts).rstrip() if any(texts) else ""


def _list(lines: Sequence[str], at: int) -> Taken | None:
    if not _ITEM.match(lines[at]):
        return None
    kept: list[str] = []
    mark, end = "", at
    while end < len(lines):
        line = lines[end]
        fence = _FENCE.match(line)
        if mark:
            if _closes(line, mark):
                mark = ""
            else:
                kept.append(line)
        elif end > at and _ends_list(lines, end):
            break
        elif fence and fence[1]:
            mark = fence[2]
        elif line:
            kept.append(plain(line))
        end += 1
    text = "\n".join(line for line in kept if line.strip()).strip("\n")
    return ([Block("list", text)] if text else []), end


def _ends_list(lines: Sequence[str], at: int) -> bool:
    line = lines[at]
    if not line or line[0] in " \t":
        return False
    if not lines[at - 1]:
        return not _ITEM.match(line)
    return _starts_block(lines, at) and (not _ITEM.match(line) or bool(_RULE.match(line)))


def _indented(lines: Sequence[str], at: int) -> Taken | None:
    if not lines[at].startswith(("    ", "\t")):
        return None
    end = at
    while end < len(lines) and (not lines[end] or lines[end].startswith(("    ", "\t"))):
        end += 1
    body = [line[1:] if line.startswith("\t") else line[4:] for line in lines[at:end]]
    return _code(body), end


def _paragraph(lines: Sequence[str], at: int) -> Taken | None:
    end = at
    while end < len(lines) and lines[end]:
        if end > at:
            underline = _SETEXT.match(lines[end])
            if underline:
                level = 1 if underline[1][0] == "=" else 2
                return _titled(" ".join(lines[at:end]), level), end + 1
            if _starts_block(lines, end):
                break
        end += 1
    text = plain("\n".join(line.lstrip() for line in lines[at:end]))
    text = "\n".join(line.rstrip() for line in text.split("\n") if line.strip())
    return ([Block("paragraph", text)] if text else []), end


_TAKERS: Final[tuple[Callable[[Sequence[str], int], Taken | None], ...]] = (
    _fence, _heading, _dropped, _html, _quote, _table, _list, _indented, _paragraph,
)  # fmt: skip
_OPENERS: Final = (_FENCE, _ATX, _RULE, _LIQUID, _HTML, _QUOTE, _ITEM)


def _starts_block(lines: Sequence[str], at: int) -> bool:
    """Whether the line ends a paragraph that it follows without a blank line."""
    line = lines[at]
    return any(opener.match(line) for opener in _OPENERS) or _is_table(lines, at)
