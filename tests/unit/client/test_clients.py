"""Both clients before a gateway over a small index: every operation, errors, and waiting."""

import asyncio
import inspect
import os
import subprocess
import sys
import typing

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from instep import client as module
from instep import fields
from instep.client import AsyncClient, Client, Refused, Unreachable
from services.gateway.access.bearer import Credentials
from services.gateway.app import build_app
from services.gateway.operations import OPERATIONS, resolve
from services.gateway.views import SearchAnswer
from services.host.data_folder import DataFolder, Instance, write_private
from services.host.options import Surroundings
from services.host.owner_key import OWNER_KEY
from shared.domain.errors import ConfigurationError, StoreUnavailable

KEY = "a key of many letters"
ANSWERED = [row for row in OPERATIONS.values() if row.run]
NAMES = {
    "Unpack": typing.Unpack,
    **vars(fields),
    **{resolve(row.answer).__name__: resolve(row.answer) for row in ANSWERED},
}
NOT_IN_A_CLIENT = {"format"}
"""A page is for browsers."""


class Either:
    """Calls the same methods of one of the clients."""

    def __init__(self, kind, *args, **options):
        self.client = kind(*args, **options)

    async def __aenter__(self):
        if isinstance(self.client, AsyncClient):
            await self.client.__aenter__()
        return self

    async def __aexit__(self, *_):
        if isinstance(self.client, AsyncClient):
            await self.client.close()

    async def __call__(self, name, *args, **fields):
        method = getattr(self.client, name)
        if isinstance(self.client, AsyncClient):
            return await method(*args, **fields)
        return await asyncio.to_thread(method, *args, **fields)


BOTH = pytest.mark.parametrize("kind", [Client, AsyncClient])


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in ("INSTEP_URL", "INSTEP_DATA", "INSTEP_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def url(index):
    async with TestServer(
        build_app(index.queries, index.commands, known=Credentials(KEY))
    ) as server:
        yield str(server.make_url("/"))


@BOTH
@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row.name)
def test_every_operation_is_a_method_with_its_fields(kind, row):
    method = inspect.signature(getattr(kind, row.name))
    hints = typing.get_type_hints(getattr(kind, row.name), NAMES)
    fields = {
        name: field
        for name, field in resolve(row.request).model_fields.items()
        if name not in NOT_IN_A_CLIENT
    }
    required = [p.name for p in method.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    optional = typing.get_args(hints["fields"])[0] if "fields" in hints else None
    optional = typing.get_type_hints(optional, NAMES).keys() if optional else set()

    assert {*required, *optional} == {"self", *fields}
    assert required == ["self", *(n for n, f in fields.items() if f.is_required() or n == "q")]
    assert hints["return"] is resolve(row.answer)


@BOTH
async def test_an_answer_is_a_model(kind, url, index):
    key, revision = await index.put("g/a ü.md", ["zebra"])

    async with Either(kind, url, key=KEY) as ask:
        found = await ask("search", "zebra", limit=3, source=["docs"])
        document = await ask("document", "docs/g/a ü.md", chunks=False)
        receipt = await ask("receipt", f"{key}-{revision}", wait=1)
        listed = await ask("documents", state="searchable")

    assert isinstance(found, SearchAnswer)
    assert found.hits[0].document.path == document.path == "g/a ü.md"
    assert document.chunks is None
    assert (receipt.final, receipt.outcome) == (True, "inserted")
    assert listed.total == 1


@BOTH
async def test_every_reading_operation_answers(kind, url, index):
    key, revision = await index.put("a.md", ["zebra"])
    least = {
        "search": ["zebra"],
        "document": ["docs/a.md"],
        "similar": ["docs/a.md"],
        "history": ["docs/a.md"],
        "diff": ["docs/a.md"],
        "receipt": [f"{key}-{revision}"],
    }
    least["source"] = ["docs"]
    missing = {
        "left_out": "not_watched",
        "report": "batch_not_found",
        "batch": "batch_not_found",
        "failure": "failure_not_found",
    }

    async with Either(kind, url, key=KEY) as ask:
        for row in ANSWERED:
            if not row.is_safe:
                continue
            if row.name in missing:
                with pytest.raises(Refused) as refused:
                    await ask(row.name, "last")
                assert refused.value.code == missing[row.name]
            else:
                assert await ask(row.name, *least.get(row.name, ()))


@BOTH
async def test_a_no_is_an_error_with_code_detail_fix_and_places(kind, url):
    async with Either(kind, url, key=KEY) as ask:
        with pytest.raises(Refused) as refused:
            await ask("search", "x", limt=3)

    told = refused.value
    assert (told.code, told.status) == ("unknown_field", 422)
    assert "did you mean 'limit'?" in told.detail
    assert told.errors[0]["at"] == "/limt"
    assert told.request_id


@BOTH
async def test_without_the_key_the_answer_is_no_and_the_key_stays_untold(kind, url):
    async with Either(kind, url, key="another key, wrong") as ask:
        with pytest.raises(Refused) as refused:
            await ask("status")

    assert (refused.value.code, refused.value.status) == ("no_key", 401)
    assert "another key" not in repr(refused.value) + refused.value.fix


@BOTH
async def test_where_nothing_listens_the_gateway_is_unreachable(kind):
    async with Either(kind, f"http://127.0.0.1:{unused_port()}") as ask:
        with pytest.raises(Unreachable, match="no gateway answers at"):
            await ask("status")


@BOTH
async def test_a_gateway_that_says_nothing_is_unreachable_in_time(kind):
    over = asyncio.Event()

    async def silent(_):
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/api/v1/status", silent)
    async with TestServer(app) as server:
        async with Either(kind, str(server.make_url("")), timeout_s=0.05) as ask:
            with pytest.raises(Unreachable, match="does not answer within"):
                await ask("status")
        over.set()


@pytest.fixture
def pauses(monkeypatch):
    """The pauses of the client, which take no time."""
    made = []
    pause = asyncio.sleep

    async def later(delay, *rest):
        if not delay:  # the loop's own
            return await pause(delay, *rest)
        return made.append(delay)

    monkeypatch.setattr(module.time, "sleep", made.append)
    monkeypatch.setattr(asyncio, "sleep", later)
    return made


@pytest.fixture
async def failing(index, monkeypatch):
    """A gateway whose store is away for two requests of each kind, and the requests it got."""
    asked = []

    async def status():
        asked.append("status")
        if len(asked) < 3:
            raise StoreUnavailable("no answer")
        return await type(index.queries).status(index.queries)

    async def retry(_):
        asked.append("retry")
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(index.queries, "status", status)
    commands = type("Away", (), {"retry": staticmethod(retry)})()
    async with TestServer(build_app(index.queries, commands)) as server:
        yield str(server.make_url("")), asked


@BOTH
async def test_a_reading_request_waits_for_what_is_away_as_the_gateway_says(kind, failing, pauses):
    url, asked = failing
    async with Either(kind, url) as ask:
        assert (await ask("status")).generation == "gtest"

    assert (pauses, len(asked)) == ([1.0, 1.0], 3)


@BOTH
async def test_a_changing_request_is_made_once(kind, failing, pauses):
    url, asked = failing
    async with Either(kind, url) as ask:
        with pytest.raises(Refused, match="store does not answer"):
            await ask("retry", all=True)

    assert (pauses, asked) == ([], ["retry"])


@BOTH
async def test_nobody_waits_longer_than_an_answer_may_take(kind, failing, pauses):
    url, asked = failing
    async with Either(kind, url, timeout_s=0.9) as ask:
        with pytest.raises(Refused, match="store does not answer"):
            await ask("status")

    assert (pauses, len(asked)) == ([], 1)


async def test_an_async_client_that_is_not_entered_says_how(url):
    with pytest.raises(RuntimeError, match="async with"):
        await AsyncClient(url).status()


def announce(folder, url):
    folder.announce(Instance(os.getpid(), "nats://127.0.0.1:1", url, "now", "0"))


def test_without_a_url_the_instance_of_the_data_folder_is_asked(tmp_path, monkeypatch):
    folder = DataFolder(tmp_path / "data")
    monkeypatch.setenv("INSTEP_URL", "http://elsewhere:1")
    with folder.lock():
        announce(folder, "http://127.0.0.1:7")

        assert Client(data=tmp_path / "data").url == "http://127.0.0.1:7"
        assert Client("http://h:2", data=tmp_path / "data").url == "http://h:2"
    assert Client(data=tmp_path / "data").url == "http://elsewhere:1"


def test_where_no_instance_runs_a_client_says_so(tmp_path):
    with pytest.raises(Unreachable, match="no instance runs in"):
        Client(data=tmp_path)


def test_an_instance_without_a_gateway_is_told(tmp_path):
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        announce(folder, None)
        with pytest.raises(Unreachable, match="has no gateway"):
            Client(data=tmp_path / "data")


async def test_a_key_file_of_the_surroundings_is_shown(url, tmp_path, monkeypatch):
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("INSTEP_KEY_FILE", str(tmp_path / "key"))

    async with AsyncClient(url) as client:
        assert (await client.version()).api == "v1"

    monkeypatch.setenv("INSTEP_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="no such key file"):
        Client(url)


def give_key(data, text=KEY):
    write_private(data / OWNER_KEY, text + "\n")


async def test_the_owner_s_key_is_shown_to_the_instance_of_its_folder(url, tmp_path):
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        give_key(tmp_path / "data")
        announce(folder, url)
        async with AsyncClient(data=tmp_path / "data") as client:
            assert (await client.version()).api == "v1"
        async with AsyncClient(url.rstrip("/"), data=tmp_path / "data") as client:
            assert (await client.version()).api == "v1"


async def test_the_owner_s_key_is_shown_to_no_other_program(url, tmp_path):
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        give_key(tmp_path / "data")
        announce(folder, "http://127.0.0.1:7")
        async with AsyncClient(url, data=tmp_path / "data") as client:
            with pytest.raises(Refused) as refused:
                await client.version()
    async with AsyncClient(url, data=tmp_path / "data") as client:
        with pytest.raises(Refused):
            await client.version()

    assert refused.value.code == "no_key"


def test_the_instance_of_a_folder_is_shown_its_own_key_and_others_that_of_the_variable(tmp_path):
    data, here, there = tmp_path / "data", "http://127.0.0.1:7", "https://gateway.example"
    (tmp_path / "key").write_text("of the variable")
    around = Surroundings(url=there, key_file=str(tmp_path / "key"))
    folder = DataFolder(data)
    with folder.lock():
        announce(folder, here)
        without = module.key_for(here, data, around)
        give_key(data)
        shown = [module.key_for(url, data, around) for url in (here, here + "/", there)]

    assert without == "of the variable"
    assert shown == [KEY, KEY, "of the variable"]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "read by others"])
def test_a_file_that_another_user_may_have_put_there_is_not_shown(kind, tmp_path):
    data, place = tmp_path / "data", tmp_path / "data" / OWNER_KEY
    folder = DataFolder(data)
    with folder.lock():
        announce(folder, "http://127.0.0.1:7")
        if kind == "link":
            give_key(tmp_path)
            place.symlink_to(tmp_path / OWNER_KEY)
        elif kind == "folder":
            place.mkdir()
        elif kind == "pipe":
            os.mkfifo(place, 0o600)
        else:
            give_key(data)
            place.chmod(0o640)
        with pytest.raises(ConfigurationError, match=OWNER_KEY):
            module.key_for("http://127.0.0.1:7", data, Surroundings())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the file of another user")
@pytest.mark.parametrize("name", [OWNER_KEY, "instance.json"])
@pytest.mark.parametrize("variable", [False, True])
def test_another_user_s_instance_is_shown_no_key(name, variable, tmp_path):
    data, folder = tmp_path / "data", DataFolder(tmp_path / "data")
    (tmp_path / "key").write_text("of the variable")
    around = Surroundings(key_file=str(tmp_path / "key") if variable else None)
    with folder.lock():
        announce(folder, "http://127.0.0.1:7")
        give_key(data)
        os.chown(data / name, 65534, -1)
        with pytest.raises(ConfigurationError, match="65534"):
            module.key_for("http://127.0.0.1:7", data, around)
        if name == "instance.json":
            (data / OWNER_KEY).unlink()
            if variable:
                with pytest.raises(ConfigurationError, match="65534"):
                    module.key_for("http://127.0.0.1:7", data, around)
            else:
                assert module.key_for("http://127.0.0.1:7", data, around) is None


async def test_an_empty_list_of_sources_makes_no_key_for_all_of_them(url):
    async with AsyncClient(url, key=KEY) as client:
        with pytest.raises(Refused, match="name at least one"):
            await client.create_key(["read"], sources=[])


def test_a_client_is_imported_without_models_and_servers():
    heavy = (
        "pydantic",
        "asyncio",
        "aiohttp",
        "numpy",
        "nats",
        "lancedb",
        "services.gateway.models",
    )
    code = f"import instep.client, sys; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
