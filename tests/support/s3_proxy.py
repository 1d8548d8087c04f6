"""A real S3 server behind a proxy that refuses chosen requests."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import unquote

HOP: Final = frozenset({"connection", "transfer-encoding", "content-length"})

Refuses = Callable[[str, str], "tuple[int, str] | None"]
"""Method and path with query to a status and a code; None: the server answers."""


class Proxy(ThreadingHTTPServer):
    """Reading requests only."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.refuses: Refuses = lambda method, path: None
        self.refused = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if refusal := self.server.refuses(self.command, unquote(self.path)):
            self.server.refused += 1
            status, code = refusal
            text = f"<Error><Code>{code}</Code><Message>hidden</Message></Error>"
            self._answer(status, {}, text.encode())
            return
        # the signature is over the name of the proxy, and the server takes it as it comes
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())

    do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        told = {name.lower(): value for name, value in headers.items()}
        self.send_response(status)
        for name, value in told.items():
            if name not in HOP:
                self.send_header(name, value)
        length = told.get("content-length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def before(port: int) -> Iterator[Proxy]:
    """In front of the server at a port of this machine."""
    made = Proxy(port)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
