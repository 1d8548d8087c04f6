"""Documents come in as rows of CSV."""

import asyncio
import codecs
import csv
import io
import json
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.problems import Problem
from services.gateway.uploads import table as table_module
from services.gateway.uploads.table import rows

BULK = "/api/v1/sources/inbox/bulk"
TYPE = {"Content-Type": "text/csv; charset=utf-8"}


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


HUGE = [str(n) for n in range(60_000)]


@pytest.mark.parametrize(
    ("table", "status", "told"),
    [
        (",".join(["path", "text", *HUGE]).encode() + b"\na,b\n", 422, "256 columns"),
        (b"path,text," + b"x" * 70_000 + b"\na,b\n", 422, "65,536 characters"),
        (b'path,text\na,"b\n\xff"\n', 400, "line 3"),
        (b'path,text\na,"' + b"x\n" * 600_000 + b'"\n', 413, "line 2"),
        (b"path,text\na,b\n" + b"," * 1_100_000 + b"\n", 413, "line 3"),
        (b'path,text\na,"' + b"x" * 1_100_000, 413, "never closed"),
    ],
)
async def test_what_no_table_needs_is_refused_whole(client, world, table, status, told):
    response = await client.post(BULK, data=io.BytesIO(table), headers=TYPE)
    body = await response.json()

    assert (response.status, world.intake.bodies) == (status, []), body
    assert told in body["detail"]


@pytest.mark.parametrize("data", [b"x" * 9, b",", b'"', b'a,"\n', b'a,"\r', b"\n", b"\0"])
async def test_a_table_without_an_end_is_refused_before_much_of_it_is_in_memory(data, monkeypatch):
    monkeypatch.setattr(table_module, "MAX_LINE_BYTES", 1_000)
    monkeypatch.setattr(table_module, "MOST_DOCUMENTS", 1_000)
    given = 0

    async def read(_):
        nonlocal given
        given += len(data)
        return data

    with pytest.raises(Problem):
        await counted(read)
    assert given < 10_000


async def test_rows_that_are_there_already_give_others_their_turn():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    found = await counted(in_portions(b"a,b\n" * 10_000, 2**16))
    running.cancel()
    assert len(found) == 10_000
    assert turns >= 100


@settings(max_examples=150, deadline=None)
@given(
    st.text('a,"\r\n\0é', max_size=60).map(str.encode),
    st.integers(1, 20),
    st.sampled_from([b"", codecs.BOM_UTF8]),
)
def test_rows_are_those_of_a_whole_file_however_the_body_comes(data, size, mark):
    with mock.patch.object(table_module, "MAX_LINE_BYTES", 60):  # windows end within rows
        found = asyncio.run(outcome(in_portions(mark + b"x,y\n" * 40 + data, size)))
    assert found == expected(b"x,y\n" * 40 + data)


async def test_lines_of_any_end_are_counted_and_nul_is_a_letter(client, world):
    table = b'path,text\ra\0.md,x\rb.md,"one\r\ntwo\rthree"\rc.md\rd.md,n\0l\r'
    response = await client.post(BULK, data=table, headers=TYPE)
    body = await response.json()

    assert [(e["line"], e["code"]) for e in body["errors"]] == [
        (2, "invalid_path"),
        (6, "invalid_request"),
    ]
    assert [one["text"] for one in world.intake.bodies] == ["one\r\ntwo\rthree", "n\0l"]


async def test_rows_that_become_much_larger_submissions_are_cut_off(client, world, monkeypatch):
    monkeypatch.setattr("services.gateway.uploads.many.MAX_BODY_BYTES", 20_000)
    names = [f"{n}-{'x' * 100}" for n in range(60)]
    rows = [",".join(["a", "b", *"1" * 60])] * 10
    table = "\n".join([",".join(["path", "text", *names]), *rows])
    response = await client.post(BULK, data=table.encode(), headers=TYPE)

    assert (response.status, (await response.json())["code"]) == (413, "request_too_large")
    assert world.intake.bodies == []


async def counted(read):
    return [row async for row in rows(read)]


async def outcome(read):
    try:
        return await counted(read)
    except Problem as problem:
        return problem.code


def expected(data):
    """The rows of a file by `csv` alone."""
    reader, number, found = csv.reader(io.StringIO(data.decode(), newline=""), strict=True), 1, []
    try:
        for cells in reader:
            if cells:
                found.append((number, cells))
            number = reader.line_num + 1
    except csv.Error:
        return "malformed"
    return found


def in_portions(data, size):
    left = io.BytesIO(data)

    async def read(_):
        return left.read(size)

    return read
