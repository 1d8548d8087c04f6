"""What every vector cache promises: exact vectors by key, and no harm when it forgets."""

from dataclasses import replace

import numpy as np
import pytest
from memory_vector_cache import MemoryCache
from structlog.testing import capture_logs

from shared.bus.jetstream.vector_cache import KvCache
from shared.domain.errors import BusUnavailable
from shared.domain.ids import cache_key
from shared.domain.topology import EMBCACHE
from shared.ports import Vector, VectorCache


@pytest.fixture(params=["memory", pytest.param("kv", marks=pytest.mark.nats)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "kv":
        request.getfixturevalue("js")
        request.getfixturevalue("make_bucket")
    return request.param


@pytest.fixture
async def cache(kind: str, request: pytest.FixtureRequest) -> VectorCache:
    return MemoryCache() if kind == "memory" else await open_kv(request)


async def open_kv(request: pytest.FixtureRequest) -> KvCache:
    await request.getfixturevalue("make_bucket")(EMBCACHE)
    cache = KvCache(request.getfixturevalue("js"))
    await cache.open()
    return cache


def vectors_of(count: int, dimensions: int = 384) -> dict[str, Vector]:
    made = np.random.default_rng(count).standard_normal((count, dimensions)).astype(np.float32)
    return {cache_key("fp", str(n)): vector for n, vector in enumerate(made)}


@pytest.mark.parametrize("count", [1, 64, 1300])
async def test_vectors_come_back_bit_for_bit(cache: VectorCache, count: int):
    vectors = vectors_of(count)
    await cache.put_many(vectors)
    found = await cache.get_many(vectors)

    assert found.keys() == vectors.keys()
    assert all(found[key].tobytes() == vector.tobytes() for key, vector in vectors.items())
    assert {(v.dtype.str, v.shape) for v in found.values()} == {("<f4", (384,))}


async def test_what_nobody_stored_is_left_out(cache: VectorCache):
    vectors = vectors_of(3)
    missing = cache_key("fp", "missing")
    await cache.put_many(vectors)

    assert (await cache.get_many([missing, *vectors])).keys() == vectors.keys()
    assert await cache.get_many([missing]) == {}
    assert await cache.get_many([]) == {}


async def test_storing_nothing_is_no_error(cache: VectorCache):
    await cache.put_many({})

    assert await cache.get_many(vectors_of(1)) == {}


async def test_rows_of_a_matrix_of_another_width_are_stored_as_float32(cache: VectorCache):
    matrix = np.arange(12, dtype=np.float64).reshape(3, 4)
    await cache.put_many({"column": matrix[:, 1]})
    found = await cache.get_many(["column"])

    assert found["column"].tolist() == [1.0, 5.0, 9.0]
    assert found["column"].dtype == np.float32


async def test_a_vector_of_another_fingerprint_is_not_found(cache: VectorCache):
    await cache.put_many({cache_key("one", "text"): np.ones(4, np.float32)})

    assert await cache.get_many([cache_key("two", "text")]) == {}


async def test_a_vector_that_changes_after_the_call_does_not_change_the_cache(cache: VectorCache):
    vector = np.ones(4, np.float32)
    await cache.put_many({"key": vector})
    vector[:] = 0

    assert (await cache.get_many(["key"]))["key"].tolist() == [1.0] * 4


# -- the real server alone -------------------------------------------------------------------------


@pytest.fixture
async def kv_cache(js, make_bucket, request: pytest.FixtureRequest) -> KvCache:
    return await open_kv(request)


@pytest.mark.nats
async def test_a_full_cache_forgets_the_oldest(js, make_bucket):
    await make_bucket(EMBCACHE)
    info = await js.stream_info("KV_embcache")
    info.config.max_bytes = 100_000
    await js.update_stream(info.config)
    cache = KvCache(js)
    await cache.open()
    vectors = vectors_of(200)
    for key, vector in vectors.items():
        await cache.put_many({key: vector})
    found = await cache.get_many(vectors)
    newest = list(vectors)[-len(found) :]

    assert 0 < len(found) < 200
    assert set(found) == set(newest)
    assert cache.unstored == 0


@pytest.mark.nats
async def test_a_failing_write_is_counted_and_logged_once(kv_cache, delete_stream):
    await delete_stream("KV_embcache")
    with capture_logs() as lines:
        await kv_cache.put_many(vectors_of(2))
        await kv_cache.put_many(vectors_of(3))

    assert kv_cache.unstored == 5
    assert [(line["event"], line["vectors"]) for line in lines] == [("cache_write_failed", 2)]


@pytest.mark.nats
async def test_a_cache_that_does_not_answer_is_not_an_empty_one(kv_cache, delete_stream):
    await delete_stream("KV_embcache")

    with pytest.raises(BusUnavailable):
        await kv_cache.get_many(vectors_of(1))


@pytest.mark.nats
async def test_a_value_that_is_no_vector_is_left_out(kv_cache, js):
    await js.publish("$KV.embcache.torn", b"12345")
    await js.publish("$KV.embcache.empty", b"")

    assert await kv_cache.get_many(["torn", "empty"]) == {}


@pytest.mark.nats
async def test_a_bucket_without_direct_reads_serves_too(js, make_bucket):
    await make_bucket(replace(EMBCACHE, direct=False))
    cache = KvCache(js)
    await cache.open()
    vectors = vectors_of(70)
    await cache.put_many(vectors)

    assert (await cache.get_many(vectors)).keys() == vectors.keys()
