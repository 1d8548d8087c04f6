"""What survives what: each test is a row of the manual's page on durability."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from instep_process import FAKE, Instep, wait_until

from services.host.data_folder import mark_original

DOCUMENTS = 8


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(DOCUMENTS):
        write(folder / f"n{n}.md", f"unique{n}")
    return folder


def write(file, word):
    file.write_text(f"# Note\n\nThe word of this one is {word}.\n")


def servers_of(pid):
    """Process ids of its children that are nats-server by now."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    lines = (line.split() for line in listed.stdout.splitlines())
    return [int(number) for number, name, *_ in lines if name.startswith("nats-server")]


# -- the first second ------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["line", "lock", "server"])
def test_a_stop_in_the_first_second_is_a_stop(instep, notes, moment):
    process = instep.start("up", notes)
    reached = {
        "line": lambda: instep.said("Ctrl-C stops"),
        "lock": (instep.data / "lock").exists,
        "server": lambda: servers_of(process.pid),
    }
    wait_until(reached[moment], every_s=0.002)
    servers = servers_of(process.pid)
    process.send_signal(signal.SIGTERM)

    assert process.wait(300) == 0
    assert not instep.said("Traceback")
    assert not any(Path(f"/proc/{pid}").exists() for pid in servers)


@pytest.mark.parametrize("moment", ["running", "listening"])
def test_a_server_killed_at_the_first_start_is_started_again(instep, notes, moment):
    process = instep.start("up", notes, "--once", "--json")
    ports = instep.data / "server" / "ports"
    (server,) = wait_until(lambda: servers_of(process.pid), every_s=0.002)
    if moment == "listening":
        wait_until(lambda: list(ports.glob("*.ports")), every_s=0.001)
    os.kill(server, signal.SIGKILL)

    assert process.wait(300) == 0, instep.logs()
    assert instep.said('"in_step": true')


# -- what a power loss leaves ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Documents and a data folder in step with them; to be copied, not to be used."""
    return filled(tmp_path_factory.mktemp("before"), "sqlite")


@pytest.fixture(scope="module")
def before_in_lance(tmp_path_factory):
    """The same with LanceDB, as installations of before have it."""
    return filled(tmp_path_factory.mktemp("before"), "lancedb")


def filled(here, kind):
    (here / "notes").mkdir()
    for n in range(DOCUMENTS):
        write(here / "notes" / f"n{n}.md", f"unique{n}")
    once = Instep(here / "data", here, env=FAKE | {"INSTEP_STORE__KIND": kind})
    assert once.json("up", here / "notes", "--once")["in_step"]
    return here


def newest(folder, pattern):
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def halve(file):
    os.truncate(file, file.stat().st_size // 2)


def fill_with_zeros(file):
    file.write_bytes(bytes(file.stat().st_size))


def tear_end(server, stream):
    """Take the last bytes of the newest block of a stream, and the index that would tell."""
    messages = next(server.glob(f"store/*/*/streams/{stream}/msgs"))
    block = newest(messages, "*.blk")
    os.truncate(block, max(0, block.stat().st_size - 10))
    (messages / "index.db").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("kind", "file", "damage"),
    [
        ("before", "*.sqlite3", halve),
        ("before", "*.sqlite3", fill_with_zeros),
        ("before_in_lance", "*/data/*.lance", halve),
        ("before_in_lance", "*/_versions/*.manifest", fill_with_zeros),
    ],
    ids=["file cut in half", "file of zeros", "rows cut in half", "manifest of zeros"],
)
def test_a_torn_store_is_put_aside_and_filled_without_encoding(instep, request, kind, file, damage):
    before = request.getfixturevalue(kind)
    shutil.copytree(before / "data", instep.data)
    damage(newest(instep.data / "store", file))

    summary = instep.json("up", before / "notes", "--once")

    assert summary["documents"]["searchable"] == DOCUMENTS
    assert summary["chunks"]["embedded"] == 0
    assert instep.json("validate")["passed"] is True


@pytest.mark.parametrize(
    "streams", ["DOCS", "KV_listings KV_embcache INTAKE RESULTS KV_batches", "KV_ledger_*"]
)
def test_a_server_store_without_its_last_bytes_comes_in_step(instep, before, streams):
    shutil.copytree(before / "data", instep.data)
    mark_original(instep.data / "server")
    for stream in streams.split():
        tear_end(instep.data / "server", stream)

    summary = instep.json("up", before / "notes", "--once")

    assert summary["documents"]["searchable"] == DOCUMENTS
    assert instep.json("validate")["passed"] is True


def test_without_the_server_folder_everything_is_read_and_encoded_again(instep, before):
    shutil.copytree(before / "data", instep.data)
    shutil.rmtree(instep.data / "server")

    summary = instep.json("up", before / "notes", "--once")

    assert summary["documents"]["searchable"] == DOCUMENTS
    assert summary["chunks"]["embedded"] == DOCUMENTS
    assert instep.json("validate")["passed"] is True
