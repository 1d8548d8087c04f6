"""The choice of the cuts in a text that is too long. Pure.

Two ways. `by_content` depends on the text around a cut only, so an edit moves no cut but those
beside it: of the places in the middle of a piece, the one whose following text has the smallest
hash is the cut, and both halves go on likewise. A code block that fits is never cut, and a list not
parted from the short paragraph that introduces it. `by_size` fills one piece after the other, the
usual way: an insertion moves every cut after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from services.enricher.chunking.measure import (
    BLOCKS,
    JOIN,
    LINES,
    PARTS,
    SENTENCE_END,
    TOKENS,
    WORDS,
    Boundaries,
    Hashes,
    Ints,
    Measured,
)

_LEAST: Final = 0.25
"""Least share of the limit that a cut leaves on either side, where blocks allow it."""
_SHORT: Final = 2
"""Sentences of an introduction that is not parted from its list or code."""
_INTRODUCED: Final = frozenset({"list", "code"})
_COLONS: Final = (":", "\uff1a")
Ranks = tuple[int, ...]
_INSIDE: Final[Ranks] = (PARTS, LINES, WORDS)


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """Tokens that a piece may have, and how many of them may repeat its neighbour."""

    tokens: int
    overlap: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece, and at most how many tokens it has; None when a word was torn: count again."""

    text: str
    size: int | None


@dataclass(frozen=True, slots=True)
class _Range:
    """Characters from `start` to `end`, `size` tokens with what a piece from here repeats."""

    start: int
    end: int
    size: int


@dataclass(frozen=True, slots=True)
class _Introduction:
    """The end of a paragraph that announces what follows it, at most half a piece."""

    first: int | None
    """Its first character, if the whole paragraph is short."""
    sentence: int
    """First character of its last sentence."""
    end: int


@dataclass(slots=True)
class _Places:
    """The places where a text may be parted, and those of a better rank where it may not."""

    text: Measured
    kept: list[tuple[int, int]]
    """Parts that stay whole, ascending: no cut is after the first character of the pair and at or
    before the second."""
    _known: dict[int, Boundaries] = field(default_factory=dict)

    def of(self, rank: int) -> Boundaries:
        """The boundaries of this rank or a better one, outside what stays whole."""
        if not self.kept:
            return self.text.boundaries(rank)
        if rank not in self._known:
            found = self.text.boundaries(rank)
            first, last = np.array(self.kept).T
            part = np.searchsorted(first, found.at, "left") - 1  # the last that begins before
            open_ = (part < 0) | (found.at > last[part])
            self._known[rank] = Boundaries(
                found.at[open_], found.tokens[open_], found.hashes[open_]
            )
        return self._known[rank]


def by_content(text: Measured, limits: ChunkLimits) -> list[Piece]:
    """Pieces of at most `limits.tokens`, in order, with what they repeat of the text before."""
    pieces: list[Piece] = []
    previous = 0
    for part in _leaves(text, limits):
        opening = _opening(text, previous, part.start, limits)
        pieces += _piece(text, part.start, part.end, part.size, opening)
        previous = part.start
    return pieces


def _piece(text: Measured, start: int, end: int, size: int, opening: str = "") -> list[Piece]:
    """One piece, or none where there are only blanks."""
    body = text.text[start:end].strip("\n").rstrip()
    if not body:
        return []
    return [Piece(opening + body, None if text.torn(start) or text.torn(end) else size)]


def _leaves(text: Measured, limits: ChunkLimits) -> Iterator[_Range]:
    places = _Places(text, list(_whole(text, limits)))
    waiting = [(0, len(text.text))]
    while waiting:
        start, end = waiting.pop()
        part = _Range(start, end, text.tokens(start, end) + _repeated(text, start, limits))
        at = None if part.size <= limits.tokens else _place(places, part, limits)
        if at is None:
            yield part
        else:
            waiting += [(at, end), (start, at)]


def _whole(text: Measured, limits: ChunkLimits) -> Iterator[tuple[int, int]]:
    """Code that fits, and short introductions up to the first character of what they introduce."""
    for number, block in enumerate(text.blocks):
        if block.kind not in _INTRODUCED:
            continue
        start, end = text.span(number)
        opening = _introduction(text, number, limits)
        first = start if opening is None or opening.first is None else opening.first
        if block.kind == "code" and text.tokens(start, end) <= limits.tokens:
            yield (first if text.tokens(first, end) <= limits.tokens else start), end
        elif first < start:
            yield first, start


def _place(places: _Places, part: _Range, limits: ChunkLimits) -> int | None:
    """The place at which to part a range that is too long; None when there is none."""
    before = places.text.tokens(0, part.end) - part.size
    for rank in (BLOCKS, PARTS, LINES, WORDS, TOKENS):
        found = _within(places.of(rank), part, before)
        best = _smallest_hash(found.tokens, found.hashes, _zones(part, rank, limits))
        if best is None and rank in (BLOCKS, TOKENS):
            best = _nearest_the_middle(
                found.tokens, part, None if rank == TOKENS else limits.tokens
            )
        if best is not None:
            return int(found.at[best])
    return None


def _within(found: Boundaries, part: _Range, before: int) -> Boundaries:
    """The boundaries inside a range, with their tokens counted from `before`."""
    first = int(np.searchsorted(found.at, part.start, "right"))
    last = int(np.searchsorted(found.at, part.end, "left"))
    tokens = found.tokens[first:last] - before
    return Boundaries(found.at[first:last], tokens, found.hashes[first:last])


def _zones(part: _Range, rank: int, limits: ChunkLimits) -> tuple[tuple[float, float], ...]:
    """Tokens from the start of the range between which a cut is good, the best zone first."""
    least = limits.tokens * _LEAST
    low, high = least, part.size - least
    # where two pieces can be enough, no third is made
    again = limits.overlap if rank > BLOCKS else 0
    return (
        (max(low, part.size + again - limits.tokens), min(high, limits.tokens)),
        (low, high),
    )


def _smallest_hash(
    tokens: Ints, hashes: Hashes, zones: tuple[tuple[float, float], ...]
) -> int | None:
    """Number of the boundary inside a zone with the smallest hash; of equals, the middle one."""
    for low, high in zones:
        inside = np.flatnonzero((tokens >= low) & (tokens <= high))
        if len(inside):
            smallest = inside[hashes[inside] == hashes[inside].min()]
            return int(smallest[len(smallest) // 2])
    return None


def _nearest_the_middle(tokens: Ints, part: _Range, limit: int | None) -> int | None:
    """Number of the boundary nearest the middle, if the larger side is within the limit."""
    if not len(tokens):
        return None
    best = int(np.argmin(np.abs(2 * tokens - part.size)))
    larger = max(int(tokens[best]), part.size - int(tokens[best]))
    return best if limit is None or larger <= limit else None


def _repeated(text: Measured, start: int, limits: ChunkLimits) -> int:
    """Tokens that a piece from here repeats."""
    if start == 0:
        return 0
    head = _head(text, start, limits)
    if head:
        return text.tokens(*head)
    return limits.overlap if text.inside(start) else 0


def _head(text: Measured, at: int, limits: ChunkLimits) -> tuple[int, int] | None:
    """What a piece from here has to begin with: the head of its table, or its introduction."""
    number = text.block_of(at)
    start, end = text.span(number)
    kind = text.blocks[number].kind
    if kind == "table":
        for head in _table_heads(text, number):
            if head[1] <= at and text.tokens(*head) <= limits.tokens // 2:
                return head
        return None
    opening = _introduction(text, number, limits)
    if opening is None:
        return None
    head = opening.sentence, opening.end
    if at == start and kind == "code" and text.tokens(start, end) <= limits.tokens:
        fits = text.tokens(*head) + text.tokens(start, end) <= limits.tokens
        return head if fits else None  # code that fits a piece is not cut to introduce it
    return head


def _table_heads(text: Measured, number: int) -> Iterator[tuple[int, int]]:
    """Caption and header of a table; then the header alone."""
    start, end = text.span(number)
    line = first = start
    for _ in range(max(1, text.blocks[number].level)):
        line, first = first, text.text.find("\n", first, end) + 1
        if not first:
            return
    yield start, first - 1
    if line > start:
        yield line, first - 1


def _introduction(text: Measured, number: int, limits: ChunkLimits) -> _Introduction | None:
    """The introduction of a list or of code: a paragraph before it that ends with a colon."""
    if number == 0 or text.blocks[number].kind not in _INTRODUCED:
        return None
    before = text.blocks[number - 1]
    if before.kind != "paragraph" or not before.text.endswith(_COLONS):
        return None
    start, end = text.span(number - 1)
    # not more of it than may be repeated, or a long paragraph is read once for each piece
    token = int(np.searchsorted(text.starts, end)) - limits.tokens // 2
    least = start if token <= 0 else max(start, int(text.starts[token]))
    ends = [match.end() for match in SENTENCE_END.finditer(text.text, least, end)]
    if not ends and least > start:
        return None
    whole = least == start and len(ends) < _SHORT
    return _Introduction(start if whole else None, ends[-1] if ends else start, end)


def _opening(text: Measured, previous: int, start: int, limits: ChunkLimits) -> str:
    """The repeat of a piece: its head, or the last sentences or lines before it."""
    if start == 0:
        return ""
    number = text.block_of(start)
    head = _head(text, start, limits)
    if head:
        return text.text[slice(*head)] + ("\n" if text.blocks[number].kind == "table" else JOIN)
    if not text.inside(start):
        return ""
    least = max(previous, text.block_at[number])
    return text.text[_back(text, least, start, limits.overlap) : start].lstrip("\n")


def _back(text: Measured, least: int, at: int, tokens: int, ranks: Ranks = _INSIDE) -> int:
    """The earliest boundary, at most `tokens` before `at` and not before `least`; or `at`."""
    enough = int(np.searchsorted(text.starts, at)) - tokens
    for rank in ranks:
        found = text.boundaries(rank)
        first = max(
            int(np.searchsorted(found.tokens, enough)), int(np.searchsorted(found.at, least))
        )
        if first < len(found.at) and found.at[first] < at:
            return int(found.at[first])
    return at


def by_size(text: Measured, limits: ChunkLimits, ranks: Ranks) -> list[Piece]:
    """Pieces as full as the best boundary allows, each repeating the end of the one before.

    Args:
        ranks: tried in this order; a rank is taken if it fills at least half a piece.
    """
    pieces: list[Piece] = []
    start = 0
    while start < len(text.text):
        end = _furthest(text, start, limits.tokens, ranks)
        size = text.tokens(start, end)
        pieces += _piece(text, start, end, size)
        if end >= len(text.text):
            break
        # never more than half of the piece, so that every step goes on
        overlap = min(limits.overlap, size // 2)
        start = _back(text, start + 1, end, overlap, ranks)
    return pieces


def _furthest(text: Measured, start: int, tokens: int, ranks: Ranks) -> int:
    before = int(np.searchsorted(text.starts, start))
    if len(text.starts) - before <= tokens:
        return len(text.text)
    for rank in (*ranks, TOKENS):
        found = text.boundaries(rank)
        last = int(np.searchsorted(found.tokens, before + tokens, "right")) - 1
        far_enough = 1 if rank == TOKENS else tokens // 2
        if last >= 0 and found.tokens[last] >= before + far_enough and found.at[last] > start:
            return int(found.at[last])
    return len(text.text)
