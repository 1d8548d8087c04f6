import asyncio

import numpy as np

from shared.ports import Filter, Probe, Row
from shared.stores.memory import MemoryStore

VECTOR = np.array([1, 0], np.float32)


def row(key: str) -> Row:
    return Row(key, "doc", "notes", "a.md", 1, key, "", (), "text", {}, VECTOR)


async def test_a_lagging_store_holds_rows_that_no_search_finds_until_they_are_revealed():
    store = MemoryStore(2, lag=True)
    await store.upsert([row("a")])

    assert await store.count() == 1
    assert await store.ids({"doc": 1}) == {"doc": {"a"}}
    assert await store.search(VECTOR, limit=5, where=Filter()) == []
    assert await store.search_text("text", limit=5, where=Filter()) == []
    assert await store.unsearchable([Probe("a"), Probe("b")]) == {"a", "b"}

    store.reveal()

    assert [hit.id for hit in await store.search(VECTOR, limit=5, where=Filter())] == ["a"]
    assert await store.unsearchable([Probe("a"), Probe("b")]) == {"b"}


async def test_rows_written_after_a_reveal_lag_again():
    store = MemoryStore(2, lag=True)
    await store.upsert([row("a")])
    store.reveal()
    await store.upsert([row("a"), row("b")])

    assert await store.unsearchable([Probe("a"), Probe("b")]) == {"b"}


async def test_others_run_between_the_rows_of_a_delete():
    turn = asyncio.Semaphore(0)
    store = MemoryStore(2, pause=turn.acquire)
    for _ in range(2):
        turn.release()
    await store.upsert([row("a"), row("b")])
    deleting = asyncio.create_task(store.delete(["a", "b"]))
    for _ in range(10):
        await asyncio.sleep(0)

    assert set(store._rows) == {"b"}
    assert not deleting.done()

    turn.release()
    await deleting

    assert store._rows == {}
