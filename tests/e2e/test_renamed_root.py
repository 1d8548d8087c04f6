"""A folder got another name, or is not given any more: said at once, marked, and forgotten."""

import pytest
from instep_process import wait_until


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    for n in range(6):
        (folder / f"{'deep/' if n % 2 else ''}n{n}.md").write_text(f"# Note {n}\n\nlantern {n}\n")
    return folder


def source(instep, name):
    return {s["name"]: s for s in instep.json("sources")["sources"]}.get(name)


def test_the_same_content_under_another_root_is_told_encodes_nothing_and_the_old_is_forgotten(
    instep, docs, tmp_path
):
    instep.json("up", docs, "--once")
    docs.rename(tmp_path / "handbook")
    summary = instep.json("up", tmp_path / "handbook", "--once")
    instep.up(tmp_path / "handbook")
    old = wait_until(lambda: (s := source(instep, "docs")) and s["same_as"] and s)
    shown = instep("show", "docs/n0.md").stdout
    status, listed = instep("status").stdout, instep("sources").stdout
    doctor = instep("doctor").stdout
    asked = instep("sources", "forget", "docs")
    twice = len(instep.found("lantern"))
    refused = instep("sources", "forget", "handbook", "--yes")
    done = instep("sources", "forget", "docs", "--yes")
    wait_until(lambda: source(instep, "docs") is None)

    assert (summary["chunks"]["embedded"], summary["documents"]["searchable"]) == (0, 12)
    assert instep.said(f"not given this time ({docs}), and search still finds its documents (6)")
    assert instep.said("its documents are in handbook now, with the same paths and contents")
    assert (old["given"], old["documents"], old["path"]) == (False, 6, str(docs))
    assert (old["kind"], old["same_as"]) == ("folder", "handbook")
    for text in (status, listed):
        assert "docs: not given any more; handbook has all of its documents" in text
    assert "its source is not watched" in shown
    assert "WARN  source docs: not given any more" in doctor
    assert (asked.returncode, twice) == (2, 12)
    assert "instep sources forget docs --yes" in asked.stderr
    assert (refused.returncode, "handbook is watched" in refused.stderr) == (2, True)
    assert done.stdout == "docs: 6 documents removed\n"
    assert len(instep.found("lantern")) == 6


def test_an_edited_copy_is_no_move_and_its_name_may_stay(instep, docs, tmp_path):
    instep.json("up", docs, "--once")
    docs.rename(tmp_path / "handbook")
    (tmp_path / "handbook" / "n0.md").write_text("# Note 0\n\nlantern of another price\n")
    instep.json("up", tmp_path / "handbook", "--once")
    past = source(instep, "docs")
    instep("sources", "forget", "handbook", "--yes")
    summary = instep.json("up", tmp_path / "handbook", "--source", "docs", "--once")

    assert (past["given"], past["same_as"]) == (False, "")
    assert source(instep, "docs")["given"]
    assert summary["documents"]["searchable"] == 6
    assert (summary["documents"]["updated"], summary["chunks"]["embedded"]) == (1, 0)


def test_a_source_is_forgotten_while_no_instance_runs_and_by_the_next_run(instep, docs, tmp_path):
    (tmp_path / "wiki").mkdir()
    (tmp_path / "wiki" / "w.md").write_text("lantern of the wiki\n")
    instep.json("up", docs, "--once")
    instep.json("up", tmp_path / "wiki", "--once")
    done = instep.json("sources", "forget", "docs", "--yes")
    summary = instep.json("up", tmp_path / "wiki", "--once")
    after = instep.json("sources")["sources"]
    back = instep.json("up", docs, "--once")

    assert (done["documents"], "next instep up" in done["detail"]) == (6, True)
    assert summary["documents"]["searchable"] == 1
    assert [s["name"] for s in after] == ["wiki"]
    assert back["documents"]["searchable"] == 7


def test_an_unknown_source_gets_a_suggestion(instep, docs):
    instep.json("up", docs, "--once")
    wrong = instep("sources", "forget", "dcos", "--yes")

    assert (wrong.returncode, "did you mean 'docs'?" in wrong.stderr) == (2, True)
