"""What every shelf promises."""

import pytest
from memory_kv import MemoryShelf

from shared.bus.jetstream.kv import KvShelf
from shared.domain.errors import BusUnavailable, ConfigurationError, PermanentError
from shared.domain.topology import INSTANCE
from shared.ports import Shelf


@pytest.fixture(params=["memory", pytest.param("kv", marks=pytest.mark.nats)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "kv":
        request.getfixturevalue("js")
        request.getfixturevalue("make_bucket")
    return request.param


@pytest.fixture
async def shelf(kind: str, request: pytest.FixtureRequest) -> Shelf:
    if kind == "memory":
        return MemoryShelf()
    await request.getfixturevalue("make_bucket")(INSTANCE)
    shelf = KvShelf(request.getfixturevalue("js"), INSTANCE.name)
    await shelf.open()
    return shelf


async def test_the_last_value_of_a_key_comes_back(shelf: Shelf):
    await shelf.put("live", b"one")
    await shelf.put("live", b"\x00two")

    assert await shelf.get("live") == b"\x00two"


async def test_an_empty_value_is_not_an_absent_one(shelf: Shelf):
    await shelf.put("empty", b"")

    assert await shelf.get("empty") == b""
    assert await shelf.get("absent") is None
    assert await shelf.get_many(["empty", "absent"]) == {"empty": b""}
    assert await shelf.keys() == ["empty"]


async def test_a_deleted_key_is_gone_and_may_come_back(shelf: Shelf):
    await shelf.put("a", b"1")
    await shelf.put("b", b"2")
    await shelf.delete("a")
    await shelf.delete("never-there")
    gone = await shelf.get("a"), await shelf.keys(), await shelf.get_many(["a", "b"])
    await shelf.put("a", b"3")

    assert gone == (None, ["b"], {"b": b"2"})
    assert await shelf.get("a") == b"3"


async def test_a_folder_is_cleared_and_nothing_beside_it(shelf: Shelf):
    for key in ("a.b", "a.b.c", "a.b.c.d", "a.b-2.c", "a.bc", "b.a.b.c"):
        await shelf.put(key, b"x")
    await shelf.clear("a.b")
    await shelf.clear("a.b")
    await shelf.clear("never-there")
    left = await shelf.keys()
    await shelf.put("a.b.c", b"again")

    assert left == ["a.b", "a.b-2.c", "a.bc", "b.a.b.c"]
    assert await shelf.get("a.b.c") == b"again"


async def test_keys_are_found_by_prefix(shelf: Shelf):
    for key in ("docs.a", "docs.b.c", "docs-old.a", "wiki.a"):
        await shelf.put(key, b"x")

    assert await shelf.keys() == ["docs-old.a", "docs.a", "docs.b.c", "wiki.a"]
    assert await shelf.keys("docs") == ["docs-old.a", "docs.a", "docs.b.c"]
    assert await shelf.keys("docs.") == ["docs.a", "docs.b.c"]
    assert await shelf.keys("docs.b") == ["docs.b.c"]
    assert await shelf.keys("nothing") == []
    for prefix in ("", "docs", "docs.", "docs.b", "nothing"):
        assert sorted(await shelf.few(prefix)) == await shelf.keys(prefix)


async def test_an_empty_shelf_has_no_keys(shelf: Shelf):
    assert await shelf.keys() == []


async def test_more_keys_than_one_page(shelf: Shelf):
    wanted = {f"k{n:05}": str(n).encode() for n in range(1100)}
    for key, value in wanted.items():
        await shelf.put(key, value)

    assert await shelf.keys() == sorted(wanted)
    assert await shelf.get_many(wanted) == wanted


@pytest.mark.parametrize(
    "key", ["", ".", "a..b", ".a", "a.", "a b", "a*", "a.>", "ü", "a\n", "a:b"]
)
async def test_a_key_that_a_bucket_cannot_hold_is_refused(shelf: Shelf, key: str):
    with pytest.raises(ValueError, match="is not a key"):
        await shelf.put(key, b"x")
    with pytest.raises(ValueError, match="is not a key"):
        await shelf.get(key)
    with pytest.raises(ValueError, match="is not a key"):
        await shelf.get_many([key])
    with pytest.raises(ValueError, match="is not a key"):
        await shelf.delete(key)
    with pytest.raises(ValueError, match="is not a key"):
        await shelf.clear(key)


@pytest.mark.nats
async def test_a_deleted_key_leaves_nothing_in_the_bucket(js, make_bucket):
    await make_bucket(INSTANCE)
    shelf = KvShelf(js, INSTANCE.name)
    await shelf.put("a", b"1")
    await shelf.put("b.c", b"1")
    await shelf.delete("a")
    await shelf.clear("b")

    assert (await js.stream_info("KV_instance")).state.messages == 0


@pytest.mark.nats
async def test_a_key_that_another_client_deleted_is_gone(js, make_bucket):
    await make_bucket(INSTANCE)
    shelf = KvShelf(js, INSTANCE.name)
    await shelf.put("a", b"1")
    bucket = await js.key_value(INSTANCE.name)
    await bucket.delete("a")

    assert await shelf.get("a") is None
    assert await shelf.keys() == []


@pytest.mark.nats
async def test_a_key_below_a_folder_that_another_client_deleted_is_gone(js, make_bucket):
    await make_bucket(INSTANCE)
    shelf = KvShelf(js, INSTANCE.name)
    await shelf.put("a.b", b"1")
    await shelf.put("a.c", b"2")
    bucket = await js.key_value(INSTANCE.name)
    await bucket.delete("a.b")

    assert await shelf.few("a.") == {"a.c": b"2"}


@pytest.mark.nats
async def test_a_shelf_that_is_gone_is_not_taken_for_an_empty_one(js):
    shelf = KvShelf(js, "gone")

    with pytest.raises(ConfigurationError, match="gone"):
        await shelf.open()
    for call in (shelf.get("a"), shelf.put("a", b""), shelf.delete("a"), shelf.keys()):
        with pytest.raises(BusUnavailable):
            await call


@pytest.mark.nats
async def test_a_value_larger_than_a_message_is_refused_for_good(js, make_bucket):
    await make_bucket(INSTANCE)

    with pytest.raises(PermanentError):
        await KvShelf(js, INSTANCE.name).put("a", bytes(1_048_577))
