"""The book of batches: announced whole, or joined one by one; completed once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import batches
from shared.batches import BatchBook, OpenBatch, merge, new_batch_id
from shared.events import Batch
from shared.shelves.memory import MemoryShelf

START = datetime(2026, 1, 1, tzinfo=UTC)


def batch(name: str = "b", count: int = 1) -> Batch:
    return Batch(id=name, count=count, source="docs", started_at=START)


@pytest.fixture
def shelf():
    return MemoryShelf()


@pytest.fixture
def book(shelf):
    return BatchBook(shelf)


@given(
    a=st.integers(0, 10**10), b=st.integers(0, 10**10), entropy=st.binary(min_size=4, max_size=4)
)
def test_ids_sort_by_time_and_fit_a_subject(a, b, entropy):
    early, late = sorted((a, b))
    ids = [new_batch_id(START + timedelta(milliseconds=t), entropy) for t in (early, late)]

    assert ids == sorted(ids)
    assert ids[0][2:].isalnum()
    assert (ids[0] == ids[1]) == (a == b)


async def test_an_announced_batch_is_open_and_whole_until_it_is_forgotten(book, shelf):
    await book.announce(batch(count=2), {"d1": 1, "d2": 2}, 7)
    found = (await book.open())["b"]
    await book.forget("b")

    assert (found.members, found.unchanged, found.whole) == ({"d1": 1, "d2": 2}, 7, True)
    assert await book.open() == {}
    assert await shelf.keys() == []


async def test_an_empty_batch_is_open_too(book):
    await book.announce(batch(count=0), {}, 0)

    assert (await book.open())["b"].whole


async def test_a_small_batch_is_one_value_and_a_large_one_no_large_value(book, shelf):
    await book.announce(batch("small"), {f"{n:026d}": n for n in range(200)}, 0)
    small = await shelf.keys("open.")
    await book.announce(batch("large"), {f"{n:026d}": n for n in range(20_000)}, 3)
    found = await book.open()

    assert len(small) == 1
    assert len(found["large"].members) == 20_000
    assert found["large"].unchanged == 3
    assert max(len(v) for v in (await shelf.get_many(await shelf.keys())).values()) < 500_000


async def test_a_large_batch_is_not_whole_while_a_part_of_it_is_missing(book, shelf):
    await book.announce(batch(), {f"{n}": n for n in range(9000)}, 0)
    await shelf.delete((await shelf.keys("open."))[1])

    assert not (await BatchBook(shelf).open())["b"].whole


async def test_another_process_sees_what_was_announced(book, shelf):
    await book.announce(batch(), {"d": 1}, 0)

    assert (await BatchBook(shelf).open())["b"].members == {"d": 1}


async def test_a_joined_batch_is_whole_when_its_count_is_reached(book, shelf):
    other = BatchBook(shelf)
    await book.join(batch(count=3), "d1", 1)
    await other.join(batch(count=3), "d1", 4)
    await other.join(batch(count=3), "d2", 2)
    half = (await book.open())["b"]
    await book.join(batch(count=3), "!7", 0)
    whole = (await book.open())["b"]

    assert (half.whole, half.members) == (False, {"d1": 4, "d2": 2})
    assert whole.whole


async def test_joining_at_once_costs_few_writes_and_loses_nobody(monkeypatch):
    class Slow(MemoryShelf):
        puts = 0

        async def put(self, key, value):
            self.puts += 1
            await asyncio.sleep(0)
            await super().put(key, value)

    monkeypatch.setattr(batches, "MEMBERS_PER_VALUE", 30)
    shelf = Slow()
    book = BatchBook(shelf)
    await asyncio.gather(*(book.join(batch(count=100), f"d{n}", n) for n in range(100)))
    found = (await book.open())["b"]

    assert found.members == {f"d{n}": n for n in range(100)}
    assert shelf.puts < 20


async def test_more_members_than_counted_lose_nobody(book):
    for n in range(5):
        await book.join(batch(count=2), f"d{n}", n)

    assert len((await book.open())["b"].members) == 5


async def test_a_write_that_fails_is_made_up_for(shelf):
    class Failing(MemoryShelf):
        fails = 1

        async def put(self, key, value):
            if self.fails:
                self.fails -= 1
                raise RuntimeError("lost")
            await super().put(key, value)

    book = BatchBook(Failing())
    with pytest.raises(RuntimeError):
        await book.join(batch(count=2), "d1", 1)
    await book.join(batch(count=2), "d2", 2)

    assert set((await book.open())["b"].members) == {"d1", "d2"}


async def test_listeners_hear_of_announcements(book):
    heard = []
    book.listeners.append(lambda: heard.append(1))
    await book.announce(batch(), {}, 0)

    assert heard == [1]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=4))
def test_merging_keeps_the_newest_revision_of_each_member(parts):
    merged = merge([(OpenBatch(batch(), p, 0, whole=False), 0) for p in parts])

    assert merged.members == {k: max(p.get(k, 0) for p in parts) for p in parts for k in p}
