"""What both clients send to write documents, and what they hear."""

import asyncio
import itertools
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from memory_results import MemoryResults, indexed
from uploads_world import UploadWorld

from instep import client as module
from instep.client import AsyncClient, Client, Refused, Unreachable, UploadFile
from instep.http import EventLines
from services.gateway.app import build_app
from services.gateway.events.stream import event_bytes

BOTH = pytest.mark.parametrize("kind", [Client, AsyncClient])
RECEIPT = {
    "receipt": "k-7",
    "state": "queued",
    "final": False,
    "document": {
        "source": "inbox",
        "path": "a b.md",
        "doc_key": "k",
        "revision": 7,
        "changed_at": "2026-11-30T12:00:00Z",
    },
}
MANY = {"batch": "b", "accepted": 2, "refused": 0}


class Echo:
    """A gateway that remembers what it was sent."""

    def __init__(self):
        self.requests = []

    async def answer(self, request):
        body = await request.read()
        self.requests.append((request.method, request.rel_url, dict(request.headers), body))
        many = request.method == "POST"
        deleted = {**MANY, "matched": 2} if request.path.endswith("/delete") else MANY
        return web.json_response(deleted if many else RECEIPT, status=202)


@pytest.fixture
async def echo():
    return Echo()


@pytest.fixture
async def url(echo):
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo.answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def done(kind, url, name, *args, **fields):
    if kind is Client:
        return await asyncio.to_thread(getattr(Client(url), name), *args, **fields)
    async with AsyncClient(url) as client:
        return await getattr(client, name)(*args, **fields)


@BOTH
async def test_a_document_is_sent_as_it_is(kind, url, echo):
    answer = await done(
        kind,
        url,
        "put_document",
        "inbox",
        "a b.md",
        b"\x00\xff",
        media_type="text/markdown",
        wait=5,
        if_revision=3,
        idempotency_key="one",
    )

    method, address, headers, body = echo.requests[0]
    assert (answer.receipt, answer.document.revision) == ("k-7", 7)
    assert (method, address.raw_path) == ("PUT", "/api/v1/sources/inbox/documents/a%20b.md")
    assert (dict(address.query), body) == ({"wait": "5"}, b"\x00\xff")
    assert headers["Content-Type"] == "text/markdown"
    assert (headers["If-Match"], headers["Idempotency-Key"]) == ('"3"', "one")


@BOTH
async def test_text_is_sent_as_utf_8_and_a_new_document_must_be_new(kind, url, echo):
    await done(kind, url, "put_document", "inbox", "ü.md", "grün", if_revision=0)

    _, address, headers, body = echo.requests[0]
    assert address.path == "/api/v1/sources/inbox/documents/ü.md"
    assert body.decode() == "grün"
    assert headers["If-Match"] == '"0"'
    assert "If-None-Match" not in headers


@BOTH
async def test_a_document_is_deleted(kind, url, echo):
    await done(kind, url, "delete_document", "inbox", "a.md", if_revision=2)

    method, address, headers, body = echo.requests[0]
    assert (method, address.path, body) == ("DELETE", "/api/v1/sources/inbox/documents/a.md", b"")
    assert headers["If-Match"] == '"2"'


@BOTH
async def test_many_documents_are_lines_of_json(kind, url, echo):
    sent = [{"path": "a.md", "text": "one\ntwo"}, {"op": "delete", "path": "b.md"}]

    answer = await done(kind, url, "bulk", "inbox", iter(sent), idempotency_key="k")
    deleted = await done(kind, url, "delete_documents", "inbox", prefix="old/", dry_run=True)

    _, address, headers, body = echo.requests[0]
    assert (answer.accepted, deleted.matched) == (2, 2)
    assert address.path == "/api/v1/sources/inbox/bulk"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in body.splitlines()] == sent
    assert json.loads(echo.requests[1][3]) == {"prefix": "old/", "dry_run": True}


@pytest.fixture
async def uploads():
    return UploadWorld()


@pytest.fixture
async def gateway(uploads):
    async with TestServer(uploads.app()) as server:
        yield str(server.make_url("/"))


@BOTH
async def test_each_line_has_its_receipt(kind, gateway, uploads):
    sent = [{"path": "a.md", "text": "one"}, {"path": "../b.md", "text": "x"}]

    for _ in range(2):
        found = await done(kind, gateway, "bulk_receipts", "inbox", sent, idempotency_key="k")
        by_line = {one.line: one for one in found}
        assert (by_line[1].status, by_line[1].document.path) == (202, "a.md")
        assert (by_line[2].status, by_line[2].code) == (422, "invalid_path")
    assert len(uploads.intake.bodies) == 1


@BOTH
async def test_a_document_may_be_written_only_if_there_is_none(kind, gateway, uploads):
    await done(kind, gateway, "put_document", "inbox", "a.md", "one", if_revision=0)

    with pytest.raises(Refused) as refused:
        await done(kind, gateway, "put_document", "inbox", "a.md", "two", if_revision=0)

    assert refused.value.code == "revision_changed"
    assert await uploads.content("a.md") == b"one"


@BOTH
@pytest.mark.parametrize("letter", ["ж", "字", "😀"])
async def test_a_document_of_any_script_has_the_bytes_of_its_text(kind, gateway, uploads, letter):
    text = letter * (900_000 // len(letter.encode()))
    meta = UploadFile("b.md", "x", {"title": letter * 100})

    found = await done(kind, gateway, "bulk_receipts", "inbox", [{"path": "a.md", "text": text}])
    await done(kind, gateway, "upload_documents", "inbox", [meta])

    assert [one.status for one in found] == [202]
    assert await uploads.content("a.md") == text.encode()
    assert uploads.intake.bodies[-1]["title"] == letter * 100


@BOTH
async def test_half_a_character_is_refused_with_the_name_of_its_field(kind, gateway):
    sent = [{"path": "a.md", "text": "x\ud800"}, {"path": "b.md", "text": "x"}]

    found = await done(kind, gateway, "bulk_receipts", "inbox", sent)

    told = {one.line: (one.status, one.detail) for one in found}
    assert told[1] == (422, "text: must be valid Unicode text")
    assert told[2][0] == 202


async def test_only_the_time_of_an_operation_ends_a_request_of_asyncio(url):
    async with AsyncClient(url) as client:
        assert client._session.timeout.total is None


@BOTH
async def test_a_table_is_sent_with_its_columns(kind, gateway, uploads):
    table = "id,text,lang\na.md,grün,de\n"

    answer = await done(kind, gateway, "bulk_csv", "inbox", table, path_column="id")

    assert answer.accepted == 1
    (sent,) = uploads.intake.bodies
    assert (sent["text"], sent["metadata"]) == ("grün", {"lang": "de"})


@BOTH
async def test_files_are_sent_as_they_are_read_with_any_name(kind, gateway, uploads, tmp_path):
    data = bytes(range(256)) * 8_000
    (tmp_path / "big.bin").write_bytes(data)
    odd = 'a "b"; c\\ %41 é\u2028\n.md'
    files = [
        UploadFile(odd, "tëxt", {"title": "T", "metadata": {"n": 1}}),
        UploadFile("big.bin", tmp_path / "big.bin"),
    ]

    answer = await done(kind, gateway, "upload_documents", "inbox", files)
    found = await done(kind, gateway, "upload_receipts", "inbox", files)

    assert (answer.accepted, answer.refused) == (2, 0)
    assert {one.file: one.status for one in found} == {odd: 202, "big.bin": 202}
    assert await uploads.content(odd) == "tëxt".encode()
    assert await uploads.content("big.bin") == data
    said = next(body for body in uploads.intake.bodies if body["path"] == odd)
    assert (said["title"], said["metadata"]) == ("T", {"n": 1})


@BOTH
async def test_a_file_that_cannot_be_read_is_told_before_anything_is_sent(
    kind, gateway, uploads, tmp_path
):
    files = [UploadFile("a.md", "x"), UploadFile("b.md", tmp_path / "none.md")]

    with pytest.raises(Refused, match="No such file") as refused:
        await done(kind, gateway, "upload_documents", "inbox", files)

    assert refused.value.code == "source_gone"
    assert uploads.intake.bodies == []


@BOTH
async def test_a_form_that_is_refused_before_it_is_read_says_why(kind, gateway, tmp_path):
    with (tmp_path / "big.bin").open("wb") as sparse:
        sparse.truncate(20_000_000)

    with pytest.raises(Refused) as refused:
        await done(
            kind, gateway, "upload_documents", "docs", [UploadFile("b", tmp_path / "big.bin")]
        )

    assert refused.value.code == "source_watched"


@BOTH
async def test_an_answer_that_is_cut_off_is_no_answer(kind):
    async def cut(request):
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(b'{"line": 1, "path": "a.md", "status": 202}\n')
        request.transport.abort()
        return response

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", cut)
    async with TestServer(app) as server:
        with pytest.raises(Unreachable):
            await done(kind, str(server.make_url("/")), "bulk_receipts", "inbox", [{}])


@BOTH
async def test_a_header_that_cannot_be_is_refused_before_anything_is_sent(kind, url, echo):
    with pytest.raises(Refused, match="Idempotency-Key"):
        await done(kind, url, "put_document", "inbox", "a.md", "x", idempotency_key="a\r\nX: y")

    assert echo.requests == []


@BOTH
async def test_an_operation_with_a_body_of_its_own_is_not_asked_without_one(kind, url, echo):
    with pytest.raises(Refused, match="put_document: sends a body"):
        await done(kind, url, "ask", "put_document", {"source": "inbox", "path": "a.md"})

    assert echo.requests == []


async def heard(kind, url, count, **fields):
    """The first events that a client hears."""
    if kind is Client:
        listening = Client(url).events(**fields)
        return await asyncio.to_thread(lambda: list(itertools.islice(listening, count)))
    found = []
    async with AsyncClient(url) as client:
        async for told in client.events(**fields):
            found.append(told)
            if len(found) == count:
                break
    return found


@BOTH
async def test_a_client_hears_what_it_has_missed(kind, index):
    results = MemoryResults()
    for n in range(1, 5):
        results.put(indexed(n))

    async with TestServer(build_app(index.queries, index.commands, results=results)) as server:
        found = await heard(kind, str(server.make_url("/")), 3, after=1, types="document")

    assert [(told.id, told.type, told.data["path"]) for told in found] == [
        (2, "document", "2.md"),
        (3, "document", "3.md"),
        (4, "document", "4.md"),
    ]


@BOTH
async def test_a_client_goes_on_where_a_stream_broke(kind, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.001)
    asked = []

    async def stream(request):
        asked.append(request.query.get("after"))
        response = web.StreamResponse()
        await response.prepare(request)
        number = 1 if len(asked) == 1 else 2
        await response.write(b"retry: 1000\n\n" + event_bytes("document", "{}", number))
        if len(asked) == 1:
            await response.write(b"event: document\nid: 9\ndata: {")
            request.transport.abort()
        return response

    app = web.Application()
    app.router.add_get("/api/v1/events", stream)
    async with TestServer(app) as server:
        found = await heard(kind, str(server.make_url("/")), 2)

    assert [told.id for told in found] == [1, 2]
    assert asked == [None, "1"]


@BOTH
async def test_a_request_that_cannot_be_is_refused_and_not_repeated(kind, index):
    results = MemoryResults()
    async with TestServer(build_app(index.queries, index.commands, results=results)) as server:
        with pytest.raises(Refused, match="'badge' is not a type of events"):
            await heard(kind, str(server.make_url("/")), 1, types="badge")


@given(
    st.lists(
        st.tuples(st.integers(0, 2**60), st.dictionaries(st.text(), st.text(), min_size=1)),
        max_size=5,
    )
)
def test_events_are_read_as_they_were_written(events):
    raw = b": ping\n\n".join(
        event_bytes("document", json.dumps(data, ensure_ascii=False), number)
        for number, data in events
        if not _has_surrogates(data)
    )
    lines = EventLines(None)

    found = [
        (lines.after, told) for line in raw.splitlines(keepends=True) if (told := lines.take(line))
    ]

    assert found == [
        (number, ("document", data)) for number, data in events if not _has_surrogates(data)
    ]


def _has_surrogates(data):
    return any(
        ord(letter) in range(0xD800, 0xE000) for text in data.items() for letter in "".join(text)
    )


def test_an_id_counts_only_with_its_whole_event():
    lines = EventLines(7)
    for line in (b"event: document\n", b"id: 9\n", b"data: {"):
        assert lines.take(line) is None

    assert lines.after == 7
