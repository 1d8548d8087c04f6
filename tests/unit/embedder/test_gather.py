"""Parts that are in hand together share their requests, and nothing else."""

import asyncio

import pytest

from services.embedder.gather import MOST_KEYS, Gather, GatheredCache, GatheredLedger
from shared.caches.memory import MemoryCache
from shared.encoders.fake import FakeEncoder
from shared.errors import BusUnavailable
from shared.ledgers.memory import MemoryLedger
from shared.ordering import Revision, revise


class Asked:
    """Answers when it is let, and notes what it was asked together."""

    def __init__(self):
        self.calls, self.let = [], asyncio.Event()
        self.error = None

    async def __call__(self, calls):
        self.calls.append(list(calls))
        await self.let.wait()
        if self.error:
            raise self.error
        return len(self.calls)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def record(seq):
    return revise(None, Revision(seq, "indexed", (), 1.0), source="docs", path="a.md", now=1.0)


async def test_calls_that_come_while_one_is_under_way_go_together():
    asked = Asked()
    gather = Gather(asked)
    calls = [asyncio.create_task(gather((f"{n}",))) for n in range(3)]
    await until(lambda: asked.calls)
    calls += [asyncio.create_task(gather((f"{n}",))) for n in range(3, 6)]
    await until(lambda: len(gather._waiting) == 3)
    asked.let.set()

    assert await asyncio.gather(*calls) == [1, 1, 1, 2, 2, 2]
    assert asked.calls == [[("0",), ("1",), ("2",)], [("3",), ("4",), ("5",)]]


async def test_a_request_has_a_bounded_number_of_keys_and_one_call_is_never_split():
    asked = Asked()
    asked.let.set()
    gather = Gather(asked)
    large = [f"{n}" for n in range(MOST_KEYS + 1)]

    await asyncio.gather(gather(["a"]), gather(large), gather(["b"]), gather(["c"]))

    assert asked.calls == [[["a"]], [large], [["b"], ["c"]]]


async def test_an_error_reaches_every_caller_of_the_request_and_no_other():
    asked = Asked()
    asked.let.set()
    asked.error = BusUnavailable("away")
    gather = Gather(asked)
    failed = await asyncio.gather(gather("a"), gather("b"), return_exceptions=True)
    asked.error = None

    assert [type(error) for error in failed] == [BusUnavailable] * 2
    assert await gather("c") == 2


async def test_a_caller_that_is_cancelled_takes_no_other_along():
    asked = Asked()
    gather = Gather(asked)
    gone, stays, waits = (asyncio.create_task(gather(key)) for key in "abc")
    await until(lambda: asked.calls)
    later = asyncio.create_task(gather("d"))
    await until(lambda: gather._waiting)
    gone.cancel()
    later.cancel()
    asked.let.set()

    assert await asyncio.gather(stays, waits) == [1, 1]
    assert await gather("e") == 2
    assert asked.calls == [["a", "b", "c"], ["e"]]
    assert (gone.cancelled(), later.cancelled()) == (True, True)


async def test_callers_end_when_the_one_who_asks_for_all_is_cancelled():
    gather = Gather(Asked())
    call = asyncio.create_task(gather("a"))
    await until(lambda: gather._runner)
    await asyncio.sleep(0)
    behind = asyncio.create_task(gather("b"))
    await until(lambda: gather._waiting)
    gather._runner.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(asyncio.CancelledError):
        await behind


class CountingCache(MemoryCache):
    def __init__(self):
        super().__init__()
        self.requests = []

    async def get_many(self, keys):
        self.requests.append("get")
        return await super().get_many(keys)

    async def put_many(self, vectors):
        self.requests.append("put")
        await super().put_many(vectors)


async def test_vectors_are_put_and_found_in_one_request_each():
    cache = CountingCache()
    gathered = GatheredCache(cache)
    vectors = await FakeEncoder(8).encode(["one", "two", "three"])
    keys = ["k1", "k2", "k3"]
    parts = [{key: vector} for key, vector in zip(keys, vectors, strict=True)]

    await asyncio.gather(*(gathered.put_many(part) for part in parts), gathered.put_many({}))
    found = await asyncio.gather(*(gathered.get_many([key, "unknown"]) for key in keys))

    assert [set(one) for one in found] == [{"k1"}, {"k2"}, {"k3"}]
    assert all((found[n][key] == vectors[n]).all() for n, key in enumerate(keys))
    assert cache.requests == ["put", "get"]


class CountingLedger(MemoryLedger):
    def __init__(self):
        super().__init__()
        self.requests = 0

    async def get_many(self, doc_keys):
        self.requests += 1
        return await super().get_many(doc_keys)


async def test_records_are_read_in_one_request_and_each_part_gets_its_own():
    ledger = CountingLedger()
    gathered = GatheredLedger(ledger)
    for key, seq in (("a", 5), ("b", 7)):
        await ledger.update(key, record(seq), expect=0)

    a, b, none = await asyncio.gather(*(gathered.get(key) for key in "abc"))

    assert (a.record, b.record, none) == (record(5), record(7), None)
    assert ledger.requests == 1
