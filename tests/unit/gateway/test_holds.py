"""Removals that wait, as the gateway shows them."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.gateway.app import build_app
from shared.domain.errors import TransientError
from shared.ports import Hold


class Waiting:
    """Holds of sources; `covers` is what a release lets through."""

    def __init__(self, *sources):
        since = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
        self.holds = {s: Hold(s, since, 25, 30, ("a.md", "b.md"), kept=False) for s in sources}
        self.covers, self.error = True, None

    async def list(self):
        return list(self.holds.values())

    async def release(self, source):
        if self.error:
            raise self.error
        return self.holds.pop(source).vanished if self.covers else 0

    async def keep(self, source):
        old = self.holds[source]
        self.holds[source] = Hold(source, old.since, 25, 30, old.sample, kept=True)
        return 25


@pytest.fixture
def waiting(index):
    waiting = Waiting("docs", "wiki")
    index.queries.removals = waiting
    return waiting


@pytest.fixture
async def client(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        yield client


async def post(client, action, source):
    response = await client.post(f"/api/v1/removals/{quote(source, safe='')}/{action}")
    return response.status, await response.json()


async def test_what_waits_is_listed_and_kept_ones_are_not_in_the_total(client, waiting):
    status, kept = await post(client, "reject", "wiki")
    body = await (await client.get("/api/v1/removals")).json()

    assert (status, kept["done"], kept["documents"]) == (200, True, 25)
    assert "until their files come back" in kept["detail"]
    assert [(h["source"], h["kept"]) for h in body["holds"]] == [("docs", False), ("wiki", True)]
    assert body["holds"][0]["sample"] == ["a.md", "b.md"]
    assert body["total"] == 25


async def test_a_release_says_how_many_are_removed(client, waiting):
    status, body = await post(client, "approve", "docs")

    assert (status, body) == (
        200,
        {"source": "docs", "done": True, "documents": 25, "detail": ""},
    )
    assert list(waiting.holds) == ["wiki"]


async def test_a_release_of_more_than_was_shown_says_why_nothing_was_done(client, waiting):
    waiting.covers = False
    _, body = await post(client, "approve", "docs")

    assert (body["done"], body["documents"]) == (False, 0)
    assert "25 of 30" in body["detail"]


async def test_what_came_back_meanwhile_is_said(client, waiting):
    async def release(source):
        del waiting.holds[source]
        return 0

    waiting.release = release
    _, body = await post(client, "approve", "docs")

    assert (body["done"], "are back" in body["detail"]) == (False, True)


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_a_source_of_which_nothing_is_held_is_not_found(client, waiting, action):
    status, body = await post(client, action, "dcos")

    assert (status, body["code"]) == (404, "hold_not_found")
    assert "did you mean 'docs'?" in body["detail"]
    assert body["fix"] == "instep removals lists held ones"


async def test_a_folder_that_cannot_be_listed_is_unavailable(client, waiting):
    waiting.error = TransientError("/docs is missing")
    status, body = await post(client, "approve", "docs")

    assert (status, body["code"], body["detail"]) == (503, "unavailable", "/docs is missing")


async def test_where_no_folder_is_watched_nothing_is_held(client):
    listed = await (await client.get("/api/v1/removals")).json()
    status, body = await post(client, "approve", "docs")

    assert (listed["holds"], status, body["code"]) == ([], 404, "hold_not_found")


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_the_status_after_a_decision_shows_it(client, index, waiting, monkeypatch, action):
    monkeypatch.setattr("services.gateway.status.snapshots.GLANCE_S", 60.0)

    async def held():
        return (await (await client.get("/api/v1/status")).json())["documents"]["held"]

    async def decide(source):
        index.held = 0
        return 25

    index.held = 25
    before = [await held(), await held()]
    setattr(waiting, {"approve": "release", "reject": "keep"}[action], decide)
    await post(client, action, "docs")

    assert (before, await held()) == ([25, 25], 0)
