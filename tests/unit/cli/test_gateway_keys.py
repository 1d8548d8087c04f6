"""`instep keys` and `instep open` before a gateway in memory, and the old spelling for a bus."""

import asyncio
import json
import webbrowser

import pytest
from aiohttp.test_utils import TestServer
from gateway_world import Index
from memory_kv import MemoryShelf

from services.cli.keys.gateway import redirection
from services.cli.main import run
from services.cli.parser import parse, with_bus
from services.gateway.access.bearer import Credentials
from services.gateway.access.keyring import Keyring
from services.gateway.access.sessions import BrowserSessions
from services.gateway.app import build_app
from services.host.data_folder import OPEN

OWNER = "o" * 40


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("keys ./keys", "keys bus ./keys"),
        ("keys --force ./keys", "keys bus --force ./keys"),
        ("keys ./keys --source list", "keys bus ./keys --source list"),
        ("keys --source list ./keys", "keys bus --source list ./keys"),
        ("--data d keys ./keys", "--data d keys bus ./keys"),
        ("keys --data d ./list", "keys bus --data d ./list"),
        ("keys bus ./keys", "keys bus ./keys"),
        ("keys list", "keys list"),
        ("keys --data list list", "keys --data list list"),
        ("keys --json create --scope read", "keys --json create --scope read"),
        ("keys", "keys"),
        ("keys --help", "keys --help"),
        ("search keys create", "search keys create"),
        ("search list", "search list"),
    ],
)
def test_a_folder_after_keys_is_that_of_a_bus(typed, read):
    assert with_bus(typed.split()) == read.split()


def test_the_old_spelling_is_parsed_as_the_new_one():
    old, new = (
        parse(["keys", "d", "--source", "s"]),
        parse(["keys", "bus", "d", "--source", "s"]),
    )

    assert vars(old) == vars(new)
    assert (old.handler, old.folder, old.source) == ("keys.bus:run", "d", ["s"])


@pytest.fixture
async def ask(capsys, tmp_path, monkeypatch):
    """Runs a command; gives status, output and errors."""
    for name in ("INSTEP_DATA", "INSTEP_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").write_text(OWNER)
    index, keys = Index(), Keyring(MemoryShelf())
    app = build_app(
        index.queries,
        index.commands,
        known=Credentials(OWNER, keys, sessions=BrowserSessions(OWNER)),
    )
    async with TestServer(app) as server:
        monkeypatch.setenv("INSTEP_URL", str(server.make_url("")))

        async def command(*args, key="owner"):
            argv = [*args, "--key-file", str(tmp_path / key)]
            status = await asyncio.to_thread(run, argv)
            told = capsys.readouterr()
            return status, told.out, told.err

        yield command


async def test_a_key_is_printed_alone_and_once(ask, tmp_path):
    status, out, err = await ask(
        *("keys", "create", "--scope", "search,read", "--source", "docs", "--expires", "90d")
    )
    (tmp_path / "new").write_text(out)
    id = out.split("_")[1]
    listed = await ask("keys", "list")
    plain = await ask("keys")
    used = await ask("search", "x", "--mode", "keyword", key="new")
    refused = await ask("keys", "list", key="new")
    gone = await ask("keys", "revoke", id)
    after = await ask("status", key="new")

    assert status == 0
    assert out.startswith("ik_")
    assert out.count("\n") == 1
    assert out.strip() not in err
    assert f"key {id}: search, read of docs, until 20" in err
    assert listed[1].split()[:8] == plain[1].split()[:8]
    assert id in listed[1]
    assert out.strip() not in listed[1]
    assert used[0] == 0
    assert "the scope admin" in refused[2]
    assert gone == (0, f"key {id} opens nothing any more\n", "")
    assert (after[0], "answers only requests with its key" in after[2]) == (2, True)


async def test_json_holds_the_key_and_all_about_it(ask):
    _, out, err = await ask("keys", "create", "--scope", "admin", "--name", "ops", "--json")
    made = json.loads(out)

    assert err == ""
    assert made["key"].startswith(f"ik_{made['id']}_")
    assert (made["name"], made["sources"], made["expires_at"]) == ("ops", None, None)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("create", "--scope", "everything"), "scopes"),
        (("create", "--scope", ""), "scopes"),
        (("create", "--scope", "read", "--source", "Not A Name"), "Not A Name"),
        (("create", "--scope", "read", "--expires", "soon"), "give a unit"),
        (("create", "--scope", "read", "--expires", "0 s"), "expires_s"),
        (("create",), "--scope"),
        (("revoke", "0" * 12), "is not the id of a key"),
        (("revoke", "x"), "id"),
    ],
)
async def test_what_cannot_be_is_said_in_a_line(ask, args, said):
    status, out, err = await ask("keys", *args)

    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


async def test_at_a_terminal_a_link_is_opened_and_no_command_line_shows_it(
    ask, tmp_path, monkeypatch
):
    data, opened = tmp_path / ".instep", []
    data.mkdir(0o700)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(webbrowser, "open", opened.append)

    status, out, _ = await ask("open")

    link = out.strip().splitlines()[-1]
    page = data / OPEN
    assert (status, opened) == (0, [page.as_uri()])
    assert f"url={link}" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600


async def test_without_a_data_folder_a_link_is_only_printed(ask, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("it was opened"))

    assert "/enter?once=" in (await ask("open"))[1]


def test_the_page_of_a_link_holds_no_markup_of_an_address():
    page = redirection('http://h/"><script>&')

    assert "<script>" not in page
    assert "url=http://h/&quot;&gt;&lt;script&gt;&amp;" in page


async def test_a_link_is_printed(ask):
    status, out, _ = await ask("open", "--print")

    assert status == 0
    assert "/enter?once=" in out


def test_without_an_instance_the_commands_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("INSTEP_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    for args in (["keys"], ["open"], ["keys", "create", "--scope", "read"]):
        assert run([*args, "--data", str(tmp_path)]) == 3
        assert "no instance runs" in capsys.readouterr().err
