"""A real folder whose files are left out by rules: ignore files, settings, and the defaults."""

import os
import shutil
from pathlib import Path

import pytest
from watched import Watched

from services.producer.sources.folder.folder import Folder
from services.producer.sources.folder.ignore_files import MOST_BYTES, SIGNATURE
from services.producer.sources.rules import Rules
from shared.domain import formats
from shared.openat import open_below

MANY = 30
"""More documents than may go unasked."""


@pytest.fixture(params=["auto", "poll"])
def docs(request, tmp_path):
    return Watched(tmp_path / "docs", watch=request.param, poll=0.05)


def fill(docs, folder="build", count=MANY):
    docs.write("a.md", "one")
    for n in range(count):
        docs.write(f"{folder}/{n:02}.md", str(n))


def notices(docs):
    return [one.detail for one in docs.news if one.kind == "notice"]


def told(docs, text):
    return [detail for detail in notices(docs) if text in detail]


async def start_again(docs, eventually, expected, **settings):
    """A new process, with other settings of the source; nothing may be held."""
    docs.settings = docs.settings.model_copy(update=settings)
    async with docs.running() as watch:
        await eventually(lambda: set(docs.held()) == expected)
        assert watch.held is None


async def test_a_line_that_is_added_to_gitignore_takes_documents_out_without_a_hold(
    docs, eventually
):
    fill(docs)
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY + 1)
        docs.write(".gitignore", "# built\nbuild/\n")
        await eventually(lambda: set(docs.held()) == {"a.md"})
        assert watch.held is None
        assert told(docs, f"out of the index: {MANY} ignored by .gitignore, such as build/00.md: ")
        assert told(docs, "ignored by line 2 of .gitignore: build/")
        docs.write(".gitignore", "# built\n")
        await eventually(lambda: len(docs.held()) == MANY + 1)
        assert told(docs, f"changed: .gitignore; new documents: {MANY}")
        (docs.root / ".instepignore").write_text("*.md\n!a.md\n")
        await eventually(lambda: set(docs.held()) == {"a.md"})
        (docs.root / ".instepignore").unlink()
        await eventually(lambda: len(docs.held()) == MANY + 1)
        assert watch.held is None


@pytest.mark.parametrize("poll", ["auto", "poll"])
async def test_each_file_that_git_follows_is_followed_and_instepignore_wins(
    tmp_path, eventually, poll
):
    docs = Watched(tmp_path / "docs", watch=poll, poll=0.05)
    docs.write(".git/info/exclude", "private.md\nkept.md\n")
    docs.write(".gitignore", "*.log.md\n!kept.md\n/top.md\n")
    docs.write("x/.gitignore", "!b.log.md\nbuild/\nfar.md\n")
    docs.write(".instepignore", "!far.md\n")
    docs.write("x/y/.instepignore", "!build/\n!c.log.md\nown.md\n")
    documents = [
        "private.md",
        "kept.md",
        "top.md",
        "x/top.md",
        "a.log.md",
        "x/b.log.md",
        "x/build/d.md",
    ]
    documents += ["x/y/build/e.md", "x/y/c.log.md", "x/y/own.md", "own.md", "x/far.md"]
    for path in documents:
        docs.write(path, path)

    async with docs.running():
        await eventually(
            lambda: (
                set(docs.held())
                == {
                    "kept.md",
                    "x/top.md",
                    "x/b.log.md",
                    "x/y/build/e.md",
                    "x/y/c.log.md",
                    "own.md",
                    "x/far.md",
                }
            )
        )
        docs.write(".git/info/exclude", "own.md\n")
        await eventually(lambda: "private.md" in docs.held() and "own.md" not in docs.held())

    docs.settings = docs.settings.model_copy(update={"gitignore": False})
    await docs.once()
    assert set(docs.held()) == set(documents) - {"x/y/own.md"}


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ({}, {"exclude": ("build/",)}, {"a.md"}),
        ({}, {"exclude": ("build/**",)}, {"a.md"}),
        ({}, {"include": ("/*.md",)}, {"a.md"}),
        ({"include": ("build/", "a.md")}, {"include": ("a.md",)}, {"a.md"}),
    ],
)
async def test_what_changed_settings_leave_out_leaves_the_index_without_a_hold(
    docs, eventually, before, after, left
):
    docs.settings = docs.settings.model_copy(update=before)
    fill(docs)
    await docs.once()
    assert len(docs.held()) == MANY + 1

    await start_again(docs, eventually, left, **after)
    assert told(docs, "out of the index: ")


async def test_what_is_left_out_by_default_since_an_update_leaves_the_index_without_a_hold(
    docs, eventually
):
    docs.settings = docs.settings.model_copy(update={"include": ("node_modules/", "a.md", "*.md")})
    fill(docs, "x/node_modules/y")
    await docs.once()
    assert len(docs.held()) == MANY + 1

    await start_again(docs, eventually, {"a.md"}, include=())
    assert told(docs, f"out of the index: {MANY} left out by default, such as x/node_modules/y/00")


async def test_endings_that_are_not_read_any_more_are_not_missing(docs, eventually, monkeypatch):
    fill(docs)
    for n in range(MANY):
        docs.write(f"{n:02}.rst", str(n))
    await docs.once()
    endings = {name: kind for name, kind in formats.BY_ENDING.items() if name != ".md"}
    monkeypatch.setattr("services.producer.sources.rules.BY_ENDING", endings)

    await start_again(docs, eventually, {f"{n:02}.rst" for n in range(MANY)})


async def test_a_smaller_limit_of_size_holds_and_removes_nothing(docs, eventually):
    fill(docs)
    await docs.once()

    docs.settings = docs.settings.model_copy(update={"max_bytes": 1})
    async with docs.running() as watch:
        await eventually(lambda: docs.held().get("a.md") == "-> 3 bytes")
        assert watch.held is None
        assert len(docs.held()) == MANY + 1


async def test_files_that_are_gone_are_held_beside_files_that_are_left_out(docs, eventually):
    fill(docs)
    fill(docs, "gone")
    await docs.once()
    for path in (docs.root / "gone").iterdir():
        path.unlink()
    (docs.root / "gone").rmdir()
    docs.settings = docs.settings.model_copy(update={"exclude": ("build",), "hold_share": 0.3})

    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY + 1)
        assert watch.held is not None
        assert watch.held.vanished == MANY
        assert all(path.startswith("gone/") for path in watch.held.paths)


async def test_a_hold_of_what_a_rule_leaves_out_by_now_ends_by_itself(docs, eventually):
    fill(docs)
    await docs.once()
    (docs.root / "build").rename(docs.root / ".away")  # as a version did that knew no rules
    async with docs.running() as watch:
        await eventually(lambda: watch.held is not None)
    (docs.root / ".away").rename(docs.root / "build")

    await start_again(docs, eventually, {"a.md"}, exclude=("build/",))
    assert not told(docs, "are back")


async def test_what_a_rule_takes_out_does_not_make_the_next_deletion_suspect(docs, eventually):
    fill(docs)
    docs.write("b.md", "two")
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY + 2)
        docs.write(".gitignore", "build/\n")
        await eventually(lambda: set(docs.held()) == {"a.md", "b.md"})
        (docs.root / "b.md").unlink()
        await eventually(lambda: set(docs.held()) == {"a.md"} or watch.held is not None)
        assert watch.held is None


async def test_a_rehearsed_sweep_counts_what_is_left_out_as_a_removal(docs):
    fill(docs)
    await docs.once()
    docs.settings = docs.settings.model_copy(update={"poll": 3600.0, "watch": "poll"})
    async with docs.running():
        docs.write(".instepignore", "build\n")
        (planned,) = await docs.audit(dry_run=True)

    assert (planned.removed, planned.held) == (MANY, 0)


async def test_another_folder_under_the_name_of_the_root_decides_nothing(docs, eventually):
    fill(docs)
    await docs.once()
    docs.root.rename(docs.root.with_name("away"))
    docs.root.mkdir()
    docs.write(".gitignore", "*\n")

    async with docs.running() as watch:
        await eventually(lambda: watch.held is not None)
        assert len(docs.held()) == MANY + 1


async def test_an_unreadable_ignore_file_neither_empties_nor_floods_the_index(
    docs, eventually, monkeypatch
):
    closed = set[str]()

    def open_unless_closed(root, relative):
        if str(Path(root) / relative) in closed:
            raise PermissionError(13, "Permission denied")
        return open_below(root, relative)

    def close(file):
        closed.add(str(file))
        file.touch()

    reader = "services.producer.sources.folder.ignore_files.open_below"
    monkeypatch.setattr(reader, open_unless_closed)

    await unknown_rules(docs, eventually, close, lambda file: closed.discard(str(file)))


async def test_an_ignore_file_that_is_too_large_neither_empties_nor_floods_the_index(
    docs, eventually
):
    await unknown_rules(
        docs,
        eventually,
        lambda file: file.write_text("x\n" * MOST_BYTES),
        lambda file: file.write_text("secret.md\n"),
    )


async def unknown_rules(docs, eventually, spoil, mend):
    for folder in ("", "x/"):
        docs.write(f"{folder}.gitignore", "secret.md\n")
        docs.write(f"{folder}a.md", "one")
        docs.write(f"{folder}secret.md", "secret")
    expected = {"a.md": "one", "x/a.md": "one"}

    def as_expected():
        return docs.held() == expected

    def faults():
        return f"{docs.sources['docs'].error} {docs.sources['docs'].problems}"

    async with docs.running() as watch:
        await eventually(as_expected)
        for folder in ("x/", ""):
            file = docs.root / folder / ".gitignore"
            spoil(file)
            await eventually(lambda: ".gitignore" in faults())
            docs.write(f"{folder}b.md", "new")
            mend(file)
            expected |= {f"{folder}b.md": "new"}
            await eventually(as_expected)
            await eventually(lambda: ".gitignore" not in faults())
        assert watch.held is None
    assert "secret" not in {docs.text(one.content) for one in docs.log.appended if one.content}


async def test_the_files_of_an_ignored_folder_are_not_looked_at(docs, eventually, monkeypatch):
    docs.write(".gitignore", "generated\n")
    docs.write("a.md", "one")
    for n in range(5):
        docs.write(f"node_modules/{n}/readme.md", "no document")
        docs.write(f"generated/{n}/readme.md", "no document")
    opened, scandir = set[str](), os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": opened.add(str(path)) or scandir(path))
    async with docs.running() as watch:
        await eventually(lambda: set(docs.held()) == {"a.md"})
        folder = watch._sync.source
        inside = str(docs.root / "node_modules/1/new.md")
        docs.write("node_modules/1/new.md", "no document")
        docs.write("b.md", "two")
        await eventually(lambda: set(docs.held()) == {"a.md", "b.md"})

    assert not [path for path in opened if "node_modules" in path or "generated" in path]
    assert folder.path_of(inside) is None
    assert folder.path_of(str(docs.root / "node_modules")) == "node_modules"


async def test_a_link_to_a_file_in_a_folder_that_is_left_out_follows_its_edits(docs, eventually):
    docs.write("node_modules/x/readme.md", "one")
    (docs.root / "a.md").symlink_to("node_modules/x/readme.md")
    async with docs.running():
        await eventually(lambda: docs.held() == {"a.md": "one"})
        docs.write("node_modules/x/readme.md", "two, longer")
        await eventually(lambda: docs.held() == {"a.md": "two, longer"})


async def test_one_file_is_decided_without_reading_ignore_files_again(docs, monkeypatch):
    docs.write(".gitignore", "old.md\n")
    docs.write("x/.gitignore", "!old.md\n")
    async with docs.running() as watch:
        folder = watch._sync.source
    monkeypatch.setattr(
        "services.producer.sources.folder.ignore_files.open_below",
        lambda *_: pytest.fail("an ignore file was read"),
    )

    assert folder.why_not("old.md").why == "ignored by line 1 of .gitignore: old.md"
    assert folder.why_not("x/old.md") is None


async def test_a_new_folder_comes_with_its_own_ignore_file(docs, eventually, tmp_path):
    new = Watched(tmp_path / "new")
    new.write(".gitignore", "out/\n")
    new.write("out/a.md", "no document")
    new.write("b.md", "two")
    docs.write("a.md", "one")
    async with docs.running():
        await eventually(lambda: set(docs.held()) == {"a.md"})
        new.root.rename(docs.root / "new")
        await eventually(lambda: set(docs.held()) == {"a.md", "new/b.md"})
        (docs.root / "new").rename(docs.root / "newer")
        await eventually(lambda: set(docs.held()) == {"a.md", "newer/b.md"})
        docs.write("newer/out/c.md", "no document")
        docs.write("newer/d.md", "four")
        await eventually(lambda: set(docs.held()) == {"a.md", "newer/b.md", "newer/d.md"})


async def test_a_folder_that_a_program_marks_after_it_was_listed_leaves_the_index(docs, eventually):
    docs.write("a.md", "one")
    async with docs.running() as watch:
        docs.write("env/lib/licence.txt", "text")
        await eventually(lambda: set(docs.held()) == {"a.md", "env/lib/licence.txt"})
        docs.write("env/pyvenv.cfg", "home = /usr/bin")
        await eventually(lambda: set(docs.held()) == {"a.md"})
        (docs.root / "env" / "pyvenv.cfg").unlink()
        await eventually(lambda: set(docs.held()) == {"a.md", "env/lib/licence.txt"})
        assert watch.held is None


async def test_what_is_left_out_is_counted_by_its_reason(docs, eventually):
    docs.write(".gitignore", "*.log.md\ntmp/\n")
    for path in ("a.md", "b.png", "c.log.md", "d/e.log.md", "tmp/f.md", "node_modules/g.md",
                 "env/pyvenv.cfg", "env/lib/h.md", "cache/CACHEDIR.TAG", "cache/i.md",
                 "drafts/j.md", "k.draft.md"):  # fmt: skip
        docs.write(path, "x")
    docs.write("cache/CACHEDIR.TAG", SIGNATURE.decode())
    (docs.root / "to a folder").symlink_to(docs.root.parent)
    (docs.root / "to nothing.md").symlink_to("nothing.md")
    os.mkfifo(docs.root / "pipe.md")
    docs.settings = docs.settings.model_copy(
        update={"exclude": ("drafts/", "*.draft.md", "nosuch/", "*.nosuch")}
    )
    async with docs.running():
        await eventually(lambda: set(docs.held()) == {"a.md"})

    assert docs.sources["docs"].left_out == {
        ".png": 1,
        "folders left out by default": 3,
        "ignored by .gitignore": 2,
        "excluded": 1,
        "folders excluded": 1,
        "folders ignored by .gitignore": 1,
        "links not followed": 2,
        "special files": 1,
    }
    assert told(docs, "left out: 1 .png, 3 folders left out by default, 2 ignored by .gitignore, ")
    assert told(docs, "include or exclude matches nothing here: *.nosuch, nosuch/")
    assert not told(docs, "drafts/")


async def test_documents_that_a_name_in_include_brings_in_at_any_depth_are_told(docs, eventually):
    fill(docs)
    await start_again(docs, eventually, {"a.md"}, include=("/*.md",))

    for _ in range(2):  # the second time they are known
        docs.settings = docs.settings.model_copy(update={"include": ("*.md",)})
        await docs.once()

    assert len(docs.held()) == MANY + 1
    assert told(docs, "at any depth") == [
        f"a name in include counts at any depth: {MANY} new in folders, such as build/00.md"
    ]


async def test_a_pattern_that_matches_nothing_is_told_once(docs, eventually):
    docs.settings = docs.settings.model_copy(update={"exclude": ("*.nosuch",)})
    docs.write("a.md", "one")
    async with docs.running() as watch:
        await eventually(lambda: set(docs.held()) == {"a.md"})
        await watch.rescan()

    assert len(told(docs, "matches nothing here")) == 1


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "outside", "latin-1", "hostile"])
def test_an_odd_ignore_file_harms_nobody(tmp_path, kind):
    root = tmp_path / "docs"
    root.mkdir()
    (root / ("a" * 250 + ".md")).write_text("one")
    file = root / ".gitignore"
    (tmp_path / "other").write_text("*\n")
    make = {
        "folder": file.mkdir,
        "pipe": lambda: os.mkfifo(file),
        "loop": lambda: file.symlink_to(file),
        "outside": lambda: file.symlink_to(tmp_path / "other"),
        "latin-1": lambda: file.write_bytes("é.md\n[\\\nä*.md\n".encode("latin-1")),
        "hostile": lambda: file.write_text(
            "\n".join(["*a" * 30 + "b", "**/" * 30 + "*a*a/b"] * 99)
        ),
    }
    make[kind]()

    scan = Folder(root, Rules(), max_bytes=9).scan()

    assert len(scan.files) == 1
    assert scan.problems == {}


def test_a_link_to_an_ignore_file_of_the_same_root_is_followed(tmp_path: Path):
    (tmp_path / "rules").write_text("b.md\n")
    (tmp_path / ".instepignore").symlink_to("rules")
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("x")

    assert set(Folder(tmp_path, Rules(), max_bytes=9).scan().files) == {"a.md"}


async def test_an_exchanged_root_decides_nothing_by_its_rules_for_as_long_as_that_waits(
    docs, eventually
):
    fill(docs)
    await docs.once()
    docs.root.rename(docs.root.with_name("away"))
    docs.root.mkdir()
    docs.write(".gitignore", "*\n")

    async with docs.running() as watch:
        await eventually(lambda: watch.held is not None)
        for _ in range(2):
            await watch.rescan()
        (planned,) = await docs.audit(dry_run=True)
        docs.write(".instepignore", "build/\n")
        await watch.rescan()
    async with docs.running() as watch:
        assert watch.held is not None
        assert watch.held.vanished == MANY + 1
    assert (planned.removed, planned.held) == (0, MANY + 1)
    assert len(docs.held()) == MANY + 1


@pytest.mark.parametrize("name", [".gitignore", ".instepignore"])
async def test_an_ignore_file_that_comes_with_the_loss_of_the_files_is_no_decision(
    docs, eventually, name
):
    fill(docs)
    await docs.once()
    shutil.rmtree(docs.root / "build")
    (docs.root / "a.md").unlink()
    docs.write(name, "*\n")

    async with docs.running() as watch:
        assert watch.held is not None
        assert watch.held.vanished == MANY + 1
        await watch.rescan()
    assert len(docs.held()) == MANY + 1


async def test_a_folder_with_an_ignore_file_that_is_not_followed_stops_no_watch(docs, eventually):
    docs.write("x/a.md", "one")
    async with docs.running():
        await eventually(lambda: set(docs.held()) == {"x/a.md"})
        docs.write("x/.gitignore", "x\n" * MOST_BYTES)
        await eventually(lambda: "x" in docs.sources["docs"].problems)
        docs.write("x/y/b.md", "new")
        docs.write("x/y/z/c.md", "new")
        docs.write("d.md", "two")
        await eventually(lambda: set(docs.held()) == {"x/a.md", "d.md"})
        (docs.root / "x" / "y").rename(docs.root / "x" / "w")
        docs.write("e.md", "three")
        await eventually(lambda: set(docs.held()) == {"x/a.md", "d.md", "e.md"})
        docs.write("x/.gitignore", "b.md\n")
        await eventually(lambda: "x/w/z/c.md" in docs.held())


async def test_what_lies_right_in_a_folder_that_a_program_marks_is_left_out_like_all_below(
    docs, eventually
):
    fill(docs, "env")
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY + 1)
        docs.write("env/pyvenv.cfg", "home = /usr/bin")
        await eventually(lambda: set(docs.held()) == {"a.md"})
        docs.write("env/new.md", "new")
        docs.write("b.md", "two")
        await eventually(lambda: "b.md" in docs.held())
        await watch.rescan()
        assert set(docs.held()) == {"a.md", "b.md"}
        assert watch.held is None
        for path in ("env", "env/pyvenv.cfg", "env/00.md"):
            assert "pyvenv.cfg marks" in (await watch.explain(path)).why
