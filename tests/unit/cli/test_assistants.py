"""What assistants are told, and who is let in: without a running instance."""

import json
import socket
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from mcp import Client

from instep.client import AsyncClient
from services.cli.exits import Stop
from services.cli.main import run
from services.cli.mcp import answers, tools, transports
from services.gateway.views import (
    ChunkView,
    DocumentAnswer,
    Freshness,
    HitChunk,
    HitDocument,
    HitView,
    RevisionView,
    SearchAnswer,
    Total,
)
from services.host.data_folder import write_private
from services.host.options import Options
from services.host.owner_key import OWNER_KEY

NOW = datetime(2026, 11, 30, tzinfo=UTC)
HALF = "x" * (answers.MOST_CHARACTERS // 2)


def found(*texts):
    hits = tuple(
        HitView(
            document=HitDocument(
                source="docs", path=f"{n}.md", doc_key="k", title="", state="searchable"
            ),
            chunk=HitChunk(id="c", n=1, heading=("A",), text=text),
            score=1.0,
        )
        for n, text in enumerate(texts)
    )
    return SearchAnswer(
        hits=hits,
        total=Total(value=9, exact=False),
        mode="hybrid",
        took_ms=1,
        generation="g",
        freshness=Freshness(watermark=None, pending_documents=3),
        hint="h",
    )


def document(*texts, outcome="indexed"):
    return DocumentAnswer(
        source="docs",
        path="a.md",
        doc_key="k",
        state="searchable",
        generation="g",
        why="w",
        chunk_count=len(texts),
        served=RevisionView(sequence=7, outcome=outcome, changed_at=NOW),
        chunks=tuple(ChunkView(id="c", n=n, text=t, born=1) for n, t in enumerate(texts, 1)),
    )


def test_passages_beyond_the_length_of_an_answer_are_counted_not_sent():
    told = answers.passages(found(HALF, HALF, "more"))

    assert [p.document for p in told.passages] == ["docs/0.md", "docs/1.md"]
    assert (told.left_out, told.total, told.pending_documents, told.hint) == (1, 9, 3, "h")
    assert answers.passages(found()).passages == ()


def test_a_text_that_is_longer_than_an_answer_comes_alone():
    assert answers.fitting([HALF * 3, "b"]) == 1
    assert answers.fitting([]) == 0


def test_a_long_document_is_shown_part_by_part_until_its_end():
    whole, read, at = document("a", HALF, HALF, None, "e"), [], 1
    while at is not None:
        part = answers.shown(whole, at)
        read += [chunk.text for chunk in part.chunks]
        at = part.next_chunk

    assert read == ["a", HALF, HALF, None, "e"]
    assert answers.shown(whole, 99).chunks == ()


def test_the_revision_of_a_document_is_that_of_the_text_that_is_shown():
    assert answers.shown(document("a"), 1).revision == 7
    assert answers.shown(document("a", outcome="refused"), 1).revision is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8770", ("127.0.0.1", 8770)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("127.9.9.9:80", ("127.9.9.9", 80)),
    ],
)
def test_an_address_of_this_machine_is_served(text, address):
    assert transports.address_of(text) == address


@pytest.mark.parametrize(
    "text", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "evil.example:80", ":80", "127.0.0.1", "a:b:c"]
)
def test_an_address_that_others_reach_is_refused_with_what_to_write(text):
    with pytest.raises(Stop) as stop:
        transports.address_of(text)

    assert "127.0.0.1" in stop.value.fix
    assert stop.value.status == 2


def test_an_address_that_is_taken_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Stop, match=f"127.0.0.1:{port}: .*in use"):
            transports.run_http(None, "127.0.0.1", port)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer ik_1", "ik_1"),
        ("bearer  ik_1 ", "ik_1"),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("Basic aWtfMQ==", ""),
        ("", ""),
    ],
)
def test_a_key_is_what_stands_behind_bearer(header, key):
    assert transports.bearer({"authorization": header}) == key


def test_the_key_of_the_owner_is_shown_for_nobody_else(tmp_path, monkeypatch):
    monkeypatch.delenv("INSTEP_URL", raising=False)
    write_private(tmp_path / OWNER_KEY, "the owner's\n")
    options = Options(data=tmp_path, url="http://127.0.0.1:9", key_file=tmp_path / OWNER_KEY)
    of_caller = transports.of_caller(options)

    keys = [
        of_caller(SimpleNamespace(headers=headers))._key
        for headers in (None, {}, {"authorization": "Bearer theirs"})
    ]

    assert keys == ["", "", "theirs"]
    assert transports.of_owner(options)(SimpleNamespace(headers=None))._key == "the owner's"


async def test_an_answer_of_another_version_is_told_without_its_text():
    async def answer(_):
        return web.json_response({"hits": "the secret of a document"})

    app = web.Application()
    app.router.add_post("/api/v1/search", answer)
    app.router.add_get("/api/v1/search", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        made = tools.serve(lambda _: AsyncClient(url, key="k"), version="1", publishes=False)
        async with Client(made) as client:
            told = await client.call_tool("search", {"question": "secret"})

    assert told.is_error
    assert "another version" in told.content[0].text
    assert "document" not in told.content[0].text


async def test_the_tool_that_writes_is_offered_only_if_the_owner_says_so():
    names = {}
    for publishes in (False, True):
        made = tools.serve(lambda _: None, version="1", publishes=publishes)
        names[publishes] = {tool.name: tool for tool in await made.list_tools()}

    assert set(names[True]) - set(names[False]) == {"publish"}
    assert names[True]["publish"].annotations.destructive_hint
    described = json.dumps([tool.model_dump(mode="json") for tool in names[True].values()])
    assert '"description": ""' not in described


def test_without_the_sdk_it_is_said_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    for name in ("tools", "transports"):
        monkeypatch.delitem(sys.modules, f"services.cli.mcp.{name}")
        monkeypatch.delattr(f"services.cli.mcp.{name}")

    assert run(["mcp", "--data", str(tmp_path)]) == 2
    assert "Fix: pip install 'instep[mcp]'" in capsys.readouterr().err
