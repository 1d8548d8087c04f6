"""What every content store promises."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from memory_content import MemoryContent

from shared.bus.jetstream.content import ObjectContent
from shared.domain.errors import BusUnavailable
from shared.domain.topology import BODIES
from shared.ports import ContentStore

SIZES = [0, 1, 128 * 1024, 128 * 1024 + 1, 3_000_000]


@pytest.fixture(params=["memory", pytest.param("objects", marks=pytest.mark.nats)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "objects":
        request.getfixturevalue("js")
        request.getfixturevalue("make_bodies")
    return request.param


@pytest.fixture
async def content(kind: str, request: pytest.FixtureRequest) -> ContentStore:
    if kind == "memory":
        return MemoryContent()
    await request.getfixturevalue("make_bodies")()
    return ObjectContent(request.getfixturevalue("js"))


def body(size: int) -> bytes:
    return Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
async def test_bytes_come_back_under_their_sha256(content: ContentStore, size: int):
    data = body(size)
    name = await content.put(data)

    assert name == hashlib.sha256(data).hexdigest()
    assert await content.get(name) == data


async def test_what_nobody_stored_is_a_key_error(content: ContentStore):
    await content.put(b"something else")

    with pytest.raises(KeyError):
        await content.get(hashlib.sha256(b"never").hexdigest())


async def test_bodies_do_not_mix(content: ContentStore):
    bodies = [body(size) for size in range(300_000, 300_008)]
    names = await asyncio.gather(*map(content.put, bodies))

    assert await asyncio.gather(*map(content.get, names)) == bodies


# -- the real server alone -------------------------------------------------------------------------


@pytest.mark.nats
async def test_storing_the_same_bytes_again_stores_nothing(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js)
    await content.put(body(300_000))
    before = (await js.stream_info(f"OBJ_{BODIES}")).state
    await asyncio.gather(*(content.put(body(300_000)) for _ in range(4)))
    after = (await js.stream_info(f"OBJ_{BODIES}")).state

    assert (after.messages, after.last_seq) == (before.messages, before.last_seq)


@pytest.mark.nats
async def test_writers_of_the_same_bytes_at_once_leave_one_copy(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js)
    names = await asyncio.gather(*(content.put(body(300_000)) for _ in range(8)))
    state = (await js.stream_info(f"OBJ_{BODIES}")).state

    assert len(set(names)) == 1
    assert state.messages == 4  # three chunks of 128 KB and the description


@pytest.mark.nats
async def test_the_usual_client_reads_what_was_stored(js, make_bodies):
    await make_bodies()
    store = await js.object_store(BODIES)
    name = await ObjectContent(js).put(body(300_000))

    assert (await store.get(name)).data == body(300_000)


@pytest.mark.nats
async def test_a_body_that_was_deleted_is_a_key_error_and_can_be_stored_again(js, make_bodies):
    await make_bodies()
    store = await js.object_store(BODIES)
    content = ObjectContent(js)
    name = await content.put(body(300_000))
    await store.delete(name)

    with pytest.raises(KeyError):
        await content.get(name)
    assert await content.put(body(300_000)) == name
    assert await content.get(name) == body(300_000)


@pytest.mark.nats
async def test_a_body_that_lost_a_chunk_is_never_handed_out(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js)
    name = await content.put(body(300_000))
    await js.delete_msg(f"OBJ_{BODIES}", 2)

    with pytest.raises(BusUnavailable, match="incomplete"):
        await content.get(name)


@pytest.mark.nats
async def test_a_store_that_is_gone_is_not_taken_for_an_empty_one(js):
    content = ObjectContent(js)

    with pytest.raises(BusUnavailable):
        await content.get("0" * 64)
    with pytest.raises(BusUnavailable):
        await content.put(b"x")


@pytest.mark.nats
async def test_no_reading_leaves_a_consumer_behind(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js)
    await content.get(await content.put(body(300_000)))

    assert (await js.stream_info(f"OBJ_{BODIES}")).state.consumer_count == 0


# -- forgetting ------------------------------------------------------------------------------------


async def test_what_was_forgotten_is_gone_and_the_rest_stays(content: ContentStore):
    gone, kept = await content.put(body(300_000)), await content.put(body(300_001))
    later = datetime.now(UTC) + timedelta(minutes=1)

    assert await content.forget(gone, put_before=later)
    with pytest.raises(KeyError):
        await content.get(gone)
    assert await content.get(kept) == body(300_001)
    assert set(await content.stored()) == {kept}


async def test_what_was_put_lately_is_not_forgotten(content: ContentStore):
    earlier = datetime.now(UTC) - timedelta(minutes=1)
    name = await content.put(body(300_000))

    assert not await content.forget(name, put_before=earlier)
    assert await content.get(name) == body(300_000)
    assert earlier < (await content.stored())[name] < earlier + timedelta(minutes=5)


async def test_forgetting_what_is_not_there_is_no_error(content: ContentStore):
    assert not await content.forget("0" * 64, put_before=datetime.now(UTC))


async def test_what_was_forgotten_can_be_put_again(content: ContentStore):
    name = await content.put(body(300_000))
    await content.forget(name, put_before=datetime.now(UTC) + timedelta(minutes=1))
    await content.put(body(300_000))

    assert await content.get(name) == body(300_000)


@pytest.mark.nats
async def test_forgetting_leaves_nothing_behind(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js)
    name = await content.put(body(300_000))
    await content.forget(name, put_before=datetime.now(UTC) + timedelta(minutes=1))

    assert (await js.stream_info(f"OBJ_{BODIES}")).state.messages == 0


@pytest.mark.nats
async def test_a_forgetting_that_was_cut_short_is_finished_by_the_next(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js)
    name = await content.put(body(300_000))
    store = await js.object_store(BODIES)
    await store.delete(name)
    later = datetime.now(UTC) + timedelta(minutes=1)

    assert set(await content.stored()) == {name}
    assert await content.forget(name, put_before=later)
    assert await content.stored() == {}


@pytest.mark.nats
async def test_a_body_that_is_put_again_while_it_is_forgotten_stays(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js, renew_after=timedelta(0))
    name = await content.put(body(300_000))
    later = datetime.now(UTC) + timedelta(minutes=1)
    await asyncio.gather(
        *(content.forget(name, put_before=later) for _ in range(3)),
        *(content.put(body(300_000)) for _ in range(3)),
    )
    await content.put(body(300_000))

    assert await content.get(name) == body(300_000)


@pytest.mark.nats
async def test_putting_again_makes_an_old_body_young(js, make_bodies):
    await make_bodies()
    content = ObjectContent(js, renew_after=timedelta(0))
    name = await content.put(body(300_000))
    before = (await content.stored())[name]
    await content.put(body(300_000))

    assert (await content.stored())[name] > before
    assert await content.get(name) == body(300_000)
