"""A site on this machine: pages that a test writes, and what was asked of it."""

import contextlib
import email.utils
import gzip
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

Handler = Callable[["Request"], bool]


class Request(BaseHTTPRequestHandler):
    """One request; handlers of a test write to it as they like."""

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    site: "Site"

    def do_GET(self) -> None:
        self.site.asked.append(self.path)
        handler = self.site.handlers.get(self.path)
        if handler is None or not handler(self):
            self.site.answer(self)

    def send(self, status: int, body: bytes = b"", **headers: str) -> bool:
        """Names of headers have underscores."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)
        return True

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Site:
    """Pages by path, as a person writes it."""

    validators: bool = True
    """Whether pages have an ETag."""
    pages: dict[str, bytes] = field(default_factory=dict)
    lastmods: dict[str, str] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    extra: list[str] = field(default_factory=list)
    """Addresses in the sitemap, beside those of the pages."""
    robots: str | None = None
    handlers: dict[str, Handler] = field(default_factory=dict)
    """By the path of a request; True: it has answered."""
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """More of a page's answer, by its path."""
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies of pages."""
    types: dict[str, str] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    """With it, the site is on https."""
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_port}"

    def address(self, path: str) -> str:
        return f"{self.url}/{quote(path)}"

    def sitemap(self) -> bytes:
        entries = []
        for path in self.pages.keys() - self.unlisted:
            mod = f"<lastmod>{self.lastmods[path]}</lastmod>" if path in self.lastmods else ""
            entries.append(f"<url><loc>{escape(self.address(path))}</loc>{mod}</url>")
        entries += [f"<url><loc>{escape(url)}</loc></url>" for url in self.extra]
        space = "http://www.sitemaps.org/schemas/sitemap/0.9"
        return f'<urlset xmlns="{space}">{"".join(sorted(entries))}</urlset>'.encode()

    def answer(self, request: Request) -> None:
        path = unquote(request.path).removeprefix("/")
        if path == "sitemap.xml":
            self._give(request, self.sitemap(), "application/xml")
        elif path == "robots.txt" and self.robots is not None:
            request.send(200, self.robots.encode())
        elif path in self.pages:
            kind = self.types.get(path, "text/html; charset=utf-8")
            self.sent += self._give(request, self.pages[path], kind, self.headers.get(path))
        else:
            request.send(404)

    def _give(self, request: Request, body: bytes, kind: str, more: dict[str, str] | None = None):
        mark = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.validators and request.headers.get("If-None-Match") == mark:
            request.send(304, ETag=mark)
            return 0
        headers = {"Content_Type": kind} | ({"ETag": mark} if self.validators else {})
        if "gzip" in request.headers.get("Accept-Encoding", "") and len(body) > 200:
            body, headers = gzip.compress(body), headers | {"Content_Encoding": "gzip"}
        request.send(200, body, **headers | (more or {}))
        return len(body)

    def start(self, port: int = 0) -> None:
        handler = type("Bound", (Request,), {"site": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        if self.context is not None:
            listening = self._server.socket
            self._server.socket = self.context.wrap_socket(listening, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def date(seconds: float) -> str:
    """As a header has it."""
    return email.utils.formatdate(seconds, usegmt=True)


@contextlib.contextmanager
def running(**given: object) -> Iterator[Site]:
    site = Site(**given)  # type: ignore[arg-type]
    site.start()
    try:
        yield site
    finally:
        site.stop()
