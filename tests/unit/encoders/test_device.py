"""A device that does not come back: nobody waits for ever, and it is told whose fault it was."""

import asyncio
import threading

import pytest

from shared.encoders.coalesce import CoalescingEncoder
from shared.encoders.fake import FakeEncoder
from shared.errors import EncoderBusy, ModelFailed


class Hangs(FakeEncoder):
    """Never comes back from a text with the word `hangs`, until the test ends."""

    def __init__(self):
        super().__init__(8)
        self.over = threading.Event()
        self._hangs = self.tokenize(["hangs"])[0][0]

    def run(self, batch):
        if any(self._hangs in tokens for tokens in batch):
            self.over.wait(30)
        return super().run(batch)


@pytest.fixture
def device():
    made = Hangs()
    yield made
    made.over.set()


@pytest.fixture
async def encoder(device):
    async with CoalescingEncoder(device, timeout_s=60.0) as made:
        made.told = []
        made.on_stuck = made.told.append
        yield made


def impatient(encoder):
    """From now on; a call that only waits for the processor must not count as one that hangs."""
    encoder._device.timeout_s = 0.2


async def test_a_text_that_hangs_alone_on_a_device_that_worked_is_to_blame(encoder):
    await encoder.encode(["fine"])
    impatient(encoder)
    with pytest.raises(ModelFailed, match="did not end within"):
        await encoder.encode(["hangs"])

    assert len(encoder.told) == 1


async def test_a_suspect_is_blamed_though_it_is_the_first_text_of_its_process(encoder):
    impatient(encoder)
    with pytest.raises(ModelFailed):
        await encoder.encode(["hangs"], alone=True)


async def test_texts_beside_one_that_hangs_are_not_to_blame(encoder):
    await encoder.encode(["fine"])
    impatient(encoder)
    with pytest.raises(EncoderBusy):
        await encoder.encode(["hangs", "innocent"])

    assert len(encoder.told) == 1


async def test_nobody_waits_behind_a_device_that_is_stuck(encoder):
    impatient(encoder)
    calls = [asyncio.create_task(encoder.encode([text])) for text in ("fine", "hangs", "late")]
    results = await asyncio.gather(*calls, return_exceptions=True)
    with pytest.raises(EncoderBusy):
        await encoder.encode(["later"])

    assert all(not isinstance(result, asyncio.CancelledError) for result in results)
    assert len(encoder.told) == 1


async def test_without_a_limit_a_slow_call_is_waited_for(device):
    async with CoalescingEncoder(device) as encoder:
        call = asyncio.create_task(encoder.encode(["hangs"]))
        done, _ = await asyncio.wait([call], timeout=0.3)
        device.over.set()

        assert not done
        assert (await call).shape == (1, 8)
