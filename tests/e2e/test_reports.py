"""Reports of real batches, by processes of the command line."""

import json
import signal

import nats
import pytest
from instep_process import wait_until

from shared.batches.history import History
from shared.bus.jetstream.kv import KvShelf
from shared.bus.jetstream.ledger import KvLedger
from shared.domain.topology import BATCHES, EMBCACHE


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(12):
        (folder / f"n{n}.md").write_text(f"# Note {n}\n\nThe word of this one is unique{n}.\n")
    (folder / "<script>alert(1)<.md").write_text("# Odd\n\nA name with signs.\n")
    (folder / "<script>alert(2)<.md").write_text("")
    return folder


def test_a_batch_has_a_report_a_page_and_a_history_without_a_running_instance(
    instep, notes, tmp_path
):
    instep.json("up", notes, "--once")
    (notes / "n3.md").write_text("# Note 3\n\nAnother word.\n")
    (notes / "n4.md").unlink()
    instep.json("up", notes, "--once")
    validated = instep("validate")

    first = instep.json("report", "--list")["batches"][-1]
    text = instep("report", first["batch"]["id"])
    page, odd = tmp_path / "report.html", tmp_path / "odd.html"
    instep.json("report", first["batch"]["id"], "--html", odd)
    last = instep.json("report", "last", "--source", "notes", "--html", page)
    history = instep.json("report", "--history", "--source", "notes")["validations"]

    assert first["documents"] == first["documents"] | {"inserted": 13, "refused": 1, "failed": 0}
    assert last["documents"] == last["documents"] | {"updated": 1, "removed": 1, "unchanged": 12}
    assert (last["validation_passed"], last["complete"], last["schema"]) == (True, True, 1)
    assert last["texts"]["encoded"] >= 1
    assert sum(b["documents"] for b in last["freshness"]["histogram"]) == 2
    assert (text.returncode, validated.returncode) == (0, 0)
    assert "13 inserted" in text.stdout
    assert "refused  empty" in text.stdout
    assert all(len(line) <= 80 for line in text.stdout.splitlines())
    assert "&lt;script&gt;alert(2)&lt;.md" in odd.read_text()
    assert not any("<script" in file.read_text() for file in (page, odd))
    assert history[0]["kind"] == "validate"
    assert {point["kind"] for point in history[1:]} == {"batch"}
    verdicts = [(p["passed"], p["checked"]["documents"]) for p in history]
    assert all(passed is True or (passed is None and not of) for passed, of in verdicts), verdicts


def test_an_id_that_two_sources_use_is_asked_for_with_its_source(instep, notes):
    batch = {"id": "nightly/1", "count": 1, "started_at": "2026-01-01T00:00:00Z"}
    instep.up(notes)
    for source in ("inbox", "wiki"):
        line = {"path": "a.md", "text": "# A", "batch": batch | {"source": source}}
        sent = json.dumps(line)
        done = instep("publish", "-", "--jsonl", "--source", source, "--wait", 60, stdin=sent)
        assert done.returncode == 0, done.stderr

    def ended():
        lines = instep.json("report", "--list")["batches"]
        return len([line for line in lines if line["batch"]["id"] == "nightly/1"]) == 2

    wait_until(ended)
    refused = [instep("report", "nightly/1"), instep("validate", "--batch", "nightly/1")]
    of_wiki = instep.json("report", "nightly/1", "--source", "wiki")
    validated = instep("validate", "--batch", "nightly/1", "--source", "inbox")
    instep.stop()
    refused += [instep("report", "nightly/1"), instep("validate", "--batch", "nightly/1")]

    assert of_wiki["batch"]["source"] == "wiki"
    assert of_wiki["documents"]["inserted"] == 1
    assert validated.returncode == 0
    for done in refused:
        assert done.returncode == 2
        assert "'nightly/1' is a batch of inbox and of wiki" in done.stderr
        assert "--source inbox" in done.stderr


@pytest.mark.nats
async def test_validators_that_come_after_the_last_document_has_settled_keep_one_report(
    instep, notes, own_nats_server, eventually
):
    """As after a kill between the last settling and the report; two of them, as replicas are."""
    instep.env |= {
        "INSTEP_BUS__URL": own_nats_server.url,
        "INSTEP_SOURCES__NOTES__PATH": str(notes),
        "INSTEP_TELEMETRY__LEVEL": "info",
    }
    pipeline = instep.start("run", "producer", "enricher", "embedder", "indexer")
    client = await nats.connect(own_nats_server.url)
    js = client.jetstream(timeout=60)

    async def all_settled():
        names = [info.config.name for info in await js.streams_info()]
        ledgers = [name.removeprefix("KV_ledger_") for name in names if "KV_ledger_" in name]
        if not ledgers:
            return False
        ledger = KvLedger(js, ledgers[0])
        await ledger.open()
        return len([r async for _, r in ledger.entries() if r.settled and not r.pending]) == 14

    await eventually(all_settled, within_s=180)
    shelf = KvShelf(js, BATCHES.name)
    await eventually(lambda: _any(shelf, "open."), within_s=180)
    before = await shelf.keys("done.")

    async def all_vectors_kept():
        return (await js.stream_info(f"KV_{EMBCACHE.name}")).state.messages >= 13

    await eventually(all_vectors_kept, within_s=180)  # a self-query asks by them
    pipeline.send_signal(signal.SIGKILL)
    validators = [instep.start("run", "validator") for _ in range(2)]
    await eventually(lambda: _none(shelf, "open."), within_s=180)
    logs = [instep.cwd / f"run-{n}.log" for n in (1, 2)]
    await eventually(lambda: all("serving" in log.read_text() for log in logs), within_s=180)
    for process in validators:
        process.send_signal(signal.SIGKILL)
    lines, _ = await History(shelf).history("notes")
    told = await js.stream_info("RESULTS", subjects_filter="batches.completed.*.*")
    kept = await shelf.keys("done.")
    await client.close()

    assert before == []
    assert len(kept) == len(lines) == 1
    assert (lines[0].documents.inserted, lines[0].documents.refused) == (13, 1)
    assert lines[0].validation_passed
    assert lines[0].checked.self_queries == lines[0].checked.self_queries_passed == 13
    assert sum((told.state.subjects or {}).values()) == 1


async def _any(shelf, prefix):
    return bool(await shelf.keys(prefix))


async def _none(shelf, prefix):
    return not await shelf.keys(prefix)
