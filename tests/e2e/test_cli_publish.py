"""`instep publish` before a gateway whose producer answers at once, and what is not taken."""

import asyncio
import base64
import json
import os
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestServer, unused_port
from uploads_world import UploadWorld

from services.gateway.uploads import handlers
from services.host.data_folder import DataFolder, Instance
from shared.domain.errors import StreamFull
from shared.domain.ids import content_hash, doc_key, piece_of
from shared.domain.ordering import Reason
from shared.ports import Submitted

FOR_INBOX = ("--source", "inbox")


class Gateway:
    """A gateway that is announced in a data folder; it can go away and come back elsewhere."""

    def __init__(self, world, folder):
        self.world, self.folder, self.server = world, folder, None

    async def start(self):
        self.server = TestServer(self.world.app())
        await self.server.start_server()
        url = str(self.server.make_url("")).rstrip("/")
        now = datetime.now(UTC).isoformat()
        self.folder.announce(Instance(os.getpid(), "nats://127.0.0.1:1", url, now, "0.1.0"))

    async def stop(self):
        await self.server.close()

    def abort(self):
        """Cut off all that is asked, as the end of its process does."""
        for connection in self.server.runner.server.connections:
            connection.transport.abort()

    async def move(self):
        before = self.server
        await self.start()
        await before.close()


@pytest.fixture
def world():
    return UploadWorld()


@pytest.fixture
async def gateway(cli, world):
    folder = DataFolder(cli.data)
    with folder.lock():
        made = Gateway(world, folder)
        await made.start()
        yield made
        await made.stop()


def documents(world):
    return {body["path"]: body for body in world.intake.bodies if body.get("op") != "piece"}


async def test_files_are_sent_as_one_batch_and_receipts_printed(cli, gateway, world):
    (cli.cwd / "a.md").write_text("# Ä\n")
    (cli.cwd / "b.bin").write_bytes(b"\xff\x00")

    done = await cli("publish", "a.md", "b.bin", *FOR_INBOX)

    assert (done.status, done.err) == (0, "2 documents accepted\n"), done.out
    assert f"queued  a.md  {doc_key('inbox', 'a.md')}-" in done.out
    bodies = documents(world)
    assert bodies["a.md"]["text"] == "# Ä\n"
    assert bodies["b.bin"]["data_base64"] == "/wA="
    assert {(body["batch"]["count"], body["batch"]["source"]) for body in bodies.values()} == {
        (2, "inbox")
    }
    ((_, open_batch),) = (await world.door.batches.open()).items()
    assert open_batch.whole


async def test_lines_that_are_refused_are_named_and_the_others_go(cli, gateway):
    lines = (
        '{"path": "a.md", "text": "x"}\n{"pth": 1}\n'
        '{"path": "bad.md", "ref": {"url": "file:///etc/passwd"}}\n'
    )
    flags = ("--jsonl", *FOR_INBOX, "--json")

    done = await cli("publish", "-", *flags, stdin=lines)
    shown = await cli("publish", "-", *flags[:-1], stdin=lines)

    told = done.json()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["queued", "refused", "refused"]
    assert done.status == 1
    assert (told["accepted"], told["refused"]) == (1, 2)
    assert [(e["where"], e["code"]) for e in told["errors"]] == [
        ("standard input:2", "invalid_request"),
        ("standard input:3", "reference_not_allowed"),
    ]


async def test_all_that_a_line_says_arrives(cli, gateway, world):
    line = {
        "schema": 1,
        "path": "a.md",
        "text": "x",
        "title": "A",
        "metadata": {"lang": "en"},
        "static_score": 4.5,
        "is_active": False,
        "media_type": "text/markdown",
        "source_version": 3,
        "batch": {
            "id": "mine",
            "count": 7,
            "source": "inbox",
            "started_at": "2026-11-30T12:00:00Z",
        },
    }
    conditional = {"op": "upsert_if", "path": "b.md", "text": "x", "if_revision": 17}
    stale = {**line, "source_version": 2}
    sent = "\n".join(map(json.dumps, (line, conditional, stale)))

    told = (await cli("publish", "-", "--jsonl", *FOR_INBOX, "--json", stdin=sent)).json()

    first = world.intake.bodies[0]
    assert {name: first[name] for name in line if name != "schema"} == {
        name: value for name, value in line.items() if name != "schema"
    }
    assert [receipt["state"] for receipt in told["receipts"]] == ["queued", "stale"]
    assert told["receipts"][0]["receipt"] == told["receipts"][1]["receipt"]
    assert [error["code"] for error in told["errors"]] == ["revision_changed"]


async def test_large_contents_are_sent_in_pieces_beside_small_ones(
    cli, gateway, world, monkeypatch
):
    monkeypatch.setattr(handlers, "INLINE_BYTES", 0)
    data = bytes(range(256)) * 6_000
    line = {"path": 'l "1".txt', "title": "L", "text": "é" * 600_000, "if_revision": 0}
    line["op"] = "upsert_if"
    (cli.cwd / "big.bin").write_bytes(data)
    (cli.cwd / "small.md").write_text("x")
    (cli.cwd / "l.jsonl").write_text(json.dumps(line))

    done = await cli("publish", "small.md", "big.bin", *FOR_INBOX)
    lines = await cli("publish", "l.jsonl", "--jsonl", *FOR_INBOX)

    assert (done.status, done.err) == (0, "2 documents accepted\n"), done.out
    assert lines.status == 0, lines.out
    pieces = [body for body in world.intake.bodies if body.get("op") == "piece"]
    parts = [base64.b64decode(b["data_base64"]) for b in pieces if b["path"] == "big.bin"]
    assert b"".join(parts) == data
    found = documents(world)
    assert found["big.bin"]["pieces"] == [content_hash(piece_of("inbox", part)) for part in parts]
    assert found["big.bin"]["batch"] == found["small.md"]["batch"]
    assert found["big.bin"]["batch"]["count"] == 2
    assert (found['l "1".txt']["title"], found['l "1".txt']["op"]) == ("L", "upsert_if")
    assert await world.content('l "1".txt') == line["text"].encode()


async def test_a_file_that_the_source_does_not_take_is_refused_as_too_large(cli, gateway, world):
    (cli.cwd / "big.bin").write_bytes(bytes(3_000_001))

    told = (await cli("publish", "big.bin", *FOR_INBOX, "--json")).json()

    assert [(e["path"], e["code"]) for e in told["errors"]] == [("big.bin", "too_large")]
    assert documents(world) == {}


async def test_documents_are_deleted(cli, gateway, world):
    done = await cli("publish", "a.md", "https://example.org/x?y=1", *FOR_INBOX, "--delete")

    assert (done.status, done.err) == (0, "2 documents accepted\n"), done.out
    assert [body["op"] for body in world.intake.bodies] == ["delete", "delete"]


async def test_many_lines_are_all_answered(cli, gateway, world):
    lines = "\n".join(json.dumps({"path": f"{n}.md", "text": "x" * 20_000}) for n in range(600))

    done = await cli("publish", "-", "--jsonl", *FOR_INBOX, stdin=lines)

    assert (done.status, done.err) == (0, "600 documents accepted\n")
    batches = {(b["batch"]["id"], b["batch"]["count"]) for b in world.intake.bodies}
    assert len(batches) == 1  # though it takes more than one request
    assert len(world.intake.bodies) == 600


async def test_a_full_bus_is_tried_again_until_it_takes_all(cli, gateway, world):
    submit, calls = world.intake.submit, []

    async def filling(source, body, **options):
        calls.append(body["path"])
        if len(calls) in (3, 4):
            raise StreamFull("INTAKE is full")
        return await submit(source, body, **options)

    world.intake.submit = filling
    lines = "\n".join(json.dumps({"path": f"{n}.md", "text": "x"}) for n in range(5))
    done = await cli("publish", "-", "--jsonl", *FOR_INBOX, stdin=lines)

    assert (done.status, done.err) == (0, "5 documents accepted\n"), done.out
    assert sorted(body["path"] for body in world.intake.bodies) == [f"{n}.md" for n in range(5)]


async def test_a_gateway_that_is_killed_meanwhile_gets_the_rest_under_the_same_key(
    cli, gateway, world
):
    submit, killed = world.intake.submit, []

    async def dying(source, body, **options):
        found = await submit(source, body, **options)
        if not killed:
            killed.append(body["path"])
            gateway.abort()
            world.uploads._known.clear()
            asyncio.get_running_loop().create_task(gateway.move())
        return found

    world.intake.submit = dying
    lines = "\n".join(json.dumps({"path": f"{n}.md", "text": "x"}) for n in range(5))
    done = await cli("publish", "-", "--jsonl", *FOR_INBOX, stdin=lines)

    assert (done.status, done.err) == (0, "5 documents accepted\n"), done.out
    assert len(world.intake.bodies) == 5


async def test_a_watched_source_takes_nothing(cli, gateway):
    done = await cli("publish", "-", "--source", "docs", "--path", "a.md", stdin="x")

    assert done.status == 1
    assert "refused  a.md (standard input)  source_watched: docs is watched" in done.out


async def test_without_a_producer_nothing_is_sent_and_the_status_is_3(impatient, gateway, world):
    world.running = 0

    done = await impatient("publish", "-", *FOR_INBOX, "--path", "a.md", stdin="x")

    assert (done.status, documents(world)) == (3, {})
    assert "a.md" not in done.out  # which has the log of the gateway too
    assert "no producer runs; nothing was stored" in done.err


async def test_a_gateway_that_is_away_is_told_at_once(cli):
    url = f"http://127.0.0.1:{unused_port()}"

    done = await cli("publish", "-", *FOR_INBOX, "--path", "a.md", "--url", url, stdin="x")

    assert done.status == 3
    assert "no gateway answers" in done.err


WAITING = (*FOR_INBOX, "--path", "a.md", "--wait")


def answering(world, key, revision):
    """The producer answers every submission with this revision."""
    document = {
        "source": "inbox",
        "path": "a.md",
        "doc_key": key,
        "revision": revision,
        "changed_at": datetime.now(UTC).isoformat(),
    }
    receipt = {"state": "queued", "receipt": f"{key}-{revision}", "document": document}

    async def submit(*_, **__):
        return Submitted(1, False, receipt)

    world.intake.submit = submit


async def test_wait_ends_when_the_document_is_searchable(cli, gateway, world):
    answering(world, *await world.index.put("a.md", ["text"], source="inbox"))

    done = await cli("publish", "-", *WAITING, "120", stdin="text")

    assert done.status == 0
    assert "inserted  a.md in 0.50 s" in done.out


@pytest.mark.parametrize("word", ["refused", "failed"])
async def test_wait_for_a_document_that_is_not_taken_says_why_and_is_status_1(
    cli, gateway, world, word
):
    index = world.index
    if word == "refused":
        reason = Reason("unknown_format", "it looks like a PDF")
        put = await index.put("a.md", [], source="inbox", outcome="refused", reason=reason)
        code = "unknown_format: it looks like a PDF"
    else:
        put = await index.begin("a.md", ["text"], source="inbox")
        await index.fail("a.md", source="inbox")
        code = "exhausted: "
    answering(world, *put)

    done = await cli("publish", "-", *WAITING, "120", stdin="text")
    told = await cli("publish", "-", *WAITING, "120", "--json", stdin="text")

    assert (done.status, done.err) == (1, f"0 documents accepted, 1 {word}\n")
    assert f"{word}  a.md (standard input)  {code}" in done.out
    body = told.json()
    assert (told.status, body["accepted"], body[word]) == (1, 0, 1)
    assert [(e["path"], e["code"]) for e in body["errors"]] == [("a.md", code.split(":")[0])]
    assert not {"searchable_at", "freshness_s"} & {
        name for name, value in body["receipts"][0].items() if value is not None
    }


async def test_wait_that_ends_before_it_is_searchable_is_status_4(cli, gateway, world):
    answering(world, *await world.index.begin("a.md", ["text"], source="inbox"))

    done = await cli("publish", "-", *WAITING, "0.2", stdin="text")

    assert done.status == 4
    assert "1 not searchable yet" in done.err


@pytest.mark.parametrize("comes_back", [True, False])
async def test_wait_looks_for_a_gateway_that_was_killed_and_always_tells_what_was_accepted(
    cli, gateway, world, comes_back
):
    answering(world, *await world.index.put("a.md", ["text"], source="inbox"))
    receipt, ends = world.index.queries.receipt, []

    async def dying(request):
        if not ends:
            gateway.abort()
            end = gateway.move() if comes_back else gateway.stop()
            ends.append(asyncio.get_running_loop().create_task(end))
        return await receipt(request)

    world.index.queries.receipt = dying
    wait_s = "120" if comes_back else "1"
    done = await cli("publish", "-", *WAITING, wait_s, "--json", stdin="text")

    told = done.json()
    assert done.status == (0 if comes_back else 4), done.err
    assert (told["accepted"], told["timed_out"]) == (1, not comes_back)
    assert told["receipts"][0]["final"] is comes_back
