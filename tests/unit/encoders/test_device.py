"""A device that is lost again and again: one text pays for it, and only if it is to blame."""

import asyncio

import numpy as np
import pytest

from shared.domain.errors import EncoderBusy, ModelFailed
from shared.encoders.coalesce import CoalescingEncoder
from shared.encoders.fake import FakeEncoder
from shared.encoders.local.device import Absent, Lost


class Mortal:
    """Is lost with every call that holds the word `kills`, or with every call."""

    ahead, dimensions = 0, 8

    def __init__(self):
        self._fake = FakeEncoder(8)
        self.fingerprint, self.tokenize = self._fake.fingerprint, self._fake.tokenize
        self._kills = self.tokenize(["kills"])[0][0]
        self.sick = self.absent = False
        self.calls, self.limits = [], []
        self.open = asyncio.Event()
        self.open.set()

    async def run(self, batch, *, within_s):
        self.calls.append(len(batch))
        self.limits.append(within_s)
        await asyncio.sleep(0)
        await self.open.wait()
        if self.absent:
            raise Absent("no process can be had")
        if self.sick or any(self._kills in tokens for tokens in batch):
            raise Lost("the process of the model ended by SIGKILL")
        return self._fake.run(batch), 0.001

    async def close(self):
        pass


@pytest.fixture
def device():
    return Mortal()


async def outcomes(encoder, *calls):
    return await asyncio.gather(*(encoder.encode(texts) for texts in calls), return_exceptions=True)


async def test_of_a_call_that_is_lost_only_the_text_that_kills_has_failed(device):
    async with CoalescingEncoder(device) as encoder:
        texts = [[f"text {n}"] for n in range(9)]
        found = await outcomes(encoder, *texts[:4], ["it kills"], *texts[4:])

    assert [n for n, one in enumerate(found) if isinstance(one, ModelFailed)] == [4]
    assert "SIGKILL" in str(found[4])
    plain = FakeEncoder(8)
    for texts_of, one in zip([*texts[:4], None, *texts[4:]], found, strict=True):
        assert texts_of is None or np.array_equal(one, await plain.encode(texts_of))


async def test_a_text_is_blamed_for_its_second_death_and_never_for_its_first(device):
    async with CoalescingEncoder(device) as encoder:
        (found,) = await outcomes(encoder, ["it kills"])

    assert isinstance(found, ModelFailed)
    assert device.calls == [1, 1, 1]  # the last one asks whether the device is well
    assert encoder.counters.lost == 2


async def test_when_a_harmless_text_is_lost_too_nobody_is_blamed_and_nobody_waits(device):
    device.sick = True
    async with CoalescingEncoder(device, max_items=2) as encoder:
        device.open.clear()
        calls = asyncio.create_task(outcomes(encoder, *([f"text {n}"] for n in range(6))))
        while sum(device.calls) + encoder.waiting < 6:
            await asyncio.sleep(0)
        device.open.set()
        found, tried = await calls, len(device.calls)
        device.sick = False
        later = await encoder.encode(["later"])

    assert {type(one) for one in found} == {EncoderBusy}
    assert tried <= 6  # not three times for each of them
    assert later.shape == (1, 8)


async def test_without_a_device_everything_is_for_later(device):
    device.absent = True
    async with CoalescingEncoder(device) as encoder:
        found = await outcomes(encoder, [f"text {n}" for n in range(6)])

    assert {type(one) for one in found} == {EncoderBusy}
    assert device.calls == [6]


async def test_a_question_does_not_wait_until_every_suspect_has_gone_alone(device):
    async with CoalescingEncoder(device, max_items=16) as encoder:
        device.open.clear()
        suspects = asyncio.create_task(
            outcomes(encoder, [*(f"beside it {n}" for n in range(15)), "it kills"])
        )
        while not device.calls:
            await asyncio.sleep(0)
        question = asyncio.create_task(encoder.encode(["a question"]))
        while encoder.waiting != 1:
            await asyncio.sleep(0)
        device.open.set()
        await question
        calls = len(device.calls)
        await suspects

    assert calls <= 4
    assert len(device.calls) >= 18


async def test_a_text_alone_has_a_share_of_the_time_of_a_call(device):
    async with CoalescingEncoder(device, max_tokens=256, timeout_s=100.0) as encoder:
        found = await outcomes(encoder, ["it kills"], ["word " * 128], ["word " * 512])

    assert [type(one) for one in found] == [ModelFailed, np.ndarray, np.ndarray]
    assert set(device.limits) <= {100.0, 25.0, 50.0, 200.0}
    assert 25.0 in device.limits


async def test_closing_does_not_wait_for_suspects(device):
    encoder = CoalescingEncoder(device)
    device.open.clear()
    calls = asyncio.create_task(outcomes(encoder, ["it kills", "beside it"]))
    while not device.calls:
        await asyncio.sleep(0)
    closing = asyncio.create_task(encoder.close())
    await asyncio.sleep(0)
    device.open.set()
    await closing

    assert {type(one) for one in await calls} == {EncoderBusy}


async def test_closing_waits_for_no_call_that_nobody_waits_for_though_others_wait(device):
    device.open.clear()

    async def close():
        device.sick = True
        device.open.set()

    device.close = close
    encoder = CoalescingEncoder(device)
    gone = asyncio.create_task(encoder.encode(["its caller leaves"]))
    while not device.calls:
        await asyncio.sleep(0)
    waits = asyncio.create_task(encoder.encode(["it waits"]))
    while not encoder.waiting:
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    async with asyncio.timeout(5):
        await encoder.close()

    with pytest.raises(EncoderBusy):
        await waits
