"""A model that dies, hangs, leaks or takes all memory costs one text, and never this process."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from instep_process import is_there, wait_until

from shared.domain.errors import ConfigurationError, EncoderBusy, ModelFailed
from shared.encoders import registry
from shared.encoders.coalesce import CoalescingEncoder
from shared.encoders.fake import FakeEncoder
from shared.encoders.local import process, protocol
from shared.encoders.local.device import Lost
from shared.encoders.local.process import ProcessDevice
from shared.sandbox.child import Child
from shared.sandbox.frames import Garbled
from shared.settings import Embedding

MB = 1024**2
FAULTY = Embedding(model="fake-64-faults")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")


@pytest.fixture
async def started():
    """Makes encoders over devices, and ends their processes after the test."""
    async with AsyncExitStack() as stack:

        async def make(settings=FAULTY, *, timeout_s=60.0, **how):
            tokenize = FakeEncoder(64).tokenize
            device = await ProcessDevice.start(settings, tokenize, **how)
            encoder = CoalescingEncoder(device, timeout_s=timeout_s)
            return await stack.enter_async_context(encoder), device

        yield make


def proc(pid, name):
    return Path(f"/proc/{pid}/{name}").read_text()


async def outcomes(encoder, *texts):
    calls = (encoder.encode([text]) for text in texts)
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_vectors_come_back_as_the_model_made_them(started):
    encoder, _ = await started(Embedding(model="fake-64"))
    texts = [f"text {n} " * (1 + n) for n in range(40)]

    assert np.array_equal(await encoder.encode(texts), await FakeEncoder(64).encode(texts))
    assert encoder.fingerprint == FakeEncoder(64).fingerprint
    assert encoder.counters.busy_s > 0


@pytest.mark.parametrize(("word", "by"), [("faultkill", "SIGKILL"), ("faultsegv", "SIGSEGV")])
async def test_a_text_that_kills_the_model_fails_and_those_beside_it_do_not(started, word, by):
    encoder, device = await started()
    first = device.pid
    texts = ["one", "two", f"a {word} text", "four"]
    found = await outcomes(encoder, *texts)

    assert isinstance(found[2], ModelFailed)
    assert by in str(found[2])
    for n in (0, 1, 3):
        assert np.array_equal(found[n], await FakeEncoder(64).encode([texts[n]]))
    assert not is_there(first)
    assert encoder.counters.lost == 2


async def test_a_text_that_hangs_the_model_fails_and_those_beside_it_do_not(started):
    encoder, device = await started(timeout_s=4.0)
    first = device.pid
    found = await outcomes(encoder, "one", "a faulthang text", "three")

    assert isinstance(found[1], ModelFailed)
    assert "did not end within 1.0 s" in str(found[1])
    assert [one.shape for one in (found[0], found[2])] == [(1, 64)] * 2
    assert not is_there(first)


@linux
async def test_a_text_that_takes_all_memory_fails_and_those_beside_it_do_not(started):
    encoder, _ = await started(memory_bytes=64 * MB)
    found = await outcomes(encoder, "one", "a faultleak faulthang text", "three")

    assert isinstance(found[1], ModelFailed)
    assert "took more than 64 MB" in str(found[1])
    assert [one.shape for one in (found[0], found[2])] == [(1, 64)] * 2


@linux
async def test_a_model_that_leaks_is_replaced_and_costs_no_text(started):
    encoder, device = await started(memory_bytes=256 * MB)
    pids = set()
    for n in range(12):
        await encoder.encode([f"faultleak {n}"])
        pids.add(device.pid)

    assert len(pids - {None}) >= 3


async def test_a_model_that_was_ended_while_it_was_idle_costs_no_text(started):
    encoder, device = await started()
    await encoder.encode(["one"])
    os.kill(device.pid, signal.SIGKILL)

    assert (await encoder.encode(["two"])).shape == (1, 64)


async def test_what_the_model_says_of_a_text_is_told(started):
    encoder, _ = await started()
    refused, busy, nan = await outcomes(encoder, "faultrefuse", "faultbusy", "faultnan")

    assert isinstance(refused, ModelFailed)
    assert isinstance(busy, EncoderBusy)
    assert isinstance(nan, ModelFailed)
    assert encoder.counters.lost == 0


async def test_a_call_written_ahead_is_asked_again_when_the_one_before_it_dies(started):
    _, device = await started()
    kills, fine = (device.tokenize([text]) for text in ("a faultkill text", "fine"))
    first = asyncio.create_task(device.run(kills, within_s=60.0))
    second = asyncio.create_task(device.run(fine, within_s=60.0))

    assert (await second)[0].shape == (1, 64)
    with pytest.raises(Lost):
        await first


async def test_a_death_that_is_known_before_the_call_under_way_hears_of_it_costs_no_text(
    started, monkeypatch
):
    """The kernel tells of the end of a process and of its pipes in any order."""
    _, device = await started()
    hangs, fine = (device.tokenize([text]) for text in ("a faulthang text", "fine"))
    first = asyncio.create_task(device.run(hangs, within_s=60.0))
    while not device._hearing.locked():
        await asyncio.sleep(0.01)
    dead = device._child
    monkeypatch.setattr(Child, "alive", property(lambda child: child is not dead))
    os.kill(dead.pid, signal.SIGKILL)
    vectors, _ = await device.run(fine, within_s=60.0)

    assert vectors.shape == (1, 64)
    with pytest.raises(Lost):
        await first


async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(started):
    _, device = await started()
    slow, other = device.tokenize(["a faultslow text", "other"])
    call = asyncio.create_task(device.run([slow], within_s=60.0))
    await asyncio.sleep(0.1)
    call.cancel()
    await asyncio.wait([call])
    vectors, _ = await device.run([other], within_s=60.0)

    assert np.array_equal(vectors, await FakeEncoder(64).encode(["other"]))


async def test_a_process_that_cannot_be_had_is_for_later(started, monkeypatch):
    encoder, device = await started()
    os.kill(device.pid, signal.SIGKILL)
    monkeypatch.setattr(process.Child, "start", _none)
    with pytest.raises(EncoderBusy, match="none today"):
        await encoder.encode(["one"])
    monkeypatch.undo()

    assert (await encoder.encode(["one"])).shape == (1, 64)


async def test_a_model_whose_files_have_changed_makes_no_vectors_under_the_old_name(started):
    encoder, device = await started(Embedding(model="fake-64"))
    device._program = replace(device._program, arguments=({"model": "fake-32"},))
    os.kill(device.pid, signal.SIGKILL)
    with pytest.raises(EncoderBusy, match="have changed"):
        await encoder.encode(["one"])


async def test_closing_waits_for_no_call_of_a_model_that_hangs():
    """Whoever waits for it: the handler of a request goes on when its client has gone."""
    async with AsyncExitStack() as stack:
        encoder = await registry.load_encoder(FAULTY, stack)
        calls = [asyncio.create_task(encoder.encode([f"a faulthang text {n}"])) for n in range(2)]
        while not encoder._device._hearing.locked():
            await asyncio.sleep(0.01)
        calls[0].cancel()
        pid = encoder._device.pid
    found = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in found] == [asyncio.CancelledError, EncoderBusy]
    assert encoder.counters.lost == 0  # it did not wait until the call was given up
    assert not is_there(pid)


async def test_closing_waits_for_no_model_that_loads_again(started, monkeypatch):
    encoder, device = await started()
    loading = asyncio.Event()

    async def never(*_, **__):
        loading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(process.Child, "start", never)
    os.kill(device.pid, signal.SIGKILL)
    call = asyncio.create_task(encoder.encode(["one"]))
    await loading.wait()
    await encoder.close()

    with pytest.raises(EncoderBusy, match="stopping"):
        await call


async def _none(*_, **__):
    raise process.TransientError("none today")


async def test_why_a_model_cannot_be_loaded_is_told():
    with pytest.raises(ConfigurationError, match=r"no such folder|neither"):
        await ProcessDevice.start(Embedding(model="/nowhere/at/all"), FakeEncoder(8).tokenize)


async def test_a_folder_is_found_from_where_its_service_was_started(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="has no modules"):
        await ProcessDevice.start(Embedding(model="model"), FakeEncoder(8).tokenize)


async def test_closing_leaves_no_process():
    async with AsyncExitStack() as stack:
        encoder = await registry.load_encoder(FAULTY, stack)
        pid = encoder._device.pid
        await encoder.encode(["one"])

    assert not is_there(pid)


@linux
async def test_the_kernel_ends_the_model_before_its_parent(started):
    _, device = await started()

    assert proc(device.pid, "oom_score_adj") == "1000\n"
    assert os.getsid(device.pid) != os.getsid(0)  # Ctrl-C does not reach it


@pytest.mark.parametrize(
    "system", [pytest.param("linux", marks=linux), "another"], ids=["by the kernel", "by itself"]
)
def test_the_model_dies_with_its_parent_whatever_it_is_doing(system):
    program = (
        "import asyncio\n"
        "from shared.sandbox import child\n"
        f"child._BOOT = child._BOOT.replace('sys.platform', repr('{system}'))\n"
        "from shared.encoders.fake import FakeEncoder\n"
        "from shared.encoders.local.process import ProcessDevice\n"
        "from shared.settings import Embedding\n"
        "async def main():\n"
        "    tokenize = FakeEncoder(64).tokenize\n"
        "    device = await ProcessDevice.start(Embedding(model='fake-64-faults'), tokenize)\n"
        "    call = asyncio.create_task(device.run(tokenize(['a faulthang text']), within_s=0))\n"
        "    await asyncio.wait([call], timeout=1.0)\n"
        "    print(device.pid, flush=True)\n"
        "    await call\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()

    wait_until(lambda: not is_there(pid))


@pytest.mark.model
@linux
def test_only_the_process_of_the_model_loads_its_library():
    """This one has it from other tests: so another one is asked."""
    program = (
        "import asyncio, contextlib, sys\n"
        "from shared.encoders.registry import load_encoder\n"
        "from shared.settings import Embedding\n"
        "async def main():\n"
        "    async with contextlib.AsyncExitStack() as stack:\n"
        "        encoder = await load_encoder(Embedding(device='cpu'), stack)\n"
        "        print((await encoder.encode(['a text'])).shape)\n"
        "        print([open(f'/proc/{pid}/maps').read().count('openvino') > 0\n"
        "               for pid in ('self', encoder._device.pid)])\n"
        "        print([open(f'/proc/{pid}/maps').read().count('pydantic') > 0\n"
        "               for pid in ('self', encoder._device.pid)])\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.stdout.split("\n")[:3] == ["(1, 384)", "[False, True]", "[True, False]"], done


@pytest.mark.parametrize(
    "frame",
    [b"", b"v", b"e12345678", b"e" + b"\0" * 8 + b"[1]", b"v" + b"\0" * 9, b"x" + b"\0" * 40],
)
def test_an_answer_of_another_form_is_not_believed(frame):
    with pytest.raises((Garbled, ModelFailed)):
        protocol.answered(frame, 1, 8)


@pytest.mark.parametrize("batch", [[[1, 2, 3]], [[], [2**48], [0] * 300]])
def test_a_batch_comes_as_it_was_asked(batch):
    assert protocol.asked(protocol.question(batch)) == batch


def test_the_text_of_a_foreign_error_stays_in_its_process():
    with pytest.raises(ModelFailed) as caught:
        protocol.answered(protocol.failure(IndexError("the secret text")), 1, 8)

    assert re.search("IndexError", str(caught.value))
    assert "secret" not in str(caught.value)
