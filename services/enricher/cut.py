"""Where a text that is too long is cut. Pure.

Two ways. `by_content` depends on the text around a cut only, so an edit moves no cut but those
beside it: of the places in the middle of a piece, the one whose following text has the smallest
hash is the cut, and both halves go on likewise. `by_size` fills one piece after the other, as
everybody does: an insertion moves every cut after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.enricher.measure import BLOCKS, LINES, PARTS, TOKENS, WORDS, Measured

_LEAST: Final = 0.25
"""Least share of the limit that a cut leaves on either side, where blocks allow it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens that a piece may have, and how many of them may repeat its neighbour."""

    tokens: int
    overlap: int


@dataclass(frozen=True, slots=True)
class _Range:
    """Characters from `start` to `end`, `size` tokens with what a piece from here repeats."""

    start: int
    end: int
    size: int


def by_content(text: Measured, limits: Limits) -> list[str]:
    """Pieces of at most `limits.tokens`, in order; what repeats the piece before is part of them."""
    pieces: list[str] = []
    previous = 0
    for start, end in _leaves(text, limits):
        piece = _opening(text, previous, start, limits) + text.text[start:end].strip("\n").rstrip()
        if piece.strip():
            pieces.append(piece)
        previous = start
    return pieces


def _leaves(text: Measured, limits: Limits) -> Iterator[tuple[int, int]]:
    waiting = [(0, len(text.text))]
    while waiting:
        start, end = waiting.pop()
        part = _Range(start, end, text.tokens(start, end) + _repeated(text, start, limits))
        at = None if part.size <= limits.tokens else _place(text, part, limits)
        if at is None:
            yield start, end
        else:
            waiting += [(at, end), (start, at)]


def _place(text: Measured, part: _Range, limits: Limits) -> int | None:
    """Where to part a range that is too long; None when nothing can part it."""
    for rank in (BLOCKS, PARTS, LINES, WORDS, TOKENS):
        found = text.boundaries(rank)
        first = int(np.searchsorted(found.at, part.start, "right"))
        last = int(np.searchsorted(found.at, part.end, "left"))
        if first == last:
            continue
        tokens = found.tokens[first:last] - int(np.searchsorted(text.starts, part.start))
        best = _smallest_hash(tokens, found.hashes[first:last], _zone(part, rank, limits))
        if best is None and rank in (BLOCKS, TOKENS):
            best = _nearest_the_middle(tokens, part, None if rank == TOKENS else limits.tokens)
        if best is not None:
            return int(found.at[first + best])
    return None


def _zone(part: _Range, rank: int, limits: Limits) -> tuple[float, float]:
    """Tokens from the start of the range between which a cut is good."""
    length = part.size
    least = limits.tokens * _LEAST
    low, high = least, length - least
    # where two pieces can be enough, no third is made
    again = limits.overlap if rank > BLOCKS else 0
    tight_low, tight_high = max(low, length + again - limits.tokens), min(high, limits.tokens)
    return (tight_low, tight_high) if tight_low <= tight_high else (low, high)


def _smallest_hash(
    tokens: np.ndarray, hashes: np.ndarray, zone: tuple[float, float]
) -> int | None:
    """Number of the boundary inside the zone with the smallest hash; of equals, the middle one."""
    inside = np.flatnonzero((tokens >= zone[0]) & (tokens <= zone[1]))
    if not len(inside):
        return None
    smallest = inside[hashes[inside] == hashes[inside].min()]
    return int(smallest[len(smallest) // 2])


def _nearest_the_middle(tokens: np.ndarray, part: _Range, limit: int | None) -> int | None:
    """Number of the boundary nearest the middle, if the larger side is within the limit."""
    best = int(np.argmin(np.abs(2 * tokens - part.size)))
    larger = max(int(tokens[best]), part.size - int(tokens[best]))
    return best if limit is None or larger <= limit else None


def _repeated(text: Measured, start: int, limits: Limits) -> int:
    """Tokens that a piece from here repeats: none where it begins with a block."""
    if start == 0 or not text.inside(start):
        return 0
    header = _header(text, start, limits)
    return text.tokens(*header) if header else limits.overlap


def _header(text: Measured, at: int, limits: Limits) -> tuple[int, int] | None:
    """Where the header row of the table around `at` is, unless it would fill half a piece."""
    number = text.block_of(at)
    block = text.blocks[number]
    if block.kind != "table":
        return None
    start = text.block_at[number]
    end = start + block.text.find("\n")
    return (start, end) if start < end <= at and text.tokens(start, end) <= limits.tokens // 2 else None


def _opening(text: Measured, previous: int, start: int, limits: Limits) -> str:
    """What a piece repeats: the header of its table, or the last sentences or lines before it."""
    if start == 0 or not text.inside(start):
        return ""
    header = _header(text, start, limits)
    if header:
        return text.text[slice(*header)] + "\n"
    least = max(previous, text.block_at[text.block_of(start)])
    return text.text[_back(text, least, start, limits.overlap) : start].lstrip("\n")


def _back(text: Measured, least: int, at: int, tokens: int) -> int:
    """The earliest boundary, at most `tokens` before `at` and not before `least`; or `at`."""
    for rank in (PARTS, LINES, WORDS):
        found = text.boundaries(rank)
        budget = int(np.searchsorted(text.starts, at)) - tokens
        first = int(np.searchsorted(found.tokens, budget, "left"))
        while first < len(found.at) and found.at[first] < least:
            first += 1
        if first < len(found.at) and found.at[first] < at:
            return int(found.at[first])
    return at


def by_size(text: Measured, limits: Limits, ranks: tuple[int, ...]) -> list[str]:
    """Pieces as full as the best boundary allows, each repeating the end of the one before.

    Args:
        ranks: tried in this order; a rank is taken if it fills at least half a piece.
    """
    pieces: list[str] = []
    start = 0
    while start < len(text.text):
        end = _furthest(text, start, limits.tokens, ranks)
        piece = text.text[start:end].strip("\n").rstrip()
        if piece.strip():
            pieces.append(piece)
        if end >= len(text.text):
            break
        start = max(_back(text, start + 1, end, limits.overlap), start + 1)
    return pieces


def _furthest(text: Measured, start: int, tokens: int, ranks: tuple[int, ...]) -> int:
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
