"""What a person does: drop files, search, edit, move, delete; kill things; and search is right."""

import asyncio
import json
import os
import random
import shutil
import signal

import lancedb
import pyarrow as pa
import pytest
from instep_process import wait_until
from services_alone import get

from services.host.data_folder import DataFolder
from shared.live import ANEW

WORDS = ["harbour", "lantern", "orchard", "granite", "violin", "meadow", "copper", "saffron"]


def write_notes(folder, count, *, seed=1):
    """Markdown files with a word of their own each, so that a search can tell them apart."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        body = "\n\n".join(
            " ".join(chance.choices(WORDS, k=30)) + f" note{n}paragraph{k}." for k in range(4)
        )
        (folder / f"n{n}.md").write_text(f"# Note {n} unique{n}\n\n## Body\n\n{body}\n")


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    write_notes(folder, 6)
    return folder


def test_once_indexes_a_folder_and_a_second_run_encodes_nothing(instep, notes):
    first = instep.json("up", notes, "--once")
    second = instep.json("up", notes, "--once")

    assert first["in_step"] is True
    assert first["documents"]["found"] == 6
    assert first["documents"]["inserted"] == 6
    assert first["chunks"]["embedded"] > 0
    assert second["in_step"] is True
    assert second["documents"]["inserted"] == 0
    assert second["chunks"]["embedded"] == 0
    assert instep.found("unique3", status=(0,))[0] == "n3.md"  # no instance is running


def moved(found):
    """The new name comes and the old one goes, in any order."""
    return found[:1] == ["airships.md"] and "n2.md" not in found


def test_search_is_right_after_every_change(instep, notes):
    instep.up(notes)
    wait_until(lambda: "n2.md" in instep.found("unique2"))

    (notes / "n2.md").write_text("# Zeppelin\n\nA text about zeppelins.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["n2.md"])

    (notes / "n2.md").rename(notes / "airships.md")
    wait_until(lambda: moved(instep.found("zeppelins")))

    (notes / "airships.md").unlink()
    wait_until(lambda: "airships.md" not in instep.found("zeppelins"))

    (notes / "airships.md").write_text("# Zeppelin\n\nZeppelins again.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["airships.md"])

    shown = instep.json("show", "airships.md")
    assert shown["state"] == "searchable"


def test_changes_while_it_was_down_are_found_at_the_next_start(instep, notes):
    instep.json("up", notes, "--once")
    (notes / "n0.md").unlink()
    (notes / "n1.md").write_text("# Changed\n\nNow about marmalade.\n")
    (notes / "new.md").write_text("# New\n\nAbout porcupines.\n")

    summary = instep.json("up", notes, "--once")

    assert summary["documents"]["removed"] == 1
    assert instep.found("marmalade")[:1] == ["n1.md"]
    assert instep.found("porcupines")[:1] == ["new.md"]
    assert "n0.md" not in instep.found("unique0")


def test_a_second_up_says_who_holds_the_data_folder(instep, notes):
    first = instep.up(notes)

    second = instep("up", notes, "--once")

    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_kill_everything_in_the_middle_and_start_again(instep, tmp_path):
    notes = tmp_path / "many"
    write_notes(notes, 120)
    instep.env["INSTEP_EMBEDDING__MAX_BATCH"] = "4"
    process = instep.start("up", notes)

    def under_way():
        assert process.poll() is None, instep.logs()
        status = instep("status", "--json")
        return status.returncode == 0 and '"searchable": 0' not in status.stdout

    wait_until(under_way, within_s=180)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    instep.running.clear()

    summary = instep.json("up", notes, "--once")

    assert summary["in_step"] is True
    report = instep.json("validate")
    assert report["passed"] is True
    assert report["documents"] == 120
    assert report["rows"] == report["expected_rows"]


def test_a_wiped_store_is_rebuilt_without_encoding(instep, notes):
    first = instep.json("up", notes, "--once")
    shutil.rmtree(instep.data / "store")

    second = instep.json("up", notes, "--once")

    assert second["chunks"]["embedded"] == 0
    report = instep.json("validate")
    assert report["passed"] is True
    assert report["rows"] == first["chunks"]["searchable"] > 0


COLUMNS = {
    "one more": lambda table: table.add_columns({"more": "'of a later version'"}),
    "one less": lambda table: table.drop_columns(["seal"]),
    "another type": lambda table: table.alter_columns(
        {"path": "title", "data_type": pa.large_string()}
    ),
}


@pytest.mark.parametrize("alter", COLUMNS.values(), ids=COLUMNS.keys())
def test_an_index_with_the_columns_of_another_version_is_written_again_without_encoding(
    instep, notes, alter
):
    instep.env |= {"INSTEP_STORE__KIND": "lancedb"}
    first = instep.json("up", notes, "--once")
    (table,) = (instep.data / "store").glob("*.lance")
    rows = first["chunks"]["searchable"]
    other_columns(table, alter)

    second = instep("up", notes, "--once", "--json")

    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["chunks"]["embedded"] == 0
    aside = table.with_suffix(".broken-1")
    assert aside.is_dir()
    told = [line for line in second.stderr.splitlines() if "another version of instep" in line]
    assert len(told) == 1
    assert f"its {rows} rows are written again" in told[0]
    assert aside.name in told[0]
    instep.up(notes)
    for n in range(6):
        assert instep.found(f"unique{n}")[0] == f"n{n}.md"
    report = instep.json("validate")
    assert (report["passed"], report["rows"]) == (True, rows)


def other_columns(table, alter):
    async def change():
        opened = await (await lancedb.connect_async(table.parent)).open_table(table.stem)
        await alter(opened)

    asyncio.run(change())


def test_a_changed_setting_keeps_the_index_and_says_what_the_change_costs(instep, notes):
    first = instep.json("up", notes, "--once")
    instep.env |= {"INSTEP_CHUNKING__TOKENS": "40"}

    second = instep("up", notes, "--once", "--json")

    assert json.loads(second.stdout)["chunks"] == {**first["chunks"], "embedded": 0}
    (told,) = [line for line in second.stderr.splitlines() if "chunking.tokens is 40" in line]
    assert "the index stays as it was built: undo the change to keep it" in told
    assert told.endswith(f"{ANEW} ({first['chunks']['searchable']} today)")
    assert instep.found("unique3", status=(0,))[0] == "n3.md"


def test_a_refused_file_is_listed_with_its_reason_and_harms_nobody(instep, notes):
    (notes / "broken.md").write_bytes(b"\x00\x01\x02" * 200)
    (notes / "empty.md").write_text("")

    summary = instep.json("up", notes, "--once")

    assert summary["documents"]["refused"] == 2
    assert summary["documents"]["inserted"] == 6
    listed = instep.json("failures", status=(0, 1))
    assert {row["document"].split("/")[-1] for row in listed["failures"]} == {
        "broken.md",
        "empty.md",
    }
    assert all(row["code"] and row["fix"] for row in listed["failures"])


def test_publish_brings_a_document_from_standard_input(instep, notes):
    instep.up(notes)

    done = instep(
        "publish",
        "-",
        "--source",
        "inbox",
        "--path",
        "hello.md",
        "--wait",
        "120",
        stdin="# Hello\n\nAbout armadillos.\n",
    )

    assert done.returncode == 0, done.stderr
    assert instep.found("armadillos")[:1] == ["hello.md"]


def in_step(instep):
    return instep.json("status")["in_step"]


def served(instep, count):
    """The revision that search is promised, of each document."""
    gateway = DataFolder(instep.data).read_instance().gateway_url
    address = f"{gateway}/api/v1/documents/many"
    pages = {n: get(f"{address}/n{n}.md", **instep.shown).json() for n in range(count)}
    return {n: page["served"]["sequence"] for n, page in pages.items()}


def test_embedder_replicas_join_and_are_killed_at_will(instep, tmp_path):
    notes = tmp_path / "many"
    write_notes(notes, 60)
    instep.env["INSTEP_TELEMETRY__LEVEL"] = "info"
    instep.up(notes)
    replicas = [instep.start("run", "embedder") for _ in range(2)]
    logs = [tmp_path / f"run-{n}.log" for n in (1, 2)]
    wait_until(lambda: all('"serving"' in log.read_text() for log in logs))
    wait_until(lambda: in_step(instep))
    before = served(instep, 60)
    write_notes(notes, 60, seed=2)
    os.killpg(replicas[0].pid, signal.SIGKILL)

    def all_edits():
        now = served(instep, 60)
        return in_step(instep) and all(now[path] > before[path] for path in before)

    wait_until(all_edits, within_s=180)
    report = instep.json("validate")
    assert report["passed"] is True
    assert report["documents"] == 60


def test_a_stop_is_clean_and_loses_nothing(instep, notes):
    process = instep.up(notes)
    (notes / "late.md").write_text("# Late\n\nAbout xylophones.\n")

    process.send_signal(signal.SIGINT)

    assert process.wait(300) in (0, 130)
    instep.running.clear()
    instep.json("up", notes, "--once")
    assert instep.found("xylophones")[:1] == ["late.md"]


def test_a_source_is_cut_otherwise_after_its_chunking_changed_and_back(instep, notes):
    first = instep.json("up", notes, "--once")["chunks"]["searchable"]
    instep.env["INSTEP_SOURCES__NOTES__CHUNKING__TOKENS"] = "40"
    smaller = instep.json("up", notes, "--once")
    again = instep.json("up", notes, "--once")
    del instep.env["INSTEP_SOURCES__NOTES__CHUNKING__TOKENS"]
    back = instep.json("up", notes, "--once")

    assert smaller["chunks"]["searchable"] > first
    assert smaller["chunks"]["embedded"] > 0
    assert again["chunks"] == {**smaller["chunks"], "embedded": 0, "cached": 0}
    assert back["chunks"]["searchable"] == first
    assert back["chunks"]["embedded"] == 0
    assert instep.json("validate")["passed"]
