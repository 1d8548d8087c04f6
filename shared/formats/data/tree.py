"""The common form of data in a tree: lines with a depth, and the blocks made of them. Pure.

What is small enough stays one block, as a record of a list does. What is larger is parted, and its
name is in the path of its parts.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from shared.formats.blocks import Block, one_line

MAX_BLOCK_CHARS: Final = 1_000
"""About what one chunk holds."""
MAX_PATH: Final = 4
"""Names in a path; deeper ones stay text only."""
_MAX_INDENT: Final = 8


class Line(NamedTuple):
    """A value with its label, or what begins something that has lines below it."""

    depth: int
    text: str
    """Clean; empty for what has no name, as a record of a list."""
    opens: bool = False
    name: str = ""
    """Of what begins here, as it stands in paths."""


def blocks_of(lines: Sequence[Line]) -> list[Block]:
    """The blocks of a document, each with its path."""
    ends, sizes = _ends(lines), _sizes(lines)
    found: list[Block] = []
    run: list[Line] = []
    above: list[tuple[int, tuple[str, ...]]] = []
    """Ends and paths of what is open and was parted."""

    def flush() -> None:
        if run:
            found.extend(_block(run, above[-1][1] if above else ()))
            run.clear()

    at = 0
    while at < len(lines):
        while above and at >= above[-1][0]:
            flush()
            above.pop()
        line, end = lines[at], ends[at]
        if line.opens:
            flush()
        if line.opens and sizes[end] - sizes[at] <= MAX_BLOCK_CHARS:
            found.extend(_block(lines[at:end], above[-1][1] if above else ()))
            at = end
            continue
        if line.opens:
            path = above[-1][1] if above else ()
            name = one_line(line.name) if len(path) < MAX_PATH else ""
            above.append((end, (*path, name) if name else path))
        run.append(line)
        at += 1
    flush()
    return found


def _ends(lines: Sequence[Line]) -> list[int]:
    """For each line, the number of the first one after it that is not below it."""
    ends = list(range(1, len(lines) + 1))
    waiting: list[int] = []
    for number, line in enumerate(lines):
        while waiting and lines[waiting[-1]].depth >= line.depth:
            ends[waiting.pop()] = number
        if line.opens:
            waiting.append(number)
    for number in waiting:
        ends[number] = len(lines)
    return ends


def _sizes(lines: Sequence[Line]) -> list[int]:
    """Characters of all lines before each, and of all."""
    sizes = [0]
    for line in lines:
        sizes.append(sizes[-1] + len(line.text) + 1)
    return sizes


def _block(lines: Sequence[Line], path: tuple[str, ...]) -> Iterator[Block]:
    written: list[str] = []
    base = min(line.depth for line in lines)
    mark = ""
    for line in lines:
        if not line.text:
            mark = "- " if line.opens and line.depth > base else mark
            continue
        indent = "  " * min(line.depth - base, _MAX_INDENT)
        rest = line.text.replace("\n", f"\n{indent}  ")
        written.append(f"{indent[len(mark) :]}{mark}{rest}")
        mark = ""
    text = "\n".join(written)
    if text.strip():
        yield Block("paragraph", _without_common_indent(text), path=path)


def _without_common_indent(text: str) -> str:
    """The text moved left until its first line, which a nameless parent has moved right."""
    indent = len(text) - len(text.lstrip(" "))
    return "\n".join(
        line[indent:] if line[:indent].isspace() or not indent else line.lstrip(" ")
        for line in text.split("\n")
    )
