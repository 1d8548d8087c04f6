"""Beside indexing services, searches are answered in a process of their own."""

import os
import signal
from pathlib import Path

import pytest
from instep_process import is_there, wait_until

from shared.processes import processors

pytestmark = [
    pytest.mark.stores,
    pytest.mark.skipif(processors() < 2, reason="with one processor there is no such process"),
    pytest.mark.skipif(not Path("/proc").exists(), reason="the test finds processes in /proc"),
]


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(5):
        (folder / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    return folder


def search_process(parent: int) -> int | None:
    """Its process id; None: there is none."""
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if above == parent and b"services.host.search_process:main" in words:
            return int(folder.name)
    return None


def context_switches(pid: int) -> int:
    """How often it has waited for something: it grows with each question that it answers."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary")).split()[1])


def asked(instep, words):
    return instep.json("search", words, "--explain", status=(0, 1))


def test_it_begins_with_a_search_tells_the_truth_and_may_be_killed(instep, notes):
    process = instep.up(notes)
    wait_until(lambda: instep.found("unique3")[:1] == ["n3.md"])
    wait_until(lambda: instep.found("unique3") and search_process(process.pid) is not None)
    child = search_process(process.pid)

    (notes / "n3.md").write_text("# Zeppelin\n\nA text about zeppelins.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["n3.md"])
    (notes / "n3.md").unlink()
    wait_until(lambda: "n3.md" not in instep.found("zeppelins"))
    before = context_switches(child)
    for _ in range(20):
        assert asked(instep, "unique1")["hits"][0]["document"]["path"] == "n1.md"
    assert context_switches(child) > before

    os.kill(child, signal.SIGKILL)
    assert asked(instep, "unique2")["hits"][0]["document"]["path"] == "n2.md"
    wait_until(lambda: instep.found("unique2") and search_process(process.pid) not in (None, child))
    again = search_process(process.pid)
    process.kill()
    process.wait(60)
    wait_until(lambda: not is_there(again))


def test_errors_are_told_as_ever_and_stopping_ends_it(instep, notes):
    process = instep.up(notes)
    wait_until(lambda: instep.found("unique3") and search_process(process.pid) is not None)
    child = search_process(process.pid)

    refused = instep("search", "unique1", "--filter", "colour:red")
    assert refused.returncode == 2
    assert "colour" in refused.stderr
    instep.stop()
    assert not is_there(child)
