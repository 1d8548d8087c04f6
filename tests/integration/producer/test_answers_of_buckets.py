"""Answers of object storage: of a real server, and word for word what no server at hand gives."""

import os
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from services.producer.sources.bucket import bucket as bucket_source
from services.producer.sources.bucket.bucket import open_bucket
from services.producer.sources.listing import Seen, compare
from services.producer.sources.port import SourceUnavailable, Unreadable
from services.producer.sources.rules import Rules
from shared.domain.errors import ConfigurationError

WHERE = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
AT = "2026-01-01T00:00:00.987Z"
AT_OF_ONE = "Thu, 01 Jan 2026 00:00:00 GMT"
"""The same moment, as the headers of an answer about one object can tell it."""


class Answering(ThreadingHTTPServer):
    """A bucket with these keys, or one that refuses every request."""

    keys: tuple[str, ...] = ()
    refusal: tuple[int, str] | None = None
    refused_key: str = ""
    """The refusal is about this object; empty: about all requests."""


class Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self):
        key = urlsplit(self.path).path.removeprefix("/docs").strip("/")
        if self.server.refusal and self.server.refused_key in ("", key):
            status, code = self.server.refusal
            self.answer(status, f"<Error><Code>{code}</Code><Message>hidden</Message></Error>")
            return
        if key:
            self.answer(200, "x", {"ETag": f'"{key}"', "Last-Modified": AT_OF_ONE})
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

    do_HEAD = do_GET

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
    made = Answering(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
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
        (403, "AuthorizationFailure", "access is denied"),
        (404, "ResourceNotFound", "check the endpoint"),
        (301, "PermanentRedirect", "in another region"),
        (418, "Unheard", "the server refuses: Unheard"),
    ],
)
def test_a_refusal_is_told_in_words_and_is_no_empty_bucket(server, status, code, words):
    server.refusal = (status, code)

    with pytest.raises(SourceUnavailable, match=words) as told:
        bucket(server).scan()
    with pytest.raises(SourceUnavailable):
        bucket(server).look("a.md")

    assert "hidden" not in str(told.value)
    assert "secret" not in str(told.value)


def test_an_object_has_one_version_where_only_listings_tell_parts_of_a_second(server):
    server.keys = ("a.md",)
    source = bucket(server)

    listed, body = source.scan().files, source.read("a.md")
    known = {"a.md": Seen(body.version, body.read_at_ns, body.content_hash, 1)}

    assert body.version == listed["a.md"] == source.look("a.md")
    assert compare(known, source.scan().files, max_bytes=100).unchanged == 1


@pytest.mark.parametrize(
    ("status", "code", "looked", "read"),
    [
        (403, "AccessDenied", "access is denied", "access is denied"),
        (400, "InvalidRequest", "the server refuses the request", "the server refuses: Invalid"),
        (403, "InvalidObjectState", "access is denied", "the object is archived"),
    ],
)
def test_a_refusal_of_one_object_is_told_in_words_also_where_the_answer_has_none(
    server, status, code, looked, read
):
    """Answers to HEAD have no text."""
    server.keys, server.refusal, server.refused_key = ("a.md",), (status, code), "a.md"
    source = bucket(server)

    with pytest.raises(Unreadable, match=f"^a.md: {looked}"):
        source.look("a.md")
    with pytest.raises(Unreadable, match=f"^a.md: {read}"):
        source.read("a.md")
    assert source.scan().files.keys() == {"a.md"}


# -- a real server, named by the environment -------------------------------------------------------


def by_environment(monkeypatch, s3, **changes):
    """A bucket of that server, as variables of the environment name it; None takes one away."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (s3.environment | changes).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    return open_bucket("s3://answers", Rules(), max_bytes=100, endpoint=None, region=None)


@pytest.mark.s3
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "another"}, f"the access key is not known: check {WHERE}"),
        ({"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, f"the secret key is wrong: check {WHERE}"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the server does not answer"),
        ({"AWS_REGION": "mars-1"}, "in another region"),
    ],
)
def test_why_a_bucket_of_a_real_server_cannot_be_listed_is_told(monkeypatch, s3, changes, words):
    s3.bucket("answers")

    with pytest.raises(SourceUnavailable, match=words) as told:
        by_environment(monkeypatch, s3, **changes).scan()

    for secret in ("secret-of-tests", "not-the-secret", "RequestId"):
        assert secret not in str(told.value)


@pytest.mark.s3
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": None}, f"no credentials were found: set {WHERE}"),
        ({"AWS_ENDPOINT_URL": "nowhere"}, "no address of a server in AWS_ENDPOINT_URL_S3"),
    ],
)
def test_an_environment_that_names_no_bucket_is_told(monkeypatch, s3, changes, words):
    s3.bucket("answers")

    with pytest.raises(ConfigurationError, match=words):
        by_environment(monkeypatch, s3, **changes).scan()


@pytest.mark.s3
def test_a_server_that_accepts_and_never_answers_is_given_up(monkeypatch, s3):
    monkeypatch.setattr(bucket_source, "TIMEOUT", timedelta(seconds=0.2))
    monkeypatch.setattr(bucket_source, "RETRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(SourceUnavailable, match="the server does not answer"):
            by_environment(monkeypatch, s3, AWS_ENDPOINT_URL=url).scan()
