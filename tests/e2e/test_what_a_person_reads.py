"""The lines of `up`: they count what is left to do, and no log comes between them."""

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from at_a_terminal import terminal
from instep_process import wait_until
from ports import free_port

SUPPORT = Path(__file__).parents[1] / "support"


def write(folder, count, paragraphs=10, word="text"):
    folder.mkdir(exist_ok=True)
    for n in range(count):
        body = "\n\n".join(f"## S{k}\n\nParagraph {k} of {n}, {word}." for k in range(paragraphs))
        (folder / f"d{n}.md").write_text(f"# Document {n}\n\n{body}\n")


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    write(folder, 5)
    return folder


def totals(lines, word):
    found = (re.search(rf"{word} ([\d,]+) of ([\d,]+)", line) for line in lines)
    return [tuple(int(n.replace(",", "")) for n in one.groups()) for one in found if one]


def test_after_a_restart_in_the_middle_the_progress_counts_what_is_left(instep, notes):
    """Nothing of it was accepted by the second process, so the first one's work must be counted."""
    write(notes, 100)
    instep.env["INSTEP_EMBEDDING__MODEL"] = "fake-64-1000ms"
    first = instep.up(notes)
    wait_until(lambda: at_the_model(instep) >= 20)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(300)
    done = instep("up", notes, "--once", "--json")
    summary, lines = json.loads(done.stdout), done.stderr.splitlines()
    left = summary["documents"]["inserted"]

    assert summary["documents"]["searchable"] == 100
    assert left > 0
    assert totals(lines, "searchable")[0] == (0, left)
    assert {total for _, total in totals(lines, "searchable")} == {left}
    # how many rows of unsettled documents are written already depends on the machine, and so does
    # whether parts of settled ones are still to be acknowledged
    embedded = [total for _, total in totals(lines, "embedded")]
    assert embedded
    assert all(0 < total <= 10 * 100 for total in embedded)


def at_the_model(instep):
    """Parts that wait for their vectors."""
    stages = instep.json("status")["stages"]
    return sum(s["waiting"] + s["running"] for s in stages if s["stage"] == "embedder")


LOG = re.compile(r"\[(warning|error) *\]|\"event\"|Traceback|^File \"|^\w+Error: ")


def at_terminal(instep, *args, command=("services",), **environ):
    argv = [sys.executable, "-m", *command, *map(str, args), "--data", str(instep.data)]
    path = os.pathsep.join((str(SUPPORT), os.environ.get("PYTHONPATH", "")))
    return terminal(argv, cwd=instep.cwd, environ={**instep.environ, "PYTHONPATH": path, **environ})


def log_of(instep):
    text = (instep.data / "instep.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_store_that_does_not_answer_is_told_in_a_sentence(instep, notes):
    store = f"http://127.0.0.1:{free_port()}"
    environ = {"INSTEP_STORE__KIND": "weaviate", "INSTEP_STORE__WEAVIATE__URL": store}
    with at_terminal(instep, "up", notes, **environ) as shown:
        assert shown.process.wait(300) != 0

    assert shown.says("instep: Weaviate")
    assert [line for line in shown.lines if LOG.search(line)] == []


def servers_of(process):
    """The bundled nats-server of a running `up`."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    names = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, name in names.items() if b"nats-server" in name]


def test_a_bus_that_dies_is_told_in_sentences_and_the_log_is_in_the_data_folder(instep, notes):
    with at_terminal(instep, "up", notes) as shown:
        wait_until(lambda: shown.says("in step after"))
        for pid in servers_of(shown.process):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: shown.says("bus reconnected: the bus answers again"))

    assert shown.says("bus disconnected: the bus does not answer")
    assert [line for line in shown.lines if LOG.search(line)] == []
    events = [line["event"] for line in log_of(instep)]
    assert {"bus_disconnected", "bus_reconnected", "nats_server_died"} <= set(events)


def test_calls_of_store_and_model_that_fail_are_no_news(instep, notes):
    """A store and a model whose every tenth call fails."""
    chaos = {"seed": 1, "ack_wait_s": 0, "faults": True, "mutation": ""}
    with at_terminal(
        instep, "up", notes, command=("chaos_main",), CHAOS=json.dumps(chaos)
    ) as shown:
        wait_until(lambda: shown.says("in step after"))

    assert [line for line in shown.lines if LOG.search(line)] == []


def test_a_folder_that_cannot_be_listed_is_told_in_a_sentence(instep, notes):
    with at_terminal(instep, "up", notes) as shown:
        wait_until(lambda: shown.says("in step after"))
        shutil.rmtree(notes)
        notes.write_text("a file where the folder was")
        wait_until(lambda: shown.says("notice") or shown.says("HELD"))

    assert [line for line in shown.lines if LOG.search(line)] == []


def test_with_debug_the_log_is_shown(instep, notes):
    store = f"http://127.0.0.1:{free_port()}"
    environ = {"INSTEP_STORE__KIND": "weaviate", "INSTEP_STORE__WEAVIATE__URL": store}
    with at_terminal(instep, "up", notes, "--debug", **environ) as shown:
        wait_until(lambda: any(LOG.search(line) for line in shown.lines))

    assert not (instep.data / "instep.log").exists()
