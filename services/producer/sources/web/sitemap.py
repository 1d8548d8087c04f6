"""Sitemaps (sitemaps.org, version 0.9) to addresses of pages. Pure.

A sitemap is foreign text: entities that it declares end the reading, and size, depth and number of
entries have bounds. What is beyond a bound is an error, because a page that is missing from a
listing counts as deleted.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from xml.parsers import expat

MAX_BYTES: Final = 50 * 1024**2
"""Of one sitemap, unpacked; by the protocol, as MAX_ENTRIES."""
MAX_ENTRIES: Final = 50_000
MAX_DEPTH: Final = 32
MAX_TEXT_CHARS: Final = 4_096
_CHUNK: Final = 64 * 1024
_GZIP: Final = b"\x1f\x8b"
_DAY_ANYWHERE: Final = timedelta(hours=36)
"""From the beginning of a day in UTC to its end in the westernmost time zone."""


class SitemapEntry(NamedTuple):
    url: str
    """As it is written."""
    lastmod: str = ""


@dataclass(slots=True)
class Sitemap:
    entries: list[SitemapEntry] = field(default_factory=list)
    is_index: bool = False
    """Its entries are sitemaps."""


class NotASitemap(ValueError):
    """The text says why, for people."""


def parse(data: bytes) -> Sitemap:
    """Entries of a sitemap, an index of sitemaps, or a list with one address a line; also packed.

    Raises:
        NotASitemap: it is none, is beyond a bound of the protocol, or has no entry.
    """
    text = unpacked(data) if data.startswith(_GZIP) else data
    if len(text) > MAX_BYTES:
        raise NotASitemap("the sitemap is larger than 50 MB: split it, as the protocol says")
    head = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        raise NotASitemap("the sitemap is empty")
    found = Sitemap(lines(text)) if head[:4].lower() == b"http" else _read(text)
    if not found.entries:
        raise NotASitemap("the sitemap has no entry")
    return found


def lines(text: bytes) -> list[SitemapEntry]:
    """One address a line; lines that are empty, or begin with '#', are none.

    Raises:
        NotASitemap: there are more than a sitemap may have, or the text is not UTF-8.
    """
    try:
        every = (line.strip() for line in text.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError:
        raise NotASitemap("the list of addresses is not UTF-8") from None
    found = [SitemapEntry(line) for line in every if line and not line.startswith("#")]
    if len(found) > MAX_ENTRIES:
        raise _too_many()
    return found


def unpacked(data: bytes) -> bytes:
    """The content of gzip, never more than one byte above the bound."""
    inner = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        text = inner.decompress(data, MAX_BYTES + 1)
    except zlib.error:
        raise NotASitemap("the sitemap is damaged: it is not gzip, as it says") from None
    if len(text) <= MAX_BYTES and not inner.eof:
        raise NotASitemap("the sitemap ends early")
    return text


def time_of(lastmod: str) -> tuple[int, int] | None:
    """The time of a change, and the end of the span that its spelling covers; both in ns.

    A date without a time covers the whole day: a page may change again on that day, and have the
    same date. None: it is no time.
    """
    text = lastmod.strip()
    try:
        at = datetime.fromisoformat(text)
        span = _DAY_ANYWHERE if len(text) <= 10 else timedelta(minutes=1 if len(text) < 20 else 0)
        since = at if at.tzinfo else at.replace(tzinfo=UTC)
        times = _ns(since), _ns(since + span)
    except (ValueError, OverflowError):
        return None
    return times if times[0] > 0 else None


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9 + at.microsecond * 1000


def _read(text: bytes) -> Sitemap:
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.opens
    parser.EndElementHandler = reader.closes
    parser.CharacterDataHandler = reader.hears
    parser.EntityDeclHandler = reader.declares
    try:
        for chunk in _chunks(text):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise NotASitemap(f"the sitemap is not well-formed, at line {error.lineno:,}") from None
    return reader.found


def _chunks(text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text), _CHUNK):
        yield text[start : start + _CHUNK]


_ROOTS: Final = {"urlset": "url", "sitemapindex": "sitemap"}


@dataclass(slots=True)
class _Reader:
    found: Sitemap = field(default_factory=Sitemap)
    path: list[str] = field(default_factory=list)
    """The open elements; those of another namespace than the root's with it."""
    space: str = ""
    texts: dict[str, str] = field(default_factory=dict)

    def opens(self, name: str, _attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if not self.path:
            if local not in _ROOTS:
                raise NotASitemap("the answer is no sitemap")
            self.space, self.found.is_index = space, local == "sitemapindex"
        self.path.append(local if space == self.space else name)
        if len(self.path) > MAX_DEPTH:
            raise NotASitemap("the sitemap has too many elements in each other")
        if len(self.path) == 2:
            self.texts = {}

    def closes(self, _: str) -> None:
        if len(self.path) == 2 and self.path[1] == _ROOTS[self.path[0]]:
            if url := self.texts.get("loc", "").strip():
                lastmod = self.texts.get("lastmod", "").strip()
                self.found.entries.append(SitemapEntry(url, lastmod))
            if len(self.found.entries) > MAX_ENTRIES:
                raise _too_many()
        self.path.pop()

    def hears(self, text: str) -> None:
        if len(self.path) == 3 and self.path[2] in ("loc", "lastmod"):
            whole = self.texts.get(self.path[2], "") + text
            if len(whole) > MAX_TEXT_CHARS:
                raise NotASitemap("the sitemap has an address that is too long")
            self.texts[self.path[2]] = whole

    def declares(self, *_: object) -> None:
        raise NotASitemap("the sitemap declares entities, which are not read")


def _too_many() -> NotASitemap:
    return NotASitemap(f"the sitemap has more than {MAX_ENTRIES:,} entries: split it")
