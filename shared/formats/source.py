"""Source code and settings to blocks: text cut at its top-level blocks, in no language's grammar.

An unindented line after a blank line begins a block, so comments and decorators stay with what they
are about. A long block has the line that defines it in its path. Nothing is left out.
"""

import re
from collections.abc import Iterator
from typing import Final

from shared.formats.blocks import MAX_LINE_TITLE, Block, Content, clean

_LONG: Final = 1_000
"""Characters of a block that becomes several chunks, each of which has its path."""
_CLOSES: Final = re.compile(r"[)\]}]|(?:end|else|fi|done|esac)\b", re.IGNORECASE)
_ABOUT: Final = re.compile(r"#|//|/\*|\*|--|;|%|@|\"|'|<!")
"""Beginnings of comments, decorators and texts."""
_SECTION: Final = re.compile(r"\[.*\]$")
_DEFINES: Final = re.compile(r"\w")


def read(text: str) -> Content:
    """Read a file of source code, or of settings in YAML, TOML, INI or properties."""
    blocks = [
        Block("code", block, path=_path(block)) for block in _blocks(clean(text)) if block.strip()
    ]
    return Content("", {}, blocks)


def _blocks(text: str) -> Iterator[str]:
    lines: list[str] = []
    is_after_blank = False
    for line in text.split("\n"):
        begins = bool(line) and not line[0].isspace() and not _CLOSES.match(line)
        if lines and begins and (is_after_blank or _SECTION.match(line)):
            yield "\n".join(lines).strip("\n")
            lines = []
        lines.append(line)
        is_after_blank = not line
    yield "\n".join(lines).strip("\n")


def _path(block: str) -> tuple[str, ...]:
    """The line that defines a long block: the first that indented lines follow."""
    if len(block) <= _LONG:
        return ()
    before = ""
    for line in block.split("\n", _LONG)[:_LONG]:
        if not line:
            continue
        if before and (line[0].isspace() or line[0] == "{"):
            name = before.rstrip(" {:=(")
            return (name,) if _DEFINES.search(name) and len(name) <= MAX_LINE_TITLE else ()
        before = line if not line[0].isspace() and not _ABOUT.match(line) else ""
    return ()
