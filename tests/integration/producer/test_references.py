"""Submissions that refer to the web, through the real client and a server on this machine."""

import asyncio
import socket

import pytest
import web_server
from intake_door import Door

from services.producer.submissions.references import WebReferences
from services.producer.submissions.submission import SourceLimits
from shared.domain.errors import ConfigurationError, TransientError
from shared.domain.events import Inline
from shared.domain.ids import doc_key


@pytest.fixture
def site():
    with web_server.running() as site:
        yield site


@pytest.fixture
async def door_to():
    running = []

    def opened(*allowed, private=("127.0.0.1",), max_bytes=10_000):
        limits = SourceLimits(max_bytes, allowed, private)
        references = WebReferences({"inbox": limits})
        running.append(asyncio.create_task(references.run()))
        return Door(fetch=references, inbox=limits)

    yield opened
    await asyncio.sleep(0)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def change_of(door, path="a.md"):
    newest = await door.log.newest("inbox", doc_key("inbox", path))
    return newest.change if newest else None


def told(door):
    return door.receipt.state, door.receipt.code, door.receipt.detail


async def test_a_reference_is_read_at_once_with_the_media_type_of_its_server(door_to, site):
    site.pages["docs/a?"] = b"# Hello"
    site.types["docs/a?"] = "text/markdown; charset=utf-8"
    door = door_to(f"{site.url}/docs/")
    path = "https://example.org/a?b"

    await door.submit(1, path=path, ref={"url": f"{site.url}/docs/a%3F#part"})

    assert door.receipt.state == "queued"
    change = await change_of(door, path)
    assert (change.content, change.size) == (Inline(data="# Hello"), 7)
    assert change.media_type == "text/markdown; charset=utf-8"
    assert site.asked == ["/docs/a%3F"]  # no robots.txt: the publisher has named it


async def test_a_media_type_of_the_publisher_goes_before_that_of_the_server(door_to, site):
    site.pages["a"] = b"x"
    door = door_to(site.url)

    await door.submit(1, ref={"url": f"{site.url}/a"}, media_type="text/markdown")

    assert (await change_of(door)).media_type == "text/markdown"


async def test_a_media_type_of_a_server_is_as_short_as_one_of_a_publisher_may_be(door_to, site):
    site.pages["a?"] = b"x"
    site.types["a?"] = "text/plain; x=" + "y" * 60_000
    door = door_to(site.url)

    await door.submit(1, ref={"url": f"{site.url}/a%3F"})

    assert (await change_of(door)).media_type == ("text/plain; x=" + "y" * 200)[:200]


async def test_only_what_the_source_allows_is_asked_for(door_to, site):
    door = door_to(f"{site.url}/docs/", "file:///srv/docs")

    for url in (
        f"{site.url}/other/a.md",
        f"{site.url}/docs",
        f"{site.url}/docsmore/a.md",
        f"{site.url}/docs/../other/a.md",
        f"{site.url}/docs/%2e%2e/other/a.md",
        f"{site.url}/docs/..%2fother/a.md",
        f"{site.url}/docs/..%5Cother/a.md",
        f"{site.url.replace('http', 'https')}/docs/a.md",
        f"{site.url.replace('127.0.0.1', 'localhost')}/docs/a.md",
        f"http://me:secret@{site.url.removeprefix('http://')}/docs/a.md",
        "http://169.254.169.254/latest/meta-data",
        "ftp://example.org/docs/a.md",
        "https://",
    ):
        await door.submit(1, ref={"url": url})
        state, code, detail = told(door)
        assert (state, code) == ("refused", "reference_not_allowed"), url
        assert detail.startswith("ref.url: ")
        assert "secret" not in detail

    assert site.asked == []
    assert await change_of(door) is None


@pytest.mark.parametrize("private", [(), ("10.0.0.0/8",)])
async def test_a_private_address_is_not_asked_unless_it_is_named(door_to, site, private):
    site.pages["a.md"] = b"x"
    door = door_to(site.url, private=private)

    await door.submit(1, ref={"url": f"{site.url}/a.md"})

    state, code, detail = told(door)
    assert (state, code) == ("refused", "reference_not_allowed")
    assert "name it in `allow_private`" in detail
    assert site.asked == []


async def test_a_redirect_leads_only_to_what_the_source_allows(door_to, site):
    site.pages |= {"docs/new.md": b"x", "secret.md": b"y"}
    to = {"/docs/old.md": "new.md", "/docs/out.md": "/secret.md", "/docs/up.md": "../secret.md"}
    to |= {"/docs/far.md": "http://169.254.169.254/", "/docs/loop.md": "loop.md"}
    for path, target in to.items():
        site.handlers[path] = lambda r, target=target: r.send(302, Location=target)
    door = door_to(f"{site.url}/docs/")

    for n, name in enumerate(("old", "out", "up", "far", "loop"), 1):
        await door.submit(n, path=f"{name}.md", ref={"url": f"{site.url}/docs/{name}.md"})
        assert (door.receipt.code or "") == ("" if name == "old" else "reference_not_allowed")

    assert (await change_of(door, "old.md")).content == Inline(data="x")
    assert "/secret.md" not in site.asked


@pytest.mark.parametrize("status", [401, 403, 404, 410, 418])
async def test_a_page_that_is_not_there_is_refused(door_to, site, status):
    site.handlers["/a.md"] = lambda request: request.send(status)
    door = door_to(site.url)

    await door.submit(1, ref={"url": f"{site.url}/a.md"})

    state, code, detail = told(door)
    assert (state, code) == ("refused", "source_gone")
    assert detail.startswith(f"ref.url: the server answers {status}")


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_server_that_fails_is_asked_again_later(door_to, site, status):
    site.pages["a.md"] = b"x"
    site.handlers["/a.md"] = lambda request: request.send(status)
    door = door_to(site.url)

    with pytest.raises(TransientError, match=r"ref\.url: .*server"):
        await door.submit(1, ref={"url": f"{site.url}/a.md"})
    assert (door.replies.sent, await change_of(door)) == ([], None)
    site.handlers.clear()
    await door.submit(1, ref={"url": f"{site.url}/a.md"})

    assert door.receipt.state == "queued"


async def test_a_server_that_is_away_is_asked_again_later(door_to):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    door = door_to(url)

    with pytest.raises(TransientError, match="the server does not answer"):
        await door.submit(1, ref={"url": f"{url}/a.md"})
    door.delivery = {"age_s": 600.0, "attempt": 5}
    await door.submit(1, ref={"url": f"{url}/a.md"})

    assert told(door) == ("refused", "source_gone", "ref.url: the server does not answer")


@pytest.mark.parametrize("claims", [True, False])
async def test_a_page_above_the_limit_is_refused(door_to, site, claims):
    site.pages["a.md"] = b"x" * 10_001
    door = door_to(site.url)
    size = {"size": 10_001} if claims else {}

    await door.submit(1, ref={"url": f"{site.url}/a.md", **size})

    state, code, detail = told(door)
    assert (state, code) == ("refused", "too_large")
    assert "ref." in detail
    assert "10,000" in detail
    assert (site.asked == []) == claims


def test_a_private_host_that_is_none_is_told():
    with pytest.raises(ConfigurationError, match=r"sources\.inbox\.allow_private"):
        WebReferences({"inbox": SourceLimits(10, (), ("not a host!",))})
