"""`instep publish` before a running instance: each refusal is told, and ends in status 1."""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.nats, pytest.mark.stores]


@pytest.fixture
def running(instep):
    (instep.cwd / "docs").mkdir()
    instep.up("docs", "--port", 0)
    return instep


def lines(instep, *submissions):
    text = "".join(json.dumps(line) + "\n" for line in submissions)
    (instep.cwd / "l.jsonl").write_text(text, encoding="utf-8-sig")
    return ("publish", "l.jsonl", "--jsonl", "--source", "inbox")


def test_wait_ends_1_when_anything_was_refused_and_tells_the_line(running):
    sent = lines(
        running,
        {"path": "good.md", "text": "the harbour lantern"},
        {"path": "empty.md", "text": " "},
        {"path": "latin.txt", "data_base64": "/4H+gf+B/oH/gf6B/4E="},
        {"path": "../a.md", "text": "x"},
        {"path": "ref.md", "ref": {"url": "file:///etc/passwd"}},
        {"path": "broken.pdf", "data_base64": "JVBERi0xLjQgeA=="},
    )

    told = running.json(*sent, "--wait", 120, status=[1])
    done = running(*sent, "--wait", 120)

    where = {error["where"]: error["code"] for error in told["errors"]}
    assert where == {
        "l.jsonl:2": "empty",
        "l.jsonl:3": "wrong_encoding",
        "l.jsonl:4": "invalid_path",
        "l.jsonl:5": "reference_not_allowed",
        "l.jsonl:6": "corrupt",
    }
    assert (told["accepted"], told["refused"], told["timed_out"]) == (1, 5, False)
    assert done.returncode == 1
    assert "refused  empty.md (l.jsonl:2)  empty: " in done.stdout
    assert done.stderr.endswith("1 document accepted, 5 refused\n")
    assert running.found("lantern") == ["good.md"]


def test_a_bad_edit_of_a_good_document_ends_1_too(running):
    good = lines(running, {"path": "a.md", "text": "the harbour lantern"})
    assert running(*good, "--wait", 120).returncode == 0

    told = running.json(*lines(running, {"path": "a.md", "text": " "}), "--wait", 120, status=[1])

    assert [error["code"] for error in told["errors"]] == ["empty"]
    assert running.found("lantern") == ["a.md"]


def test_a_bad_name_of_a_source_leaves_no_message_behind(running):
    (running.cwd / "a.txt").write_text("hello")

    for name in ("Inbox", "my_notes", "my notes"):
        done = running("publish", "a.txt", "--source", name)
        assert done.returncode == 2
        assert "a source name has 1 to 40" in done.stderr

    assert running.json("failures")["failures"] == []
