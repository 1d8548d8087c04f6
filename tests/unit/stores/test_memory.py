import asyncio
from dataclasses import replace

import numpy as np
import pytest

from shared.domain.ids import doc_key, mark_of, row_id
from shared.ports import Digest, Filter, Probe, Row
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


DOC = doc_key("notes", "a.md")
KEPT, HURT = (row_id(DOC, chunk, 1) for chunk in ("kept", "hurt"))


async def two_rows() -> MemoryStore:
    store = MemoryStore(2)
    await store.upsert([replace(row(key), doc_key=DOC) for key in (KEPT, HURT)])
    return store


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "other"},
        {"title": "other"},
        {"path": "b.md"},
        {"metadata": {"n": 1}},
        {"heading": ("One",)},
        {"vector": np.array([0, 1], np.float32)},
        {"vector": np.array([1, 0, 0], np.float32)},
        {"vector": np.array([np.nan, 0], np.float32)},
        {"id": KEPT},
    ],
)
async def test_a_row_that_was_tampered_with_is_counted_only_and_named(changes):
    store = await two_rows()
    store.tamper(HURT, **changes)

    assert await store.digests() == {DOC[:2]: Digest(2, mark_of(KEPT))}
    (holding,) = (await store.holdings([DOC[:2]])).values()
    assert holding.damaged == {changes.get("id", HURT)}


async def test_writing_a_tampered_row_again_leaves_it_and_a_deletion_makes_room():
    store = await two_rows()
    store.tamper(HURT, text="other")
    whole = replace(row(HURT), doc_key=DOC)
    await store.upsert([whole])

    assert await store.digests() == {DOC[:2]: Digest(2, mark_of(KEPT))}

    await store.delete([HURT])
    await store.upsert([whole])

    assert await store.digests() == {DOC[:2]: Digest(2, (mark_of(KEPT) + mark_of(HURT)) % 2**64)}


async def test_lost_rows_are_gone_and_may_be_written_again():
    store = await two_rows()
    store.lose([HURT, "absent"])

    assert await store.digests() == {DOC[:2]: Digest(1, mark_of(KEPT))}

    await store.upsert([replace(row(HURT), doc_key=DOC)])

    assert (await store.digests())[DOC[:2]].rows == 2
