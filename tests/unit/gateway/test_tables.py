"""Documents come in as rows of CSV."""

import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from uploads_world import UploadWorld

BULK = "/api/v1/sources/inbox/bulk"
TYPE = {"Content-Type": "text/csv; charset=utf-8"}


@pytest.fixture
def world():
    return UploadWorld()


@pytest.fixture
async def client(world):
    async with TestClient(TestServer(world.app())) as client:
        yield client


async def test_rows_are_documents_with_the_other_columns_as_metadata(client, world):
    table = (
        "\ufeffpath,text,title,lang,price\r\n"
        'a.md,"two\nlines, and ""quotes""",A,en,\r\n'
        "\r\n"
        "ü/b.md,grün,,,4.5\r\n"
    )
    response = await client.post(BULK, data=table.encode(), headers=TYPE)
    body = await response.json()

    assert (response.status, body["accepted"]) == (202, 2), body
    sent = {one["path"]: one for one in world.intake.bodies}
    assert sent["a.md"]["text"] == 'two\nlines, and "quotes"'
    assert (sent["a.md"]["title"], sent["a.md"]["metadata"]) == ("A", {"lang": "en"})
    assert sent["ü/b.md"]["metadata"] == {"price": "4.5"}
    assert "title" not in sent["ü/b.md"]
    assert {one["batch"]["count"] for one in sent.values()} == {2}


async def test_other_columns_may_hold_path_and_text(client, world):
    table = b"id,body,path\nx/1,hello,of old\n"
    response = await client.post(
        f"{BULK}?path_column=id&text_column=body", data=table, headers=TYPE
    )

    assert response.status == 202, await response.text()
    (sent,) = world.intake.bodies
    assert (sent["path"], sent["text"], sent["metadata"]) == ("x/1", "hello", {"path": "of old"})


async def test_bad_rows_are_named_by_their_first_line_and_the_others_taken(client, world):
    secret = "the secret of the lighthouse"
    table = (
        f'path,content\na.md,"one\ntwo\nthree"\nb.md,{secret},{secret}\nc.md\n'
        f"../d.md,{secret}\n,{secret}\ne.md,fine\nf.md,{'x' * 1_032_190}\n"
    )
    for address in (BULK, f"{BULK}?receipts=all"):
        response = await client.post(address, data=table.encode(), headers=TYPE)
        text = await response.text()
        found = (
            json.loads(text)["errors"]
            if address == BULK
            else [one for one in map(json.loads, text.splitlines()) if one["status"] != 202]
        )

        assert {one["line"]: (one["path"], one["code"]) for one in found} == {
            5: ("b.md", "invalid_request"),
            6: ("c.md", "invalid_request"),
            7: ("../d.md", "invalid_path"),
            8: ("", "invalid_request"),
            10: ("f.md", "document_too_large"),
        }
        assert secret not in text


@pytest.mark.parametrize(
    ("table", "status", "code", "told"),
    [
        (b"", 422, "invalid_request", "no lines"),
        (b"path,text\n", 422, "invalid_request", "no lines"),
        (b"name,text\na,b\n", 422, "invalid_request", "no column 'path'"),
        (b"path,body\na,b\n", 422, "invalid_request", "text or content"),
        (b"path,text,content\na,b,c\n", 422, "invalid_request", "text or content"),
        (b"path,text,text\na,b,c\n", 422, "invalid_request", "'text' twice"),
        (b"path,text,\na,b,c\n", 422, "invalid_request", "without a name"),
        (b'path,text\na,b\nc,"never closed\n', 400, "malformed", "line 3"),
        (b'path,text\na,"b"x\n', 400, "malformed", "line 2"),
        (b"path,text\na,\xff\n", 400, "malformed", "not UTF-8"),
    ],
)
async def test_a_table_that_cannot_be_read_changes_nothing(
    client, world, table, status, code, told
):
    response = await client.post(BULK, data=table, headers=TYPE)
    body = await response.json()

    assert (response.status, body["code"]) == (status, code), body
    assert told in body["detail"]
    assert world.intake.bodies == []


async def test_a_cell_that_never_ends_is_cut_off(client, world, monkeypatch):
    monkeypatch.setattr("services.gateway.uploads.handlers.MAX_BODY_BYTES", 10_000)
    table = b'path,text\na,"' + b"x" * 20_000
    response = await client.post(BULK, data=table, headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (413, "request_too_large")
