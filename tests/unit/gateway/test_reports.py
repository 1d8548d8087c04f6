"""Reports over HTTP."""

import asyncio
import html
import re
import shlex

import pytest
from aiohttp.test_utils import TestClient, TestServer
from memory_kv import MemoryShelf
from report_world import START, mixed, record, report
from yarl import URL

from services.cli.api.client import ask
from services.cli.commands.report import listed
from services.cli.terminal import Terminal
from services.gateway.app import build_app
from shared.batches.history import History
from shared.batches.members import DECLINED, BatchBook
from shared.batches.reports import BatchReport, Validation
from shared.domain.events import Batch
from shared.domain.ids import doc_key

PLAIN = Terminal(width=120, color=False)
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
async def history(index):
    index.queries.reports = History(MemoryShelf())
    for n in range(5):
        await index.queries.reports.keep(report([record("a.md")], id=f"b{n}", after_s=9 + n))
    await index.queries.reports.keep(mixed(after_s=99.0))
    return index.queries.reports


@pytest.fixture
async def client(index, history):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        yield client


async def test_a_report_is_json_with_a_schema_and_reads_back_whole(client):
    response = await client.get("/api/v1/batches/b_01hgs8k3m2/report")
    body = await response.json()

    assert response.content_type == "application/json"
    assert body["schema"] == 1
    assert BatchReport.model_validate(body) == mixed(after_s=99.0)


async def test_last_is_the_batch_that_ended_last(client):
    body = await (await client.get("/api/v1/batches/last/report?source=docs")).json()

    assert body["batch"]["id"] == "b_01hgs8k3m2"


async def test_a_browser_gets_a_page_with_a_policy(client):
    by_header = await client.get("/api/v1/batches/b3/report", headers=BROWSER)
    by_name = await client.get("/api/v1/batches/b3/report?format=html")

    assert by_header.content_type == by_name.content_type == "text/html"
    assert await by_header.text() == await by_name.text()
    assert "default-src 'none'" in by_name.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in by_name.headers["Content-Security-Policy"]
    assert by_name.headers["X-Content-Type-Options"] == "nosniff"
    assert "the last 6 batches of docs" in (await by_name.text()).lower()


async def test_a_batch_is_its_report_without_lists(client):
    line = await (await client.get("/api/v1/batches/b3?source=docs")).json()

    assert (line["batch"]["id"], "troubles" in line) == ("b3", False)


async def test_a_batch_that_ends_meanwhile_is_waited_for(client, history, monkeypatch):
    monkeypatch.setattr("services.gateway.status.reports.AGAIN_S", 0.001)
    looked = asyncio.Event()
    reports = history.reports

    async def look(*asked):
        looked.set()
        return await reports(*asked)

    monkeypatch.setattr(history, "reports", look)
    waiting = asyncio.create_task(client.get("/api/v1/batches/late?wait=60"))
    await looked.wait()
    await history.keep(report([record("a.md")], id="late", after_s=9))

    assert (await (await waiting).json())["batch"]["id"] == "late"


async def test_a_batch_that_does_not_end_in_time_is_not_found(client, monkeypatch):
    monkeypatch.setattr("services.gateway.status.reports.AGAIN_S", 0.001)
    response = await client.get("/api/v1/batches/late?wait=0.01")

    assert (response.status, (await response.json())["code"]) == (404, "batch_not_found")


async def test_the_list_is_newest_first_and_goes_on_where_it_ended(client):
    first = await (await client.get("/api/v1/batches?source=docs&limit=4")).json()
    rest = await (await client.get(f"/api/v1/batches?limit=4&cursor={first['next_cursor']}")).json()

    ids = [line["batch"]["id"] for page in (first, rest) for line in page["batches"]]
    assert ids == ["b_01hgs8k3m2", "b4", "b3", "b2", "b1", "b0"]
    assert rest["next_cursor"] is None
    assert "troubles" not in first["batches"][0]


async def test_validations_are_those_of_batches_and_of_runs(client, history):
    of_docs = Validation(kind="validate", at=START, source="docs", generation="g", passed=False)
    of_all = Validation(kind="validate", at=START, source="", generation="g", passed=False)
    await history.judge([of_docs, of_all])

    docs = await (await client.get("/api/v1/validations?source=docs")).json()
    every = await (await client.get("/api/v1/validations")).json()
    other = await (await client.get("/api/v1/validations?source=other")).json()

    assert [v["kind"] for v in docs["validations"]] == ["batch"] * 6 + ["validate"]
    assert [v["source"] for v in every["validations"]] == ["docs"] * 6 + [""]
    assert docs["validations"][0]["passed"] is False
    assert other == {"validations": [], "next_cursor": None}


async def test_the_index_of_reports_is_a_page_with_links(client):
    response = await client.get("/api/v1/reports?source=docs&limit=3")
    page = await response.text()

    assert response.content_type == "text/html"
    assert page.count("/report?source=docs&amp;format=html") == 3
    assert "Validations" in page


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/v1/batches/nosuch/report?format=html", 404),
        ("/api/v1/batches/last/report?source=other", 404),
        ("/api/v1/batches/b1/report?format=pdf", 422),
        ("/api/v1/batches/b1/report?fromat=html", 422),
        ("/api/v1/batches?source=..", 422),
        ("/api/v1/validations?source=a.b", 422),
        ("/api/v1/validations?source=a%0A", 422),
        ("/api/v1/reports?source=*", 422),
    ],
)
async def test_what_cannot_be_is_a_problem(client, address, status):
    response = await client.get(address)

    assert response.status == status
    assert response.content_type == "application/problem+json"


async def test_an_id_that_two_sources_use_is_asked_for_with_its_source(client, history):
    for source in ("wiki", "a-b"):
        found = report([record("a.md")], id="b1", after_s=20)
        batch = found.batch.model_copy(update={"source": source})
        await history.keep(found.model_copy(update={"batch": batch}))
    refused = await client.get("/api/v1/batches/b1/report")
    problem = await refused.json()
    one = await (await client.get("/api/v1/batches/b1/report?source=wiki")).json()

    assert (refused.status, problem["code"]) == (422, "ambiguous_batch")
    assert problem["detail"] == "'b1' is a batch of a-b, docs and of wiki"
    assert "--source a-b" in problem["fix"]
    assert one["batch"]["source"] == "wiki"


async def test_a_source_without_a_batch_does_not_say_what_to_validate(client):
    response = await client.post("/api/v1/validate", json={"source": "docs"})

    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")


ODD_IDS = (
    "a/b", "a b", "a/../b", "a//b", "/", "?x=1", "#", "%2F", "%", "\u00e9\U0001f600", "a\nb",
    "x" * 500, "a/report", "'; rm -rf ~",
)  # fmt: skip


@pytest.mark.parametrize("name", [*ODD_IDS, ".", ".."])
async def test_the_command_line_finds_a_batch_by_every_id(client, history, name):
    await history.keep(report([record("a.md")], id=name, after_s=500))
    base = client.make_url("")
    address = f"http://{base.host}:{base.port}"
    asked = await asyncio.to_thread(ask, address, "report", {"batch": name, "source": "docs"})

    assert asked["batch"]["id"] == name


@pytest.mark.parametrize("name", ODD_IDS)
async def test_the_list_of_reports_leads_to_a_batch_of_every_id(client, history, name):
    await history.keep(report([record("a.md")], id=name, after_s=500))
    listed = await (await client.get("/api/v1/reports?limit=1")).text()
    link = html.unescape(re.search(r'href="([^"]+/report[^"]*)"', listed)[1])
    response = await client.get(URL(link, encoded=True), headers=BROWSER)
    page = html.unescape(await response.text())

    assert (response.status, response.content_type) == (200, "text/html")
    shown = shlex.quote(name).replace("\n", "\\u000a")
    assert f"instep report {shown} --source docs --json" in page


async def test_an_instance_that_keeps_nothing_says_so(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        empty = await (await client.get("/api/v1/batches")).json()
        page = await client.get("/api/v1/reports")
        missing = await client.get("/api/v1/batches/last/report")

        assert empty == {"batches": [], "next_cursor": None, "open": []}
        assert "No batch has ended yet" in await page.text()
        assert missing.status == 404


@pytest.fixture
def book(index):
    index.queries.book = made = BatchBook(MemoryShelf(), "gtest")
    return made


def announced(id, count=3, source="docs"):
    return Batch(id=id, count=count, source=source, started_at=START)


async def test_open_batches_are_listed_with_what_has_come_of_them(index, book, client):
    done, revision = await index.put("a.md", ["x"])
    working, next_revision = await index.begin("b.md", ["y"])
    batch = announced("open1", count=5)
    await book.join(batch, done, revision)
    await book.join(batch, working, next_revision)
    await book.join(batch, f"{DECLINED}17 empty", 0)
    await book.announce(announced("open2", 2, "wiki"), {doc_key("wiki", "c.md"): 1}, unchanged=1)

    both = await (await client.get("/api/v1/batches")).json()
    docs = await (await client.get("/api/v1/batches?source=docs&limit=2")).json()
    second = await client.get(f"/api/v1/batches?source=docs&cursor={docs['next_cursor']}")

    assert {one["batch"]["id"] for one in both["open"]} == {"open1", "open2"}
    (one,) = docs["open"]
    assert one["states"] == {"searchable": 1, "working": 1}
    assert (one["accepted"], one["refused"], one["missing"]) == (2, 1, 2)
    assert one["noted_at"] is not None
    other = next(one for one in both["open"] if one["batch"]["id"] == "open2")
    assert (other["unchanged"], other["missing"], other["states"]) == (1, 0, {"queued": 1})
    assert (await second.json())["open"] == []
    assert [line.split()[2] for line in listed(docs, PLAIN, now=0.0)[1:2]] == ["docs"]
    assert "1 searchable, 1 working, 2 not there yet" in listed(docs, PLAIN, now=0.0)[1]


async def test_an_open_batch_is_answered_and_its_end_waited_for(index, book, client, history):
    await book.announce(announced("late"), {doc_key("docs", "a.md"): 1}, unchanged=2)

    opened = await (await client.get("/api/v1/batches/late")).json()
    ended = await (await client.get("/api/v1/batches/b3")).json()
    unknown = await client.get("/api/v1/batches/none")
    await book.announce(announced("late", source="wiki"), {doc_key("wiki", "a.md"): 1}, 0)
    two = await client.get("/api/v1/batches/late")
    one = await client.get("/api/v1/batches/late?source=wiki")

    assert (opened["complete"], opened["finished_at"]) == (False, None)
    assert (opened["open"]["accepted"], opened["documents"]["unchanged"]) == (1, 2)
    assert (ended["open"], ended["complete"], ended["batch"]["id"]) == (None, True, "b3")
    assert (unknown.status, (await unknown.json())["code"]) == (404, "batch_not_found")
    assert (two.status, (await two.json())["code"]) == (422, "ambiguous_batch")
    assert (await one.json())["open"]["batch"]["source"] == "wiki"


async def test_a_batch_that_ends_between_the_two_looks_is_found(book, client, history, monkeypatch):
    await book.announce(announced("late"), {doc_key("docs", "a.md"): 1}, unchanged=2)
    open_ones = book.open

    async def ends_before(*asked):
        await history.keep(report([record("a.md")], id="late", after_s=9))
        await book.forget(announced("late"))
        return await open_ones(*asked)

    monkeypatch.setattr(book, "open", ends_before)
    response = await client.get("/api/v1/batches/late")

    body = await response.json()
    assert (response.status, body.get("open"), body["batch"]["id"]) == (200, None, "late")


async def test_a_batch_that_ends_while_all_are_listed_is_in_the_list(
    book, client, history, monkeypatch
):
    await book.announce(announced("late"), {doc_key("docs", "a.md"): 1}, unchanged=2)
    lines = history.history

    async def ends_after(*asked):
        found = await lines(*asked)
        await history.keep(report([record("a.md")], id="late", after_s=9))
        await book.forget(announced("late"))
        return found

    monkeypatch.setattr(history, "history", ends_after)
    body = await (await client.get("/api/v1/batches?source=docs")).json()

    assert "late" in {one["batch"]["id"] for one in (*body["open"], *body["batches"])}
