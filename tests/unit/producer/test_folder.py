"""Odd things in a folder: links, pipes, names, and what cannot be read."""

import hashlib
import os
import shutil
import socket
import stat
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from exchange import again_and_again, at_its_opening

from services.producer.sources.folder.fs_events import needs_polling
from services.producer.sources.folder.ignore_files import SIGNATURE
from services.producer.sources.folder.snapshot import content, digest, whole_lines
from services.producer.sources.folder.source import FolderSource
from services.producer.sources.port import SourceUnavailable, Unreadable, Unsettled, Version
from services.producer.sources.rules import Rules
from shared.domain.formats import EXCLUDED, LINKS, SPECIAL


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def folder(root):
    return FolderSource(root, Rules(), max_bytes=1000)


def test_links_to_files_inside_are_followed_and_others_are_not(root, folder, tmp_path):
    (root / "a.md").write_text("a")
    (tmp_path / "secret.md").write_text("secret")
    (root / "in.md").symlink_to("a.md")
    (root / "out.md").symlink_to(tmp_path / "secret.md")
    (root / "loop.md").symlink_to("loop.md")
    (root / "nowhere.md").symlink_to("nothing.md")

    assert set(folder.scan().files) == {"a.md", "in.md"}
    assert folder.read("in.md").data == b"a"
    assert folder.read("out.md") is None
    assert folder.links_to("a.md") == {"in.md"}


def test_links_to_folders_are_not_entered(root, folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.md").write_text("b")
    (tmp_path / "outside" / "deep").mkdir()
    (tmp_path / "outside" / "deep" / "c.md").write_text("c")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "sub").mkdir()
    (root / "sub" / "up").symlink_to(root)
    (root / "sub" / "a.md").write_text("a")

    assert set(folder.scan().files) == {"sub/a.md"}
    assert folder.look("out/b.md") is None
    assert folder.read("out/b.md") is None
    assert folder.look("out/deep/c.md") is None
    assert folder.read("out/deep/c.md") is None
    assert folder.look("sub/up/sub/a.md") is None


def test_a_root_that_is_a_link_is_read(root, tmp_path):
    (root / "a.md").write_text("a")
    (tmp_path / "link").symlink_to(root)
    folder = FolderSource(tmp_path / "link", Rules(), max_bytes=10)

    assert set(folder.scan().files) == {"a.md"}
    assert folder.path_of(f"{tmp_path}/link/a.md") == "a.md"
    assert folder.path_of(f"{root}/a.md") == "a.md"


def test_a_root_that_is_reached_through_a_link_later_keeps_its_documents(root, folder, tmp_path):
    (root / "sub").mkdir()
    (root / "sub" / "a.md").write_text("a")
    root.rename(tmp_path / "elsewhere")
    root.symlink_to(tmp_path / "elsewhere")

    assert folder.look("sub/a.md")
    assert folder.read("sub/a.md").data == b"a"


def test_pipes_sockets_and_folders_with_a_documents_name_are_skipped(root, folder):
    os.mkfifo(root / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's path is short
        try:
            server.bind("socket.md")
        finally:
            os.chdir(here)
        (root / "folder.md").mkdir()

        assert folder.scan().files == {}
        assert folder.read("pipe.md") is None
        assert folder.read("folder.md") is None


def test_a_name_that_is_not_unicode_is_told_and_skipped(root, folder):
    (root / "a.md").write_text("a")
    for name in (b"/\xff.md", b"/\xff.png"):
        with open(os.fsencode(root) + name, "w") as file:  # noqa: PTH123
            file.write("x")
    scan = folder.scan()

    assert set(scan.files) == {"a.md"}
    assert scan.problems == {"\\udcff.md": "the path is not valid Unicode"}


def test_a_decomposed_name_is_one_document_with_a_composed_path(root, folder):
    (root / "e\u0301").mkdir()
    (root / "e\u0301" / "u\u0308.md").write_text("x")
    (path,) = folder.scan().files

    assert path == "\u00e9/\u00fc.md"
    assert folder.read(path).data == b"x"
    assert folder.path_of(f"{root}/e\u0301/u\u0308.md") == path


def test_instep_s_own_folder_is_not_entered(root):
    (root / "data").mkdir()
    (root / "data" / "a.md").write_text("a")
    (root / "link.md").symlink_to("data/a.md")
    folder = FolderSource(root, Rules(), max_bytes=10, never=[root / "data"])

    assert folder.scan().files == {}
    assert folder.look("data/a.md") is None
    assert not folder.is_folder("data")


def test_a_missing_root_is_no_empty_one(root, folder):
    root.rmdir()
    with pytest.raises(SourceUnavailable, match="no such file"):
        folder.scan()
    root.write_text("a file")
    with pytest.raises(SourceUnavailable):
        folder.scan()


def test_below_a_folder_that_cannot_be_listed_nothing_has_vanished(root, folder, monkeypatch):
    (root / "open").mkdir()
    (root / "shut").mkdir()
    (root / "shut" / "a.md").write_text("a")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    scan = folder.scan()

    assert scan.problems == {"shut": "cannot be listed: permission denied"}
    assert not scan.knows("shut/a.md")
    assert scan.knows("open/a.md")


def test_a_folder_that_is_renamed_between_two_looks_is_not_missed(root, folder, monkeypatch):
    """Its parent was listed with the old name, and is not listed with the new one again."""
    (root / "old").mkdir()
    (root / "old" / "a.md").write_text("a")
    scandir = os.scandir

    def late(path):
        if str(path).endswith("old") and (root / "old").exists():
            (root / "old").rename(root / "new")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)

    assert set(folder.scan().files) == {"new/a.md"}


def test_folders_that_go_as_soon_as_they_are_seen_do_not_keep_a_scan_from_its_end(
    root, folder, monkeypatch
):
    (root / "a.md").write_text("a")
    (root / "gone").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("gone"):
            raise FileNotFoundError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    scan = folder.scan()

    assert set(scan.files) == {"a.md"}
    assert list(scan.problems) == ["gone"]
    assert not scan.knows("gone/b.md")
    assert folder.scan("gone").knows("gone/b.md")


def test_a_file_that_grows_while_it_is_read_is_not_taken(root, folder, monkeypatch):
    (root / "a.md").write_text("one")
    fstat = os.fstat
    calls = []

    def growing(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            (root / "a.md").write_text("longer")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(Unsettled):
        folder.read("a.md")


def test_a_file_over_the_limit_is_not_read(root, folder):
    (root / "a.md").write_text("x" * 1001)
    body = folder.read("a.md")

    assert body.data is None
    assert body.version.size == 1001
    assert body.url == (root / "a.md").as_uri()


def test_a_look_at_a_name_that_became_a_folder_finds_both_sides(root, folder):
    (root / "a.md").mkdir()
    (root / "a.md" / "b.md").write_text("b")
    known = {"a.md": None, "x/y.md": None}

    found = folder.look_at(known, ["a.md", "x"])

    assert set(found.present) == {"a.md/b.md"}
    assert sorted(found.vanished) == ["a.md", "x/y.md"]


ODD_NAMES = (
    "with space.md",
    "quo\"te's.md",
    "new\nline.md",
    "ta\tb.md",
    "\x1b[31mred.md",
    "\U0001f469\u200d\U0001f52c.md",
    "\u202egnp.md",
    "%2e%2e%2f.md",
    "back\\slash.md",
    "-rf.md",
    "*.md",
    "n" * 252 + ".md",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_documents_under_their_own_name(root, folder, name):
    (root / name).write_text("x")

    assert set(folder.scan().files) == {name}
    assert folder.read(name).data == b"x"
    assert folder.path_of(f"{root}/{name}") == name


def test_a_path_that_is_too_long_is_told_and_its_neighbours_are_read(root, folder):
    (root / "a.md").write_text("a")
    deep = root
    for letter in "bcdef":
        deep = deep / (letter * 220)
        deep.mkdir()
    (deep / "short.md").write_text("x")
    (deep.parent / f"{'m' * 150}.md").write_text("x")
    (deep.parent / "fits.md").write_text("x")
    scan = folder.scan()

    assert {path[-7:] for path in scan.files} == {"a.md", "fits.md"}
    assert set(scan.problems.values()) == {"a path has at most 1,024 bytes of UTF-8"}
    assert len(scan.problems) == 2


COMPOSED, DECOMPOSED = "\u00e9.md", "e\u0301.md"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("heard", [COMPOSED, DECOMPOSED])
def test_of_two_names_in_two_unicode_forms_one_counts_always(
    root, folder, monkeypatch, order, heard
):
    (root / COMPOSED).write_text("composed")
    (root / DECOMPOSED).write_text("decomposed")
    scandir = os.scandir

    class Ordered(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(
        os, "scandir", lambda path: Ordered(sorted(scandir(path), key=str)[::order])
    )
    scan = folder.scan()
    folder.path_of(f"{root}/{heard}")

    assert set(scan.files) == {COMPOSED}
    assert scan.problems == {COMPOSED: "two files have this name in different Unicode forms"}
    assert scan.files[COMPOSED].size == len("composed")
    assert folder.read(COMPOSED).data == b"composed"

    (root / COMPOSED).unlink()
    assert folder.read(COMPOSED).data == b"decomposed"
    assert folder.scan().problems == {}


def test_two_folders_in_two_unicode_forms_are_one(root, folder):
    for name in ("\u00e9", "e\u0301"):
        (root / name).mkdir()
    (root / "\u00e9" / "a.md").write_text("a")
    (root / "e\u0301" / "b.md").write_text("b")
    folder.scan()
    below = folder.scan("\u00e9")

    assert set(below.files) == {"\u00e9/a.md", "\u00e9/b.md"}
    assert folder.read("\u00e9/b.md").data == b"b"
    assert folder.look_at(below.files, ["\u00e9"]).vanished == []


def test_hard_links_are_documents_of_their_own(root, folder):
    (root / "a.md").write_text("a")
    (root / "b.md").hardlink_to(root / "a.md")

    assert set(folder.scan().files) == {"a.md", "b.md"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device files")
def test_a_device_is_never_opened(root, folder):
    os.mknod(root / "zero.md", 0o600 | stat.S_IFCHR, os.makedev(1, 5))

    assert folder.scan().files == {}
    assert folder.read("zero.md") is None


def test_a_sparse_file_of_2_gb_is_refused_by_its_size(root, folder, monkeypatch):
    with (root / "a.md").open("wb") as file:
        file.truncate(2 * 1024**3)
    monkeypatch.setattr("services.producer.sources.folder.snapshot.content", None)
    body = folder.read("a.md")

    assert (body.data, body.version.size) == (None, 2 * 1024**3)


def test_a_file_that_vanishes_after_it_was_listed_is_not_there(root, folder, monkeypatch):
    (root / "a.md").write_text("a")
    monkeypatch.setattr(folder, "look", lambda path: (root / path).unlink())
    scan = folder.scan()

    assert (set(scan.files), folder.read("a.md")) == ({"a.md"}, None)


def test_a_file_that_cannot_be_opened_is_no_missing_one(root, folder, monkeypatch):
    (root / "a.md").write_text("a")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Unreadable, match="permission denied"):
        folder.read("a.md")


def test_a_file_that_is_rewritten_within_one_tick_is_never_torn(root, folder, monkeypatch):
    """The clock of the file system stands still: size and times say nothing."""
    (root / "a.md").write_text("before")
    now = time.time_ns()
    monkeypatch.setattr(
        "services.producer.sources.folder.snapshot.version_of",
        lambda found: Version(found.st_size, now, now, 1),
    )
    reads = []

    def torn(file, size):
        reads.append(content(file, size))
        (root / "a.md").write_text("after!")
        return reads[-1]

    monkeypatch.setattr("services.producer.sources.folder.snapshot.content", torn)
    with pytest.raises(Unsettled):
        folder.read("a.md")
    assert folder.read("a.md").data == b"after!"


def test_a_file_at_rest_is_read_once_only(root, folder, monkeypatch):
    (root / "a.md").write_text("a")
    calls = []
    monkeypatch.setattr(time, "time_ns", lambda: 2**62)
    monkeypatch.setattr(
        "services.producer.sources.folder.snapshot.digest",
        lambda *args: calls.append(args) or digest(*args),
    )
    folder.read("a.md")

    assert calls == []


def test_a_file_replaced_by_a_folder_and_back(root, folder):
    (root / "a.md").mkdir()
    (root / "a.md" / "b.md").write_text("b")
    as_folder = set(folder.scan().files)
    shutil.rmtree(root / "a.md")
    (root / "a.md").write_text("a")

    assert as_folder == {"a.md/b.md"}
    assert set(folder.scan().files) == {"a.md"}
    assert folder.read("a.md/b.md") is None


@pytest.mark.parametrize(
    ("mounts", "polling"),
    [
        ("/dev/sda / ext4 rw 0 0\n", False),
        ("/dev/sda / ext4 rw 0 0\nserver:/x {root} nfs4 rw 0 0\n", True),
        ("/dev/sda / ext4 rw 0 0\nserver:/x {root}-other nfs4 rw 0 0\n", False),
        ("host / virtiofs rw 0 0\n/dev/sdb {root} ext4 rw 0 0\n", False),
        ("", False),
    ],
)
def test_network_mounts_are_polled(root, mounts, polling):
    assert needs_polling(root, mounts.format(root=root)) is polling


@pytest.fixture
def growing(root, monkeypatch):
    """Somebody writes a line during every reading of `a.md`."""

    def grows(file, size):
        data = content(file, size)
        with (root / "a.md").open("a") as writer:
            writer.write("line\nhalf")
        return data

    (root / "a.md").write_text("one\nhalf")
    monkeypatch.setattr("services.producer.sources.folder.snapshot.content", grows)


def test_a_file_that_only_grows_is_taken_up_to_a_line_where_that_is_asked_for(folder, growing):
    with pytest.raises(Unsettled):
        folder.read("a.md")
    body = folder.read("a.md", growing=True)

    assert (body.data, body.version.size, body.grows) == (b"one\nhalfline\n", 13, True)
    assert body.content_hash == hashlib.sha256(body.data).hexdigest()


@pytest.mark.parametrize("how", ["rewritten", "replaced", "cut"])
def test_a_file_that_changes_otherwise_is_never_taken_as_if_it_grew(root, folder, monkeypatch, how):
    def changes(file, size):
        data = content(file, size)
        if how == "replaced":
            (root / "b.md").write_text("before and more")
            (root / "b.md").replace(root / "a.md")
        else:
            (root / "a.md").write_text("another and more" if how == "rewritten" else "bef")
        return data

    (root / "a.md").write_text("before")
    monkeypatch.setattr("services.producer.sources.folder.snapshot.content", changes)
    with pytest.raises(Unsettled):
        folder.read("a.md", growing=True)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (b"a\nb", b"a\n"),
        (b"a\n", b"a\n"),
        (b"ab", b"ab"),
        (b"", b""),
        ("a\nb".encode("utf-16"), "a\nb".encode("utf-16")),
        (b"a\n" + b"b" * 70_000, b"a\n" + b"b" * 70_000),
    ],
)
def test_half_a_line_is_left_out(data, taken):
    assert whole_lines(data) == taken


@pytest.fixture
def outside(root, tmp_path):
    """`first/second/a.md`, and the same path outside with a secret."""
    for place, text in ((root, "allowed"), (tmp_path / "outside", "secret")):
        (place / "first/second").mkdir(parents=True)
        (place / "first/second/a.md").write_text(text)
    return tmp_path / "outside"


PARTS = ["first", "first/second", "first/second/a.md"]


@pytest.mark.parametrize("name", ["first/second/a.md", "link.md"])
@pytest.mark.parametrize("part", PARTS)
def test_a_link_that_is_put_in_after_the_look_leads_nowhere(
    root, folder, outside, monkeypatch, part, name
):
    (root / "link.md").symlink_to("first/second/a.md")
    honest = folder.read(name).data
    place = root / part
    done = at_its_opening(monkeypatch, place, lambda place: place.symlink_to(outside / part))

    try:
        assert folder.read(name) is None
    except Unsettled:
        assert part == "first/second/a.md"
    assert (honest, done) == (b"allowed", [place])


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_exchanged_all_the_time_never_leads_outside(root, folder, outside, part):
    found = set()
    with again_and_again(root / part, outside / part):
        for _ in range(1_000):
            try:
                body = folder.read("first/second/a.md")
            except (Unsettled, Unreadable):
                continue
            found.add(body and body.data)

    assert found <= {b"allowed", None}
    assert folder.read("first/second/a.md").data == b"allowed"


@pytest.mark.parametrize("exchange", [os.mkfifo, Path.mkdir])
def test_a_file_that_becomes_something_else_when_it_is_opened_is_no_document(
    root, folder, outside, monkeypatch, exchange
):
    at_its_opening(monkeypatch, root / "first/second/a.md", exchange)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(folder.read, "first/second/a.md")
        try:
            assert reading.result(timeout=10) is None
        except TimeoutError:  # let the thread that waits go on
            os.close(os.open(root / "first/second/a.md", os.O_WRONLY))
            raise


def test_a_link_that_goes_while_it_is_read_is_not_there(root, folder, monkeypatch):
    readlink = os.readlink

    def late(path, **how):
        Path(path).unlink()
        return readlink(path, **how)

    monkeypatch.setattr(os, "readlink", late)
    found = []
    for what in (folder.look, folder.read, folder.opens):
        (root / "link.md").symlink_to("real.md")
        found.append(what("link.md"))

    assert found == [None, None, True]


def test_what_opens_and_what_does_not(root, folder, monkeypatch):
    (root / "a.md").write_text("a")
    (root / "sub").mkdir()
    (root / "loop.md").symlink_to("loop.md")
    os.mkfifo(root / "pipe.md")
    before = {name: folder.opens(name) for name in ("a.md", "sub", "gone", "loop.md", "pipe.md")}

    def refuse(*args, **how):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    after = [folder.opens(name) for name in ("a.md", "sub", "gone", "pipe.md")]

    assert before == {"a.md": True, "sub": True, "gone": True, "loop.md": False, "pipe.md": True}
    assert after == [False, False, True, True]


def test_files_that_are_no_documents_are_counted_by_ending(root, folder):
    names = ["a.md", "b.png", "c.PNG", "d.zip", "some", ".hidden.png", "e.tmp", "x/f.png"]
    names.append("Notes of May. Second part of them")
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")

    scan = folder.scan()

    assert set(scan.files) == {"a.md"}
    assert scan.left_out == {".png": 3, ".zip": 1, "": 2}


def test_a_folder_is_a_cache_by_the_signature_of_its_tag_only(root):
    for name, tag in (("made", SIGNATURE + b"\n# by a tool"), ("mine", b"labels"), ("none", b"")):
        (root / name).mkdir()
        (root / name / "a.md").write_text("a")
        (root / name / "CACHEDIR.TAG").write_bytes(tag)
    (root / "link").mkdir()
    (root / "link" / "a.md").write_text("a")
    (root / "link" / "CACHEDIR.TAG").symlink_to("nothing")
    folder = FolderSource(root, Rules(), max_bytes=1000)

    assert set(folder.scan().files) == {"link/a.md", "mine/a.md", "none/a.md"}


ODD = {
    "to a folder": ("it is a link to a folder of this source, which has its own path", LINKS),
    "to the root": ("it is a link to a folder of this source, which has its own path", LINKS),
    "to a folder.md": ("it is a link to a folder outside", LINKS),
    "outside.md": ("it is a link to a file outside of the folder", LINKS),
    "nowhere": ("it is a link to nothing", LINKS),
    "nowhere.md": ("it is a link to nothing", LINKS),
    "loop": ("it is a link that leads to itself", LINKS),
    "loop.md": ("it is a link that leads to itself", ""),
    "to a picture.png": ("its ending .png is not read", ".png"),
    "pipe.md": ("it is a pipe, a socket or a device", SPECIAL),
    "to a pipe.md": ("it is a pipe, a socket or a device", SPECIAL),
    "excluded.md": ("excluded by the pattern excluded.md", EXCLUDED),
    "~$lock.docx": ("~$lock.docx has the name of a temporary or a lock file", ""),
    ".hidden": (".hidden is hidden, as its name begins with a dot", ""),
}


def test_a_link_or_file_that_is_no_document_is_counted_and_explained_as_what_it_is(root, tmp_path):
    (root / "real").mkdir()
    (root / "a.md").write_text("a")
    (root / "a.png").write_text("a")
    os.mkfifo(root / "pipe.md")
    for name, target in {
        **{
            "to a folder": "real",
            "to the root": ".",
            "to a folder.md": tmp_path,
            "outside.md": tmp_path / "out.md",
        },
        **{"nowhere": "nothing", "nowhere.md": "nothing", "excluded.md": "nothing"},
        **{"loop": "loop", "loop.md": "loop.md", "to a picture.png": "a.png"},
        **{"to a pipe.md": "pipe.md", ".hidden": "nothing", "to a.md": "a.md"},
    }.items():
        (root / name).symlink_to(target)
    (tmp_path / "out.md").write_text("secret")
    (root / "~$lock.docx").write_text("Anna")
    folder = FolderSource(root, Rules(exclude=["excluded.md"]), max_bytes=1000)

    scan = folder.scan()
    explained = {name: folder.explain(name) for name in ODD}

    assert set(scan.files) == {"a.md", "to a.md"}
    assert {name: one.why for name, one in explained.items()} == {n: w for n, (w, _) in ODD.items()}
    assert scan.left_out == Counter(kind for _, kind in ODD.values() if kind) + Counter([".png"])
    assert scan.problems.keys() == {"loop.md"}
    assert {name for name, one in explained.items() if not one.fix} == {
        *("pipe.md", "to a pipe.md", "to a folder", "to the root"),
    }
    assert {folder.explain(name).why for name in scan.files} == {""}


def test_a_file_that_is_left_out_is_read_once_the_advice_is_followed(root):
    for path in ("node_modules/a.md", "sub/dist/b.md", "sub/c.md", "d.min.js", "sub/.e.md"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    (root / "sub/.gitignore").write_text("dist/\n/c.md\n")

    def advice():
        folder = FolderSource(root, Rules(), max_bytes=1000)
        paths = ("node_modules", "sub/dist", "sub/c.md", "d.min.js", "sub/.e.md")
        return {path: one.fix for path in paths if (one := folder.explain(path)).why}

    assert advice() == {
        "node_modules": "write !node_modules/ into .instepignore",
        "sub/dist": "take the line out, or write !dist/ into sub/.instepignore",
        "sub/c.md": "take the line out, or write !/c.md into sub/.instepignore",
        "d.min.js": "write !*.min.js into .instepignore",
        "sub/.e.md": "give it a name without the dot",
    }
    (root / ".instepignore").write_text("!node_modules/\n!*.min.js\n")
    (root / "sub/.instepignore").write_text("!dist/\n!/c.md\n")
    (root / "sub/.e.md").rename(root / "sub/e.md")
    assert advice() == {}
    found = FolderSource(root, Rules(), max_bytes=1000).scan()
    assert set(found.files) == {
        *("node_modules/a.md", "sub/dist/b.md", "sub/c.md", "d.min.js", "sub/e.md"),
    }
