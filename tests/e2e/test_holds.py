"""P7 as a person meets it: most of a folder vanishes, nothing is lost, a command decides."""

import pytest
from instep_process import wait_until


@pytest.fixture
def docs(tmp_path):
    """30 documents, 25 of them below `guide`."""
    folder = tmp_path / "docs"
    (folder / "guide").mkdir(parents=True)
    for n in range(30):
        name = f"guide/n{n}.md" if n < 25 else f"n{n}.md"
        (folder / name).write_text(f"# Note {n}\n\nlantern unique{n}\n")
    return folder


def held(instep):
    return instep.json("status")["documents"]["held"]


def searchable(instep):
    return instep.json("status")["documents"]["searchable"]


def test_most_of_a_folder_vanishes_and_a_person_releases_it(instep, docs, tmp_path):
    instep.up(docs)
    wait_until(lambda: searchable(instep) == 30)

    (docs / "guide").rename(tmp_path / "gone")
    wait_until(lambda: held(instep) == 25)
    status = instep.json("status")
    listed = instep.json("removals")
    shown = instep("removals")

    assert status["in_step"] is False
    assert len(instep.found("lantern")) == 30
    assert [(h["source"], h["vanished"], h["of"]) for h in listed["holds"]] == [("docs", 25, 30)]
    assert shown.returncode == 0
    assert "instep removals approve docs" in shown.stdout
    assert "instep removals" in instep.logs()

    wrong = instep("removals", "approve", "dcos")
    assert (wrong.returncode, "did you mean 'docs'?" in wrong.stderr) == (2, True)

    released = instep("removals", "approve", "docs")
    assert (released.returncode, released.stdout) == (0, "docs: 25 documents removed\n")
    wait_until(lambda: len(instep.found("lantern")) == 5)
    wait_until(lambda: held(instep) == 0)
    assert instep("removals").stdout == "no removal is held\n"
    wait_until(lambda: instep.json("status")["in_step"])


def test_once_ends_with_status_1_while_removals_wait_and_0_when_they_are_kept(
    instep, docs, tmp_path
):
    instep.json("up", docs, "--once")
    (docs / "guide").rename(tmp_path / "gone")

    waiting = instep.json("up", docs, "--once", status=(1,))
    instep.up(docs)
    wait_until(lambda: held(instep) == 25)
    kept = instep.json("removals", "reject", "docs")
    in_step = wait_until(lambda: instep.json("status")["in_step"])
    instep.stop()
    after = instep.json("up", docs, "--once")

    assert (waiting["in_step"], waiting["documents"]["held"]) == (False, 25)
    assert waiting["documents"]["searchable"] == 30
    assert (kept["done"], kept["documents"], in_step) == (True, 25, True)
    assert (after["documents"]["held"], after["documents"]["searchable"]) == (0, 30)
    listed = instep.json("removals")  # no instance is running
    assert [(h["kept"], h["vanished"]) for h in listed["holds"]] == [(True, 25)]


def test_a_disk_that_is_not_mounted_keeps_its_few_documents_over_a_restart(instep, docs, tmp_path):
    for name in docs.rglob("n*.md"):
        if name.stem not in ("n1", "n26", "n27"):
            name.unlink()
    instep.up(docs)
    wait_until(lambda: searchable(instep) == 3)
    docs.rename(tmp_path / "disk")
    gone = wait_until(lambda: instep.json("status")["sources"][0]["error"])
    out_of_step = instep.json("status")["in_step"]
    docs.mkdir()
    wait_until(lambda: held(instep) == 3)
    instep.stop()
    instep.up(docs)
    wait_until(lambda: held(instep) == 3)
    found = len(instep.found("lantern"))
    docs.rmdir()
    (tmp_path / "disk").rename(docs)
    wait_until(lambda: instep.json("status")["in_step"])

    assert gone == f"{docs}: no such file or directory"
    assert out_of_step is False
    assert found == 3
    assert (held(instep), searchable(instep)) == (0, 3)
    assert instep.json("status")["sources"][0]["error"] == ""


def test_more_on_top_of_what_is_kept_asks_again(instep, docs, tmp_path):
    instep.env["INSTEP_SOURCES__DOCS__HOLD_COUNT"] = "5"
    instep.env["INSTEP_SOURCES__DOCS__HOLD_SHARE"] = "0.1"
    (docs / "old").mkdir()
    for n in range(6):
        (docs / f"guide/n{n}.md").rename(docs / f"old/n{n}.md")
    instep.up(docs)
    wait_until(lambda: searchable(instep) == 30)
    (docs / "old").rename(tmp_path / "old")  # together: few at a time would not be held
    wait_until(lambda: held(instep) == 6)
    instep.json("removals", "reject", "docs")
    wait_until(lambda: held(instep) == 0)
    (docs / "n29.md").unlink()
    wait_until(lambda: held(instep) == 7)
    released = instep.json("removals", "approve", "docs")
    wait_until(lambda: len(instep.found("lantern")) == 23)

    assert (released["done"], released["documents"]) == (True, 7)


@pytest.mark.parametrize(("word", "left"), [("approve", 5), ("reject", 30)])
def test_what_is_decided_between_two_runs_is_done_by_the_next(instep, docs, tmp_path, word, left):
    instep.json("up", docs, "--once")
    (docs / "guide").rename(tmp_path / "gone")
    instep.json("up", docs, "--once", status=(1,))

    listed = instep.json("removals")
    status = instep.json("status")
    wrong = instep("removals", word, "dcos")
    decided = instep.json("removals", word, "docs")
    after = instep.json("removals")
    found = len(instep.found("lantern"))
    done = instep.json("up", docs, "--once")

    assert [(h["source"], h["vanished"], h["of"]) for h in listed["holds"]] == [("docs", 25, 30)]
    assert status["documents"]["held"] == 25
    assert (status["runs"], status["in_step_as_of"]) == (False, None)
    assert (wrong.returncode, "did you mean 'docs'?" in wrong.stderr) == (2, True)
    assert (decided["done"], decided["documents"]) == (True, 25)
    assert [(h["kept"], h["released"]) for h in after["holds"]] == [
        (word == "reject", word == "approve")
    ]
    assert after["total"] == 0
    assert found == 30
    assert (done["in_step"], done["documents"]["held"]) == (True, 0)
    assert done["documents"]["searchable"] == len(instep.found("lantern")) == left


def test_a_release_between_two_runs_takes_out_nothing_that_is_back_by_then(instep, docs, tmp_path):
    instep.json("up", docs, "--once")
    (docs / "guide").rename(tmp_path / "gone")
    instep.json("up", docs, "--once", status=(1,))
    instep.json("removals", "approve", "docs")
    (tmp_path / "gone").rename(docs / "guide")

    back = instep.json("up", docs, "--once")
    (docs / "guide").rename(tmp_path / "gone")
    again = instep.json("up", docs, "--once", status=(1,))

    assert (back["documents"]["held"], back["documents"]["searchable"]) == (0, 30)
    assert (again["documents"]["held"], again["documents"]["searchable"]) == (25, 30)
