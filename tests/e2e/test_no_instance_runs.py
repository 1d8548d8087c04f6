"""After `instep up --once` has ended, as from cron, every command still answers."""

import pytest

from services.cli.command_table import COMMANDS

NEEDS_NONE = {
    "up",
    "run",
    "doctor",
    "settings",
    "provision",
    "keys",
    "open",
    "contracts",
    "completion",
    "version",
}
"""They start an instance, or are about none."""
ASKS = {
    "search": [(0, "search", "lantern")],
    "status": [(0, "status"), (0, "status", "--pending")],
    "show": [(0, "show", "docs/a.md", "--chunks")],
    "publish": [(1, "publish", "-", "--source", "inbox", "--path", "sent.md")],
    "failures": [(0, "failures"), (1, "failures", "dismiss", "--all", "--yes")],
    "retry": [(0, "retry", "--all")],
    "removals": [
        (0, "removals"),
        (2, "removals", "approve", "docs"),
        (2, "removals", "reject", "docs"),
    ],
    "validate": [(0, "validate")],
    "report": [(0, "report", "--list"), (0, "report", "--history")],
    "sources": [(0, "sources"), (2, "sources", "forget", "none", "--yes")],
    "sweep": [(0, "sweep", "--dry-run")],
}
"""Exit status and arguments. `publish`: nothing takes it yet; `dismiss`: what is refused stays."""


@pytest.fixture
def left(instep, tmp_path):
    """What a run over two documents, one of them refused, has left."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Note\n\nlantern\n")
    (docs / "empty.md").write_bytes(b"\xff\xfe\x00\x00\x01")
    instep.json("up", docs, "--once", status=(0, 1))
    return docs


def test_every_command_is_asked_here_or_needs_no_instance():
    assert {command.name for command in COMMANDS} == NEEDS_NONE | set(ASKS)


@pytest.mark.parametrize("name", sorted(ASKS))
def test_a_command_works_without_a_running_instance(instep, left, name):
    for status, *args in ASKS[name]:
        done = instep(*args, stdin="# Sent\n\nbeacon\n")

        assert done.returncode == status, f"{args}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_status_says_until_when_everything_was_in_step(instep, left):
    shown = instep("status").stdout
    status = instep.json("status")
    found = instep.json("search", "lantern")

    assert "in step: as of" in shown
    assert "no instance runs: nothing is watched" in shown
    assert (status["in_step"], status["runs"]) == (False, False)
    assert status["in_step_as_of"] == status["watermark"] == found["freshness"]["watermark"]
    assert status["watermark"] < status["at"]
    assert [(s["name"], s["kind"], s["error"]) for s in status["sources"]] == [
        ("docs", "folder", "")
    ]


def test_nothing_changes_so_there_is_nothing_to_watch(instep, left):
    watching = instep("status", "--watch")

    assert watching.returncode == 3
    assert "no instance runs" in watching.stderr


def test_what_is_published_meanwhile_is_taken_by_the_next_run(instep, left):
    instep.data.chmod(0o755)  # a warning is no part of the answer
    args = ("publish", "-", "--source", "inbox", "--path", "sent.md")
    sent = instep.json(*args, status=(1,), stdin="# S\n\nbeacon\n")
    again = instep(*args, stdin="# S\n\nbeacon and lantern\n")
    (instep.cwd / "large.txt").write_text("beacon" + "\n" * 3_000_000)
    large = instep("publish", "large.txt", "--source", "inbox")
    status = instep.json("status")
    instep.json("up", left, "--once", status=(0, 1))
    reported = {batch["batch"]["id"] for batch in instep.json("report", "--list")["batches"]}

    assert (sent["accepted"], sent["waiting"]) == (0, 1)
    assert again.returncode == 1
    assert "1 stored on the bus, but no producer has taken them" in again.stderr
    assert (large.returncode, "1 stored on the bus" in large.stderr) == (1, True)
    assert (status["pending_documents"], status["in_step_as_of"]) == (8, None)
    assert set(instep.found("beacon")) & set(instep.found("lantern")) >= {"sent.md"}
    assert "large.txt" in instep.found("beacon")
    assert sent["batch"] in reported


def test_the_words_of_the_version_before_still_answer_and_name_the_new_ones(instep, left):
    for old, new, status in [
        (("holds",), ("removals",), 0),
        (("holds", "release", "docs"), ("removals", "approve", "docs"), 2),
        (("failed", "--code", "typo"), ("failures", "--code", "typo"), 0),
        (("drop", "--all", "--yes"), ("failures", "dismiss", "--all", "--yes"), 1),
    ]:
        said, told = instep(*new), instep(*old)

        first, _, rest = told.stderr.partition("\n")
        assert (told.returncode, told.stdout, rest) == (status, said.stdout, said.stderr)
        assert f"is now called '{' '.join(new[: 1 + (status > 0)])}'" in first
