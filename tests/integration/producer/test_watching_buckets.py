"""A bucket of a real S3 server, memory for everything else: what is done to its objects."""

import asyncio
import contextlib
import json
import os
from itertools import count

import obstore
import pytest
import s3_proxy
import s3_server
from nats.aio.client import Client
from watched import Watched

from services.producer.sources.bucket.bucket import open_bucket
from services.producer.sources.bucket.events import BucketHints
from services.producer.sources.listing import RACY_NS
from services.producer.sources.rules import Rules
from shared.bus.monitor import watchers

pytestmark = pytest.mark.s3

_names = count()
RACY_S = RACY_NS / 1e9 + 1


class WatchedBucket(Watched):
    """A source below the prefix `team` of a bucket of its own."""

    def __init__(self, root, server, name, subscribe=None, **settings):
        self.server, self.name, self.subscribe = server, name, subscribe
        self.endpoint = server.endpoint
        """That the source is given; a test may put a proxy there."""
        self.client = server.bucket(name)
        self.url = f"s3://{name}/team"
        given = {"kind": "bucket", "url": self.url, "poll": 0.05, "settle": 0.0}
        super().__init__(root, **(given | settings))

    def source(self):
        return open_bucket(
            self.url,
            Rules(self.settings.include, self.settings.exclude),
            max_bytes=self.settings.max_bytes,
            endpoint=self.endpoint,
            region="us-east-1",
        )

    def hints(self, sync):
        return BucketHints(self.url, self.settings, self.subscribe)

    def write(self, path, text):
        obstore.put(self.client, f"team/{path}", text.encode())

    def copy(self, old, new):
        obstore.copy(self.client, f"team/{old}", f"team/{new}")

    def delete(self, path):
        obstore.delete(self.client, f"team/{path}")


@pytest.fixture(autouse=True)
def credentials(s3, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        if "ENDPOINT" not in name:
            monkeypatch.setenv(name, value)


@pytest.fixture
def docs(s3, tmp_path):
    return WatchedBucket(tmp_path / "unused", s3, f"watched{next(_names)}")


@pytest.fixture
def proxy(docs):
    """Between the source and the server."""
    with s3_proxy.before(docs.server.port) as made:
        docs.endpoint = made.endpoint
        yield made


async def test_create_edit_move_and_delete_are_seen_by_listing(docs, eventually):
    docs.write("old.md", "there before")
    async with docs.running():
        assert docs.held() == {"old.md": "there before"}
        docs.write("deep/a.md", "one")
        await eventually(lambda: docs.held().get("deep/a.md") == "one")
        docs.write("deep/a.md", "two")
        await eventually(lambda: docs.held().get("deep/a.md") == "two")
        docs.copy("deep/a.md", "b.md")
        docs.delete("deep/a.md")
        await eventually(lambda: docs.held() == {"old.md": "there before", "b.md": "two"})
        docs.delete("old.md")
        docs.delete("b.md")
        await eventually(lambda: docs.held() == {})


async def test_what_changed_while_nobody_watched_is_found_at_the_next_start(docs):
    for path in ("kept.md", "edited.md", "gone.md"):
        docs.write(path, "before")
    await docs.once()
    docs.write("edited.md", "after.")
    docs.write("new.md", "new")
    docs.delete("gone.md")
    before = len(docs.log.appended)

    await docs.once()
    changed = len(docs.log.appended) - before
    await docs.once()

    assert docs.held() == {"kept.md": "before", "edited.md": "after.", "new.md": "new"}
    assert (changed, len(docs.log.appended) - before) == (3, 3)


async def test_an_object_in_many_parts_is_read_whole(docs):
    text = "many words " * 700_000
    obstore.put(docs.client, "team/big.md", text.encode(), use_multipart=True)

    await docs.once()

    assert docs.held() == {"big.md": text}


async def test_an_object_in_many_parts_that_is_moved_is_one_document_at_another_path(
    docs, eventually
):
    """A copy of it has another ETag, which is not made of parts."""
    text = "many words " * 700_000
    obstore.put(docs.client, "team/big.md", text.encode(), use_multipart=True)
    async with docs.running():
        docs.copy("big.md", "moved.md")
        docs.delete("big.md")
        await eventually(lambda: docs.held() == {"moved.md": text})
        docs.copy("moved.md", "copied.md")
        await eventually(lambda: docs.held() == {"moved.md": text, "copied.md": text})


async def test_a_delete_marker_is_a_deletion_and_an_older_version_that_is_restored_an_edit(
    docs, eventually
):
    docs.server.keep_versions(docs.name)
    path = f"/{docs.name}/team/a.md"
    first = obstore.put(docs.client, "team/a.md", b"one")["version"]
    docs.write("b.md", "stays")
    async with docs.running():
        docs.write("a.md", "two")
        await eventually(lambda: docs.held() == {"a.md": "two", "b.md": "stays"})
        source = f"{path[1:]}?versionId={first}"
        restored = docs.server.ask("PUT", path, x_amz_copy_source=source)["x-amz-version-id"]
        await eventually(lambda: docs.held() == {"a.md": "one", "b.md": "stays"})
        docs.server.ask("DELETE", path, {"versionId": restored})
        await eventually(lambda: docs.held() == {"a.md": "two", "b.md": "stays"})
        marker = docs.server.ask("DELETE", path)["x-amz-version-id"]
        await eventually(lambda: docs.held() == {"b.md": "stays"})
        docs.server.ask("DELETE", path, {"versionId": marker})
        await eventually(lambda: docs.held() == {"a.md": "two", "b.md": "stays"})


def test_in_a_bucket_of_google_with_versions_the_newest_one_counts(gcs):
    name = f"versions{next(_names)}"
    gcs.bucket(name, versions=True)
    source = open_bucket(
        f"gs://{name}/team", Rules(), max_bytes=100, endpoint=gcs.endpoint, region=None
    )

    def state():
        listed, body = source.scan().files.get("a.md"), source.read("a.md")
        assert (body.version if body else None) == listed == source.look("a.md")
        return body and body.data

    gcs.put(name, "team/a.md", b"one")
    first, known = gcs.generation(name, "team/a.md"), source.look("a.md")
    gcs.put(name, "team/a.md", b"two")
    assert (state(), source.look("a.md") != known) == (b"two", True)
    gcs.copy(name, "team/a.md", "team/a.md", first)
    assert state() == b"one"
    gcs.delete(name, "team/a.md")
    assert state() is None
    gcs.copy(name, "team/a.md", "team/a.md", first)
    assert state() == b"one"


async def test_an_object_in_a_bucket_with_versions_that_does_not_change_is_read_once(
    docs, proxy, eventually
):
    docs.server.keep_versions(docs.name)
    docs.write("a.md", "one")
    docs.write("a.md", "two")
    read = []
    proxy.refuses = lambda method, path: read.append(path) if "a.md" in path else None
    async with docs.running() as watch:
        await eventually(lambda: "team/a.md" in "".join(read))
        await asyncio.sleep(RACY_S)  # a look soon after an edit proves nothing
        await watch.rescan()
        before = len(read)
        await watch.rescan()
        assert len(read) == before


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "access is denied"),
        (403, "InvalidObjectState", "archived"),
        (400, "InvalidRequest", "the server refuses"),
    ],
)
async def test_an_object_that_the_server_refuses_is_told_and_nothing_else_suffers(
    docs, proxy, eventually, status, code, words
):
    docs.write("a.md", "one")
    docs.write("b.md", "one")
    docs.write("new.md", "of no use")
    proxy.refuses = lambda _, path: (status, code) if path.endswith("/new.md") else None
    async with docs.running() as watch:
        assert docs.held() == {"a.md": "one", "b.md": "one"}
        proxy.refuses = lambda _, path: (status, code) if path.endswith("/a.md") else None
        docs.write("a.md", "two")
        docs.write("b.md", "two")
        docs.write("c.md", "two")
        docs.delete("new.md")
        await eventually(lambda: docs.held() == {"a.md": "one", "b.md": "two", "c.md": "two"})
        await eventually(lambda: words in docs.sources["docs"].problems.get("a.md", ""))
        await eventually(lambda: docs.sources["docs"].problems.keys() == {"a.md"})
        assert docs.sources["docs"].error == ""
        await watch.rescan()  # goes on while it is refused
        proxy.refuses = lambda *_: None
        await eventually(lambda: docs.held()["a.md"] == "two")
        await eventually(lambda: docs.sources["docs"].problems == {})


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
async def test_an_object_that_the_server_cannot_give_now_is_taken_later_and_nothing_else_waits(
    docs, proxy, eventually, status, code
):
    docs.write("a.md", "one")
    docs.write("b.md", "one")
    async with docs.running():
        proxy.refuses = lambda _, path: (status, code) if path.endswith("/a.md") else None
        docs.write("a.md", "two")
        docs.write("b.md", "two")
        await eventually(lambda: docs.held() == {"a.md": "one", "b.md": "two"})
        proxy.refuses = lambda *_: None
        await eventually(lambda: docs.held() == {"a.md": "two", "b.md": "two"})


@pytest.mark.parametrize("status", [503, 429])
async def test_a_server_that_asks_for_fewer_requests_for_a_moment_is_asked_again(
    docs, proxy, status
):
    for n in range(3):
        docs.write(f"{n}.md", "text")
    proxy.refuses = lambda *_: (status, "SlowDown") if proxy.refused < 3 else None

    await docs.once()

    assert (len(docs.held()), proxy.refused) == (3, 3)
    assert [news.kind for news in docs.news if news.kind == "notice"] == []


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (503, "SlowDown", "the server asks for fewer requests"),
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "AccessDenied", "access is denied"),
    ],
)
async def test_a_bucket_that_is_refused_as_a_whole_loses_nothing_and_goes_on_by_itself(
    docs, proxy, eventually, status, code, words
):
    docs.write("a.md", "one")
    docs.write("b.md", "one")
    async with docs.running():
        proxy.refuses = lambda *_: (status, code)
        docs.write("a.md", "two")
        docs.delete("b.md")
        await eventually(lambda: words in docs.sources["docs"].error)
        assert docs.held() == {"a.md": "one", "b.md": "one"}
        assert docs.sources["docs"].problems == {}
        proxy.refuses = lambda *_: None
        await eventually(lambda: docs.held() == {"a.md": "two"})
        await eventually(lambda: docs.sources["docs"].error == "")


async def test_a_bucket_that_is_emptied_is_held_and_comes_back_by_itself(docs, eventually):
    for n in range(30):
        docs.write(f"{n}.md", "text")
    await docs.once()
    for n in range(30):
        docs.delete(f"{n}.md")

    async with docs.running() as watch:
        await eventually(lambda: watch.held is not None)
        assert len(docs.held()) == 30
        for n in range(30):
            docs.write(f"{n}.md", "text")
        await eventually(lambda: watch.held is None)

    assert len(docs.held()) == 30


async def test_no_document_goes_with_a_bucket_that_is_gone_or_refuses(
    docs, monkeypatch, eventually
):
    docs.write("a.md", "text")
    await docs.once()
    async with docs.running():
        docs.server.drop(docs.name)
        await eventually(lambda: "no such bucket" in docs.sources["docs"].error)
        assert docs.held() == {"a.md": "text"}

        docs.server.bucket(docs.name)
        docs.write("a.md", "another")
        await eventually(lambda: docs.held() == {"a.md": "another"})
        await eventually(lambda: docs.sources["docs"].error == "")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    watch = docs.build()
    with contextlib.suppress(TimeoutError):
        await run_until(watch, eventually, lambda: docs.sources["docs"].error)
    assert "the secret key is wrong" in docs.sources["docs"].error
    assert docs.held() == {"a.md": "another"}


async def run_until(watch, eventually, condition):
    task = asyncio.create_task(watch.run())
    try:
        await eventually(condition)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_server_that_dies_costs_time_and_nothing_else(tmp_path, eventually):
    with s3_server.running(tmp_path / "server") as server:
        docs = WatchedBucket(tmp_path / "unused", server, "docs")
        docs.write("a.md", "one")
        async with docs.running():
            server.stop(9)
            await eventually(lambda: "does not answer" in docs.sources["docs"].error)
            assert docs.held() == {"a.md": "one"}
            server.start()
            docs.write("a.md", "two")
            await eventually(lambda: docs.held() == {"a.md": "two"})


async def test_a_key_that_no_library_takes_closes_its_folder_only(docs, monkeypatch):
    """Other programs write keys such as `a//b.md`; versitygw, over files, holds none."""
    from obstore.exceptions import InvalidPathError

    docs.write("good/a.md", "one")
    docs.write("bad/b.md", "two")
    await docs.once()
    docs.write("good/a.md", "three")
    docs.write("bad/b.md", "four")
    listed = obstore.list_with_delimiter

    def refuses(*_, **__):
        raise InvalidPathError('Path "bad//x.md" contained empty path segment')

    def by_folder(store, prefix=None, **more):
        return refuses() if prefix == "bad" else listed(store, prefix, **more)

    monkeypatch.setattr(obstore, "list", refuses)
    monkeypatch.setattr(obstore, "list_with_delimiter", by_folder)
    await docs.once()

    assert docs.held() == {"good/a.md": "three", "bad/b.md": "two"}
    assert "rename that object" in docs.sources["docs"].problems["bad"]


@pytest.mark.nats
async def test_events_of_the_server_are_hints_and_make_listings_rare(
    tmp_path, nats_url, eventually
):
    client = Client()
    await client.connect(nats_url)

    async def subscribe(heard):
        return await watchers.hear_changes(client, "docs", heard)

    folder, topic = tmp_path / "server", "instep.sources.changed.docs"
    with s3_server.running(folder, nats_url, topic) as server:
        docs = WatchedBucket(tmp_path / "unused", server, "docs", subscribe, watch="events")
        docs.write("before.md", "x")
        async with docs.running():
            docs.write("a ü+b.md", "one")
            await eventually(lambda: docs.held().get("a ü+b.md") == "one")
            docs.write("a ü+b.md", "two")
            await eventually(lambda: docs.held().get("a ü+b.md") == "two")
            docs.delete("a ü+b.md")
            await eventually(lambda: docs.held() == {"before.md": "x"})
            for garbage in (b"", b"{", json.dumps({"Records": [1]}).encode()):
                await client.publish(topic, garbage)
            docs.write("c.md", "three")
            await eventually(lambda: docs.held() == {"before.md": "x", "c.md": "three"})
    await client.close()
