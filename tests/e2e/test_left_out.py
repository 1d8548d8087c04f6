"""A repository as people have it: what its rules leave out is not read, not held, and told."""

import pytest
from instep_process import wait_until


@pytest.fixture
def repo(tmp_path):
    """3 documents, 24 beside them in `build`, and 24 in `node_modules`."""
    folder = tmp_path / "repo"
    for name in ("docs", "build", "node_modules/x"):
        (folder / name).mkdir(parents=True)
    for n in range(3):
        (folder / "docs" / f"p{n}.md").write_text(f"# P{n}\n\nInstall guide {n}.\n")
    for n in range(24):
        (folder / "build" / f"b{n}.md").write_text(f"# B{n}\n\nInstall built {n}.\n")
        (folder / "node_modules" / "x" / f"r{n}.md").write_text(f"# R{n}\n\nInstall npm {n}.\n")
    (folder / "logo.png").write_bytes(b"\x89PNG")
    return folder


def searchable(instep):
    return instep.json("status")["documents"]["searchable"]


def test_what_rules_leave_out_leaves_the_index_is_counted_and_explained(instep, repo):
    instep.up(repo)
    wait_until(lambda: searchable(instep) == 27)
    (repo / ".gitignore").write_text("# made\nbuild/\n")
    wait_until(lambda: searchable(instep) == 3)
    wait_until(lambda: instep.json("status")["in_step"])

    status, shown = instep.json("status"), instep("show", f"{repo}/")
    one, default = instep("show", repo / "build" / "b1.md"), instep("show", "repo/node_modules")
    picture = instep("show", "logo.png")

    assert status["documents"]["held"] == 0
    assert status["sources"][0]["left_out"] == {
        ".png": 1,
        "folders ignored by .gitignore": 1,
        "folders left out by default": 1,
    }
    assert "left out: 1 .png, 1 folder ignored by .gitignore, 1 folder left out" in shown.stdout
    assert "build/" in shown.stdout
    assert "why: its file is left out: ignored by line 2 of .gitignore: build/" in one.stdout
    assert "node_modules is left out: by default: node_modules/" in default.stdout
    assert "logo.png is left out: its ending .png is not read" in picture.stderr
    assert (one.returncode, picture.returncode) == (0, 2)
    assert "out of the index: 24 ignored by .gitignore, such as build/b0.md" in instep.logs()
    assert "1 folder ignored by .gitignore" in instep("doctor").stdout


def test_options_of_up_leave_out_and_bring_in(instep, repo):
    (repo / ".gitignore").write_text("docs/p0.md\n")
    first = instep.json("up", repo, "--once")
    second = instep("up", repo, "--once", "--exclude", "build/", "--exclude", "nosuch")
    third = instep.json(
        "up", repo, "--once", "--exclude", "build", "--include", "node_modules", "--no-gitignore"
    )

    assert first["documents"]["searchable"] == 26
    assert second.returncode == 0
    assert "out of the index: 24 excluded" in second.stdout + second.stderr
    assert "include or exclude matches nothing here: nosuch" in second.stdout + second.stderr
    assert third["documents"]["searchable"] == 27
