"""Odd things in a folder: links, pipes, names, and what cannot be read."""

import os
import socket
from pathlib import Path

import pytest

from services.producer.folder import Folder, SourceUnavailable, Unsettled
from services.producer.looking import look_at
from services.producer.mounts import needs_polling
from services.producer.rules import Rules


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def folder(root):
    return Folder(root, Rules(), max_bytes=1000)


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
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "sub").mkdir()
    (root / "sub" / "up").symlink_to(root)
    (root / "sub" / "a.md").write_text("a")

    assert set(folder.scan().files) == {"sub/a.md"}
    assert folder.look("out/b.md") is None
    assert folder.read("out/b.md") is None
    assert folder.look("sub/up/sub/a.md") is None


def test_a_root_that_is_a_link_is_read(root, tmp_path):
    (root / "a.md").write_text("a")
    (tmp_path / "link").symlink_to(root)
    folder = Folder(tmp_path / "link", Rules(), max_bytes=10)

    assert set(folder.scan().files) == {"a.md"}
    assert folder.path_of(f"{tmp_path}/link/a.md") == "a.md"
    assert folder.path_of(f"{root}/a.md") == "a.md"


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
    with open(os.fsencode(root) + b"/\xff.md", "w") as file:  # noqa: PTH123
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
    folder = Folder(root, Rules(), max_bytes=10, never=[root / "data"])

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
    assert body.stat.size == 1001
    assert body.url == (root / "a.md").as_uri()


def test_a_look_at_a_name_that_became_a_folder_finds_both_sides(root, folder):
    (root / "a.md").mkdir()
    (root / "a.md" / "b.md").write_text("b")
    known = {"a.md": None, "x/y.md": None}

    found = look_at(folder, known, ["a.md", "x"])

    assert set(found.suspects) == {"a.md/b.md"}
    assert sorted(found.vanished) == ["a.md", "x/y.md"]


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
