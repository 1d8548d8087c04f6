"""The whole flow with each store of one machine: edits, a kill, an index deleted while it is open,
an upgrade from one to the other."""

import shutil

import pytest
from instep_process import wait_until

pytestmark = pytest.mark.stores
SUFFIX = {"sqlite": "sqlite3", "lancedb": "lance"}


@pytest.fixture(params=SUFFIX)
def kind(request):
    return request.param


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(5):
        (folder / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    return folder


def index_of(instep, kind):
    """The file or folder of the index; None while there is none."""
    (path,) = list((instep.data / "store").glob(f"chunks_*.{SUFFIX[kind]}")) or [None]
    return path


def test_an_index_stays_in_step_whatever_happens_to_process_and_index(instep, kind, notes):
    instep.env |= {"INSTEP_STORE__KIND": kind}
    process = instep.up(notes)
    wait_until(lambda: instep.found("unique3")[:1] == ["n3.md"])
    (notes / "n3.md").write_text("# Zeppelin\n\nA text about zeppelins.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["n3.md"])

    process.kill()
    process.wait(60)
    (notes / "n3.md").unlink()
    (notes / "new.md").write_text("# New\n\nA text about unique7 things.\n")
    instep.up(notes)
    wait_until(lambda: instep.found("unique7")[:1] == ["new.md"])
    wait_until(lambda: "n3.md" not in instep.found("zeppelins"))

    path = index_of(instep, kind)
    before = path.stat().st_ino
    path.rename(path.with_name("gone"))  # what it held stays, so its number is not given again
    wait_until(lambda: (now := index_of(instep, kind)) and now.stat().st_ino != before)
    wait_until(lambda: instep.json("validate", status=(0, 1))["passed"])
    assert [instep.found(f"unique{n}")[:1] for n in (0, 1, 2, 4, 7)] == [
        [name] for name in ("n0.md", "n1.md", "n2.md", "n4.md", "new.md")
    ]
    if kind == "sqlite":
        assert {part.stat().st_mode & 0o777 for part in path.parent.iterdir()} == {0o600}


def test_an_older_index_stays_in_its_store_until_a_person_changes_it_and_nothing_is_encoded(
    instep, notes
):
    instep.env |= {"INSTEP_STORE__KIND": "lancedb"}
    first = instep.json("up", notes, "--once")
    del instep.env["INSTEP_STORE__KIND"]

    kept = instep.json("up", notes, "--once")
    assert (kept["in_step"], kept["chunks"]["embedded"]) == (True, 0)
    assert (index_of(instep, "lancedb") is not None, index_of(instep, "sqlite")) == (True, None)

    instep.env |= {"INSTEP_STORE__KIND": "sqlite"}
    changed = instep.json("up", notes, "--once")
    assert (changed["in_step"], changed["chunks"]["embedded"]) == (True, 0)
    assert changed["chunks"]["searchable"] == first["chunks"]["searchable"]
    shutil.rmtree(index_of(instep, "lancedb"))
    del instep.env["INSTEP_STORE__KIND"]
    assert instep.json("validate")["passed"] is True
    assert instep.found("unique3", status=(0,))[:1] == ["n3.md"]
