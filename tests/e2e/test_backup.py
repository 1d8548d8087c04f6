"""Copies of a data folder, put back: the same moment, an older one, halves of two moments."""

import json
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from instep_process import Instep, wait_until


@dataclass(frozen=True)
class Moments:
    """Data folders of an earlier and a later moment, and the folder of documents at the later."""

    earlier: Path
    later: Path
    notes: Path
    given: int
    """The newest revision of n0.md at the later moment."""


@pytest.fixture(scope="module")
def moments(tmp_path_factory):
    here = tmp_path_factory.mktemp("moments")
    notes = here / "notes"
    notes.mkdir()
    for n in range(6):
        write(notes / f"n{n}.md", f"first{n}")
    instep = Instep(here / "data", here)
    instep.json("up", notes, "--once")
    shutil.copytree(instep.data, here / "earlier")
    write(notes / "n0.md", "second0")
    (notes / "n1.md").unlink()
    write(notes / "n6.md", "first6")
    (notes / "n2.md").rename(notes / "moved.md")
    with running(instep, notes) as ask:
        given = ask("documents/n0.md")["served"]["sequence"]
        wait_until(lambda: ask("status")["last_sweep"])  # else the next start sweeps by itself
    return Moments(here / "earlier", instep.data, notes, given)


def write(file, word):
    same = "A paragraph that stays as it is, so that one row of the document stays, too."
    file.write_text(f"# Note\n\n## One\n\n{same}\n\n## Two\n\nThe word is {word}.\n")


@contextmanager
def running(instep, notes):
    """`up` in step, and how to ask its gateway."""
    instep.up(notes)
    wait_until(lambda: instep.json("status", status=(0, 1))["in_step"], within_s=180)
    address = json.loads((instep.data / "instance.json").read_text())["gateway_url"]

    def ask(path):
        with urllib.request.urlopen(
            urllib.request.Request(f"{address}/api/v1/{path}", headers=instep.shown)
        ) as answer:
            return json.load(answer)

    yield ask
    instep.stop()


def copy_while_it_changes(source, target):
    """What is there when its turn comes: a file may be gone since its folder was read."""
    subprocess.run(["cp", "-a", source, target], capture_output=True, check=False)
    for half_written in target.rglob("*.new"):
        half_written.unlink()


def is_as_the_folder(instep, notes, ask):
    """Search, and the comparison of store and ledger, agree with what lies in the folder."""

    def agrees():
        return instep.json("validate", status=(0, 1))["passed"]

    wait_until(agrees, within_s=180)  # `up` sweeps as soon as it is in step
    found = ask("search?mode=keyword&limit=50&q=paragraph")["hits"]
    for file in notes.iterdir():
        word = file.read_text().split("The word is ")[1].split(".")[0]
        (hit, *_) = ask(f"search?mode=keyword&q={word}")["hits"]
        assert hit["document"]["path"] == file.name
    return {hit["document"]["path"] for hit in found} == {file.name for file in notes.iterdir()}


def test_a_copy_of_a_stopped_data_folder_is_used_elsewhere(instep, moments):
    shutil.copytree(moments.later, instep.data)

    summary = instep.json("up", moments.notes, "--once")

    assert summary["chunks"]["embedded"] == 0
    assert summary["documents"]["searchable"] == 6


def test_an_older_backup_comes_in_step_with_the_folder(instep, moments):
    shutil.copytree(moments.earlier, instep.data)

    with running(instep, moments.notes) as ask:
        assert is_as_the_folder(instep, moments.notes, ask)
        assert ask("documents/n0.md")["served"]["sequence"] > moments.given  # none is given twice


@pytest.mark.parametrize("older", ["server", "store"])
def test_server_and_store_of_two_moments_come_in_step(instep, moments, older):
    shutil.copytree(moments.later, instep.data)
    shutil.rmtree(instep.data / older)
    shutil.copytree(moments.earlier / older, instep.data / older)

    with running(instep, moments.notes) as ask:
        assert is_as_the_folder(instep, moments.notes, ask)


def test_a_copy_of_a_running_data_folder_comes_in_step(instep, moments, tmp_path):
    notes = tmp_path / "notes"
    shutil.copytree(moments.notes, notes)
    shutil.copytree(moments.later, instep.data)
    with running(instep, notes):
        write(notes / "n3.md", "third3")
        copy_while_it_changes(instep.data, tmp_path / "copied")
    write(notes / "n4.md", "third4")

    instep.data = tmp_path / "copied"
    with running(instep, notes) as ask:
        assert is_as_the_folder(instep, notes, ask)
