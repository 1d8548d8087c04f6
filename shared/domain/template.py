"""The template of the text that is embedded for a chunk. Pure.

In `{title} {title} {text}` a name in braces stands for the title, the headings, the text, or the
value of the document's metadata of this name. Nothing else is evaluated, and values are never read
as templates.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from shared.domain.events import Scalar

TEXT: Final = "text"
OF_RECORDS: Final = "{title} {title}\n{heading}\n{text}"
"""For records: their texts are short, and the title says most about them."""


class _Piece(NamedTuple):
    text: str
    is_name: bool


Line = tuple[_Piece, ...]


class Template(NamedTuple):
    """The lines before and after the text of a chunk; the innermost two share its line."""

    before: tuple[Line, ...]
    after: tuple[Line, ...]


@lru_cache(64)
def parse(template: str) -> Template:
    """Read a template, in time proportional to its length.

    Raises:
        ValueError: a brace is not closed, a name is empty, or `{text}` is not there exactly once.
    """
    lines: list[list[_Piece]] = [[]]
    before: list[list[_Piece]] | None = None
    for piece in _pieces(template):
        if piece == _Piece(TEXT, is_name=True):
            if before is not None:
                raise ValueError("{text} is there more than once")
            before, lines = lines, [[]]
        elif piece.is_name:
            lines[-1].append(piece)
        else:
            first, *more = piece.text.split("\n")
            lines[-1].append(_Piece(first, is_name=False))
            lines += [[_Piece(line, is_name=False)] for line in more]
    if before is None:
        raise ValueError("{text} is missing: it is the place of the chunk's own text")
    return Template(tuple(map(tuple, before)), tuple(map(tuple, lines)))


def _pieces(template: str) -> Iterator[_Piece]:
    """Literal text and names, in their order; doubled braces are literal."""
    at = 0
    while at < len(template):
        if template[at : at + 2] in ("{{", "}}"):
            yield _Piece(template[at], is_name=False)
            at += 2
        elif template[at] == "{":
            end = template.find("}", at)
            name = template[at + 1 : end] if end > 0 else ""
            if not name.strip() or "{" in name or "\n" in name:
                raise ValueError("a { has no name and } after it; a brace as text is doubled: {{")
            yield _Piece(name.strip(), is_name=True)
            at = end + 1
        elif template[at] == "}":
            raise ValueError("a } has no { before it; a brace as text is doubled: }}")
        else:
            ends = [end for brace in "{}" if (end := template.find(brace, at)) >= 0]
            end = min(ends, default=len(template))
            yield _Piece(template[at:end], is_name=False)
            at = end


def render(
    template: str, *, title: str, heading: str, metadata: "Mapping[str, Scalar]"
) -> tuple[str, str]:
    """The texts before and after that of a chunk.

    A name without a value is empty. A line in which all names are empty is left out; beside the
    text of the chunk this holds for the part of its line.

    Raises ValueError as `parse`.
    """
    parsed = parse(template)
    own = {"title": title, "heading": heading}

    def value(name: str) -> str:
        return own[name] if name in own else _text(metadata.get(name))

    *whole, beside = (_line(line, value) for line in parsed.before)
    rest, *below = (_line(line, value) for line in parsed.after)
    before = "".join(f"{line}\n" for line in whole if line is not None) + (beside or "")
    after = (rest or "") + "".join(f"\n{line}" for line in below if line is not None)
    return before, after


def _line(line: Line, value: Callable[[str], str]) -> str | None:
    """The line with its values; None when it has names, and all of them are empty."""
    texts = [value(piece.text) if piece.is_name else piece.text for piece in line]
    named = [text for text, piece in zip(texts, line, strict=True) if piece.is_name]
    return None if named and not any(named) else "".join(texts)


def _text(value: "Scalar") -> str:
    """A value on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(str(value).split())
