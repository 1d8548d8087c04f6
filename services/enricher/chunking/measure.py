"""A text with its possible cuts, and the tokens between any two places. Pure."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.formats.blocks import Block, Kind, too_large
from shared.ports import TokenCounter

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

MAX_CHARS_PER_TOKEN: Final = 32
"""A token never counts for more characters: a tokenizer may make one token of a megabyte."""
BLOCKS, PARTS, LINES, WORDS, TOKENS = range(5)
"""Ranks of boundaries, best first: between blocks; between items, rows, sentences or paragraphs of
code; between lines; between words; between tokens."""
JOIN: Final = "\n\n"
SLICE_CHARS: Final = 64 * 1024
"""Characters that are tokenised at once: a tokenizer takes a thousand bytes of memory for one, and
holds up all other work meanwhile."""
_LOOK_AHEAD: Final = 64
"""Characters after a boundary that its hash is made of."""
_DEEPEST: Final = 255

SENTENCE_END: Final = re.compile("[.!?][\"')\\]\u201d\u2019]*\\s+|[\u3002\uff01\uff1f]+\\s*")
_SENTENCE = re.compile(SENTENCE_END.pattern + "|\n")
_ITEM = re.compile(r"\n(?=\s{0,40}(?:[-*+]|\d{1,9}[.)])\s)")
_LINE = re.compile(r"\n+")
_EMPTY_LINE = re.compile(r"\n\n+")
_BLANK = re.compile(r"\s+")
_PARTS: Final[dict[Kind, re.Pattern[str]]] = {
    "paragraph": _SENTENCE,
    "quote": _SENTENCE,
    "heading": _SENTENCE,
    "list": _ITEM,
    "table": _LINE,
    "code": _EMPTY_LINE,
}


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Places where a text may be cut, ascending, and the values that decide between them."""

    at: Ints
    """Characters before the boundary."""
    tokens: Ints
    """Tokens before it."""
    hashes: Hashes
    """Of the text right after it, so that a place keeps its hash wherever the text moves; before a
    line of code the smaller, the less it is indented."""


@dataclass(slots=True)
class Measured:
    """Blocks joined to one text, tokenised once."""

    blocks: Sequence[Block]
    text: str
    starts: Ints
    """First character of every token; long tokens and long blanks count several times."""
    block_at: list[int]
    """First character of every block."""
    _known: dict[int, Boundaries] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Sequence[Block], starts: Ints) -> "Measured":
        """The blocks joined; `starts` as `token_starts` has them for the joined text."""
        block_at, at = [], 0
        for block in blocks:
            block_at.append(at)
            at += len(block.text) + len(JOIN)
        return cls(blocks, JOIN.join(block.text for block in blocks), starts, block_at)

    def tokens(self, start: int, end: int) -> int:
        """Tokens that begin in characters `start` to `end`."""
        first, last = np.searchsorted(self.starts, (start, end))
        return int(last - first)

    def block_of(self, at: int) -> int:
        """Number of the block that the character belongs to."""
        return bisect_right(self.block_at, at) - 1

    def torn(self, at: int) -> bool:
        """Whether a cut here parts a word, so that both ends may have other tokens than here."""
        around = self.text[max(at - 1, 0) : at + 1]
        return 0 < at < len(self.text) and around == around.strip()

    def span(self, number: int) -> tuple[int, int]:
        """First character of a block, and the one after its last."""
        start = self.block_at[number]
        return start, start + len(self.blocks[number].text)

    def inside(self, at: int) -> bool:
        """Whether a cut here would part a block."""
        return self.block_at[self.block_of(at)] != at

    def boundaries(self, rank: int) -> Boundaries:
        """All places of this rank or a better one."""
        if rank not in self._known:
            found = [np.array(self.block_at[1:], np.int64)]
            if rank >= TOKENS:
                found.append(self.starts)
            elif rank > BLOCKS:
                for block, offset in zip(self.blocks, self.block_at, strict=True):
                    found.append(offset + np.fromiter(_places(block, rank), np.int64))
            at = np.unique(np.concatenate(found))
            self._known[rank] = self._described(at[(at > 0) & (at < len(self.text))])
        return self._known[rank]

    def _described(self, at: Ints) -> Boundaries:
        hashes = np.fromiter((_hash(self.text, int(place)) for place in at), np.uint64, len(at))
        hashes >>= np.uint64(8)
        for number, block in enumerate(self.blocks):
            if block.kind == "code":
                start, end = self.span(number)
                for n in range(*np.searchsorted(at, (start + 1, end))):
                    hashes[n] |= np.uint64(_depth(self.text, int(at[n])) << 56)
        return Boundaries(at, np.searchsorted(self.starts, at).astype(np.int64), hashes)


def _places(block: Block, rank: int) -> Iterable[int]:
    patterns = [_PARTS[block.kind]]
    if rank >= LINES:
        patterns.append(_LINE)
    if rank >= WORDS:
        patterns.append(_BLANK)
    for pattern in patterns:
        for match in pattern.finditer(block.text):
            yield match.end()


def _hash(text: str, at: int) -> int:
    after = text[at : at + _LOOK_AHEAD]
    return int.from_bytes(blake2b(after.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _depth(text: str, at: int) -> int:
    """How far a line of code is indented; one that closes a bracket ends what is before it."""
    if text[at - 1] != "\n":
        return 0
    line = text[at : at + _DEEPEST]
    bare = line.lstrip()
    return _DEEPEST if bare[:1] in (")", "]", "}") else len(line) - len(bare)


def token_starts(text: str, counter: TokenCounter, most: int | None = None) -> Ints:
    """First characters of the tokens, with more wherever none is for MAX_CHARS_PER_TOKEN.

    Args:
        most: more tokens are not counted to their end.

    Raises:
        DocumentRefused: `too_large` when there are more than `most`.
    """
    found: list[Ints] = []
    total = 0
    for start, end in _slices(text):
        found.append(start + _starts(text[start:end], counter))
        # words without any visible character have no tokens, but places to cut all the same
        words = len(_BLANK.findall(text, start, end)) if len(text) > SLICE_CHARS else 0
        total += max(len(found[-1]), words)
        if most is not None and total > most:
            raise too_large()
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _slices(text: str) -> Iterable[tuple[int, int]]:
    """Parts of at most SLICE_CHARS that end with a line, else with a word, where they can."""
    start = 0
    while start < len(text):
        end = start + SLICE_CHARS
        if end < len(text):
            places = (text.rfind(blank, start, end) + 1 for blank in ("\n", " "))
            end = next((place for place in places if place > start), end)
        yield start, min(end, len(text))
        start = end


def _starts(text: str, counter: TokenCounter) -> Ints:
    offsets = counter.offsets(text)
    first = np.fromiter((start for start, _ in offsets), np.int64, len(offsets))
    first = np.maximum.accumulate(first) if len(first) else first
    edges = np.concatenate(([0], first, [len(text)]))
    gaps = np.diff(edges)
    extra = [
        np.arange(edges[n] + MAX_CHARS_PER_TOKEN, edges[n + 1], MAX_CHARS_PER_TOKEN)
        for n in np.flatnonzero(gaps > MAX_CHARS_PER_TOKEN)
    ]
    return np.sort(np.concatenate((first, *extra)))
