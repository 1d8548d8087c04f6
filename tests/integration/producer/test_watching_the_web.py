"""A site on this machine, memory for everything else: what is done to its pages, and by them."""

import asyncio
import gzip
import http.client
import socket
import ssl
import threading
import time
from types import SimpleNamespace

import pytest
import trustme
import web_server
from watched import Watched, settings_of

from services.producer.app import _with_contents
from services.producer.sources import containers
from services.producer.sources.port import SourceUnavailable, Unreadable
from services.producer.sources.rules import Rules
from services.producer.sources.web import client as web_client
from services.producer.sources.web import web
from services.producer.sources.web.addresses import Reachable
from services.producer.sources.web.client import WebClient
from services.producer.sources.web.web import WebHints, open_web
from shared.formats.containers import split


@pytest.fixture
def site():
    with web_server.running() as site:
        yield site


class WatchedSite(Watched):
    """A source of the pages of a site."""

    def __init__(self, root, site, **settings):
        self.site = site
        given = {
            "kind": "web",
            "url": f"{site.url}/sitemap.xml",
            "allow_private": ["127.0.0.1"],
            "delay": 0.0,
            "rescan": 0.05,
            "poll": 0.05,
            "settle": 0.0,
        }
        super().__init__(root, **(given | settings))

    def source(self):
        rules = Rules(self.settings.include, self.settings.exclude)
        self.opened = open_web(self.settings, rules)
        return self.opened

    def hints(self, sync):
        return WebHints(sync.source, self.settings)

    def texts(self):
        """What DOCS holds, by the path below the site."""
        return {url.removeprefix(f"{self.site.url}/"): text for url, text in self.held().items()}


@pytest.fixture
def docs(tmp_path, site):
    return WatchedSite(tmp_path / "unused", site)


@pytest.fixture
def opened():
    """Makes sources, and closes them."""
    every = []

    def make(url, **settings):
        given = {"kind": "web", "url": url, "allow_private": ["127.0.0.1"], "delay": 0.0}
        source = open_web(settings_of(given | settings), Rules())
        every.append(source)
        return source

    yield make
    for source in every:
        source.close()


@pytest.fixture
def source(site, opened):
    return opened(f"{site.url}/sitemap.xml")


@pytest.mark.parametrize("kept", [1, 4])
async def test_reading_the_records_of_a_file_asks_its_server_for_nothing_more(
    site, opened, monkeypatch, kept
):
    class Slow:
        """Each look at the clock takes a minute."""

        now = time.monotonic()

        def monotonic(self):
            self.now += 60.0
            return self.now

    async def splits(question, data):
        return split(data, question.path, question.fields)

    monkeypatch.setattr(containers, "time", Slow())
    monkeypatch.setattr(containers, "KEPT", kept)
    for name in "ab":
        lines = "".join(f'{{"id": {n}, "text": "{name}{n}"}}\n' for n in range(20))
        site.pages[f"{name}.jsonl"] = lines.encode()
        site.types[f"{name}.jsonl"] = "application/x-ndjson"
    site.extra = [f"{site.url}/c.jsonl?v=2"]
    one = b'{"id": 1, "text": "c1"}'
    site.handlers["/c.jsonl?v=2"] = lambda r: r.send(200, one, Content_Type="application/x-ndjson")
    pages = opened(f"{site.url}/sitemap.xml", records=True)
    host = SimpleNamespace(reading=SimpleNamespace(split=splits))
    settings = settings_of({"kind": "web", "url": f"{site.url}/sitemap.xml", "records": True})
    source = _with_contents(SimpleNamespace(host=host), pages, settings)
    found = await asyncio.to_thread(source.scan)
    site.asked.clear()

    bodies = [await asyncio.to_thread(source.read, path) for path in sorted(found.files)]

    assert found.problems == {}
    assert [body.data for body in bodies].count(None) == 0
    assert len(bodies) == 41
    # what was dropped from memory is read again once: the sitemap, a look, the page
    assert len(site.asked) <= (0 if kept == 4 else 3 * 3)
    site.pages["a.jsonl"] = b'{"id": 1, "text": "new"}\n'
    found = await asyncio.to_thread(source.scan)
    body = await asyncio.to_thread(source.read, f"{site.address('a.jsonl')}#1")
    assert b"new" in body.data
    assert len([path for path in found.files if "a.jsonl" in path]) == 1


async def test_create_edit_move_and_delete_are_seen_by_listing(docs, site, eventually):
    site.pages["old"] = b"there before"
    async with docs.running():
        assert docs.texts() == {"old": "there before"}
        site.pages["deep/a"] = b"one"
        await eventually(lambda: docs.texts().get("deep/a") == "one")
        site.pages["deep/a"] = b"two"
        await eventually(lambda: docs.texts().get("deep/a") == "two")
        site.pages["b"] = site.pages.pop("deep/a")
        await eventually(lambda: docs.texts() == {"old": "there before", "b": "two"})
        del site.pages["b"]
        await eventually(lambda: docs.texts() == {"old": "there before"})
        site.unlisted.add("old")
        site.pages["c"] = b"a sitemap has pages"
        await eventually(lambda: docs.texts() == {"c": "a sitemap has pages"})

    assert docs.log.appended[0].media_type == "text/html; charset=utf-8"


async def test_a_restart_reads_what_changed_and_publishes_nothing_else(docs, site):
    for path in ("kept", "edited", "gone"):
        site.pages[path] = b"before"
    site.lastmods["kept"] = "2026-01-01"
    await docs.once()
    site.pages |= {"edited": b"after.", "new": b"new"}
    del site.pages["gone"]
    before = len(docs.log.appended)
    site.asked.clear()

    await docs.once()
    changed = len(docs.log.appended) - before
    await docs.once()

    assert docs.texts() == {"kept": "before", "edited": "after.", "new": "new"}
    assert (changed, len(docs.log.appended) - before) == (3, 3)
    assert "/kept" not in site.asked


def test_a_page_that_stays_costs_no_body_and_one_with_a_lastmod_no_request(site, source):
    site.pages |= {"a": b"x" * 500, "dated": b"one"}
    site.lastmods["dated"] = "2026-01-01T00:00:00Z"
    first = source.scan().files
    sent = site.sent
    site.asked.clear()

    assert source.scan().files == first
    assert (site.sent, sorted(site.asked)) == (sent, ["/a", "/sitemap.xml"])


def test_another_lastmod_is_another_version_and_the_date_of_today_decides_nothing(site, source):
    site.pages["a"] = b"one"
    site.lastmods["a"] = "2026-01-01"
    first = source.scan().files
    site.lastmods["a"] = "2026-01-02"
    second = source.scan().files
    site.lastmods["a"] = time.strftime("%Y-%m-%d")
    today = source.scan().files
    site.pages["a"] = b"two"

    assert first != second
    assert source.scan().files != today


async def test_a_sitemap_that_fails_removes_nothing(docs, site, eventually, monkeypatch):
    monkeypatch.setattr(web, "LONGEST_WAIT_S", 0.01)
    monkeypatch.setattr(web_client, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(web_client, "MAX_PAUSE_S", 0.01)
    site.pages["a"] = b"text"

    def answers(status, body=b"", **headers):
        return lambda request: request.send(status, body, **headers)

    faults = {
        "answers 404": answers(404),
        "answers 410": answers(410),
        "answers 500": answers(500),
        "is busy": answers(503),
        "fewer requests": answers(429),
        "answers 403": answers(403),
        "is no sitemap": answers(200, b"<html><body>Sorry</body></html>"),
        "is empty": answers(200),
        "has no entry": answers(200, b"<urlset></urlset>"),
        "not well-formed": answers(200, site.sitemap()[:-5]),
        "another host": answers(302, Location="http://other.example/sitemap.xml"),
        "declares entities": answers(200, b'<!DOCTYPE a [<!ENTITY x "y">]><urlset/>'),
    }
    async with docs.running():
        for words, fault in faults.items():
            site.handlers["/sitemap.xml"] = fault
            await eventually(lambda words=words: words in docs.sources["docs"].error)
            assert docs.texts() == {"a": "text"}
        del site.handlers["/sitemap.xml"]
        site.pages["a"] = b"another"
        await eventually(lambda: docs.texts() == {"a": "another"})
        await eventually(lambda: docs.sources["docs"].error == "")


@pytest.mark.parametrize("status", [401, 403, 405, 429, 451, 500, 502, 503])
def test_only_a_page_that_is_not_there_is_gone(site, source, status):
    site.pages |= {"a": b"one", "b": b"two"}
    known = source.scan().files
    url = site.address("a")
    site.handlers["/a"] = lambda request: request.send(status)

    found = source.scan()

    assert found.files[url] == known[url]
    assert url in found.problems
    with pytest.raises(Unreadable):
        source.read(url)
    looked = source.look_at(known, [url])
    assert (looked.vanished, looked.blocked) == ([], {url})
    for gone in (404, 410):
        site.handlers["/a"] = lambda request, gone=gone: request.send(gone)
        source._client._by_name["127.0.0.1"].paused_until = 0.0
        assert url not in source.scan().files
        assert source.read(url) is None


async def test_a_server_that_dies_costs_time_and_nothing_else(docs, site, eventually):
    site.pages["a"] = b"one"
    port = int(site.url.rpartition(":")[2])
    async with docs.running():
        site.stop()
        docs.opened._client._by_name["127.0.0.1"].line.hang_up(now=True)
        await eventually(lambda: "does not answer" in docs.sources["docs"].error)
        assert docs.texts() == {"a": "one"}
        site.start(port)
        site.pages["a"] = b"two"
        await eventually(lambda: docs.texts() == {"a": "two"})


async def test_a_site_that_is_emptied_is_held_and_comes_back_by_itself(docs, site, eventually):
    pages = {f"p{n}": b"text %d" % n for n in range(30)}
    site.pages |= pages
    await docs.once()
    site.pages.clear()
    site.pages["other"] = b"unlike any of these"

    async with docs.running() as watch:
        await eventually(lambda: watch.held is not None)
        assert len(docs.held()) == 31
        site.pages |= pages
        await eventually(lambda: watch.held is None)


# -- what a server asks ----------------------------------------------------------------------------


def test_robots_and_noindex_leave_pages_out_with_their_reasons(site, source):
    site.robots = "User-agent: *\nDisallow: /private/\n"
    site.pages |= {
        "a": b"text",
        "private/b": b"text",
        "meta": b'<meta name="robots" content="noindex">text',
        "header": b"text",
        "dated": b'<meta name="robots" content="noindex">text',
    }
    site.lastmods["dated"] = "2026-01-01"
    site.headers["header"] = {"X_Robots_Tag": "noindex"}
    source.scan()
    assert source.read(site.address("dated")) is None

    found = source.scan()

    assert found.files.keys() == {site.address("a")}
    assert found.left_out == {"disallowed by robots.txt": 1, "with noindex": 3}
    assert "/private/b" not in site.asked
    assert source.read(site.address("private/b")) is None
    assert source.unwanted([site.address("private/b")]) == {}  # the guard is asked
    assert "robots.txt" in source.explain(site.address("private/b")).why
    assert source.explain("").counts == {"disallowed by robots.txt": 1, "with noindex": 3}


def test_robots_that_cannot_be_read_mean_that_no_page_is_asked_for(site, source):
    site.pages["a"] = b"text"
    site.handlers["/robots.txt"] = lambda request: request.send(500)

    found = source.scan()

    assert "robots.txt" in found.problems[site.address("a")]
    assert site.address("a") in found.files
    assert "/a" not in site.asked


def test_a_host_that_asks_for_fewer_requests_is_left_alone_for_as_long_as_it_says(site, source):
    site.pages |= {"a": b"one", "b": b"two", "c": b"three"}
    source.scan()
    for path in ("/a", "/b", "/c"):
        site.handlers[path] = lambda request: request.send(429, Retry_After="3000")
    site.asked.clear()

    found = source.scan()

    assert len(found.problems) == len(found.files) == 3
    assert len([path for path in site.asked if path != "/sitemap.xml"]) == 1
    with pytest.raises(SourceUnavailable, match="fewer requests"):
        source.scan()
    assert site.asked.count("/sitemap.xml") == 1
    paused = source._client._by_name["127.0.0.1"].pause_s
    assert paused == 3000
    assert web_client._retry_after(headers("Retry-After", web_server.date(0))) == 0
    assert web_client._retry_after(headers("Retry-After", web_server.date(1e11))) > 1e9
    assert web_client._retry_after(headers("Retry-After", "soon")) == 0


def headers(name, value):
    found = http.client.HTTPMessage()
    found[name] = value
    return found


def test_requests_to_one_host_keep_their_distance(site, opened):
    site.robots = "User-agent: *\nCrawl-delay: 0.2\n"
    site.pages |= {"a": b"one", "b": b"two"}
    source = opened(f"{site.url}/sitemap.xml")

    source.scan()

    assert source._client._by_name["127.0.0.1"].delay_s == 0.2


# -- servers that are not trusted ------------------------------------------------------------------


def moved(location, status=302):
    return lambda request: request.send(status, Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_host_is_followed_and_the_path_stays(site, source, status):
    site.pages |= {"a": b"", "target": b"text"}
    site.handlers["/a"] = moved("/target#part", status)

    body = source.read(site.address("a"))

    assert (body.data, body.url) == (b"text", site.address("a"))


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://other.example/a", "another host, other.example"),
        ("http://169.254.169.254/latest/meta-data/", "another host, 169.254.169.254"),
        ("http://2852039166/latest/", "redirects to what is no page"),
        ("file:///etc/passwd", "redirects to what is no page"),
        ("http://user:secret@127.0.0.1/", "redirects to what is no page"),
        ("/a", "more than 5 times"),
        ("", "more than 5 times"),
    ],
)
def test_a_redirect_that_leads_elsewhere_is_not_followed(site, source, location, words):
    site.pages["a"] = b"text"
    site.handlers["/a"] = moved(location)

    with pytest.raises(Unreadable, match=words) as refused:
        source.read(site.address("a"))

    assert "secret" not in str(refused.value)


def test_a_redirect_to_a_page_that_robots_disallow_is_not_followed(site, source):
    site.robots = "User-agent: *\nDisallow: /private\n"
    site.pages |= {"a": b"", "private": b"text"}
    site.handlers["/a"] = moved("/private")

    with pytest.raises(Unreadable, match=r"robots\.txt"):
        source.read(site.address("a"))
    assert "/private" not in site.asked


def test_no_redirect_leads_from_https_to_http():
    client = WebClient(["h.org"], Reachable(), user_agent="x", delay_s=0)

    with pytest.raises(Unreadable, match="from https to http"):
        client._target("https://h.org/a", "http://h.org/a")


@pytest.mark.parametrize("name", ["localhost", "rebound.example"])
def test_a_name_of_a_private_address_is_refused_when_it_is_connected_to(
    site, opened, monkeypatch, name
):
    port = int(site.url.rpartition(":")[2])
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **rest: real("127.0.0.1", *more, **rest)
    )
    source = opened(f"http://{name}:{port}/sitemap.xml", allow_private=["other.example"])

    with pytest.raises(SourceUnavailable, match="name it in `allow_private`"):
        source.scan()
    assert site.asked == []

    named = opened(f"http://{name}:{port}/sitemap.xml", allow_private=[name])
    site.pages["a"] = b"text"
    with pytest.raises(SourceUnavailable, match=r"such as 127\.0\.0\.1: name them in `hosts`"):
        named.scan()


def test_a_name_is_resolved_once_and_the_address_that_was_checked_is_connected_to(
    opened, monkeypatch
):
    resolved, connected = [], []

    def resolve(host, port, **_):
        resolved.append(host)
        address = "93.184.215.14" if len(resolved) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def refuse(_, address):
        connected.append(address[0])
        raise ConnectionRefusedError

    class Recorded(socket.socket):
        connect = refuse

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(web_client.socket, "socket", Recorded)
    source = opened("http://rebinds.example/sitemap.xml", allow_private=[])

    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            source.scan()
        source._client._by_name["rebinds.example"].paused_until = source._again_at = 0.0

    assert connected == ["93.184.215.14"]  # the second answer was refused


@pytest.mark.parametrize("name", ["127.0.0.1", "other.example"])
def test_a_site_on_https_is_read_if_its_certificate_is_valid(opened, monkeypatch, tmp_path, name):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with web_server.running(context=context) as site:
        site.pages["a"] = b"text"
        source = opened(f"{site.url}/sitemap.xml")

        if name == "127.0.0.1":
            assert source.scan().files.keys() == {site.address("a")}
            assert source.read(site.address("a")).data == b"text"
        else:
            with pytest.raises(SourceUnavailable, match="certificate of the server is not valid"):
                source.scan()


def test_a_proxy_of_the_environment_is_not_asked(site, source, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["a"] = b"text"

    assert source.scan().files.keys() == {site.address("a")}


def test_a_page_that_unpacks_to_more_than_the_limit_is_not_unpacked(site, opened):
    source = opened(f"{site.url}/sitemap.xml", max_bytes=1000)
    site.pages["a"] = b"text"
    bomb = gzip.compress(b"\0" * 50_000_000)
    site.handlers["/a"] = lambda request: request.send(200, bomb, Content_Encoding="gzip")

    body = source.read(site.address("a"))

    assert (body.data, body.version.size) == (None, 1001)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "ends early"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", "not asked for"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx", "not gzip"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000, "not HTTP"),
        (b"", "."),
    ],
)
def test_an_answer_that_is_not_whole_is_no_document(site, source, answer, words):
    def sends(request):
        request.wfile.write(answer)
        request.close_connection = True
        return True

    site.pages["a"] = b"text"
    site.handlers["/a"] = sends

    with pytest.raises(Unreadable, match=words):
        source.read(site.address("a"))


def test_a_server_that_sends_slowly_and_steadily_is_given_up(site, source, monkeypatch):
    monkeypatch.setattr(web_client, "TOTAL_S", 0.5)
    end = threading.Event()

    def drips(request):
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not end.wait(0.02):
            request.wfile.write(b"x")
            request.wfile.flush()
        return True

    site.pages["a"] = b"text"
    site.handlers["/a"] = drips

    with pytest.raises(Unreadable, match="in time"):
        source.read(site.address("a"))
    end.set()


def test_closing_ends_a_wait_for_a_host_and_a_request(site, opened):
    site.robots = "User-agent: *\nCrawl-delay: 30\n"
    site.pages |= {"a": b"one", "b": b"two"}
    source = opened(f"{site.url}/sitemap.xml")
    ended = []

    def scan():
        ended.append(source.scan())

    thread = threading.Thread(target=scan)
    thread.start()
    while "/robots.txt" not in site.asked:
        time.sleep(0.001)
    source.close()
    thread.join(20)

    assert len(ended) == 1
    assert "instep is stopping" in ended[0].problems[site.address("b")]
    assert ended[0].files.keys() == {site.address("a"), site.address("b")}


# -- what is listed --------------------------------------------------------------------------------


def test_an_index_is_followed_and_a_page_that_is_there_twice_is_one(site, source):
    site.pages |= {"a": b"one", "b": b"two"}
    site.extra = [site.address("a") + "#part", f"{site.url}/./b", "http://other.example/c"]
    inner = site.sitemap()
    index = f"<sitemapindex><sitemap><loc>{site.url}/1.xml.gz</loc></sitemap></sitemapindex>"
    site.handlers["/sitemap.xml"] = lambda request: request.send(200, index.encode())
    site.handlers["/1.xml.gz"] = lambda request: request.send(200, gzip.compress(inner))

    found = source.scan()

    assert found.files.keys() == {site.address("a"), site.address("b")}
    assert found.left_out == {"on other hosts": 1}


def test_an_index_that_names_itself_or_another_host_is_an_error(site, source):
    def index(url):
        text = f"<sitemapindex><sitemap><loc>{url}</loc></sitemap></sitemapindex>".encode()
        site.handlers["/sitemap.xml"] = lambda request: request.send(200, text)

    index("http://other.example/1.xml")
    with pytest.raises(SourceUnavailable, match=r"another host, other\.example"):
        source.scan()
    index(f"{site.url}/sitemap.xml")
    source._again_at = 0.0
    with pytest.raises(SourceUnavailable, match="no page is listed"):
        source.scan()


def test_after_a_fault_of_the_sitemap_it_is_asked_for_less_and_less_often(site, source):
    site.handlers["/sitemap.xml"] = lambda request: request.send(404)
    waits = []
    for _ in range(12):
        with pytest.raises(SourceUnavailable, match="answers 404"):
            source.scan()
        asked = len(site.asked)
        with pytest.raises(SourceUnavailable, match="answers 404"):
            source.look_at((), [site.address("a")])
        assert len(site.asked) == asked
        waits.append(source._wait_s)
        source._again_at = 0.0
    del site.handlers["/sitemap.xml"]
    site.pages["a"] = b"text"
    source.scan()

    assert waits == sorted(waits)
    assert (waits[0], waits[-1], source._wait_s) == (1.0, 300.0, 0.0)


def test_a_list_of_addresses_and_a_file_of_them_are_sources_too(site, opened, tmp_path):
    site.pages |= {"a": b"one", "b": b"two"}
    file = tmp_path / "pages.txt"
    file.write_text(f"# pages\n{site.address('b')}\n")

    source = opened(None, urls=[site.address("a")], urls_file=str(file))

    assert source.scan().files.keys() == {site.address("a"), site.address("b")}
    file.unlink()
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        source.scan()


def test_what_is_no_address_is_told_and_the_others_are_listed(site, source):
    site.pages["a"] = b"text"
    site.extra = ["http://user:secret@127.0.0.1/b", f"{site.url}/{'long' * 400}", "ftp://h/c"]

    found = source.scan()

    assert found.files.keys() == {site.address("a")}
    assert len(found.problems) == 3
    assert "secret" not in f"{found.problems}"


async def test_a_large_list_is_read_page_by_page_and_not_asked_for_first(docs, site, monkeypatch):
    monkeypatch.setattr(web, "FIRST_LOOKS_S", -1.0)
    site.pages |= {f"p{n}": b"text" for n in range(20)}

    await docs.once()

    assert len(docs.texts()) == 20
    assert len([path for path in site.asked if path.startswith("/p")]) <= 40
