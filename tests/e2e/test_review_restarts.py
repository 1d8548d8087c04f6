"""Faults that a review found: what is left by a kill, and who is left behind by a restart."""

import json
import os
import signal
import subprocess

import pytest
from instep_process import wait_until


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(150):
        (folder / f"n{n}.md").write_text(f"# Note {n}\n\nThe word of this one is unique{n}.\n")
    return folder


def test_in_step_waits_for_what_a_killed_process_had_accepted_but_not_announced(instep, notes):
    instep.env["INSTEP_TELEMETRY__LEVEL"] = "info"
    process = instep.start("up", notes)
    wait_until(lambda: instep.said("revision_planned"), every_s=0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    instep.running.clear()

    summary = instep.json("up", notes, "--once")

    assert summary["documents"]["searchable"] == 150


def test_a_replica_ends_with_a_line_when_its_instance_has_ended(instep, notes):
    instep.env["INSTEP_TELEMETRY__LEVEL"] = "info"
    first = instep.up(notes)
    replica = instep.start("run", "embedder")
    log = instep.cwd / "run-1.log"
    wait_until(lambda: '"serving"' in log.read_text())
    wait_until(lambda: instep.json("status")["in_step"])

    first.send_signal(signal.SIGTERM)

    assert first.wait(300) == 0
    assert replica.wait(300) == 3
    assert "has ended" in log.read_text()
    assert not instep.said("Traceback")


def test_the_server_may_be_killed_in_a_first_run(instep, notes):
    process = instep.start("up", notes)
    wait_until(lambda: instep.said("answers at"), every_s=0.01)
    for _ in range(2):
        server = wait_until(lambda: servers_of(process.pid))
        os.kill(server[0], signal.SIGKILL)
        wait_until(lambda before=server: servers_of(process.pid) not in ([], before))
    wait_until(lambda: searchable(instep) == 150, within_s=300)
    process.send_signal(signal.SIGTERM)

    assert process.wait(300) == 0
    assert instep.json("up", notes, "--once")["documents"]["searchable"] == 150


def searchable(instep) -> int:
    """None are, while nobody can say."""
    asked = instep("status", "--json")
    return 0 if asked.returncode else json.loads(asked.stdout)["documents"]["searchable"]


def servers_of(pid: int) -> list[int]:
    """Process ids of its children that are nats-server by now, and listen."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    lines = (line.split() for line in listed.stdout.splitlines())
    return [int(number) for number, name, *_ in lines if name.startswith("nats-server")]
