"""Parts that are in hand together share their requests, and nothing else."""

import asyncio

from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.embedder.gather import GatheredCache, GatheredLedger
from shared.domain.ordering import Revision, revise
from shared.encoders.fake import FakeEncoder


def record(seq):
    return revise(None, Revision(seq, "indexed", (), 1.0), source="docs", path="a.md", now=1.0)


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
