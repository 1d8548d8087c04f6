"""One process at a time holds a data folder; what holds it for a moment is waited for."""

import asyncio
import contextlib
import os

import pytest

from services.host import runtime
from services.host.data_folder import DataFolder, FolderInUse, Instance
from shared.settings import Settings

ELSEWHERE = Settings.model_validate({"bus": {"url": "nats://127.0.0.1:1"}})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("services.host.data_folder._LOCK_WAIT_S", 0.0)
    monkeypatch.setattr(runtime, "TURN_LOOK_S", 0.0)
    monkeypatch.setattr(runtime, "TURN_S", 3_600.0)
    return DataFolder(tmp_path)


@contextlib.asynccontextmanager
async def waiting(folder, stop, **how):
    """A process that wants the folder, once it has been refused some times."""

    async def hold():
        async with runtime.bus(ELSEWHERE, folder.path, stop, **how):
            return "held"

    task = asyncio.create_task(hold())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    yield task
    await asyncio.wait([task], timeout=30)
    assert task.cancel() is False  # it has ended


@pytest.mark.parametrize(
    ("holds_briefly", "waits_briefly"),
    [(True, False), (True, True), (False, True)],
    ids=["an instance for a command", "a command for a command", "a command for an instance"],
)
async def test_the_folder_is_waited_for_unless_two_instances_want_it(
    folder, holds_briefly, waits_briefly
):
    held = folder.lock(briefly=holds_briefly)
    held.__enter__()
    async with waiting(folder, runtime.Shutdown(), briefly=waits_briefly) as task:
        held.__exit__(None, None, None)

        assert await asyncio.wait_for(task, 60) == "held"


async def test_an_instance_that_waits_ends_when_it_is_asked_to(folder):
    stop = runtime.Shutdown()
    with folder.lock(briefly=True):
        async with waiting(folder, stop) as task:
            stop.event.set()
        with pytest.raises(FolderInUse, match="another command"):
            task.result()


async def test_a_second_instance_is_refused_at_once(folder):
    with folder.lock(), pytest.raises(FolderInUse, match="stop that instance"):
        async with asyncio.timeout(30), runtime.bus(ELSEWHERE, folder.path, runtime.Shutdown()):
            pass


async def test_a_command_that_waits_for_an_instance_ends_when_that_can_be_asked(folder):
    with folder.lock():
        async with waiting(folder, runtime.Shutdown(), briefly=True) as task:
            folder.announce(Instance(os.getpid(), "nats://x", "http://x", "now", "0"))
        with pytest.raises(FolderInUse, match="starting or stopping"):
            task.result()


async def test_a_command_that_holds_the_folder_for_long_is_named(folder, monkeypatch):
    monkeypatch.setattr(runtime, "TURN_S", 0.0)
    with folder.lock(briefly=True), pytest.raises(FolderInUse, match="another command"):
        async with runtime.bus(ELSEWHERE, folder.path, runtime.Shutdown()):
            pass
