"""A folder that is not given any more: its mark, its documents, and its end."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gateway_world import NOW, NothingHeld

from services.gateway.app import build_app
from services.gateway.models import SourceView
from services.gateway.status.status import Board, Observation, PastFolder, status
from shared.bus.monitor.watched import Watched, decode

PAST = {"docs": PastFolder(NOW, "/home/me/docs", "handbook")}


def of(answer, name):
    return next(s for s in answer.sources if s.name == name)


def test_it_is_marked_and_no_pushed_source():
    board = Board({}, 0, {"docs": 3, "inbox": 1}, None, ())
    answer = status(board, Observation(NOW, past=PAST))
    docs, inbox = of(answer, "docs"), of(answer, "inbox")

    assert (docs.kind, docs.given, docs.documents) == ("folder", False, 3)
    assert (docs.path, docs.same_as) == ("/home/me/docs", "handbook")
    assert docs.last_seen == datetime.fromtimestamp(NOW, UTC)
    assert (inbox.kind, inbox.given, inbox.last_seen) == ("push", True, None)


def test_a_source_that_only_another_process_knows_has_the_kind_and_place_that_it_tells():
    told = Watched("drop", NOW, True, error="no answer", path="s3://drop", kind="bucket")
    past = {"old": PastFolder(NOW, "s3://old", kind="bucket")}
    board = Board({}, 0, {"drop": 3, "old": 1}, None, ())
    for error, documents in (("", board), ("no answer", Board({}, 0, {}, None, ()))):
        watched = decode(replace(told, error=error).encode())
        seen = Observation(NOW, sources={"drop": watched.health(NOW)}, past=past)

        drop = of(status(documents, seen), "drop")

        assert (drop.kind, drop.path) == ("bucket", "s3://drop")
    old = of(status(board, Observation(NOW, past=past)), "old")
    assert (old.kind, old.path) == ("bucket", "s3://old")


def test_what_an_older_process_tells_is_a_folder():
    told = json.loads(Watched("docs", NOW, True, path="/docs").encode())
    del told["kind"]

    assert decode(json.dumps(told).encode()).kind == "folder"


def test_it_is_not_listed_once_its_documents_are_gone_nor_marked_where_settings_name_it():
    seen = Observation(NOW, past=PAST)
    named = [SourceView(name="docs", kind="folder")]

    assert status(Board({}, 0, {}, None, ()), seen).sources == ()
    assert of(status(Board({}, 0, {"docs": 3}, None, ()), seen, sources=named), "docs").given


class Forgetting(NothingHeld):
    def __init__(self):
        self.asked = []

    async def forget(self, source):
        self.asked.append(source)
        return 3


@pytest.fixture
async def past(index):
    """A document of a folder that is not given any more, and of one that was published."""
    index.queries.removals = Forgetting()
    observe = index.looks.observe

    async def with_past():
        return replace(await observe(), past={"old": PastFolder(NOW - 60)})

    index.looks.observe = with_past
    for source in ("docs", "old", "inbox"):
        await index.put("a.md", ["text of it"], source=source)
    return index


@pytest.fixture
async def client(past):
    async with TestClient(TestServer(build_app(past.queries, past.commands))) as client:
        yield client


async def forget(client, source):
    response = await client.post("/api/v1/sources/forget", json={"source": source})
    return response.status, await response.json()


async def test_show_says_that_nothing_watches_the_document(client):
    old, docs = [
        await (await client.get(f"/api/v1/documents/{s}/a.md")).json() for s in ("old", "docs")
    ]

    assert old["why"].startswith("search shows its newest version; its source is not watched")
    assert "instep sources forget old" in old["fix"]
    assert ("watched" in docs["why"], docs["fix"]) == (False, "")


@pytest.mark.parametrize("source", ["old", "inbox"])
async def test_an_unwatched_source_is_forgotten(past, client, source):
    found = await forget(client, source)

    answer = {"source": source, "done": True, "documents": 3, "detail": ""}
    assert found == (200, answer)
    assert past.queries.removals.asked == [source]


async def test_a_watched_source_and_an_unknown_one_are_refused(past, client):
    watched, unknown = await forget(client, "docs"), await forget(client, "odl")

    assert (watched[0], watched[1]["code"]) == (409, "source_watched")
    assert (unknown[0], unknown[1]["code"]) == (404, "source_not_found")
    assert "did you mean 'old'?" in unknown[1]["detail"]
    assert past.queries.removals.asked == []
