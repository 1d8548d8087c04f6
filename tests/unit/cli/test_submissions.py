import base64
import io
import json
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.exits import Stop
from services.cli.main import run
from services.cli.publish.command import Outcome, status, summary
from services.cli.publish.submissions import (
    Faulty,
    Submission,
    document_path,
    of_args,
    of_bytes,
    of_line,
    with_batch,
)
from shared.domain.events import DocumentSubmitted
from shared.domain.ids import is_source

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def args(*files, **given):
    return Namespace(**{"files": files, "path": None, "delete": False, "jsonl": False, **given})


@given(st.binary(max_size=300))
def test_any_bytes_arrive_as_they_are(data):
    body = of_bytes("f", "f.md", data).body
    event = DocumentSubmitted.model_validate(body)

    text, encoded = event.text, event.data_base64
    assert (text.encode() if text is not None else base64.b64decode(encoded)) == data


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("notes.md", "notes.md"),
        ("./a/b.md", "a/b.md"),
        ("/home/me/b.md", "b.md"),
        ("../b.md", "b.md"),
    ],
)
def test_the_path_of_a_document_is_as_typed_below_here(typed, path):
    assert document_path(typed) == path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON from character 2 on"),
        ("[1]", "not a JSON object"),
        ('{"text": "x"}', "'path' is missing"),
        ('{"path": "a", "titel": "x"}', "'titel' is not a field; did you mean 'title'?"),
    ],
)
def test_a_line_that_is_no_submission_says_why(line, said):
    found = of_line("f:3", line.encode())

    assert isinstance(found, Faulty)
    assert (found.where, found.detail) == ("f:3", said)


def test_files_lines_and_deletions_become_submissions_of_one_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text("hello")
    (tmp_path / "l.jsonl").write_text('{"path": "x.md", "text": "x"}\n\n{"op": "delete"}\n')

    files = of_args(args("a.md"))
    gone = of_args(args("b.md", delete=True))
    lines = of_args(args("l.jsonl", jsonl=True))

    assert files == [Submission("a.md", {"path": "a.md", "text": "hello"})]
    assert gone == [Submission("b.md", {"op": "delete", "path": "b.md"})]
    assert [type(item) for item in lines] == [Submission, Faulty]
    assert lines[1].where == "l.jsonl:3"
    batched = with_batch([*files, *gone], "inbox", "b_1", NOW)
    events = [DocumentSubmitted.model_validate(item.body) for item in batched]
    assert [(e.batch.id, e.batch.count, e.batch.source) for e in events] == [
        ("b_1", 2, "inbox")
    ] * 2


def test_a_batch_counts_different_documents_that_name_no_batch_of_their_own():
    own = {"id": "mine", "count": 7, "source": "inbox", "started_at": NOW.isoformat()}
    lines = [
        {"path": "é.md", "text": "1"},
        {"path": "e\u0301.md", "text": "2"},
        {"path": "b.md", "text": "x", "batch": None},
        {"path": "c.md", "text": "x", "batch": own},
    ]
    items = [of_line(f"f:{n}", json.dumps(line).encode()) for n, line in enumerate(lines, 1)]

    batched = with_batch(items, "inbox", "b_1", NOW)

    batches = [DocumentSubmitted.model_validate(item.body).batch for item in batched]
    assert [(batch.id, batch.count) for batch in batches] == [("b_1", 2)] * 3 + [("mine", 7)]


def test_a_field_that_is_null_is_as_absent():
    line = {"path": "a.md", "text": "x", "data_base64": None, "metadata": None, "batch": None}

    assert of_line("f:1", json.dumps(line).encode()) == Submission(
        "f:1", {"path": "a.md", "text": "x"}
    )
    for nothing in ({"path": None, "text": "x"}, {"path": "a.md", "text": None}):
        assert isinstance(of_line("f:1", json.dumps(nothing).encode()), Faulty)


def test_standard_input_is_a_document_with_a_name(monkeypatch):
    monkeypatch.setattr("sys.stdin", Namespace(buffer=io.BytesIO(b"# Hello")))

    assert of_args(args("-", path="h.md"))[0].body == {"path": "h.md", "text": "# Hello"}
    with pytest.raises(Stop, match="has no name"):
        of_args(args("-"))


@pytest.mark.parametrize(
    ("data", "fits"),
    [(b"x" * 900_000, True), (b"\xff" * 700_000, True), (b"\xff" * 800_000, False)],
)
def test_what_a_message_cannot_hold_is_sent_apart_from_its_submission(tmp_path, data, fits):
    file = tmp_path / "big.pdf"
    file.write_bytes(data)
    (tmp_path / "small.md").write_text("x")

    big, small = of_args(args(str(file), str(tmp_path / "small.md")))

    assert small == Submission(str(tmp_path / "small.md"), {"path": "small.md", "text": "x"})
    assert (big.large is None) == fits
    if not fits:
        assert big.body == {"path": "big.pdf"}
        assert big.large == data


@pytest.mark.parametrize(
    ("content", "data"),
    [
        ({"text": "é" * 1_100_000}, "é".encode() * 1_100_000),
        ({"text": "\x01" * 300_000}, b"\x01" * 300_000),
        ({"data_base64": "/wA="}, None),
        ({"data_base64": base64.b64encode(b"\xff" * 900_000).decode()}, b"\xff" * 900_000),
    ],
    ids=["text", "escapes", "small", "bytes"],
)
def test_a_long_line_is_sent_apart_from_its_content(content, data):
    body = {"path": "a.md", "title": "A", **content}

    found = of_line("f:1", json.dumps(body).encode())

    if data is None:
        assert found == Submission("f:1", body)
    else:
        assert (found.body, found.large) == ({"path": "a.md", "title": "A"}, data)


def test_a_file_above_what_a_message_holds_is_read_while_it_is_sent(tmp_path):
    file = tmp_path / "big.txt"
    file.write_bytes(b"x" * 1_100_000)

    (found,) = of_args(args(str(file)))

    assert (found.body, found.large) == ({"path": "big.txt"}, file)


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"chunks": [{"text": "x" * 1_100_000}]}, "too_large", "split the document"),
        ({"text": "x" * 1_100_000, "titel": "y"}, "invalid_request", "'titel' is not a field"),
        ({"text": "x" * 1_100_000, "chunks": []}, "invalid_request", "has text and chunks"),
        ({"text": "x" * 1_100_000, "metadata": {"x": []}}, "invalid_request", "metadata: must"),
        ({"data_base64": "?" * 1_100_000}, "too_large", "split the document"),
    ],
)
def test_a_long_line_with_a_fault_is_refused_as_a_short_one(fields, code, detail):
    found = of_line("f:1", json.dumps({"path": "a.md"} | fields).encode())

    assert isinstance(found, Faulty)
    assert (found.code, found.where, found.path) == (code, "f:1", "a.md")
    assert detail in found.detail


@pytest.mark.parametrize("name", ["-", "/dev/zero"])
def test_a_file_without_an_end_is_read_as_far_as_its_source_takes(name, monkeypatch):
    endless = Path("/dev/zero").open("rb")  # noqa: SIM115 - it is standard input
    with endless:
        monkeypatch.setattr("sys.stdin", Namespace(buffer=endless))
        (found,) = of_args(args(name, path="a.bin"), 1_000)

    assert (found.code, found.where) == ("too_large", name.replace("-", "standard input"))
    assert found.detail.startswith("more than 1,000 bytes; its source takes")


def test_a_file_above_the_limit_of_its_source_is_not_read(tmp_path):
    file = tmp_path / "huge.pdf"
    with file.open("wb") as sparse:
        sparse.truncate(2_000_001)

    (found,) = of_args(args(str(file)), 2_000_000)

    assert (found.code, found.path) == ("too_large", "huge.pdf")
    assert found.detail.startswith("2,000,001 bytes; its source takes at most 2,000,000")


@pytest.mark.parametrize("name", ["Inbox", "my_notes", "my notes", "", "-x", "x\n", "ä", "x" * 41])
def test_a_bad_name_of_a_source_is_told_with_its_rule_before_a_file_is_read(name, capsys):
    assert run(["publish", "none.md", f"--source={name}"]) == 2

    said = capsys.readouterr().err
    assert "a source name has 1 to 40 of a-z, 0-9 and '-'" in said
    possible = said.rpartition("Fix: --source ")[2].strip()
    assert is_source(possible)


@pytest.mark.parametrize("path", ["../a", "a/../b", "a\0b", "\udcff.md", "x" * 1_025])
def test_a_bad_path_of_a_file_is_refused_before_it_is_sent(tmp_path, path):
    (tmp_path / "a.md").write_text("x")

    for delete in (False, True):
        (found,) = of_args(args(str(tmp_path / "a.md"), path=path, delete=delete))
        assert isinstance(found, Faulty)
        assert "path" in found.detail


def test_a_file_of_utf_16_is_told_to_be_one(tmp_path):
    (tmp_path / "l.jsonl").write_bytes('{"path": "a"}'.encode("utf-16"))

    with pytest.raises(Stop, match="UTF-16") as stop:
        of_args(args(str(tmp_path / "l.jsonl"), jsonl=True))
    assert "UTF-8" in stop.value.fix


def test_what_cannot_be_sent_stops_before_anything_is_sent(tmp_path):
    with pytest.raises(Stop, match="No such file"):
        of_args(args(str(tmp_path / "none.md")))
    with pytest.raises(Stop, match="several"):
        of_args(args("a", "b", path="p"))


@pytest.mark.parametrize("delete", [True, False])
@pytest.mark.parametrize(
    "names", [("a/x.md", "{0}/b/x.md", "{0}/c/x.md"), ("x.md", "./x.md"), ("../x.md", "x.md")]
)
def test_two_files_of_one_call_are_never_one_document(tmp_path, names, delete):
    names = [name.format(tmp_path) for name in names]

    with pytest.raises(Stop, match=r"would both be the document 'x\.md'") as stop:
        of_args(args(*names, delete=delete))
    assert "--path" in stop.value.fix


def test_two_lines_of_one_call_may_be_changes_of_one_document(tmp_path):
    lines = tmp_path / "l.jsonl"
    lines.write_text('{"path": "x.md", "text": "1"}\n{"path": "x.md", "text": "2"}\n')

    assert [item.body["text"] for item in of_args(args(str(lines), jsonl=True))] == ["1", "2"]


def test_the_help_tells_the_path_of_a_file_from_elsewhere(capsys):
    assert run(["publish", "--help"]) == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "default: FILE as typed, and only its name where FILE is absolute or has a '..'" in said


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Outcome("b", accepted=3), 0, "3 documents accepted"),
        (Outcome("b", accepted=1, refused=1), 1, "1 document accepted, 1 refused"),
        (Outcome("b", accepted=1, refused=1, unknown=2), 3, "1 refused, 2 without an answer"),
        (Outcome("b", accepted=1, unsent=1), 3, "1 document accepted, 1 not sent"),
        (Outcome("b", failed=2), 1, "0 documents accepted, 2 failed"),
        (
            Outcome("b", accepted=1, timed_out=True, receipts=[{"final": False}]),
            4,
            "1 not searchable yet",
        ),
    ],
)
def test_the_status_and_summary_of_a_publish(outcome, code, said):
    assert status(outcome) == code
    assert said in summary(outcome)


def test_a_submission_is_json():
    assert json.loads(json.dumps(of_bytes("f", "f", b"\xff").body))["data_base64"] == "/w=="
