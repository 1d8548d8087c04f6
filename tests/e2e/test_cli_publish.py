"""`instep publish` before a real server: messages on INTAKE, receipts from whoever accepts."""

import base64
import json

import pytest

from shared.domain.ids import content_hash, doc_key, piece_of
from shared.domain.ordering import Reason

pytestmark = pytest.mark.nats


@pytest.fixture
async def intake(js):
    """Accepts every submission as the producer does, but refuses what is called bad."""
    await js.add_stream(name="INTAKE", subjects=["documents.submitted.*"])
    taken = []

    async def accept(message):
        body = json.loads(message.data)
        taken.append((message.subject, body, dict(message.headers)))
        if body["path"] == "bad.md":
            receipt = {"state": "refused", "code": "invalid_path", "detail": "not this one"}
        else:
            key = doc_key("inbox", body["path"])
            receipt = {"state": "queued", "receipt": f"{key}-1"}
        await js._nc.publish(message.headers["Instep-Reply-To"], json.dumps(receipt).encode())

    await js._nc.subscribe("documents.submitted.*", cb=accept)
    await js._nc.flush(60)
    return taken


async def test_files_are_sent_as_one_batch_and_receipts_printed(cli, intake, nats_url):
    (cli.cwd / "a.md").write_text("# Ä\n")
    (cli.cwd / "b.bin").write_bytes(b"\xff\x00")

    done = await cli("publish", "a.md", "b.bin", "--source", "inbox", INSTEP_BUS__URL=nats_url)

    assert (done.status, done.err) == (0, "2 documents accepted\n")
    assert f"queued  a.md  {doc_key('inbox', 'a.md')}-1" in done.out
    bodies = {body["path"]: body for _, body, _ in intake}
    assert bodies["a.md"]["text"] == "# Ä\n"
    assert bodies["b.bin"]["data_base64"] == "/wA="
    assert {(body["batch"]["count"], body["batch"]["source"]) for body in bodies.values()} == {
        (2, "inbox")
    }
    assert {subject for subject, _, _ in intake} == {"documents.submitted.inbox"}
    assert len({headers["Nats-Msg-Id"] for _, _, headers in intake}) == 2


async def test_lines_that_are_refused_are_named_and_the_others_go(cli, intake, nats_url):
    lines = '{"path": "a.md", "text": "x"}\n{"pth": 1}\n{"path": "bad.md", "text": "x"}\n'
    flags = ("--jsonl", "--source", "inbox", "--json")

    done = await cli("publish", "-", *flags, stdin=lines, INSTEP_BUS__URL=nats_url)
    shown = await cli("publish", "-", *flags[:-1], stdin=lines, INSTEP_BUS__URL=nats_url)

    told = done.json()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["queued", "refused", "refused"]
    assert done.status == 1
    assert (told["accepted"], told["refused"]) == (1, 2)
    assert [(e["where"], e["code"]) for e in told["errors"]] == [
        ("standard input:2", "invalid_request"),
        ("standard input:3", "invalid_path"),
    ]


async def test_a_large_file_is_sent_in_pieces_one_after_the_other(cli, intake, nats_url):
    data = bytes(range(256)) * 6_000
    (cli.cwd / "big.bin").write_bytes(data)

    done = await cli("publish", "big.bin", "--source", "inbox", INSTEP_BUS__URL=nats_url)

    assert (done.status, done.err) == (0, "1 document accepted\n"), done.out
    *pieces, document = [body for _, body, _ in intake]
    parts = [base64.b64decode(body["data_base64"]) for body in pieces]
    assert b"".join(parts) == data
    assert {(body["op"], body["path"]) for body in pieces} == {("piece", "big.bin")}
    assert document["pieces"] == [content_hash(piece_of("inbox", part)) for part in parts]
    assert (document["batch"]["count"], "data_base64" in document) == (1, False)
    assert len({headers["Nats-Msg-Id"] for _, _, headers in intake}) == len(intake)


async def test_a_large_file_for_a_producer_of_an_older_version_is_refused_with_advice(
    cli, js, nats_url
):
    await js.add_stream(name="INTAKE", subjects=["documents.submitted.*"])
    seen = []

    async def refuse(message):
        seen.append(json.loads(message.data))
        receipt = {"state": "refused", "code": "invalid_request"}
        receipt["detail"] = "op: must be 'upsert' or 'delete'"
        await js._nc.publish(message.headers["Instep-Reply-To"], json.dumps(receipt).encode())

    await js._nc.subscribe("documents.submitted.*", cb=refuse)
    await js._nc.flush(60)
    (cli.cwd / "big.bin").write_bytes(bytes(3_000_000))

    done = await cli("publish", "big.bin", "--source", "inbox", "--json", INSTEP_BUS__URL=nats_url)

    (error,) = done.json()["errors"]
    assert (done.status, error["code"], error["path"]) == (1, "too_large", "big.bin")
    assert "older version" in error["detail"]
    assert len(seen) == 1


async def test_wait_ends_when_the_document_is_searchable(cli, served, intake, nats_url):
    key, revision = await served.put("a.md", ["text"], source="inbox")
    assert f"{key}-{revision}" == f"{doc_key('inbox', 'a.md')}-1"
    given = ("--source", "inbox", "--path", "a.md", "--wait", "120")

    done = await cli("publish", "-", *given, stdin="text", INSTEP_BUS__URL=nats_url)

    assert done.status == 0
    assert "inserted  a.md in 0.50 s" in done.out


@pytest.mark.parametrize("word", ["refused", "failed"])
async def test_wait_for_a_document_that_is_not_taken_says_why_and_is_status_1(
    cli, served, intake, nats_url, word
):
    if word == "refused":
        reason = Reason("unknown_format", "it looks like a PDF")
        await served.put("a.md", [], source="inbox", outcome="refused", reason=reason)
        code = "unknown_format: it looks like a PDF"
    else:
        await served.begin("a.md", ["text"], source="inbox")
        await served.fail("a.md", source="inbox")
        code = "exhausted: "
    given = ("--source", "inbox", "--path", "a.md", "--wait", "120")

    done = await cli("publish", "-", *given, stdin="text", INSTEP_BUS__URL=nats_url)
    told = await cli("publish", "-", *given, "--json", stdin="text", INSTEP_BUS__URL=nats_url)

    assert (done.status, done.err) == (1, f"0 documents accepted, 1 {word}\n")
    assert f"{word}  a.md (standard input)  {code}" in done.out
    body = told.json()
    assert (told.status, body["accepted"], body[word]) == (1, 0, 1)
    assert [(e["path"], e["code"]) for e in body["errors"]] == [("a.md", code.split(":")[0])]
    assert not {"searchable_at", "freshness_s"} & {
        name for name, value in body["receipts"][0].items() if value is not None
    }


async def test_wait_that_ends_before_it_is_searchable_is_status_4(cli, served, intake, nats_url):
    await served.begin("a.md", ["text"], source="inbox")
    given = ("--source", "inbox", "--path", "a.md", "--wait", "0.2")

    done = await cli("publish", "-", *given, stdin="text", INSTEP_BUS__URL=nats_url)

    assert done.status == 4
    assert "1 not searchable yet" in done.err


async def test_many_lines_are_all_answered(cli, intake, nats_url):
    lines = "\n".join(json.dumps({"path": f"{n}.md", "text": "x"}) for n in range(600))

    done = await cli(
        "publish", "-", "--jsonl", "--source", "inbox", stdin=lines, INSTEP_BUS__URL=nats_url
    )

    assert (done.status, done.err) == (0, "600 documents accepted\n")
    assert len({headers["Nats-Msg-Id"] for _, _, headers in intake}) == 600
