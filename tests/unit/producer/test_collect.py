"""Bodies that nobody needs go, and no other."""

from datetime import UTC, datetime, timedelta

import pytest
from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_kv import MemoryShelf

from services.producer.collect import APART, OLD_AFTER, CollectBodies, unneeded
from shared.domain.events import Batch, Document, DocumentChanged, Stored
from shared.domain.ids import content_hash, doc_key

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """Documents with large contents, and a clock that goes when it is told."""

    def __init__(self) -> None:
        self.time = START
        self.changes = MemoryChangeLog()
        self.bodies = MemoryContent(lambda: START)
        self.notes = MemoryShelf()

    def collector(self) -> CollectBodies:
        return CollectBodies(self.changes, self.bodies, self.notes, lambda: self.time)

    async def write(self, path: str, data: bytes) -> str:
        name = await self.bodies.put(data)
        newest = await self.changes.newest("docs", doc_key("docs", path))
        change = DocumentChanged(
            document=Document(
                source="docs", path=path, doc_key=doc_key("docs", path), changed_at=START
            ),
            batch=Batch(id="b", count=1, source="docs", started_at=START),
            op="upserted",
            content=Stored(hash=name),
        )
        expect = newest.sequence if newest else 0
        await self.changes.append(change, expect=expect, message_id=f"{path} {expect}")
        return name

    async def left(self) -> set[str]:
        return set(await self.bodies.stored())


@pytest.fixture
def world() -> World:
    return World()


async def test_the_body_of_an_older_content_goes_after_two_looks(world):
    await world.write("a.md", b"old")
    new = await world.write("a.md", b"new")
    collect = world.collector()
    world.time = START + 2 * OLD_AFTER
    first = await collect()
    world.time += APART
    second = await collect()

    assert (first, second) == (0, 1)
    assert await world.left() == {new}


async def test_the_two_looks_may_be_those_of_two_processes(world):
    await world.write("a.md", b"old")
    await world.write("a.md", b"new")
    world.time = START + 2 * OLD_AFTER
    await world.collector()()
    world.time += APART

    assert await world.collector()() == 1


async def test_two_looks_at_once_are_one(world):
    await world.write("a.md", b"old")
    await world.write("a.md", b"new")
    world.time = START + 2 * OLD_AFTER
    await world.collector()()

    assert await world.collector()() == 0


async def test_a_body_that_another_document_names_stays(world):
    shared = await world.write("a.md", b"same")
    await world.write("b.md", b"same")
    new = await world.write("a.md", b"new")
    for _ in range(3):
        world.time += 2 * OLD_AFTER
        await world.collector()()

    assert await world.left() == {shared, new}


async def test_a_body_whose_change_is_not_appended_yet_stays(world):
    lately = content_hash(b"put, not yet named")
    world.time = START + APART
    await world.collector()()
    await world.bodies.put(b"put, not yet named")
    world.time = START + OLD_AFTER - timedelta(seconds=1)
    await world.collector()()

    assert await world.left() == {lately}


async def test_a_body_that_is_named_again_between_two_looks_stays(world):
    old = await world.write("a.md", b"old")
    await world.write("a.md", b"new")
    world.time = START + 2 * OLD_AFTER
    await world.collector()()
    await world.write("a.md", b"old")
    world.time += APART
    await world.collector()()

    assert old in await world.left()


async def test_a_note_that_makes_no_sense_is_no_look(world):
    await world.notes.put("bodies.unneeded", b'{"at": "yesterday"}')
    await world.write("a.md", b"old")
    await world.write("a.md", b"new")
    world.time = START + 2 * OLD_AFTER

    assert await world.collector()() == 0


def test_only_what_is_old_and_not_named_is_unneeded():
    stored = {"old": START, "named": START, "young": START + OLD_AFTER}

    assert unneeded(stored, {"named"}, START + timedelta(minutes=1)) == {"old"}
