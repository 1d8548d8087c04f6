"""The bundled server on a disk that was full: writes go on when there is room again."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

import nats
import pytest
import structlog
from nats.errors import Error as NatsError

from services.host.nats_server import disk, local
from services.host.nats_server.local import LocalServer
from shared.settings import Bus

pytestmark = pytest.mark.nats
MEGABYTE = bytes(1_000_000)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() or not mount or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as rest:
        try:
            while True:
                rest.write(MEGABYTE)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - until then it must not be raised


async def publish(url: str, timeout_s: float = 2.0) -> int | None:
    """The sequence of a message that was stored, or None."""
    try:
        client = await nats.connect(url, max_reconnect_attempts=1, connect_timeout=10)
    except (NatsError, OSError):
        return None
    try:
        return (await client.jetstream(timeout=timeout_s).publish("a.1", bytes(1000))).seq
    except (NatsError, TimeoutError):
        return None
    finally:
        await client.close()


async def publish_patiently(url: str) -> int:
    async with asyncio.timeout(120):
        while (sequence := await publish(url, 60)) is None:
            await asyncio.sleep(0.1)
    return sequence


async def test_writes_go_on_when_there_is_room_again(small_disk, monkeypatch, eventually):
    monkeypatch.setattr(disk, "LOOK_S", 0.1)
    async with LocalServer(small_disk, Bus()) as server:
        client = await nats.connect(server.url)
        await client.jetstream(timeout=60).add_stream(name="A", subjects=["a.*"])
        await client.close()
        stored = [await publish(server.url, 60)]
        with structlog.testing.capture_logs() as logs:
            fill(small_disk / "filler")
            while (sequence := await publish(server.url)) is not None:
                stored.append(sequence)
            await eventually(lambda: "disk_full" in [entry["event"] for entry in logs])
        restarts_while_full = server.restarts
        (small_disk / "filler").unlink()
        await eventually(lambda: server.restarts)
        after = await publish_patiently(server.url)

        assert stored == list(range(1, len(stored) + 1))
        assert restarts_while_full == 0
        assert server.restarts == 1
        assert after > stored[-1]


async def test_a_server_that_dies_while_the_disk_is_full_is_started_when_there_is_room(
    small_disk, monkeypatch, eventually
):
    monkeypatch.setattr(local, "LOOK_S", 0.05)
    async with LocalServer(small_disk, Bus()) as server:
        client = await nats.connect(server.url)
        await client.jetstream(timeout=60).add_stream(name="A", subjects=["a.*"])
        await client.close()
        before = await publish(server.url, 60)
        fill(small_disk / "filler")
        os.kill(server.pid, signal.SIGKILL)
        await eventually(lambda: server.restarts > 2 * local._QUICK_DEATHS)
        (small_disk / "filler").unlink()
        after = await publish_patiently(server.url)

        assert (before, after) == (1, 2)
