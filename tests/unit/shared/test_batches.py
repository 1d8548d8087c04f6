"""The book of batches: announced whole, or joined one by one; completed once."""

import asyncio
import contextlib
import json
import threading
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_kv import MemoryShelf

from shared.batches import members as batches
from shared.batches.members import BatchBook, OpenBatch, merge, new_batch_id
from shared.domain.events import Batch
from shared.domain.ids import batch_key

START = datetime(2026, 1, 1, tzinfo=UTC)


def batch(name: str = "b", count: int = 1) -> Batch:
    return Batch(id=name, count=count, source="docs", started_at=START)


def key(name: str = "b", source: str = "docs") -> str:
    return batch_key("g1", source, name)


@pytest.fixture
def shelf():
    return MemoryShelf()


@pytest.fixture
def book(shelf):
    return BatchBook(shelf, "g1")


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
    found = (await book.open())[key()]
    await book.forget(batch())

    assert (found.members, found.unchanged, found.whole) == ({"d1": 1, "d2": 2}, 7, True)
    assert await book.open() == {}
    assert await shelf.keys() == []


async def test_an_empty_batch_is_open_too(book):
    await book.announce(batch(count=0), {}, 0)

    assert (await book.open())[key()].whole


async def test_a_small_batch_is_one_value_and_a_large_one_no_large_value(book, shelf):
    await book.announce(batch("small"), {f"{n:026d}": n for n in range(200)}, 0)
    small = await shelf.keys("open.")
    await book.announce(batch("large"), {f"{n:026d}": n for n in range(20_000)}, 3)
    found = await book.open()

    assert len(small) == 1
    assert len(found[key("large")].members) == 20_000
    assert found[key("large")].unchanged == 3
    assert max(len(v) for v in (await shelf.get_many(await shelf.keys())).values()) < 500_000


async def test_a_large_batch_is_not_whole_while_a_part_of_it_is_missing(book, shelf):
    await book.announce(batch(), {f"{n}": n for n in range(9000)}, 0)
    await shelf.delete((await shelf.keys("open."))[1])

    assert not (await BatchBook(shelf, "g1").open())[key()].whole


async def test_another_process_sees_what_was_announced(book, shelf):
    await book.announce(batch(), {"d": 1}, 0)

    assert (await BatchBook(shelf, "g1").open())[key()].members == {"d": 1}


async def test_a_joined_batch_is_whole_when_its_count_is_reached(book, shelf):
    other = BatchBook(shelf, "g1")
    await book.join(batch(count=3), "d1", 1)
    await other.join(batch(count=3), "d1", 4)
    await other.join(batch(count=3), "d2", 2)
    half = (await book.open())[key()]
    await book.join(batch(count=3), "!7", 0)
    whole = (await book.open())[key()]

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
    book = BatchBook(shelf, "g1")
    await asyncio.gather(*(book.join(batch(count=100), f"d{n}", n) for n in range(100)))
    found = (await book.open())[key()]

    assert found.members == {f"d{n}": n for n in range(100)}
    assert shelf.puts < 20


async def test_more_members_than_counted_lose_nobody(book):
    for n in range(5):
        await book.join(batch(count=2), f"d{n}", n)

    assert len((await book.open())[key()].members) == 5


async def test_a_write_that_fails_is_made_up_for(shelf):
    class Failing(MemoryShelf):
        fails = 1

        async def put(self, key, value):
            if self.fails:
                self.fails -= 1
                raise RuntimeError("lost")
            await super().put(key, value)

    book = BatchBook(Failing(), "g1")
    with pytest.raises(RuntimeError):
        await book.join(batch(count=2), "d1", 1)
    await book.join(batch(count=2), "d2", 2)

    assert set((await book.open())[key()].members) == {"d1", "d2"}


async def test_listeners_hear_of_announcements(book):
    heard = []
    book.listeners.append(lambda: heard.append(1))
    await book.announce(batch(), {}, 0)

    assert heard == [1]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=4))
def test_merging_keeps_the_newest_revision_of_each_member(parts):
    merged = merge([(OpenBatch(batch(), p, 0, whole=False), 0) for p in parts])

    assert merged.members == {k: max(p.get(k, 0) for p in parts) for p in parts for k in p}


async def test_two_sources_that_use_one_id_have_two_batches(book):
    of_wiki = batch(count=2).model_copy(update={"source": "wiki"})
    await book.announce(batch(), {"d1": 1}, 0)
    await book.announce(of_wiki.model_copy(update={"id": "announced"}), {"w1": 7}, 0)
    await book.announce(batch("announced"), {"d9": 9}, 0)
    await book.join(of_wiki, "w2", 2)
    both = await book.open()
    await book.forget(batch())
    one = await book.open()
    await book.set_aside(of_wiki)

    assert {name: dict(found.members) for name, found in both.items()} == {
        key(): {"d1": 1},
        key(source="wiki"): {"w2": 2},
        key("announced"): {"d9": 9},
        key("announced", "wiki"): {"w1": 7},
    }
    assert one.keys() == both.keys() - {key()}
    assert (await book.open()).keys() == {key("announced"), key("announced", "wiki")}


async def test_one_process_that_takes_submissions_of_two_sources_tells_their_batches_apart(book):
    of_wiki = batch(count=2).model_copy(update={"source": "wiki"})
    for n in (1, 2):
        await book.join(batch(count=2), f"d{n}", n)
        await book.join(of_wiki, f"w{n}", n)
    found = await book.open()

    assert dict(found[key()].members) == {"d1": 1, "d2": 2}
    assert dict(found[key(source="wiki")].members) == {"w1": 1, "w2": 2}


async def test_a_batch_of_another_generation_is_left_alone(book, shelf):
    other = BatchBook(shelf, "g11")
    await book.announce(batch(), {"d": 1}, 0)
    await other.announce(batch(), {"d": 2}, 0)
    await book.forget(batch())

    assert await book.open() == {}
    assert [dict(b.members) for b in (await other.open()).values()] == [{"d": 2}]


# -- notes of version 0.1.0 ------------------------------------------------------------------------


def old_name(kind: str, name: str, writer: str = "all", n: int = 0) -> str:
    return f"{kind}.{OLD_NAMES[name]}.{writer}.{n}"


OLD_NAMES = {"b": "hyr6qfqahfmuum4jj5swjynrgs", "c": "fz6sya5jkb5oezpm6w2tk2efuu"}


def old_note(name: str, members: dict[str, int], *, whole: bool, count: int = 2) -> bytes:
    raw = {
        "schema": 1,
        "batch": {
            "id": name,
            "count": count,
            "source": "docs",
            "format": "mixed",
            "started_at": "2026-01-01T00:00:00Z",
        },
        "members": members,
        "unchanged": 0,
        "whole": whole,
        "parts": 1 if whole else 0,
        "moved": 0,
        "at": 1767225600.0,
    }
    return zlib.compress(json.dumps(raw, separators=(",", ":")).encode(), 1)


async def test_batches_that_version_0_1_0_left_open_are_open(book, shelf):
    await shelf.put(old_name("open", "b"), old_note("b", {"d1": 1, "d2": 2}, whole=True))
    await shelf.put(old_name("open", "c", "0a1b2c3d"), old_note("c", {"d3": 3}, whole=False))
    first = await book.open()
    await shelf.put(  # a producer of that version goes on writing until it is stopped, too
        old_name("open", "c", "0a1b2c3d"), old_note("c", {"d3": 3, "d4": 4}, whole=False)
    )
    await book.join(batch("c", 3), "d5", 5)
    second = await book.open()
    for each in (batch(), batch("c")):
        await book.forget(each)

    assert first[key()].whole
    assert {n: dict(b.members) for n, b in first.items()} == {
        key(): {"d1": 1, "d2": 2},
        key("c"): {"d3": 3},
    }
    assert dict(second[key("c")].members) == {"d3": 3, "d4": 4, "d5": 5}
    assert await shelf.keys() == []


async def test_what_version_0_1_0_set_aside_comes_back_with_a_further_document(book, shelf):
    await shelf.put(old_name("left", "c", "0a1b2c3d"), old_note("c", {"d3": 3}, whole=False))
    before = await book.open()
    await book.join(batch("c", 2), "d4", 4)
    found = await book.open()
    await book.forget(batch("c"))

    assert before == {}
    assert dict(found[key("c")].members) == {"d3": 3, "d4": 4}
    assert found[key("c")].whole
    assert await shelf.keys() == []


async def test_what_a_producer_of_version_0_1_0_adds_while_its_note_is_renamed_is_not_lost():
    name = old_name("open", "c", "0a1b2c3d")

    class Shared(MemoryShelf):
        async def put(self, key, value):
            await super().put(key, value)
            if key != name:  # its last document comes just now
                await super().put(name, old_note("c", {"d3": 3, "d4": 4}, whole=False))

    shelf = Shared()
    await shelf.put(name, old_note("c", {"d3": 3}, whole=False))
    book = BatchBook(shelf, "g1")
    await book.open()
    found = await book.open()

    assert dict(found[key("c")].members) == {"d3": 3, "d4": 4}
    assert await shelf.keys(name) == []


@pytest.mark.parametrize("write", range(4))
async def test_a_process_that_dies_while_it_renames_old_notes_loses_none(write):
    class Dying(MemoryShelf):
        left = 99

        async def put(self, key, value):
            await self._write(super().put(key, value))

        async def delete(self, key):
            await self._write(super().delete(key))

        async def _write(self, write):
            self.left -= 1
            if self.left < 0:
                write.close()
                raise RuntimeError("died")
            await write

    shelf = Dying()
    for name in OLD_NAMES:
        await shelf.put(old_name("open", name), old_note(name, {f"d{name}": 1}, whole=True))
    shelf.left = write
    with contextlib.suppress(RuntimeError):
        await BatchBook(shelf, "g1").open()
    shelf.left = 99
    found = await BatchBook(shelf, "g1").open()

    assert {n: dict(b.members) for n, b in found.items()} == {
        key(name): {f"d{name}": 1} for name in OLD_NAMES
    }
    assert len(await shelf.keys()) == 2


async def test_of_one_batch_only_its_own_notes_are_read_and_none_in_the_event_loop(
    shelf, monkeypatch
):
    writer = BatchBook(shelf, "g1")
    for name, source in [("a", "docs"), ("b", "docs"), ("a", "wiki")]:
        given = Batch(id=name, count=9, source=source, started_at=START)
        await writer.join(given, f"d-{source}-{name}", 1)
    read, threads = [], set()
    unpack, get_many = batches._unpack, shelf.get_many

    async def noted(keys):
        read.extend(keys)
        return await get_many(keys)

    def seen(value):
        threads.add(threading.current_thread())
        return unpack(value)

    monkeypatch.setattr(shelf, "get_many", noted)
    monkeypatch.setattr(batches, "_unpack", seen)
    book = BatchBook(shelf, "g1")

    one = await book.open("docs", "a")
    ones = [name for name in read if name.startswith("open.")]
    of_id, of_source = await book.open(batch_id="a"), await book.open("docs")

    assert one.keys() == {key("a")}
    assert [name.startswith(f"open.{key('a')}.") for name in ones] == [True]
    assert of_id.keys() == {key("a"), key("a", "wiki")}
    assert of_source.keys() == {key("a"), key("b")}
    assert threads
    assert threading.main_thread() not in threads


async def test_a_look_at_one_batch_keeps_what_was_read_of_the_others(book, shelf, monkeypatch):
    await book.announce(batch("a"), {"d1": 1}, 0)
    await book.announce(batch("b"), {"d2": 1}, 0)
    await book.open()
    read = []
    get_many = shelf.get_many

    async def noted(keys):
        read.extend(keys)
        return await get_many(keys)

    monkeypatch.setattr(shelf, "get_many", noted)

    assert (await book.open("docs", "a")).keys() == {key("a")}
    assert (await book.open()).keys() == {key("a"), key("b")}
    assert read == []
