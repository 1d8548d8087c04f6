"""One commit renames most files of a folder and edits some: the index equals the folder."""

import random
from pathlib import Path

import pytest
from instep_process import wait_until

WORDS = (Path(__file__).parents[2] / "README.md").read_text().split()
COUNT = 120


def text_of(n):
    words = random.Random(n)
    lines = [" ".join(words.choices(WORDS, k=12)) for _ in range(words.randint(8, 20))]
    return f"# Article {n}\n\nlantern\n\n" + "\n".join(lines)


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    (folder / "old").mkdir(parents=True)
    for n in range(COUNT):
        (folder / "old" / f"{n:03}.md").write_text(text_of(n))
    return folder


def commit(docs, names):
    for n in names:
        (docs / "old" / f"{n:03}.md").unlink()
        folder = docs / f"part-{n % 5}"
        folder.mkdir(exist_ok=True)
        more = f"\nA line that is new in {n}.\n" if n % 3 == 0 else ""
        (folder / f"article-{n:03}.markdown").write_text(text_of(n) + more)


def known(instep):
    found = instep.json("status")
    return found["in_step"], found["documents"]["held"], found["documents"]["searchable"]


@pytest.mark.parametrize("runs", [True, False])
def test_a_commit_that_renames_most_files_and_edits_a_third_leaves_no_hold(instep, docs, runs):
    instep.json("up", docs, "--once")
    if not runs:
        commit(docs, range(20, COUNT))
    instep.up(docs)
    if runs:
        wait_until(lambda: known(instep) == (True, 0, COUNT))
        commit(docs, range(20, COUNT))
    files = {path.relative_to(docs).as_posix() for path in docs.rglob("*.m*")}

    def listed():
        status = instep.json("status", "--pending")
        return status, set(instep.found("lantern article")) <= files

    wait_until(lambda: known(instep) == (True, 0, COUNT) and listed()[1])
    assert instep("removals").stdout == "no removal is held\n"


def test_where_half_of_them_are_gone_the_hold_names_those(instep, docs):
    instep.json("up", docs, "--once")
    commit(docs, range(40))
    gone = [f"old/{n:03}.md" for n in range(40, COUNT)]
    for path in gone:
        (docs / path).unlink()
    instep.up(docs)
    wait_until(lambda: known(instep)[1] == len(gone))
    wait_until(lambda: known(instep)[2] == COUNT)
    (hold,) = instep.json("removals")["holds"]

    assert (hold["vanished"], set(hold["sample"]) <= set(gone)) == (80, True)
