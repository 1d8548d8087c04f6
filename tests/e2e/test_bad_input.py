"""Bad files and bad messages before the whole program: no neighbour is harmed, nothing told.

Each input holds a marker that must appear nowhere but in the input itself.
"""

import asyncio
import json
from datetime import UTC, datetime

import nats
import pytest
from instep_process import wait_until

from services.host.data_folder import DataFolder
from shared.domain.events import Batch, Document, DocumentChanged, EmbeddingsReady, Inline, PartRow
from shared.domain.ids import doc_key, row_id
from shared.encoders.registry import describe
from shared.settings import Embedding

MARK = "zanzibar"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
FILES = {
    "broken.html": (b"<div>" * 3_000 + MARK.encode(), "corrupt"),
    "script.html": (f"<script>{MARK}</script><style>{MARK}</style>".encode(), "no_text"),
    "picture.md": (b"\x89PNG\r\n\0\0" + MARK.encode(), "unknown_format"),
    "nul.md": (f"{MARK}\0{MARK} \0\0\0".encode(), "unknown_format"),
    "bytes.txt": (bytes(range(0x80, 0x100)) * 20 + MARK.encode(), "wrong_encoding"),
    "bomb.html": (
        f"<p {MARK} ".encode() + b" ".join(b"a%d" % n for n in range(60_000)) + b">x",
        "extraction_timeout",
    ),
}
SUBMISSIONS = {
    "no JSON": (f"{MARK} {{".encode(), {}),
    "no object": (json.dumps([MARK]).encode(), {}),
    "a later schema": (json.dumps({"schema": 2, "path": "x.md", "text": MARK}).encode(), {}),
    "another type": (json.dumps({"path": "x.md", "text": [MARK]}).encode(), {}),
    "two contents": (json.dumps({"path": "x.md", "text": MARK, "chunks": []}).encode(), {}),
    "an escape": (json.dumps({"path": f"../{MARK}.md", "text": MARK}).encode(), {}),
    "absolute": (json.dumps({"path": f"/{MARK}.md", "text": MARK}).encode(), {}),
    "NUL": (json.dumps({"path": f"{MARK}\0.md", "text": MARK}).encode(), {}),
    "metadata": (
        json.dumps({"path": "x.md", "text": "x", "metadata": {MARK: [MARK]}}).encode(), {},
    ),
    "nested": (b'{"path":' + b"[" * 50_000 + MARK.encode(), {}),
    "a nested envelope": (b'{"data":' + b"[" * 50_000 + MARK.encode(), STRUCTURED),
    "an envelope of another type": (
        json.dumps({"specversion": "1.0", "type": MARK, "data": {}}).encode(), STRUCTURED,
    ),
}  # fmt: skip
DECLINED = {
    "a long title": {"path": "long.md", "text": MARK, "title": MARK * 200},
    "a long media type": {"path": "type.md", "text": MARK, "media_type": MARK * 200},
    "no base64": {"path": "base64.md", "data_base64": f"!{MARK}"},
    "no number": {"path": "nan.md", "text": MARK, "metadata": {"n": 1e999}},
    "a foreign file": {"path": "ref.md", "ref": {"url": f"file:///etc/{MARK}"}},
    "too large": {"path": "large.md", "text": MARK * 200},
}


@pytest.fixture
def instep(instep):
    instep.env |= {
        "INSTEP_EXTRACTION__TIMEOUT": "1 s",
        "INSTEP_TELEMETRY__LEVEL": "debug",
        "INSTEP_SOURCES__INBOX__KIND": "push",
        "INSTEP_SOURCES__INBOX__MAX_BYTES": "1000 B",
    }
    return instep


def about(path, key=None, source="inbox", revision=0):
    key = key or doc_key(source, path)
    return Document(source=source, path=path, doc_key=key, revision=revision, changed_at=NOW)


def subject_of(path):
    return f"documents.changed.inbox.{doc_key('inbox', path)}"


def changed(document, **more):
    batch = Batch(id="forged", count=1, source=document.source, started_at=NOW)
    content = Inline(data=f"# Forged\n\n{MARK} indeed")
    return DocumentChanged(document=document, batch=batch, op="upserted", content=content, **more)


def vectors(document, generation, **more):
    fingerprint, dims = describe(Embedding(model="fake-64"))
    key = "a" * 26
    row = PartRow(id=row_id(document.doc_key, key, 1), chunk_key=key, born=1, text=MARK)
    fields = {"rows": (row,), "count": 1, "dims": dims, "fingerprint": fingerprint, "vectors": ""}
    return EmbeddingsReady(
        document=document,
        batch=Batch(id="forged", count=1, source=document.source, started_at=NOW),
        generation=generation,
        **fields | more,
    )


async def submitted(url):
    """Receipts of all submissions by name."""
    client = await nats.connect(url)
    js = client.jetstream()
    found = {}
    plain = {name: (json.dumps(body).encode(), {}) for name, body in DECLINED.items()}
    good = {
        "good": (json.dumps({"path": "good.md", "text": "a submarine", "who": MARK}).encode(), {})
    }
    for name, (data, headers) in (SUBMISSIONS | plain | good).items():
        inbox = client.new_inbox()
        receipts = await client.subscribe(inbox, max_msgs=1)
        await js.publish(
            "documents.submitted.inbox", data, headers=headers | {"Instep-Reply-To": inbox}
        )
        found[name] = json.loads((await receipts.next_msg(180)).data)
    with pytest.raises(nats.errors.MaxPayloadError):
        await js.publish("documents.submitted.inbox", b"x" * 2**21)
    await js.publish("documents.submitted.In_Box", json.dumps({"path": "a", "text": MARK}).encode())
    await client.close()
    return found


async def forged(url, generation):
    """What nobody but a service should send, published by somebody else."""
    client = await nats.connect(url)
    js = client.jetstream()
    good, known = about("forged.md", revision=2**50), about("good.md", revision=1)
    events = [
        (None, changed(good)),
        (None, changed(about("other.md", doc_key("inbox", "key.md")))),
        (None, changed(about("../escape.md"))),
        (subject_of("subject.md"), changed(about("elsewhere.md"))),
        (None, vectors(known, generation, vectors="AAAA")),
        (None, vectors(known, generation, fingerprint=MARK)),
        (f"embeddings.ready.{generation}.inbox", vectors(known, MARK, vectors="AAAA")),
    ]  # fmt: skip
    for subject, event in events:
        await js.publish(subject or event.subject, event.model_dump_json().encode())
    await js.publish(subject_of("junk.md"), MARK.encode())
    await client.close()


async def dead_letters(url):
    """Headers of everything that was buried."""
    client = await nats.connect(url)
    js = client.jetstream()
    count = (await js.stream_info("DLQ")).state.messages
    letters = [dict((await js.get_msg("DLQ", n + 1)).headers) for n in range(count)]
    await client.close()
    return letters


def test_bad_files_and_messages_harm_nobody_and_are_told_without_their_content(instep, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, (data, _) in FILES.items():
        (folder / name).write_bytes(data)
    (folder / "neighbour.md").write_text("# Neighbour\n\nAbout a lighthouse.\n")
    instep.up(folder)
    url = DataFolder(instep.data).read_instance().nats_url
    generation = instep.json("status")["generation"]

    receipts = asyncio.run(submitted(url))
    wait_until(lambda: "good.md" in instep.found("submarine"), within_s=180)
    asyncio.run(forged(url, generation))
    wait_until(lambda: "forged.md" in instep.found("Forged"), within_s=180)

    def all_listed():
        found = instep.json("failures", status=(0, 1))
        known = {failure["path"] for failure in found["failures"]}
        return found if known >= FILES.keys() else None

    failures = wait_until(all_listed, within_s=180)
    expected = ["malformed_event"] * (len(SUBMISSIONS) + 6) + ["permanent_error"] * 2

    def all_buried():
        letters = asyncio.run(dead_letters(url))
        return letters if len(letters) >= len(expected) else None

    letters = wait_until(all_buried, within_s=180)

    assert {name: receipts[name]["state"] for name in SUBMISSIONS} == dict.fromkeys(
        SUBMISSIONS, "refused"
    )
    assert {name: receipts[name]["code"] for name in DECLINED} == {
        "a long title": "invalid_request",
        "a long media type": "invalid_request",
        "no base64": "invalid_request",
        "no number": "invalid_request",
        "a foreign file": "reference_not_allowed",
        "too large": "too_large",
    }
    refused = {f["path"]: f["code"] for f in failures["failures"] if f["state"] == "refused"}
    assert {name: refused.get(name) for name in FILES} == {
        n: code for n, (_, code) in FILES.items()
    }
    assert sorted(letter["Dlq-Code"] for letter in letters) == expected
    assert instep.found("lighthouse")[:1] == ["neighbour.md"]
    assert instep.found("submarine")[:1] == ["good.md"]

    told = [
        json.dumps(
            [failures, letters, receipts, instep.json("status"), instep.json("show", "good.md")]
        ),
        *(path.read_text() for path in tmp_path.rglob("*.log")),
    ]
    assert not any(MARK in text for text in told)
