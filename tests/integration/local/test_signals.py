"""The end of a child process is what the kernel says, also when instep sends it a last signal."""

import asyncio
import os
import signal
import time
from asyncio.unix_events import ThreadedChildWatcher

import pytest

from services.host.nats_server.local import LocalServer
from shared import processes
from shared.sandbox.child import Child, Program
from shared.settings import Bus

pytestmark = pytest.mark.nats

PROGRAM = Program("shared.encoders.local.worker:main", ('{"model":"fake-8"}',), "runs the model")


@pytest.fixture(autouse=True)
def a_loop_that_is_late(monkeypatch):
    """The status of a process that has died waits to be collected."""
    collect = ThreadedChildWatcher._do_waitpid

    def late(self, loop, pid, callback, args):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        time.sleep(0.2)
        collect(self, loop, pid, callback, args)

    monkeypatch.setattr(ThreadedChildWatcher, "_do_waitpid", late)


async def killed(pid):
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_a_child_that_was_killed_twice_ends_by_the_signal(caplog):
    child = await Child.start(PROGRAM, most_bytes=10_000)
    await killed(child.pid)
    child.kill()
    await child.end()

    assert child._process.returncode == -signal.SIGKILL
    assert caplog.text == ""


async def test_a_server_that_dies_while_it_is_stopped_ends_by_the_signal(tmp_path, caplog):
    server = LocalServer(tmp_path, Bus())
    await server.start()
    await killed(server._process.pid)
    server._restart()
    process = server._process
    await server.stop()

    assert process.returncode == -signal.SIGKILL
    assert caplog.text == ""


async def test_a_process_that_has_ended_is_sent_nothing(monkeypatch):
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("another process may have its number"))

    processes.send(process, signal.SIGTERM)
