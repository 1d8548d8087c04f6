"""The chunker: cuts a document into the units of embedding and search. Pure, deterministic.

`document`, the default, never crosses a heading: a section that fits is one chunk, and a longer one
is cut at places that its own text decides (`cut.by_content`), so an edit changes only its own
chunk. Neighbours share no text there: the title and the heading path are the context that every
chunk is embedded with. Headings that are in no path, because they have no text below them or their
path was too long, are text of a chunk. Only where a single block had to be cut, the next piece
repeats the last sentences or lines before the cut, the head of the table, or the sentence that
introduces the list. `recursive` and `fixed` fill chunks from the top, with overlap everywhere.
"""

import json
from base64 import b32encode
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Final

import numpy as np

from services.enricher.chunking.cut import ChunkLimits, by_content, by_size
from services.enricher.chunking.measure import (
    BLOCKS,
    JOIN,
    LINES,
    PARTS,
    WORDS,
    Measured,
    token_starts,
)
from shared.domain.errors import DocumentRefused
from shared.domain.events import Metadata, SubmittedChunk, with_context
from shared.domain.ordering import MAX_ROWS
from shared.formats.blocks import (
    Block,
    Extracted,
    check_amount,
    clean,
    one_line,
    too_large,
)
from shared.ports import TokenCounter
from shared.settings import Chunking

CUTTER: Final = 2
"""Version of this module. Raise it when documents are cut otherwise: all are cut again then."""
_TITLE_SHARE: Final = 4
"""A title takes at most one of so many parts of the window."""
_CONTEXT_SHARE: Final = 3
"""Title and heading path together take at most one of so many parts of it."""
_MAX_CHARS_PER_TOKEN: Final = 8
"""More characters a token than any prose has: a document above is refused as too large, unread."""
_SLACK: Final = 8
"""Tokens that a text may gain when it stands alone; nearer the limit the cutter counts them."""
_RANKS: Final = {"recursive": (BLOCKS, PARTS, LINES, WORDS), "fixed": (WORDS,)}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, and those headings above it that the window has room for."""

    text: str
    heading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Section:
    """Consecutive blocks under one heading, or consecutive headings."""

    heading: tuple[str, ...]
    blocks: tuple[Block, ...]

    @property
    def is_headings(self) -> bool:
        return self.blocks[0].kind == "heading"

    @property
    def text(self) -> str:
        return JOIN.join(block.text for block in self.blocks)


def fit_title(title: str, settings: Chunking, tokens: TokenCounter) -> str:
    """The title as it is stored and embedded: cut where it would take room from the text."""
    return _cut_line(one_line(title), _limit(settings, tokens) // _TITLE_SHARE, tokens)


def max_chars(settings: Chunking, tokens: TokenCounter) -> int:
    """Characters above which a document surely has too many chunks, without counting tokens."""
    return MAX_ROWS * _limit(settings, tokens) * _MAX_CHARS_PER_TOKEN


def chunk(extracted: Extracted, settings: Chunking, tokens: TokenCounter) -> tuple[Chunk, ...]:
    """Cut a document.

    Returns:
        Chunks in the order of the document. `with_context(fit_title(title), heading, text)` has at
        most min(settings.tokens, tokens.window) tokens.

    Raises:
        DocumentRefused: `too_large` when there would surely be more than MAX_ROWS.
    """
    limit = _limit(settings, tokens)
    check_amount(extracted.blocks, max_chars(settings, tokens))
    cutter = _Cutter(fit_title(extracted.title, settings, tokens), limit, settings, tokens)
    if settings.kind != "document":
        return cutter.cut([_Section((), extracted.blocks)])
    sections = cutter.sections(extracted.blocks)
    if len(sections) > MAX_ROWS:
        raise too_large()
    return cutter.cut(sections)


def ready(
    chunks: Sequence[SubmittedChunk], *, title: str, settings: Chunking, tokens: TokenCounter
) -> tuple[Chunk, ...]:
    """Chunks of a publisher as they are, cut only where the model could not read them whole.

    Raises:
        DocumentRefused: `no_text` when all of them are blank.
    """
    wide = settings.model_copy(update={"kind": "document", "tokens": tokens.window})
    sections = [
        _Section(
            tuple(" ".join(clean(h).split()) for h in one.heading), (Block("paragraph", text),)
        )
        for one in chunks
        if (text := clean(one.text).strip("\n"))
    ]
    if not sections:
        raise DocumentRefused("no_text", "all chunks are blank; send chunks that have text")
    return _Cutter(fit_title(title, wide, tokens), tokens.window, wide, tokens).cut(sections)


def chunk_keys(chunks: Sequence[Chunk], *, title: str, metadata: Metadata) -> tuple[str, ...]:
    """A key for every chunk: of everything that its row stores, and its number among equal ones.

    26 characters of lower-case base32: the first 16 bytes of sha256.
    """
    common = json.dumps([title, metadata], ensure_ascii=False, sort_keys=True)
    seen: Counter[Chunk] = Counter()
    keys: list[str] = []
    for one in chunks:
        fields = json.dumps([one.text, one.heading, seen[one]], ensure_ascii=False)
        seen[one] += 1
        digest = sha256(f"{common}\n{fields}".encode("utf-8", "surrogatepass")).digest()
        keys.append(b32encode(digest[:16]).decode().rstrip("=").lower())
    return tuple(keys)


def _limit(settings: Chunking, tokens: TokenCounter) -> int:
    return min(settings.tokens, tokens.window)


def _lone(headings: Iterable[Block], named: Set[tuple[str, ...]]) -> Iterable[_Section]:
    """Consecutive headings that no path names, one a line, each run below the same heading."""
    run: list[Block] = []
    for heading in headings:
        lone = bool(heading.text) and heading.path not in named
        if run and not (lone and _is_below(heading, run[0].path[:-1])):
            yield _lines(run)
            run = []
        if lone:
            run.append(heading)
    if run:
        yield _lines(run)


def _is_below(block: Block, path: tuple[str, ...]) -> bool:
    return block.path[: len(path)] == path


def _lines(headings: Sequence[Block]) -> _Section:
    text = "\n".join(heading.text for heading in headings)
    return _Section(headings[0].path[:-1], (Block("heading", text),))


def _cut_line(line: str, most: int, tokens: TokenCounter) -> str:
    """The line, or its first words of at most `most` tokens."""
    if not line or tokens.count([line])[0] <= most:
        return line
    offsets = tokens.offsets(line)
    while most > 0:
        head = line[: offsets[most][0]] if most < len(offsets) else line[:most]
        head = head.rsplit(" ", 1)[0].rstrip() if " " in head.strip() else head.rstrip()
        if tokens.count([head])[0] <= most:
            return head
        most = most * 3 // 4
    return ""


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts sections so that each piece fits the model together with its context line."""

    title: str
    limit: int
    settings: Chunking
    tokens: TokenCounter
    _known: "dict[tuple[str, ...], _Context]" = field(default_factory=dict)

    def sections(self, blocks: Sequence[Block]) -> list[_Section]:
        """Runs of blocks between headings, and the headings that none of their paths holds.

        Raises:
            DocumentRefused: `too_large` when there are more than MAX_ROWS runs of blocks.
        """
        runs = [
            _Section(run[0].path, run)
            for _, group in groupby(blocks, lambda b: b.path if b.kind != "heading" else None)
            if (run := tuple(group))
        ]
        bodies = [run for run in runs if not run.is_headings]
        if len(bodies) > MAX_ROWS:
            raise too_large()  # before their paths are tokenised
        named = self._named(bodies)
        found = [
            one for run in runs for one in (_lone(run.blocks, named) if run.is_headings else (run,))
        ]
        # a heading that is the title is in the context of every chunk
        return [one for one in found if not one.is_headings or one.text != self.title] or found

    def _named(self, sections: Sequence[_Section]) -> set[tuple[str, ...]]:
        """Paths of the headings that the context of a section holds whole."""
        contexts = self._contexts(sections)
        named: set[tuple[str, ...]] = set()
        for path in {section.heading for section in sections}:
            inner = contexts[path].heading
            outer = len(path) - len(inner)
            if path[outer:] == inner:
                named.update(path[:end] for end in range(outer + 1, len(path) + 1))
        return named

    def cut(self, sections: Sequence[_Section]) -> tuple[Chunk, ...]:
        """Chunks of all sections; the text is tokenised once, and pieces near the limit again."""
        contexts = self._contexts(sections)
        texts = [section.text for section in sections]
        starts = token_starts(JOIN.join(texts), self.tokens, MAX_ROWS * self.limit)
        found: list[_Candidate] = []
        at = 0
        for section, text in zip(sections, texts, strict=True):
            first, last = np.searchsorted(starts, (at, at + len(text)))
            context = contexts[section.heading]
            room = self.limit - context.size
            if last - first <= room:
                size = context.size + int(last - first)
                found.append(_Candidate(Chunk(text, context.heading), size, room))
            else:
                measured = Measured.of(section.blocks, starts[first:last] - at)
                found += self._pieces(measured, context, room)
            at += len(text) + len(JOIN)
        return tuple(self._checked(found))

    def _pieces(self, text: Measured, context: "_Context", room: int) -> "Iterable[_Candidate]":
        limits = ChunkLimits(room, int(room * self.settings.overlap))
        if self.settings.kind == "document":
            pieces = by_content(text, limits)
        else:
            pieces = by_size(text, limits, _RANKS[self.settings.kind])
        for piece in pieces:
            size = self.limit if piece.size is None else context.size + piece.size
            yield _Candidate(Chunk(piece.text, context.heading), size, room)

    def _checked(self, found: "Sequence[_Candidate]") -> Iterable[Chunk]:
        """The chunks; one that has more tokens alone than in its place is cut again."""
        doubtful = [one for one in found if one.size > self.limit - _SLACK]
        sizes = iter(self._sizes([one.chunk for one in doubtful]))
        for one in found:
            size = next(sizes) if one.size > self.limit - _SLACK else one.size
            if size <= self.limit or len(one.chunk.text) < 2:
                yield one.chunk
                continue
            room = max(1, one.room * self.limit // (size + 1))
            parts = self._parts(one.chunk.text, room)
            if len(parts) < 2:
                yield one.chunk
                continue
            heading = one.chunk.heading
            again = [_Candidate(Chunk(part, heading), self.limit, room) for part in parts]
            yield from self._checked(again)

    def _parts(self, text: str, room: int) -> list[str]:
        starts = token_starts(text, self.tokens)
        measured = Measured.of([Block("paragraph", text)], starts)
        return [piece.text for piece in by_content(measured, ChunkLimits(room, 0))]

    def _sizes(self, chunks: Sequence[Chunk]) -> Sequence[int]:
        texts = [with_context(self.title, c.heading, c.text) for c in chunks]
        return self.tokens.count(texts) if texts else ()

    def _contexts(self, sections: Sequence[_Section]) -> dict[tuple[str, ...], "_Context"]:
        """Heading paths as they are embedded, and the tokens of their context lines."""
        paths = {
            section.heading: None for section in sections if section.heading not in self._known
        }
        sizes = self._sizes([Chunk("", path) for path in paths])
        most = self.limit // _CONTEXT_SHARE
        for path, size in zip(paths, sizes, strict=True):
            fits = size <= most
            self._known[path] = _Context(path, size) if fits else self._shortened(path, most)
        return self._known

    def _shortened(self, path: tuple[str, ...], most: int) -> "_Context":
        """The path without its outer headings; the innermost heading is cut if need be."""
        inner: _Context | None = None
        for at in range(len(path) - 1, 0, -1):
            if inner is None or path[at]:  # a blank heading adds nothing to the line
                size = self._sizes([Chunk("", path[at:])])[0]
                if size > most:
                    break
            inner = _Context(path[at:], size)
        if inner is not None:
            return inner
        path = path[-1:]
        spare = most - self._sizes([Chunk("")])[0] - 2
        path = tuple(line for h in path if (line := _cut_line(h, spare, self.tokens)))
        return _Context(path, self._sizes([Chunk("", path)])[0])


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A chunk, about how many tokens it has with its context, and the room that the text had."""

    chunk: Chunk
    size: int
    room: int


@dataclass(frozen=True, slots=True)
class _Context:
    """A heading path that fits, and the tokens of its context line with the title."""

    heading: tuple[str, ...]
    size: int
