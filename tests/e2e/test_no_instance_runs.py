"""After `instep up --once` has ended, as from cron, every command still answers."""

import shutil

import pytest
from instep_process import Instep

from services.cli.command_table import COMMANDS
from services.host.data_folder import mark_original

NEEDS_NONE = {
    "up",
    "run",
    "doctor",
    "settings",
    "provision",
    "keys",
    "open",
    "mcp",
    "contracts",
    "completion",
    "version",
}
"""They start an instance, or are about none."""
ASKS = {
    "search": [(0, "search", "lantern")],
    "similar": [(0, "similar", "docs/a.md"), (2, "similar", "docs/empty.md")],
    "status": [(0, "status"), (0, "status", "--pending")],
    "show": [
        (0, "show", "docs/a.md", "--chunks"),
        (0, "show", "docs/a.md", "--history"),
        (0, "show", "docs/a.md", "--diff"),
    ],
    "publish": [(3, "publish", "-", "--source", "inbox", "--path", "sent.md")],
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
"""Exit status and arguments. `publish`: nothing takes it; `dismiss`: what is refused stays."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """What a run over two documents, one of them refused, has left; to be copied."""
    here = tmp_path_factory.mktemp("before")
    docs = here / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Note\n\nlantern\n")
    (docs / "empty.md").write_bytes(b"\xff\xfe\x00\x00\x01")
    Instep(here / "data", here).json("up", docs, "--once", status=(0, 1))
    return here


@pytest.fixture
def left(instep, before):
    """A copy of that, which takes itself for the original."""
    shutil.copytree(before / "data", instep.data)
    mark_original(instep.data / "server")


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


def test_nothing_is_published_meanwhile_and_it_is_said_what_to_start(instep, left):
    sent = instep("publish", "-", "--source", "inbox", "--path", "sent.md", stdin="beacon\n")

    assert (sent.returncode, sent.stdout) == (3, "")
    assert f"no instance runs in {instep.data}. Fix: instep up PATH" in sent.stderr
    assert instep.json("status")["pending_documents"] == 0
