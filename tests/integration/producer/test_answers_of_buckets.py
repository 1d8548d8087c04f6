"""Answers of object storage that no server at hand gives: a listing over HTTP, word for word."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from services.producer.sources.bucket.bucket import open_bucket
from services.producer.sources.port import SourceUnavailable
from services.producer.sources.rules import Rules

AT = "2026-01-01T00:00:00.000Z"


class Answering(ThreadingHTTPServer):
    """A bucket with these keys, or one that refuses every request."""

    keys: tuple[str, ...] = ()
    refusal: tuple[int, str] | None = None


class Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self):
        if self.server.refusal:
            status, code = self.server.refusal
            self.answer(status, f"<Error><Code>{code}</Code><Message>hidden</Message></Error>")
            return
        asked = parse_qs(urlsplit(self.path).query)
        prefix = asked.get("prefix", [""])[0]
        below = [key for key in self.server.keys if key.startswith(prefix)]
        folders = set()
        if "delimiter" in asked:
            rest = {key: key[len(prefix) :].partition("/") for key in below}
            folders = {f"{prefix}{head}/" for head, slash, _ in rest.values() if slash}
            below = [key for key, (_, slash, _) in rest.items() if not slash]
        objects = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{AT}</LastModified>"
            f'<ETag>"{key}"</ETag><Size>1</Size></Contents>'
            for key in below
        )
        shown = "".join(f"<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>" for f in folders)
        self.answer(
            200,
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{objects}{shown}</ListBucketResult>",
        )

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
    made = Answering(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def bucket(server):
    endpoint = f"http://127.0.0.1:{server.server_port}"
    return open_bucket("s3://docs", Rules(), max_bytes=100, endpoint=endpoint, region="us-east-1")


@pytest.mark.parametrize("odd", ["bad//x.md", "bad/../x.md", "bad/./x.md"])
def test_a_key_that_the_client_refuses_closes_its_folder_only(server, odd):
    server.keys = ("a.md", "bad/b.md", odd, "good/c.md")

    found = bucket(server).scan()

    assert {"a.md", "good/c.md"} <= found.files.keys()
    assert any(path.startswith("bad") for path in found.closed)
    assert found.knows("good/gone.md")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (503, "SlowDown", "the server asks for fewer requests"),
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        (403, "AccessDenied", "access is denied"),
        (301, "PermanentRedirect", "in another region"),
        (418, "Unheard", "the server refuses: Unheard"),
    ],
)
def test_a_refusal_is_told_in_words_and_is_no_empty_bucket(server, status, code, words):
    server.refusal = (status, code)

    with pytest.raises(SourceUnavailable, match=words) as told:
        bucket(server).scan()

    assert "hidden" not in str(told.value)
    assert "secret" not in str(told.value)
