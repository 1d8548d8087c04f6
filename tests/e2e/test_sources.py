"""What a file system may hold: each of it beside an ordinary file, which is always found."""

import os
import shutil
import socket
import stat
import subprocess
import unicodedata
from pathlib import Path

import pytest
from instep_process import Instep, wait_until

ODD_NAMES = (
    "with space.md",
    "quo\"te's.md",
    "new\nline.md",
    "ta\tb.md",
    "\x1b[31mred.md",
    "\U0001f469\u200d\U0001f52c.md",
    "\u202egnp.md",
    "n" * 252 + ".md",
)
BREAKING = ("\x1b", "\u202e", "\t", "\r")


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "ordinary.md").write_text("# Ordinary\n\nlantern beside it\n")
    return folder


def searchable(instep):
    return instep.json("status")["documents"]["searchable"]


def source(instep):
    (found,) = instep.json("status")["sources"]
    return found


def test_odd_names_are_searchable_and_never_break_the_terminal(instep, docs):
    for n, name in enumerate(ODD_NAMES):
        (docs / name).write_text(f"lantern number{n}\n")
    (docs / "empty\n\x1b[2J\u202e.md").write_text("")
    instep.up(docs)
    wait_until(lambda: searchable(instep) == len(ODD_NAMES) + 1)
    found = set(instep.found("lantern"))
    (docs / ODD_NAMES[2]).write_text("lantern edited\n")
    (docs / ODD_NAMES[4]).unlink()
    wait_until(lambda: searchable(instep) == len(ODD_NAMES))
    wait_until(lambda: ODD_NAMES[2] in instep.found("edited"))
    outputs = [
        instep("search", "lantern", "-n", 20).stdout,
        instep("failures").stdout,
        instep("status").stdout,
        instep("show", f"docs/{ODD_NAMES[2]}").stdout,
        instep("show", f"docs/{ODD_NAMES[6]}").stdout,
        next(instep.cwd.glob("up-*.log")).read_text(),
    ]

    assert found == {*ODD_NAMES, "ordinary.md"}
    assert "docs/new\\nline.md" in outputs[0]
    assert "\\x1b[2J\\u202e" in outputs[1]
    assert "\\u202egnp.md" in outputs[4]
    assert [(n, c) for n, text in enumerate(outputs) for c in BREAKING if c in text] == []


def test_names_that_cannot_be_documents_are_told_once_and_shown(instep, docs):
    deep = docs
    for letter in "bcdef":
        deep = deep / (letter * 220)
    deep.mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(docs) + b"/\xff.md")).write_text("x")
    for form in ("NFC", "NFD"):
        (docs / unicodedata.normalize(form, "caf\u00e9.md")).write_text(f"lantern {form}\n")
    instep.up(docs)
    wait_until(lambda: searchable(instep) == 2)
    (docs / "later.md").write_text("lantern later\n")
    wait_until(lambda: searchable(instep) == 3)
    shown = wait_until(lambda: (seen := source(instep))["problem_count"] == 3 and seen)
    text = instep("status").stdout
    log = next(instep.cwd.glob("up-*.log")).read_text()
    hits = instep.json("search", "lantern", "-n", 50)["hits"]
    (cafe,) = [hit for hit in hits if hit["document"]["path"] == "caf\u00e9.md"]

    assert set(shown["problems"].values()) == {
        "a path has at most 1,024 bytes of UTF-8",
        "the path is not valid Unicode",
        "two files have this name in different Unicode forms",
    }
    assert "\\udcff.md: the path is not valid Unicode" in text
    assert log.count("different Unicode forms") == 1
    assert cafe["chunk"]["text"].strip() == "lantern NFC"
    assert {"ordinary.md", "later.md"} < set(instep.found("lantern"))


def test_once_with_a_path_that_cannot_be_named_ends_with_status_1(instep, docs):
    Path(os.fsdecode(os.fsencode(docs) + b"/\xff.md")).write_text("x")
    summary = instep.json("up", docs, "--once", status=(1,))

    assert (summary["in_step"], summary["problem_count"]) == (True, 1)
    assert (summary["documents"]["searchable"], summary["documents"]["failed"]) == (1, 0)


def test_links_pipes_sockets_devices_and_large_files_harm_nobody(instep, docs, tmp_path):
    (tmp_path / "secret.md").write_text("lantern secret\n")
    (docs / "inside.md").symlink_to("ordinary.md")
    (docs / "outside.md").symlink_to(tmp_path / "secret.md")
    (docs / "loop.md").symlink_to("loop.md")
    (docs / "dangling.md").symlink_to("nothing.md")
    (docs / "around").symlink_to(docs)
    (docs / "hard.md").hardlink_to(docs / "ordinary.md")
    os.mkfifo(docs / "pipe.md")
    if os.geteuid() == 0:
        os.mknod(docs / "zero.md", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(os.path.relpath(docs / "s.md")))
        with (docs / "sparse.md").open("wb") as file:
            file.truncate(2 * 1024**3)
        (docs / "folder.md").mkdir()
        (docs / "folder.md" / "in.md").write_text("lantern in a folder\n")
        summary = instep.json("up", docs, "--once", status=(1,))
        instep.up(docs)
        refused = instep.json("failures")["failures"]
        found = set(instep.found("lantern"))

    assert (summary["documents"]["refused"], summary["problem_count"]) == (1, 1)  # loop.md
    assert [(f["document"], f["code"]) for f in refused] == [("docs/sparse.md", "too_large")]
    assert found == {"ordinary.md", "inside.md", "hard.md", "folder.md/in.md"}


def test_a_file_becomes_a_folder_and_a_file_again(instep, docs):
    (docs / "a.md").write_text("lantern file\n")
    instep.up(docs)
    wait_until(lambda: searchable(instep) == 2)
    (docs / "a.md").unlink()
    (docs / "a.md").mkdir()
    (docs / "a.md" / "b.md").write_text("lantern below\n")
    wait_until(lambda: set(instep.found("lantern")) == {"a.md/b.md", "ordinary.md"})
    shutil.rmtree(docs / "a.md")
    (docs / "a.md").write_text("lantern again\n")

    wait_until(lambda: set(instep.found("lantern")) == {"a.md", "ordinary.md"})


def test_files_deleted_while_the_kept_listing_was_lost_leave_the_search(instep, docs):
    for n in range(10):
        (docs / f"{n}.md").write_text(f"lantern {n}\n")
    instep.json("up", docs, "--once")
    (listings,) = (instep.data).rglob("KV_listings")
    shutil.rmtree(listings)
    (docs / "3.md").unlink()
    summary = instep.json("up", docs, "--once")

    assert (summary["documents"]["searchable"], summary["documents"]["removed"]) == (10, 1)
    assert summary["chunks"]["embedded"] == 0


OBEDIENT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


class ObedientRoot(Instep):
    """Rights of files count for it, as for everybody else."""

    def command(self, *args):
        return [*OBEDIENT, *super().command(*args)]


def rights_count():
    probe = [*OBEDIENT, "true"]
    return shutil.which("setpriv") and not subprocess.run(probe, check=False).returncode


def test_what_may_not_be_read_is_told_and_keeps_its_documents(docs, tmp_path):
    """An unreadable file, then a closed folder, then a closed root; each opens again."""
    if os.geteuid() == 0 and not rights_count():
        pytest.skip("root reads everything")
    (docs / "shut").mkdir()
    for name in ("file.md", "shut/a.md"):
        (docs / name).write_text(f"lantern {name}\n")
    everything = {"ordinary.md", "file.md", "shut/a.md"}
    (docs / "file.md").chmod(0)
    instep = (Instep if os.geteuid() else ObedientRoot)(tmp_path / "data", tmp_path)
    instep.env["INSTEP_SOURCES__DOCS__POLL"] = "100ms"
    instep.env["INSTEP_SOURCES__DOCS__WATCH"] = "poll"
    try:
        instep.up(docs)
        wait_until(lambda: searchable(instep) == 2)
        unreadable = {"file.md": "permission denied"}
        wait_until(lambda: source(instep)["problems"] == unreadable)
        (docs / "file.md").chmod(0o644)
        wait_until(lambda: not source(instep)["problems"])
        wait_until(lambda: set(instep.found("lantern")) == everything)
        (docs / "shut").chmod(0)
        closed = {"shut": "cannot be listed: permission denied"}
        wait_until(lambda: source(instep)["problems"] == closed)
        (docs / "shut").chmod(0o755)
        wait_until(lambda: not source(instep)["problems"])
        docs.chmod(0)
        error = wait_until(lambda: source(instep)["error"])
        text, status = instep("status").stdout, instep.json("status")
        still = set(instep.found("lantern"))
        docs.chmod(0o755)
        wait_until(lambda: instep.json("status")["in_step"])
    finally:
        instep.stop()

    assert error == f"{docs}: permission denied"
    assert (status["in_step"], status["documents"]["held"]) == (False, 0)
    assert "no document is removed" in text
    assert still == everything
