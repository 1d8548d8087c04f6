"""A newest change that cannot be read is named, never called in step, and replaced."""

import asyncio
import json

import nats
import pytest
from instep_process import wait_until

from services.host.data_folder import DataFolder
from shared.domain.ids import doc_key

PUB_ACK = b'{"stream":"INTAKE","seq":7}'
NEWER = json.dumps({"schema": 2, "document": "a text by now", "op": "merged"}).encode()


@pytest.fixture
def instep(instep):
    instep.env["INSTEP_SOURCES__INBOX__KIND"] = "push"
    return instep


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("garbled", "newer", "edited", "gone", "fine"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nAbout the lighthouse of {name}.\n")
    return folder


def write(instep, **documents):
    """Put bytes where the newest change of a document lies, as whoever has a key to DOCS may."""

    async def send():
        url = DataFolder(instep.data).read_instance().nats_url
        client = await nats.connect(url)
        for name, data in documents.items():
            source, _, word = name.partition("_")
            key = doc_key(source, f"{word}.md")
            await client.jetstream().publish(f"documents.changed.{source}.{key}", data)
        await client.close()

    asyncio.run(send())


def failures(instep):
    return {f["document"]: f for f in instep.json("failures", status=(0, 1))["failures"]}


def in_step(instep):
    return instep.json("status")["in_step"]


def at_rest(instep):
    """In step, and past the sweep of the start, which would repair what a test breaks."""
    status = instep.json("status")
    return status["in_step"] and status["last_sweep"]


def test_what_cannot_be_read_is_told_and_replaced_by_the_folder_by_an_edit_and_by_its_sender(
    instep, docs
):
    instep.up(docs)
    wait_until(lambda: at_rest(instep), within_s=180)
    sent = instep.json(
        "publish", "-", "--source", "inbox", "--path", "sent.md", "--wait", "60", stdin="# Sent\n"
    )
    assert sent
    wait_until(lambda: in_step(instep))

    write(
        instep,
        docs_garbled=b"\xff\x00 garbage",
        docs_newer=NEWER,
        docs_edited=PUB_ACK,
        docs_gone=b"",
        inbox_sent=PUB_ACK,
        docs_nobodys=b"garbage",
    )
    names = {"docs/garbled.md", "docs/newer.md", "docs/edited.md", "docs/gone.md", "inbox/sent.md"}
    nobodys = f"docs/{doc_key('docs', 'nobodys.md')}"
    listed = wait_until(
        lambda: found if (found := failures(instep)).keys() >= names | {nobodys} else None,
        within_s=180,
    )
    status = wait_until(  # it may be half a second old
        lambda: (
            found
            if (found := instep.json("status"))["documents"]["unreadable"] == len(listed)
            else None
        )
    )
    checks = {c["name"]: c for c in instep.json("doctor", status=(0, 1))["checks"]}

    assert not status["in_step"]
    assert len(listed) == 6
    assert listed["docs/newer.md"]["code"] == "newer_schema"
    assert "newer version of instep" in listed["docs/newer.md"]["reason"]
    assert {listed[name]["code"] for name in names - {"docs/newer.md"}} == {"malformed_event"}
    assert checks["changes"]["level"] == "WARN"
    served = {name.partition("/")[2] for name in names}
    assert set(instep.found("lighthouse")) == {"fine.md", *served}  # the versions before

    (docs / "edited.md").write_text("# edited\n\nAbout the harbour of edited.\n")
    (docs / "gone.md").unlink()
    wait_until(lambda: not failures(instep).keys() & {"docs/edited.md", "docs/gone.md"})
    again = instep.json("retry", "docs/garbled.md")
    wait_until(lambda: not failures(instep).keys() & {"docs/garbled.md", "docs/newer.md"})
    refused = instep.json("retry", "inbox/sent.md", status=(0, 1))
    swept = instep.json("sweep", status=(0, 1))

    assert again["done"] == 1
    assert refused["done"] == 0
    assert "send the document anew" in refused["items"][0]["detail"]
    assert swept["beyond_repair"] == 2
    assert swept["needs_you"]
    assert not in_step(instep)

    instep.json(
        "publish", "-", "--source", "inbox", "--path", "sent.md", "--wait", "60", stdin="# Sent\n"
    )
    instep.json("failures", "dismiss", nobodys)
    wait_until(lambda: in_step(instep))

    assert failures(instep) == {}
    assert instep.json("sweep")["clean"]
    assert instep.found("harbour")[:1] == ["edited.md"]
    assert set(instep.found("lighthouse")) == {"fine.md", *served} - {"gone.md"}


def test_a_start_finds_what_cannot_be_read_and_reads_the_files_again(instep, docs):
    process = instep.up(docs)
    wait_until(lambda: at_rest(instep), within_s=180)
    write(instep, docs_garbled=b"garbage", docs_newer=NEWER)
    wait_until(lambda: len(failures(instep)) == 2)
    instep.stop()
    assert process.returncode == 0

    instep.up(docs)
    wait_until(lambda: in_step(instep), within_s=180)

    assert failures(instep) == {}
    assert len(instep.found("lighthouse")) == 5
