"""A command beside a process that holds the data folder: another command, or an instance."""

import contextlib
import io
import os
from types import SimpleNamespace

import pytest

from instep.client import Client
from services.cli.api import client, offline
from services.cli.main import run
from services.host import runtime
from services.host.data_folder import DataFolder, FolderInUse, Instance
from shared.domain.errors import FilterNotReady
from shared.observe import logs

RUNS = Instance(os.getpid(), "nats://x", "http://127.0.0.1:9", "now", "0")
ASKING = [["status"], ["removals"], ["removals", "reject", "docs"], ["search", "x"]]
PUBLISHING = ["publish", "-", "--source", "inbox", "--path", "a.md"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "server" / "store" / "jetstream").mkdir(parents=True)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setattr("services.host.data_folder._LOCK_WAIT_S", 0.0)
    monkeypatch.setattr(runtime, "TURN_S", 0.0)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"# Sent")))
    monkeypatch.chdir(tmp_path)
    return DataFolder(tmp_path / "data")


def command(argv, folder):
    return run([*argv, "--data", str(folder.path)])


@pytest.mark.parametrize("argv", [*ASKING, PUBLISHING], ids=lambda argv: argv[0])
@pytest.mark.parametrize(
    ("briefly", "says"),
    [(True, "in use by another command"), (False, "is starting or stopping")],
    ids=["a command", "an instance"],
)
def test_who_holds_the_folder_is_said_and_that_it_passes(folder, capsys, argv, briefly, says):
    with folder.lock(briefly=briefly):
        status = command(argv, folder)

    said = capsys.readouterr()
    assert (status, said.out) == (3, "")
    assert says in said.err
    assert f"pid {os.getpid()}" in said.err
    assert "try again" in said.err
    assert "--data" not in said.err


@pytest.mark.parametrize("argv", ASKING, ids=lambda argv: argv[0])
def test_an_instance_that_has_just_started_is_asked(folder, monkeypatch, argv):
    asked = []

    def too_late(*_):
        folder.announce(RUNS)
        raise FolderInUse("in use", passes=True)

    def answer(url, operation, *_, **__):
        asked.append((url, operation))
        raise KeyboardInterrupt  # the answer is no matter

    monkeypatch.setattr(offline, "answer_offline", too_late)
    monkeypatch.setattr(client, "ask", answer)
    with folder.lock():
        folder.withdraw()
        assert command(argv, folder) == 130

    assert [url for url, _ in asked] == [RUNS.gateway_url]


def test_an_instance_that_has_just_started_is_published_to(folder, monkeypatch):
    asked = []

    def ask(self, operation, *_):
        asked.append((self.url, operation))
        raise KeyboardInterrupt  # the answer is no matter

    @contextlib.contextmanager
    def starting(self, *_, **__):
        folder.announce(RUNS)
        raise FolderInUse("in use", passes=True)
        yield

    monkeypatch.setattr(Client, "ask", ask)
    with folder.lock():
        folder.withdraw()
        monkeypatch.setattr(DataFolder, "lock", starting)
        assert command(PUBLISHING, folder) == 130

    assert asked == [(RUNS.gateway_url, "livez")]


def test_a_folder_without_an_instance_and_one_without_an_index_say_so(folder, capsys):
    assert command(PUBLISHING, folder) == 3
    assert "no instance runs in" in capsys.readouterr().err
    assert run([*PUBLISHING, "--data", str(folder.path / "none")]) == 3
    assert "nothing is indexed here" in capsys.readouterr().err


def test_the_folder_of_an_instance_is_refused_to_another_one_for_good(folder):
    with folder.lock(), pytest.raises(FolderInUse, match="stop that instance") as refused:
        DataFolder(folder.path).lock().__enter__()

    assert not refused.value.passes


@pytest.mark.parametrize("argv", [*ASKING, ["search", "x", "--json"], PUBLISHING], ids=" ".join)
def test_beside_services_that_run_alone_the_gateway_has_to_be_named(
    folder, monkeypatch, capsys, argv
):
    """Its bus is known by the settings; there is no data folder."""
    monkeypatch.setenv("INSTEP_BUS__URL", "nats://127.0.0.1:9")
    status = run([*argv, "--data", str(folder.path / "none")])

    said = capsys.readouterr().err
    assert status == 3
    assert "--url" in said
    assert "INSTEP_URL" in said
    assert "nothing is indexed" not in said


def test_a_filter_whose_terms_nobody_writes_is_told_what_writes_them(folder, monkeypatch, capsys):
    class Lacking:
        async def search(self, _):
            raise FilterNotReady("no terms")

    @contextlib.asynccontextmanager
    async def opened(_):
        yield SimpleNamespace(queries=Lacking(), commands=None)

    monkeypatch.setattr(runtime, "offline", opened)
    status = command(["search", "x", "--filter", "lang:en"], folder)

    said = capsys.readouterr().err
    assert status == 3
    assert "until an indexer has written it" in said
    assert "instep up writes it" in said
    assert "in a moment" not in said
