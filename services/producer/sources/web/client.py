"""Requests to servers of the web that are not trusted, one at a time to each host.

The standard library's client is used below its connections: this module resolves a name, checks
its addresses and connects to one that was checked, so a name that resolves to another address a
moment later changes nothing. Proxies of the environment are not used, for they would resolve the
names instead. Bounds hold for the unpacked answer, and for the time of a whole request.
"""

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import metadata
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from services.producer.sources.port import Unreadable
from services.producer.sources.web import robots
from services.producer.sources.web.addresses import Reachable
from shared.domain.addresses.web_address import host_of, normal, origin_of

CONNECT_S: Final = 10.0
TOTAL_S: Final = 120.0
"""Of one request with its whole answer, however steadily a server sends."""
MAX_REDIRECTS: Final = 5
ROBOTS_S: Final = 3_600.0
"""How long rules of a robots.txt hold."""
FIRST_PAUSE_S: Final = 1.0
WAITED_S: Final = 2.0
"""The longest pause that a request waits for; it fails in a longer one."""
MAX_PAUSE_S: Final = 3_600.0
"""Of a host that fails or asks for fewer requests, its Retry-After included."""
_CHUNK: Final = 64 * 1024
_DRAINED: Final = 64 * 1024
"""Most bytes of an answer without a document that are read to keep the connection."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = {429: "the server asks for fewer requests (429)", 503: "the server is busy (503)"}


_NO_ANSWER: Final = "the server does not answer"
_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLCertVerificationError, "the certificate of the server is not valid for it"),
    (ssl.SSLError, "no encrypted connection comes about"),
    (socket.gaierror, "the name of the host is not found"),
    (TimeoutError, "the server does not answer in time"),
    (ConnectionError, _NO_ANSWER),
    (http.client.IncompleteRead, "the answer ends early"),
    (http.client.HTTPException, "the server answers what is not HTTP"),
    (zlib.error, "the answer is damaged: it is not gzip, as it says"),
)
"""The first that fits counts; the texts of the library hold addresses."""


class Disallowed(Unreadable):
    """A robots.txt asks programs not to read the page."""


class NotAllowed(Unreadable):
    """A rule forbids to ask, or to follow a redirect; another attempt ends alike."""


class HostDown(Unreadable):
    """The whole host cannot be asked now, so nothing is known about any of its pages."""


class WebAnswer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes | None
    """None: larger than the limit, or the status has none."""
    size: int
    """In bytes, unpacked; above the limit where the body is larger."""


@dataclass(slots=True)
class _Host:
    name: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_at: float = 0.0
    """No request before; of `time.monotonic`, as `paused_until`."""
    delay_s: float = 0.0
    paused_until: float = 0.0
    pause_s: float = 0.0
    why: str = ""
    origin: str = ""
    """Of the open connection."""
    connection: http.client.HTTPConnection | None = None
    line: "_Line | None" = None


class WebClient:
    """Blocking calls of many threads; `close` ends them from any other.

    Args:
        hosts: names that redirects may lead to.
        delay_s: between two requests to one host.
    """

    def __init__(
        self, hosts: Iterable[str], reachable: Reachable, *, user_agent: str, delay_s: float
    ) -> None:
        self.hosts = frozenset(hosts)
        self._reachable, self._user_agent, self._delay_s = reachable, user_agent, delay_s
        self._by_name = {name: _Host(name) for name in self.hosts}
        self._robots: dict[str, tuple[float, robots.Robots]] = {}
        self._closed = threading.Event()
        self._context: ssl.SSLContext | None = None

    def close(self) -> None:
        """End all waiting; every later request fails."""
        self._closed.set()
        for host in self._by_name.values():
            _hang_up(host, now=True)
            if host.lock.acquire(blocking=False):
                _hang_up(host)  # nobody reads
                host.lock.release()

    def is_allowed(self, url: str) -> bool:
        """Whether the robots.txt of the page's origin allows it. Raises Unreadable: not known."""
        return self._rules(url).allows(url)

    def get(
        self,
        url: str,
        *,
        limit: int,
        headers: Mapping[str, str] | None = None,
        by_robots: bool = True,
        allows: Callable[[str], bool] = lambda _: True,
    ) -> WebAnswer:
        """Ask for a page, and follow its redirects.

        Args:
            url: in its one spelling.
            limit: most bytes of the body, unpacked.
            by_robots: False for what a person has named, as a sitemap.
            allows: whether a redirect may lead to an address.

        Raises:
            Unreadable: in words for people, without the address.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._check_host(url)
            if by_robots and not self.is_allowed(url):
                raise Disallowed("the robots.txt of its host disallows it")
            answer = self._exchange(url, headers or {}, limit)
            if answer.status not in _REDIRECTS:
                return answer
            url = self._target(url, answer.headers.get("Location") or "")
            if not allows(url):
                raise NotAllowed("it redirects to an address that its source does not allow")
        raise NotAllowed(f"it redirects more than {MAX_REDIRECTS} times")

    # -- what may be asked -------------------------------------------------------------------------

    def _check_host(self, url: str) -> None:
        if (host := host_of(url)) not in self.hosts:
            raise NotAllowed(f"it redirects to another host, {host}: name it in `hosts`")

    def _target(self, url: str, location: str) -> str:
        try:
            target = normal(location, base=url)
        except ValueError as error:
            raise NotAllowed(f"it redirects to what is no page: {error}") from None
        if url.startswith("https:") and not target.startswith("https:"):
            raise NotAllowed("it redirects from https to http")
        return target

    def _rules(self, url: str) -> robots.Robots:
        origin, now = origin_of(url), time.monotonic()
        until, rules = self._robots.get(origin, (0.0, None))
        if rules is None or now >= until:
            try:
                rules = self._fetch_rules(origin)
            except Unreadable as error:
                raise HostDown(f"the robots.txt of {host_of(url)} is not known: {error}") from None
            self._robots[origin] = now + ROBOTS_S, rules
            if known := self._by_name.get(host_of(url)):
                known.delay_s = rules.delay_s
        return rules

    def _fetch_rules(self, origin: str) -> robots.Robots:
        """RFC 9309: a file that is not there allows all, a server that fails allows nothing."""
        url = f"{origin}/robots.txt"
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(url, {}, robots.MAX_BYTES, keep=True)
            if answer.status not in _REDIRECTS:
                break
            url = self._target(url, answer.headers.get("Location") or "")
            if host_of(url) not in self.hosts:
                return robots.Robots()
        if answer.status >= 500 or answer.status == 429:
            raise Unreadable(f"the server answers {answer.status}")
        return (
            robots.parse(answer.body) if answer.status == 200 and answer.body else robots.Robots()
        )

    # -- one request -------------------------------------------------------------------------------

    def _exchange(
        self, url: str, headers: Mapping[str, str], limit: int, *, keep: bool = False
    ) -> WebAnswer:
        """
        Args:
            keep: take the beginning of a body that is larger than the limit.
        """
        host = self._by_name[host_of(url)]
        with host.lock:
            self._await_turn(host)
            try:
                answer = self._once(host, url, headers, _Limit(limit, keep))
            except (OSError, http.client.HTTPException, zlib.error) as error:
                _hang_up(host)
                self._pause(host, _in_words(error))
                raise HostDown(host.why) from None
            except Unreadable:
                _hang_up(host)
                raise
            finally:
                host.next_at = time.monotonic() + max(self._delay_s, host.delay_s)
            if words := _BUSY.get(answer.status):
                self._pause(host, words, _retry_after(answer.headers))
                raise HostDown(words)
            host.pause_s = 0.0
            return answer

    def _await_turn(self, host: _Host) -> None:
        now = time.monotonic()
        if host.paused_until - now > WAITED_S:
            raise HostDown(host.why)
        if self._closed.wait(max(0.0, max(host.next_at, host.paused_until) - now)):
            raise HostDown("instep is stopping")

    def _pause(self, host: _Host, why: str, asked_s: float = 0.0) -> None:
        host.pause_s = min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * host.pause_s, asked_s))
        host.paused_until, host.why = time.monotonic() + host.pause_s, why

    def _once(
        self, host: _Host, url: str, headers: Mapping[str, str], limit: "_Limit"
    ) -> WebAnswer:
        place = urlsplit(url)
        deadline = time.monotonic() + TOTAL_S
        target = place.path + (f"?{place.query}" if place.query else "")
        sent = {
            "Host": place.netloc,
            "User-Agent": self._user_agent,
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Accept-Encoding": "gzip",
            **headers,
        }
        kept = host.connection is not None and host.origin == origin_of(url)
        try:
            response = self._send(host, url, target, sent, deadline)
        except (ConnectionError, http.client.RemoteDisconnected):
            if not kept:
                raise
            _hang_up(host)  # the server had closed a connection that was kept
            response = self._send(host, url, target, sent, deadline)
        if response.status != 200:
            _drain(host, response)
            return WebAnswer(response.status, response.headers, None, 0)
        try:
            body, size = _body(response, limit, self._closed)
        except (OSError, http.client.HTTPException, zlib.error) as error:
            raise Unreadable(_in_words(error)) from None  # of this page; others may be well
        if size > limit.most or response.will_close:
            _hang_up(host)
        return WebAnswer(response.status, response.headers, body, size)

    def _send(
        self, host: _Host, url: str, target: str, headers: Mapping[str, str], deadline: float
    ) -> http.client.HTTPResponse:
        line, connection = host.line, host.connection
        if line is None or connection is None or host.origin != origin_of(url):
            _hang_up(host)
            line = _Line(self._connect(url, deadline))
            connection = http.client.HTTPConnection(host.name)
            connection.auto_open = 0
            vars(connection)["sock"] = line
            host.line, host.connection, host.origin = line, connection, origin_of(url)
        line.deadline = deadline
        connection.request("GET", target, headers=headers)
        return connection.getresponse()

    def _connect(self, url: str, deadline: float) -> socket.socket:
        place = urlsplit(url)
        name = place.hostname or ""
        port = place.port or (443 if place.scheme == "https" else 80)
        allowed = [
            one
            for one in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            if self._reachable.may_ask(name, str(one[4][0]))
        ]
        if not allowed:
            raise NotAllowed(
                f"{name} is an address of a private network: name it in `allow_private` to allow it"
            )
        error: OSError | None = None
        for family, kind, protocol, _, address in allowed:
            raw = socket.socket(family, kind, protocol)
            try:
                raw.settimeout(max(0.1, min(CONNECT_S, deadline - time.monotonic())))
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.connect(address)
                if place.scheme == "http":
                    return raw
                return self._tls().wrap_socket(raw, server_hostname=name)
            except OSError as failure:
                raw.close()
                error = failure
        assert error is not None
        raise error

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


class _Limit(NamedTuple):
    most: int
    keep: bool


class _Line(io.RawIOBase):
    """A socket whose every read and write ends at the deadline of the request.

    `http.client` closes its connection when an answer is to be the last one, and goes on reading:
    so `close` does nothing, and `hang_up` does it.
    """

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self.deadline = 0.0

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self))

    def sendall(self, data: Any) -> None:
        self._arm()
        self._raw.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        self._arm()
        return self._raw.recv_into(buffer)

    def close(self) -> None:
        pass

    def hang_up(self, *, now: bool = False) -> None:
        """
        Args:
            now: another thread may be reading from it.
        """
        with contextlib.suppress(OSError):
            if now:
                self._raw.shutdown(socket.SHUT_RDWR)
            else:
                self._raw.close()

    def _arm(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._raw.settimeout(min(left, CONNECT_S * 3))


class _Reading(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.recv_into(buffer)


def user_agent() -> str:
    """As which instep asks by default."""
    return f"instep/{metadata.version('instep')}"


def _hang_up(host: _Host, *, now: bool = False) -> None:
    """
    Args:
        now: from another thread, which may be reading.
    """
    if host.line is not None:
        host.line.hang_up(now=now)
    if not now:
        host.line = host.connection = None


def _drain(host: _Host, response: http.client.HTTPResponse) -> None:
    """Read an answer of which nothing is wanted, so that its connection can be used again."""
    length = response.length
    if response.will_close or length is None or length > _DRAINED:
        _hang_up(host)
        return
    response.read(_DRAINED)


def _body(
    response: http.client.HTTPResponse, limit: _Limit, closed: threading.Event
) -> tuple[bytes | None, int]:
    """The unpacked body and its size; without one where it is larger than the limit."""
    coding = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise Unreadable("the server packs it in a way that was not asked for")
    declared = response.length if coding == "identity" else None
    if declared is not None and declared > limit.most and not limit.keep:
        return None, declared
    chunks = _chunks(response, closed)
    data = bytearray()
    for piece in chunks if coding == "identity" else _unpacked(chunks, limit.most):
        data += piece
        if len(data) > limit.most:
            kept = bytes(data[: limit.most]) if limit.keep else None
            return kept, limit.most + 1
    return bytes(data), len(data)


def _chunks(response: http.client.HTTPResponse, closed: threading.Event) -> Iterator[bytes]:
    while data := response.read(_CHUNK):
        if closed.is_set():
            raise HostDown("instep is stopping")
        yield data
    if response.length:
        raise http.client.IncompleteRead(b"")


def _unpacked(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Never more than a chunk at a time, and little more than `most` in all."""
    inner = zlib.decompressobj(16 + zlib.MAX_WBITS)
    left = most
    for chunk in chunks:
        data = chunk
        while data:
            if inner.eof:
                inner = zlib.decompressobj(16 + zlib.MAX_WBITS)
            piece = inner.decompress(data, _CHUNK)
            yield piece
            left -= len(piece)
            if left < 0:
                return
            data = inner.unused_data if inner.eof else inner.unconsumed_tail
    if not inner.eof:
        raise http.client.IncompleteRead(b"")


def _retry_after(headers: http.client.HTTPMessage) -> float:
    """Seconds that a server asks to wait; 0: none, or none that can be read."""
    text = (headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:6])
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _in_words(error: BaseException) -> str:
    return next((words for kind, words in _WORDS if isinstance(error, kind)), _NO_ANSWER)
