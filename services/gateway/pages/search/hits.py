"""Hits as the page shows them: an excerpt with marks, and a score as a bar of named parts. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.gateway.views import HitView, PartView

EXCERPT: Final = 360
"""Characters of a text."""
BEFORE: Final = 80
"""Characters before its first marked word."""
LABELS: Final[Mapping[str, str]] = {
    "vector": "Meaning",
    "keyword": "Words",
    "static": "Static",
    "recency": "Recency",
    "title": "Title",
    "phrase": "Phrase",
    "rerank": "Reranker",
    "repeated": "Repeated text",
}
"""Parts of a score in the order of the bar, by the names that the interface gives them."""
BAR: Final = 1000.0
"""Width of the bar in units of its viewBox: a score of 1."""
_SPACE: Final = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A run of a text, of which all is asked for or nothing."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class BarPart:
    """A part of a score.

    start, width: in the bar, from 0 to BAR; a part that takes away is as wide as what it takes, and
    ends where the parts that add end.
    """

    name: str
    label: str
    adds: float
    raw: float | None
    normalised: float
    weight: float
    start: float
    width: float

    @property
    def kind(self) -> str:
        """The name of its colour and pattern."""
        return self.name if self.name in LABELS else "other"

    @property
    def takes(self) -> bool:
        return self.adds < 0


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A hit, and what the page makes of it."""

    hit: HitView
    pieces: tuple[TextPiece, ...]
    cut_before: bool
    cut_after: bool
    bar: tuple[BarPart, ...]

    @property
    def said(self) -> str:
        """The bar in words."""
        return ", ".join(f"{part.label} {part.adds:+.4f}" for part in self.bar)


def shown(hit: HitView) -> ShownHit:
    """A hit with its excerpt and its bar."""
    pieces, before, after = excerpt(hit.chunk.text, hit.highlights or ())
    return ShownHit(hit, pieces, before, after, bar(hit.parts or {}))


def excerpt(
    text: str, marks: Sequence[tuple[int, int]], length: int = EXCERPT
) -> tuple[tuple[TextPiece, ...], bool, bool]:
    """The part of a text around its first mark, and whether something is left out before and after.

    Args:
        marks: start and end of each marked word, in order and apart.
    """
    text = _SPACE.sub(" ", text)
    first = marks[0][0] if marks else 0
    start = 0 if first < length - BEFORE else _word_start(text, first - BEFORE)
    end = len(text) if len(text) - start <= length else _word_end(text, start + length)
    pieces, at = list[TextPiece](), start
    for begin, stop in marks:
        if begin >= at and stop <= end:
            pieces += [TextPiece(text[at:begin]), TextPiece(text[begin:stop], marked=True)]
            at = stop
    pieces.append(TextPiece(text[at:end]))
    return tuple(piece for piece in pieces if piece.text), start > 0, end < len(text)


def _word_start(text: str, at: int) -> int:
    """The beginning of the next word, if one is near."""
    blank = text.find(" ", at, at + BEFORE // 2)
    return blank + 1 if blank >= 0 else at


def _word_end(text: str, at: int) -> int:
    blank = text.rfind(" ", at - BEFORE // 2, at)
    return blank if blank >= 0 else at


def bar(parts: Mapping[str, PartView]) -> tuple[BarPart, ...]:
    """The parts of a score side by side; parts of 0 are told, and have no width.

    Parts whose names are not known come last.
    """
    names = [name for name in LABELS if name in parts]
    names += [name for name in parts if name not in LABELS]
    shown_parts, at = list[BarPart](), 0.0
    for name in sorted(names, key=lambda name: parts[name].adds < 0):
        part = parts[name]
        width = round(min(abs(part.adds), 1.0) * BAR, 1)
        start = at if part.adds >= 0 else max(0.0, at - width)
        at += width if part.adds >= 0 else 0.0
        shown_parts.append(
            BarPart(
                name=name,
                label=LABELS.get(name, name),
                adds=part.adds,
                raw=part.raw,
                normalised=part.normalised,
                weight=part.weight,
                start=round(start, 1),
                width=width,
            )
        )
    return tuple(shown_parts)
