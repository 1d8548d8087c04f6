"""Whatever instep makes is for its owner only, whatever the person's umask lets others do."""

import stat
from pathlib import Path

import pytest

from services.host.data_folder import LOG, DataFolder


@pytest.fixture
def open_to_all(instep, tmp_path):
    """Processes under umask 0, which leave nothing private by themselves; HOME and TMPDIR here."""
    for name in ("home", "tmp", "docs"):
        (tmp_path / name).mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Zebra\n\nA secret of the house.\n")
    (tmp_path / "docs" / "b.html").write_text("<h1>Yak</h1><p>Another one.</p>" * 400)
    instep.env |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    instep.umask = 0
    return instep


def readable_by_others(*folders: Path) -> dict[str, str]:
    """Path to mode of everything in the folders that group or others have a right to."""
    found = {}
    for path in (path for folder in folders for path in (folder, *folder.rglob("*"))):
        mode = path.lstat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and not stat.S_ISLNK(mode):
            found[str(path)] = oct(stat.S_IMODE(mode))
    return found


def test_nothing_that_instep_keeps_may_be_read_by_others(open_to_all, tmp_path):
    instep = open_to_all
    docs, report, page = tmp_path / "docs", tmp_path / "report.html", tmp_path / "offline.html"
    instep.json("up", docs, "--once")
    after_once = readable_by_others(instep.data)
    instep("report", "--html", page)
    instep.up(docs)
    instep.json("publish", docs / "a.md", "--source", "inbox", "--path", "c.md", "--wait", 60)
    found = instep.found("zebra")
    instep("report", "--html", report)
    helper = instep.start("run", "enricher", "embedder", "indexer", "validator")
    (docs / "d.md").write_text("# Quagga\n\nThe newest secret.\n")
    while "d.md" not in instep.found("quagga"):
        assert helper.poll() is None
    while_it_runs = readable_by_others(instep.data)
    instep.stop()
    made = sorted(path.name for path in instep.data.iterdir())

    assert {"a.md", "c.md"} <= set(found)
    assert {"server", "store", "sources.json", "lock"} <= set(made)
    assert after_once == {}
    assert while_it_runs == {}
    assert readable_by_others(instep.data, *(tmp_path / "home").iterdir()) == {}
    assert readable_by_others(*(tmp_path / "tmp").iterdir()) == {}
    # what a person asks for by name follows the person's umask
    assert [stat.S_IMODE(file.stat().st_mode) for file in (report, page)] == [0o666, 0o666]


def test_a_store_in_a_place_of_its_own_is_private_too(open_to_all, tmp_path):
    store = tmp_path / "elsewhere" / "store"
    open_to_all.env |= {"INSTEP_STORE__PATH": str(store)}
    open_to_all.json("up", tmp_path / "docs", "--once")

    assert list(store.iterdir())
    assert readable_by_others(store.parent, open_to_all.data) == {}


def loosen(folder: Path) -> None:
    """As the last release left a folder, under the umask that most people have."""
    for path in (folder, *folder.rglob("*")):
        inner = folder / "server" in path.parents or path == folder / "server"
        path.chmod(0o700 if inner and path.is_dir() else 0o755 if path.is_dir() else 0o644)


def test_a_folder_that_others_could_read_is_closed_and_that_is_told_once(open_to_all, tmp_path):
    instep = open_to_all
    instep.json("up", tmp_path / "docs", "--once")
    loosen(instep.data)
    first, second = (instep("search", "zebra", "--json") for _ in range(2))

    assert stat.S_IMODE(instep.data.stat().st_mode) == 0o700
    assert "other users could read it" in first.stderr
    assert str(instep.data) in first.stderr
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")
    assert first.stdout.startswith("{")


def test_logs_are_among_what_instep_keeps_in_a_folder(tmp_path):
    for name in (LOG, f"{LOG}.1"):
        (tmp_path / name).touch()
    loosen(tmp_path)
    DataFolder(tmp_path).close_to_others()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_that_holds_other_things_too_stays_open_and_the_store_in_it_is_closed(
    open_to_all, tmp_path
):
    instep = open_to_all
    instep.json("up", tmp_path / "docs", "--once")
    (instep.data / "of-somebody-else").write_text("")
    loosen(instep.data)
    instep.json("up", tmp_path / "docs", "--once")

    assert stat.S_IMODE(instep.data.stat().st_mode) == 0o755
    assert stat.S_IMODE((instep.data / "store").stat().st_mode) == 0o700


def test_the_files_that_a_person_asks_for_follow_the_umask(open_to_all, tmp_path):
    instep = open_to_all
    instep.umask = 0o027
    instep("contracts", "--out", tmp_path / "contracts")
    instep("settings", "--init")
    files = [*(tmp_path / "contracts").rglob("*.json"), tmp_path / "instep.toml"]

    assert len(files) > 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}


def test_nobody_else_may_put_keys_into_the_folder_of_keys(open_to_all, tmp_path):
    open_to_all("keys", tmp_path / "keys")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}

    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o755
    assert {name for name, mode in modes.items() if mode & 0o044} == {"auth.conf", "nats.conf"}
    assert not [name for name, mode in modes.items() if mode & 0o022]
