"""The choice of the cuts in a text that is too long. Pure.

Two ways. `by_content` depends on the text around a cut only, so an edit moves no cut but those
beside it: of the places in the middle of a piece, the one whose following text has the smallest
hash is the cut, and both halves go on likewise. `by_size` fills one piece after the other, the
usual way: an insertion moves every cut after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.enricher.chunking.measure import (
    BLOCKS,
    LINES,
    PARTS,
    TOKENS,
    WORDS,
    Hashes,
    Ints,
    Measured,
)

_LEAST: Final = 0.25
"""Least share of the limit that a cut leaves on either side, where blocks allow it."""
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


def by_content(text: Measured, limits: ChunkLimits) -> list[Piece]:
    """Pieces of at most `limits.tokens`, in order, with what they repeat of the piece before."""
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
    waiting = [(0, len(text.text))]
    while waiting:
        start, end = waiting.pop()
        part = _Range(start, end, text.tokens(start, end) + _repeated(text, start, limits))
        at = None if part.size <= limits.tokens else _place(text, part, limits)
        if at is None:
            yield part
        else:
            waiting += [(at, end), (start, at)]


def _place(text: Measured, part: _Range, limits: ChunkLimits) -> int | None:
    """The place at which to part a range that is too long; None when there is none."""
    for rank in (BLOCKS, PARTS, LINES, WORDS, TOKENS):
        found = text.boundaries(rank)
        first = int(np.searchsorted(found.at, part.start, "right"))
        last = int(np.searchsorted(found.at, part.end, "left"))
        if first == last:
            continue
        # sizes of the left piece, with what it repeats
        tokens = found.tokens[first:last] + (part.size - text.tokens(0, part.end))
        best = _smallest_hash(tokens, found.hashes[first:last], _zones(part, rank, limits))
        if best is None and rank in (BLOCKS, TOKENS):
            best = _nearest_the_middle(tokens, part, None if rank == TOKENS else limits.tokens)
        if best is not None:
            return int(found.at[first + best])
    return None


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
    best = int(np.argmin(np.abs(2 * tokens - part.size)))
    larger = max(int(tokens[best]), part.size - int(tokens[best]))
    return best if limit is None or larger <= limit else None


def _repeated(text: Measured, start: int, limits: ChunkLimits) -> int:
    """Tokens that a piece from here repeats: none where it begins with a block."""
    if start == 0 or not text.inside(start):
        return 0
    header = _header(text, start, limits)
    return text.tokens(*header) if header else limits.overlap


def _header(text: Measured, at: int, limits: ChunkLimits) -> tuple[int, int] | None:
    """The header row of the table around `at`, unless it would fill half a piece."""
    number = text.block_of(at)
    block = text.blocks[number]
    if block.kind != "table":
        return None
    start = text.block_at[number]
    end = start + block.text.find("\n")
    return (
        (start, end)
        if start < end <= at and text.tokens(start, end) <= limits.tokens // 2
        else None
    )


def _opening(text: Measured, previous: int, start: int, limits: ChunkLimits) -> str:
    """The repeat of a piece: its table's header, or the last sentences or lines before it."""
    if start == 0 or not text.inside(start):
        return ""
    header = _header(text, start, limits)
    if header:
        return text.text[slice(*header)] + "\n"
    least = max(previous, text.block_at[text.block_of(start)])
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
