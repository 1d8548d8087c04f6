import asyncio
import threading

import numpy as np
import pytest
from thread_device import ThreadDevice

from shared.domain.errors import EncoderBusy, ModelFailed
from shared.encoders.coalesce import CoalescingEncoder
from shared.encoders.fake import FakeEncoder


class Gated(FakeEncoder):
    """A device that waits for permission, so that a test decides what arrives meanwhile."""

    def __init__(self, dimensions=8, **options):
        super().__init__(dimensions, **options)
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.seen = []

    def run(self, batch):
        self.entered.release()
        self.gate.acquire()
        self.seen.append([len(tokens) for tokens in batch])
        return super().run(batch)

    async def busy(self):
        """Wait until a device call has begun."""
        await asyncio.to_thread(self.entered.acquire)

    def open(self, calls=1000):
        self.gate.release(calls)


class Small(FakeEncoder):
    """A device with memory for a few texts."""

    room = 2

    def run(self, batch):
        if len(batch) > self.room:
            raise MemoryError
        return super().run(batch)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def test_work_that_arrives_during_a_device_call_shares_the_next_one():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        first = asyncio.create_task(encoder.encode(["first"]))
        await device.busy()
        others = [asyncio.create_task(encoder.encode([f"text {n}"])) for n in range(20)]
        await until(lambda: encoder.waiting == 20)
        device.open()
        await asyncio.gather(first, *others)

    assert device.batches == [1, 20]


async def test_a_lone_text_does_not_wait_for_company():
    device = FakeEncoder(8)
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        await encoder.encode(["lonely"])

    assert device.batches == [1]


async def test_batches_keep_to_the_budget():
    device = FakeEncoder(8)
    async with CoalescingEncoder(ThreadDevice(device), max_tokens=64, max_items=4) as encoder:
        await encoder.encode([f"{n} " * (1 + n % 30) for n in range(100)])

    assert max(device.batches) <= 4
    assert sum(device.batches) == 100
    assert encoder.counters.texts == 100
    assert encoder.counters.tokens <= encoder.counters.padded_tokens
    assert encoder.counters.batches == len(device.batches)
    assert encoder.counters.busy_s > 0


@pytest.mark.parametrize("size", [1, 2, 7, 32])
async def test_a_text_that_the_model_refuses_fails_its_own_caller_only(size):
    device = FakeEncoder(8, poison="xyzzy")
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        texts = [f"text {n}" for n in range(size)]
        texts[size // 2] = "say XYZZY"
        found = await asyncio.gather(
            *(encoder.encode([text]) for text in texts), return_exceptions=True
        )

    failed = [n for n, result in enumerate(found) if isinstance(result, BaseException)]
    assert failed == [size // 2]
    assert isinstance(found[size // 2], ModelFailed)
    assert "XYZZY" not in str(found[size // 2])


async def test_a_device_that_fails_on_every_text_is_busy_and_the_text_is_not_blamed():
    class Sick(FakeEncoder):
        def run(self, batch):
            raise RuntimeError("unspecified launch failure")

    async with CoalescingEncoder(ThreadDevice(Sick(8))) as encoder:
        with pytest.raises(EncoderBusy):
            await encoder.encode(["innocent", "too"])


async def test_a_batch_too_large_for_the_memory_is_halved():
    device = Small(8)
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        vectors = await encoder.encode([f"text {n}" for n in range(16)])

    assert vectors.shape == (16, 8)
    assert device.batches == [2] * 8


async def test_no_memory_even_for_one_text_is_for_later():
    device = Small(8)
    device.room = 0
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        with pytest.raises(EncoderBusy):
            await encoder.encode(["text"])


async def test_a_vector_that_is_not_finite_is_a_failure():
    class Broken(FakeEncoder):
        def run(self, batch):
            vectors = super().run(batch)
            vectors[[len(tokens) == 2 for tokens in batch]] = np.nan
            return vectors

    async with CoalescingEncoder(ThreadDevice(Broken(8))) as encoder:
        good, bad = await asyncio.gather(
            encoder.encode(["one"]), encoder.encode(["one two"]), return_exceptions=True
        )

    assert np.isfinite(good).all()
    assert isinstance(bad, ModelFailed)


async def test_a_cancelled_callers_texts_never_reach_the_device():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        first = asyncio.create_task(encoder.encode(["first"]))
        await device.busy()
        doomed = asyncio.create_task(encoder.encode([f"a b{n}" for n in range(10)]))
        kept = asyncio.create_task(encoder.encode(["c d"]))
        await until(lambda: encoder.waiting == 11)
        doomed.cancel()
        await asyncio.wait([doomed])
        device.open()
        await asyncio.gather(first, kept)

    assert doomed.cancelled()
    assert device.batches == [1, 1]


async def test_a_caller_cancelled_during_its_device_call_harms_nobody():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        first = asyncio.create_task(encoder.encode(["a"]))
        await device.busy()
        first.cancel()
        device.open()
        vectors = await encoder.encode(["b"])

    assert vectors.shape == (1, 8)


async def test_a_huge_job_does_not_starve_an_edit():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device), max_items=4) as encoder:
        huge = asyncio.create_task(encoder.encode([f"word{n}" for n in range(64)]))
        await device.busy()
        edit = asyncio.create_task(encoder.encode(["a word"]))
        await until(lambda: encoder.waiting == 61)
        device.open(3)
        await edit
        done_before_the_edit = sum(device.batches)
        device.open()
        await huge

    assert done_before_the_edit <= 12


@pytest.mark.parametrize("call", [1, 2])
async def test_an_edit_comes_along_in_the_next_call_whosever_turn_it_is(call):
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device), max_items=4) as encoder:
        huge = [
            asyncio.create_task(encoder.encode([f"some{n} words{m}" for m in range(64)]))
            for n in range(3)
        ]
        await until(lambda: encoder.waiting == 3 * 64 - 4)
        await device.busy()
        for _ in range(call - 1):
            device.open(1)
            await device.busy()
        edit = asyncio.create_task(encoder.encode(["edit"]))
        await until(lambda: encoder.waiting == 3 * 64 - 4 * call + 1)
        device.open()
        await asyncio.gather(edit, *huge)

    assert 1 in device.seen[call]


async def test_a_stream_of_edits_does_not_starve_a_huge_job():
    device = FakeEncoder(8)
    edits = 0
    async with CoalescingEncoder(ThreadDevice(device), max_items=4) as encoder:
        huge = asyncio.create_task(
            encoder.encode([f"some words of a document{n}" for n in range(64)])
        )

        async def edit():
            nonlocal edits
            while not huge.done():
                edits += 1
                await encoder.encode([f"x{edits}"])

        await asyncio.gather(huge, edit(), edit())

    # every second turn is the oldest caller's: 16 calls of 4 texts need 32 turns or so
    assert edits <= 80


async def test_callers_wait_to_come_in_when_too_much_waits():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device), max_waiting=10, max_items=1) as encoder:
        first = asyncio.create_task(encoder.encode(["first"]))
        await device.busy()
        jobs = [asyncio.create_task(encoder.encode([f"a{n}", f"b{n}"])) for n in range(5)]
        await until(lambda: encoder.waiting == 10)
        late = asyncio.create_task(encoder.encode(["late"]))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting_with_the_late_one = encoder.waiting
        device.open()
        await asyncio.gather(first, late, *jobs)

    assert waiting_with_the_late_one == 10
    assert encoder.counters.texts == 12


async def test_closing_fails_every_call_also_the_one_under_way():
    device = Gated()
    encoder = CoalescingEncoder(ThreadDevice(device), max_items=1)
    running = asyncio.create_task(encoder.encode(["running"]))
    await device.busy()
    waiting = asyncio.create_task(encoder.encode(["waiting"]))
    await until(lambda: encoder.waiting == 1)
    await encoder.close()
    found = await asyncio.gather(running, waiting, encoder.encode(["late"]), return_exceptions=True)
    device.open()  # its thread would hold up the end of this process

    assert [type(one) for one in found] == [EncoderBusy] * 3


async def test_a_tokenizer_that_fails_fails_its_own_caller_only():
    class Fussy(FakeEncoder):
        def tokenize(self, texts):
            if "bad" in texts:
                raise TypeError
            return super().tokenize(texts)

    async with CoalescingEncoder(ThreadDevice(Fussy(8))) as encoder:
        good, bad = await asyncio.gather(
            encoder.encode(["good"]), encoder.encode(["bad"]), return_exceptions=True
        )

    assert good.shape == (1, 8)
    assert isinstance(bad, ModelFailed)


async def test_two_hundred_callers_each_get_their_own_vectors():
    plain = FakeEncoder(32)
    async with CoalescingEncoder(ThreadDevice(FakeEncoder(32)), max_tokens=100) as encoder:
        texts = [[f"text {n} {m}" * (1 + n % 5) for m in range(n % 4)] for n in range(200)]
        found = await asyncio.gather(*(encoder.encode(t) for t in texts))

    for given, vectors in zip(texts, found, strict=True):
        assert np.array_equal(vectors, await plain.encode(given))


async def test_a_text_that_several_callers_wait_for_is_encoded_once():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        first = asyncio.create_task(encoder.encode(["same"]))
        await device.busy()
        twins = asyncio.create_task(encoder.encode(["same", "other", "same"]))
        await until(lambda: encoder.waiting == 3)
        device.open()
        found = await asyncio.gather(first, twins)
        again = await encoder.encode(["same"])

    assert device.texts_encoded == 3  # the last time nobody waited any more
    same, other = await FakeEncoder(8).encode(["same", "other"])
    assert np.array_equal(found[0], [same])
    assert np.array_equal(found[1], [same, other, same])
    assert np.array_equal(again, [same])
    assert encoder._wanted == {}


async def test_texts_of_one_call_that_are_the_same_share_a_vector():
    device = FakeEncoder(8)
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        found = await encoder.encode(["a", "b", "a", "a", "b"])

    assert device.texts_encoded == 2
    assert np.array_equal(found, await FakeEncoder(8).encode(["a", "b", "a", "a", "b"]))


async def test_a_caller_that_leaves_takes_nothing_from_those_who_wait_for_the_same_text():
    device = Gated()
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        first = asyncio.create_task(encoder.encode(["same"]))
        await device.busy()
        second = asyncio.create_task(encoder.encode(["same"]))
        await until(lambda: encoder.waiting == 1)
        first.cancel()
        device.open()
        vectors = await second

    assert vectors.shape == (1, 8)
    assert encoder._wanted == {}


async def test_a_text_that_the_model_refuses_is_refused_to_everybody_who_waits_for_it():
    device = Gated(poison="xyzzy")
    async with CoalescingEncoder(ThreadDevice(device)) as encoder:
        calls = [asyncio.create_task(encoder.encode(["say xyzzy"])) for _ in range(3)]
        device.open()
        found = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in found] == [ModelFailed] * 3
