"""Pages of the web as a source of documents: those of a sitemap, or of a list of addresses.

Blocking calls, to be made in a thread. The path of a page is its address in its one spelling.
Servers are asked as little as their answers allow. A page with a `lastmod` that is over has that as
its version, and is read when it changes. Any other is asked for at each listing, on condition that
it has changed, and its version is a digest of its content. Only "there is no such page" (404, 410)
and a sitemap without it mean that a page is gone; every other fault means that nothing is known.
"""

import hashlib
import mimetypes
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from services.producer.sources.port import (
    Body,
    Given,
    Heard,
    Looked,
    Scan,
    SourceUnavailable,
    Unreadable,
    Version,
    hash_of,
    looked_one_by_one,
)
from services.producer.sources.rules import LeftOut, Rules, is_ignored
from services.producer.sources.web import noindex, sitemap
from services.producer.sources.web.addresses import Reachable
from services.producer.sources.web.client import WebAnswer, WebClient, user_agent
from shared.domain.addresses.web_address import host_of, normal, normal_host
from shared.domain.errors import ConfigurationError, DocumentRefused
from shared.domain.formats import is_reason, most_common
from shared.domain.ids import check_document_path
from shared.ports import Selection
from shared.settings import WebSettings

MAX_PAGES: Final = 200_000
MAX_SITEMAPS: Final = 1_000
MAX_LEVELS: Final = 3
"""Of indexes that name indexes."""
FIRST_LOOKS_S: Final = 10.0
"""A listing asks for pages that it knows nothing of for so long; the rest are listed as unknown,
so their reading, one by one, shows results before all have been asked for."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
"""After a fault of the sitemap; the watch would ask every second."""
_GONE: Final = frozenset({404, 410})
_ROBOTS: Final = LeftOut("disallowed by robots.txt", "the robots.txt of its host disallows it")
_NOINDEX: Final = LeftOut("with noindex", "the page says noindex")
_ELSEWHERE: Final = "on other hosts"
_NO_PAGES: Final = ("image/", "audio/", "video/", "font/")
_ARCHIVES: Final = frozenset({"application/zip", "application/x-tar", "application/java-archive"})
_HTML: Final = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class _Page:
    """A page as it was asked for last, by this process."""

    version: Version
    """By its content."""
    etag: str
    modified: str
    lastmod: str
    """Of the sitemap, then."""
    left_out: LeftOut | None


@dataclass(slots=True)
class _Listing:
    pages: dict[str, str] = field(default_factory=dict)
    """Address to its lastmod; empty: none that can be read."""
    problems: dict[str, str] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    """Pages on hosts that are not named."""


class WebSource:
    """Implements `services.producer.sources.port.DocumentSource`.

    Args:
        sitemap_url: in its one spelling, as `urls`; empty: none.
        file: with one address a line.
    """

    def __init__(
        self,
        client: WebClient,
        rules: Rules,
        *,
        sitemap_url: str,
        urls: Collection[str],
        file: Path | None,
        max_bytes: int,
    ) -> None:
        self.rules = rules
        self.max_bytes = max_bytes
        self._client, self._sitemap = client, sitemap_url
        self._urls, self._file = tuple(urls), file
        self._maps: dict[str, tuple[WebAnswer, sitemap.Sitemap]] = {}
        self._pages: dict[str, _Page] = {}
        self._listing: _Listing | None = None
        self._again_at, self._wait_s, self._fault = 0.0, 0.0, ""

    @property
    def place(self) -> str:
        if self._sitemap or self._file:
            return self._sitemap or str(self._file)
        more = f" and {len(self._urls) - 1:,} more" if len(self._urls) > 1 else ""
        return f"{self._urls[0]}{more}"

    def close(self) -> None:
        """End requests and waiting in other threads."""
        self._client.close()

    def identity(self) -> tuple[int, int]:
        """What is named in the settings: a sitemap has no other identity."""
        named = self._sitemap or str(self._file or "pages")
        return _digest(named.encode()), 0

    def scan(self) -> Scan:
        """Asks for every page whose sitemap does not tell whether it has changed."""
        listing = self._list()
        result = Scan(problems=dict(listing.problems))
        for url in listing.elsewhere:
            result.leave_out(url, _elsewhere(url))
        until = time.monotonic() + FIRST_LOOKS_S
        for url in listing.pages:
            if why := self._why_not(url):
                result.leave_out(url, why)
            else:
                self._scan_page(url, result, until)
        self._pages = {url: page for url, page in list(self._pages.items()) if url in listing.pages}
        return result

    def look_at(self, known: Collection[str], paths: Collection[str]) -> Looked:
        pages = self._list().pages

        def look(path: str) -> Version | None:
            return self._look(path) if path in pages and self._why_not(path) is None else None

        return looked_one_by_one(self.identity(), look, known, paths)

    def read(self, path: str, *, growing: bool = False) -> Body | None:  # noqa: ARG002
        """The server answers with one version, whatever happens meanwhile."""
        listing = self._listing or self._list()
        if path not in listing.pages or self._why_not(path):
            return None
        read_at_ns = time.time_ns()
        answer = self._asked(path, None)
        if answer is None:
            return None
        page = self._note(path, answer)
        if page.left_out is not None:
            return None
        given = Given(media_type=_media_type(answer))
        version = self._version(path, page)
        if answer.body is None:
            instead = hashlib.sha256(f"{page.version}".encode()).hexdigest()
            return Body(version, read_at_ns, instead, None, path)
        hashed = hash_of(answer.body, given)
        return Body(version, read_at_ns, hashed, answer.body, path, given=given)

    def opened(self, blocked: Collection[str]) -> tuple[bool, bool]:
        """Asks for one page of each host."""
        by_host = {host_of(url): url for url in sorted(blocked)}
        return any(map(self._opens, by_host.values())), False

    def unwanted(self, paths: Collection[str]) -> dict[str, LeftOut]:
        """By the rules of the settings only: what a server asks for passes the guard over
        removals, because one mistake there would empty the index."""
        return {path: why for path in paths if (why := self._rule(path))}

    def explain(self, path: str) -> Selection:
        try:
            asked = normal(path) if path else ""
        except ValueError:
            return Selection(exists=False)
        listing = self._list()
        if asked in listing.pages:
            why = self._told(asked)
            return Selection(exists=True, why=why.why if why else "")
        counts, some = Counter[str](), dict[str, str]()
        every = {*listing.pages, *listing.elsewhere}
        inside = [url for url in every if url.startswith(asked)]
        for url in inside:
            if why := self._told(url) if url in listing.pages else _elsewhere(url):
                counts[why.kind] += 1
                some.setdefault(url, why.why)
        if path and not inside:
            return Selection(exists=False)
        return Selection(exists=True, is_folder=True, counts=most_common(counts), some=some)

    def meaning(self, names: Collection[str]) -> Heard:
        """Names are addresses."""
        paths = dict[str, Version | None]()
        for name in names:
            try:
                url = check_document_path(normal(name))
            except (ValueError, DocumentRefused):
                continue
            if not any(map(is_ignored, _below(url).split("/"))):
                paths[url] = None
        return Heard(paths)

    # -- the list of pages -------------------------------------------------------------------------

    def _list(self) -> _Listing:
        """Raises SourceUnavailable: also for some time after a fault, without asking again."""
        if time.monotonic() < self._again_at:
            raise SourceUnavailable(self._fault)
        try:
            self._listing = self._list_now()
        except SourceUnavailable as error:
            self._wait_s = min(LONGEST_WAIT_S, max(FIRST_WAIT_S, 2 * self._wait_s))
            self._again_at, self._fault = time.monotonic() + self._wait_s, str(error)
            raise
        self._wait_s = 0.0
        return self._listing

    def _list_now(self) -> _Listing:
        found = _Listing()
        for number, entry in enumerate(self._entries(), 1):
            if number > MAX_PAGES:
                raise self._unavailable(f"there are more than {MAX_PAGES:,} pages")
            self._enter(entry, found)
        if not found.pages:
            raise self._unavailable(_why_none(found))
        return found

    def _entries(self) -> Iterator[sitemap.SitemapEntry]:
        if self._sitemap:
            yield from self._of_sitemaps()
        if self._file is not None:
            try:
                yield from sitemap.lines(self._file.read_bytes())
            except OSError:
                raise self._unavailable("the list of pages cannot be read") from None
            except sitemap.NotASitemap as error:
                raise self._unavailable(str(error)) from None
        yield from map(sitemap.SitemapEntry, self._urls)

    def _of_sitemaps(self) -> Iterator[sitemap.SitemapEntry]:
        waiting, asked = deque([(self._sitemap, 1)]), {self._sitemap}
        while waiting:
            url, level = waiting.popleft()
            found = self._fetch_map(url)
            if not found.is_index:
                yield from found.entries
                continue
            if level == MAX_LEVELS:
                raise self._unavailable(
                    f"indexes of sitemaps are more than {MAX_LEVELS} levels deep"
                )
            for entry in found.entries:
                inner = self._inner(entry.url, url)
                if inner not in asked:
                    asked.add(inner)
                    waiting.append((inner, level + 1))
            if len(asked) > MAX_SITEMAPS:
                raise self._unavailable(f"there are more than {MAX_SITEMAPS:,} sitemaps")
        self._maps = {url: known for url, known in list(self._maps.items()) if url in asked}

    def _inner(self, url: str, base: str) -> str:
        try:
            inner = normal(url, base=base)
        except ValueError as error:
            raise self._unavailable(f"the index names what is no sitemap: {error}") from None
        if (host := host_of(inner)) not in self._client.hosts:
            raise self._unavailable(f"a sitemap is on another host, {host}: name it in `hosts`")
        return inner

    def _fetch_map(self, url: str) -> sitemap.Sitemap:
        known = self._maps.get(url)
        headers = _conditions(known[0]) if known else {}
        try:
            # a person named it, so no robots.txt is asked
            answer = self._client.get(
                url, limit=sitemap.MAX_BYTES, headers=headers, by_robots=False
            )
            if answer.status == 304 and known:
                return known[1]
            if answer.status != 200:
                raise self._unavailable(f"the server answers {answer.status} for the sitemap")
            if answer.body is None:
                raise self._unavailable("the sitemap is larger than 50 MB: split it")
            found = sitemap.parse(answer.body)
        except (Unreadable, sitemap.NotASitemap) as error:
            raise self._unavailable(str(error)) from None
        self._maps[url] = answer._replace(body=None), found
        return found

    def _enter(self, entry: sitemap.SitemapEntry, found: _Listing) -> None:
        try:
            url = check_document_path(normal(entry.url, base=self._sitemap))
        except (ValueError, DocumentRefused) as error:
            found.problems[_shown(entry.url)] = str(error)
            return
        if host_of(url) not in self._client.hosts:
            found.elsewhere.add(url)
            return
        found.pages[url] = max(found.pages.get(url, ""), entry.lastmod)

    # -- pages -------------------------------------------------------------------------------------

    def _scan_page(self, url: str, result: Scan, until: float) -> None:
        page, lastmod = self._pages.get(url), self._lastmod(url)
        is_same = page is not None and page.lastmod == lastmod
        if lastmod and not (is_same and page and page.left_out):
            result.files[url] = self._version(url, page if is_same else None)
            return
        if page is None and time.monotonic() > until:
            result.files[url] = _unasked(url)
            return
        try:
            page = page if lastmod else self._ask(url)
        except Unreadable as error:
            result.problems[url] = str(error)
            result.files[url] = page.version if page else _unasked(url)
            return
        if page is not None and page.left_out:
            result.leave_out(url, page.left_out)
        elif page is not None:
            result.files[url] = page.version

    def _look(self, url: str) -> Version | None:
        page = self._ask(url)
        return None if page is None or page.left_out else self._version(url, page)

    def _ask(self, url: str) -> _Page | None:
        """The page as it is now, or None where there is none."""
        known = self._pages.get(url)
        answer = self._asked(url, known)
        if answer is None:
            return None
        return known if known and answer.status == 304 else self._note(url, answer)

    def _asked(self, url: str, known: _Page | None) -> WebAnswer | None:
        headers = _conditions_of(known.etag, known.modified) if known else {}
        try:
            answer = self._client.get(url, limit=self.max_bytes, headers=headers)
        except Unreadable as error:
            raise type(error)(f"{url}: {error}") from None
        if answer.status in _GONE:
            self._pages.pop(url, None)
            return None
        if answer.status == 200 or (answer.status == 304 and known):
            return answer
        denied = " access is denied" if answer.status in (401, 403) else ""
        raise Unreadable(f"{url}: the server answers {answer.status}{denied and ':' + denied}")

    def _note(self, url: str, answer: WebAnswer) -> _Page:
        data, media_type = answer.body, _media_type(answer)
        says_no = noindex.by_header(answer.headers.get_all("X-Robots-Tag") or ())
        if data is not None and (media_type or "").lower().startswith(_HTML):
            says_no = says_no or noindex.by_page(data)
        etag, modified = _validators(answer)
        content = data if data is not None else f"{answer.size} {etag} {modified}".encode()
        mark = _digest(content + b"\n" + (media_type or "").encode())
        page = _Page(
            Version(answer.size, 0, 0, mark),
            etag,
            modified,
            self._lastmod(url),
            _NOINDEX if says_no else None,
        )
        self._pages[url] = page
        return page

    def _version(self, url: str, page: _Page | None) -> Version:
        """By the lastmod, where that says enough, else by the content."""
        lastmod = self._lastmod(url)
        times = sitemap.time_of(lastmod) if lastmod else None
        if times is not None:
            too_large = page is not None and page.version.size > self.max_bytes
            size = page.version.size if page is not None and too_large else 0
            return Version(size, times[0], 0, _digest(f"{url} {lastmod}".encode()))
        return page.version if page is not None else _unasked(url)

    def _lastmod(self, url: str) -> str:
        """The time of its last change as the sitemap has it; empty where that is not over yet."""
        lastmod = self._listing.pages.get(url, "") if self._listing else ""
        times = sitemap.time_of(lastmod) if lastmod else None
        return lastmod if times is not None and times[1] < time.time_ns() else ""

    def _opens(self, url: str) -> bool:
        """Whether a page can be read by now; one that is gone counts as readable."""
        try:
            if self._why_not(url) is None:
                self._look(url)
        except Unreadable:
            return False
        return True

    def _why_not(self, url: str) -> LeftOut | None:
        """The rule that leaves a page out, of the settings or of the server, if that is known."""
        if why := self._rule(url):
            return why
        try:
            return None if self._client.is_allowed(url) else _ROBOTS
        except Unreadable:
            return None

    def _told(self, url: str) -> LeftOut | None:
        """The same, with what the page itself said when it was asked for last."""
        page = self._pages.get(url)
        return self._why_not(url) or (page.left_out if page else None)

    def _rule(self, url: str) -> LeftOut | None:
        """A page needs no ending: one is left out where its ending tells that it is no text."""
        why = self.rules.why_not(_below(url))
        if why is None or is_reason(why.kind) or self.rules.selects:
            return why
        kind, packed = mimetypes.guess_type(urlsplit(url).path)
        is_text = not packed and kind not in _ARCHIVES and not (kind or "").startswith(_NO_PAGES)
        return None if is_text else why

    def _unavailable(self, words: str) -> SourceUnavailable:
        return SourceUnavailable(f"{self.place}: {words}")


class WebHints:
    """Intervals only. Implements `services.producer.sources.port.Hints`."""

    def __init__(self, source: WebSource, settings: WebSettings) -> None:
        self.anew = False
        self._source, self._settings = source, settings

    async def start(self, heard: object) -> None:
        """No server tells what has changed."""

    async def stop(self) -> None:
        self._source.close()

    async def watch_the_same(self, root: tuple[int, int]) -> None:
        """A sitemap keeps its address."""

    def interval(self, took_s: float, *, waits: bool) -> float:  # noqa: ARG002
        return max(self._settings.rescan, took_s)


def open_web(settings: WebSettings, rules: Rules) -> WebSource:
    """
    Raises:
        ConfigurationError: a host or an address that is named is none.
    """
    try:
        url = normal(settings.url) if settings.url else ""
        urls = [normal(one) for one in settings.urls]
        hosts = {host_of(one) for one in (url, *urls) if one}
        hosts |= {normal_host(host) for host in settings.hosts}
        reachable = Reachable(settings.allow_private)
    except ValueError as error:
        raise ConfigurationError(f"a source of the web: {error}") from None
    agent = settings.user_agent or user_agent()
    client = WebClient(hosts, reachable, user_agent=agent, delay_s=settings.delay)
    return WebSource(
        client,
        rules,
        sitemap_url=url,
        urls=urls,
        file=settings.urls_file,
        max_bytes=settings.max_bytes,
    )


def _elsewhere(url: str) -> LeftOut:
    return LeftOut(_ELSEWHERE, f"its host {host_of(url)} is not named in hosts")


def _why_none(listing: _Listing) -> str:
    if hosts := sorted(map(host_of, listing.elsewhere)):
        return f"all pages are on other hosts, such as {hosts[0]}: name them in `hosts`"
    return "no page is listed"


def _below(url: str) -> str:
    """The path below the host as a person reads it, for patterns."""
    return unquote(urlsplit(url).path).removeprefix("/")


def _shown(url: str) -> str:
    """An address that is none, for people: it may hold a password."""
    return "a page of the list" if "@" in url else url[:200]


def _unasked(url: str) -> Version:
    """Of a page that is there by the list, and of which nothing else is known."""
    return Version(0, 0, 0, _digest(f"not asked for {url}".encode()))


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:6])


def _media_type(answer: WebAnswer) -> str | None:
    return (answer.headers.get("Content-Type") or "").strip()[:200] or None


def _validators(answer: WebAnswer) -> tuple[str, str]:
    return answer.headers.get("ETag") or "", answer.headers.get("Last-Modified") or ""


def _conditions(answer: WebAnswer) -> dict[str, str]:
    return _conditions_of(*_validators(answer))


def _conditions_of(etag: str, modified: str) -> dict[str, str]:
    found = {"If-None-Match": etag, "If-Modified-Since": modified}
    return {name: value for name, value in found.items() if value}
