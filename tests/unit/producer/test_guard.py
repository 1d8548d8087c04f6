"""P7: who may remove what, and what a person's word covers."""

from datetime import UTC, datetime

import pytest

from services.producer.guard import Guard
from services.producer.kept import Held, KeptListing, Threshold
from services.producer.listing import Seen, Stat
from shared.errors import BusUnavailable
from shared.progress import Progress
from shared.shelves.memory import MemoryShelf

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def paths(count, start=0):
    return [f"{n:03}.md" for n in range(start, start + count)]


class World:
    """A guard of a source with 40 documents, and what it says."""

    def __init__(self, known=40, shelf=None, threshold=None):
        self.shelf = shelf or MemoryShelf()
        self.news = []
        self.progress = Progress(listeners=[self.news.append])
        self.listing = KeptListing(self.shelf, "docs")
        for path in paths(known):
            self.listing.put(path, Seen(Stat(1, 1, 1, 1), 1, "h", 1))
        self.guard = Guard(
            "/docs", self.listing, self.progress, lambda: NOW, threshold or Threshold()
        )

    async def lists(self, gone, at=0.0):
        """A whole listing misses these; returns what may be removed, and removes it."""
        allowed = await self.guard.allow(gone, whole=True, at=at)
        for path in allowed:
            self.listing.remove(path)
        self.guard.removed(len(allowed), at)
        return allowed

    @property
    def kinds(self):
        return [activity.kind for activity in self.news]


async def test_what_waits_is_counted_and_the_news_name_the_command():
    world = World()

    assert await world.lists(paths(30)) == []
    assert world.progress.held == 30
    assert world.kinds == ["held"]
    assert "30 of 40" in world.news[0].detail
    assert "instep holds" in world.news[0].detail


async def test_few_removals_are_made_and_not_counted():
    world = World()

    assert await world.lists(paths(19)) == paths(19)
    assert (world.progress.held, world.news) == (0, [])


async def test_what_grows_is_counted_and_said_once():
    world = World()
    await world.lists(paths(30))
    await world.guard.allow(paths(5, 30), whole=False, at=1.0)
    before = world.progress.held
    await world.lists(paths(35))

    assert (before, world.progress.held) == (30, 35)
    assert world.kinds == ["held"]
    assert world.guard.held.since == NOW.isoformat()


async def test_what_comes_back_is_counted_down_to_the_end():
    world = World()
    await world.lists(paths(30))
    await world.lists(paths(3))
    few = world.progress.held
    await world.lists([])

    assert (few, world.progress.held, world.guard.held) == (3, 0, None)
    assert world.kinds == ["held", "notice"]
    assert await world.shelf.get("docs.held") is None


async def test_two_sources_are_added_up():
    one, other = World(), World()
    other.guard.progress = one.progress
    await one.lists(paths(30))
    await other.lists(paths(25))
    both = one.progress.held
    await one.lists([])

    assert (both, one.progress.held) == (55, 25)


async def test_a_release_that_was_asked_for_lets_everything_through():
    world = World()
    await world.lists(paths(30))
    world.guard.asked = True

    assert await world.lists(paths(31)) == paths(31)
    assert (world.guard.released, world.guard.asked) == (31, False)
    assert (world.progress.held, world.guard.held) == (0, None)


async def test_a_release_does_not_cover_what_vanished_after_the_person_looked():
    world = World(known=100)
    await world.lists(paths(51))
    world.guard.asked = True

    assert await world.lists(paths(100)) == []
    assert (world.guard.released, world.progress.held) == (0, 100)


@pytest.mark.parametrize(
    ("shown", "vanished", "known", "covered"),
    [
        (25, 25, 25, True),
        (25, 3, 30, True),
        (25, 44, 44, True),  # 19 more: nobody would have been asked about those
        (25, 45, 45, False),
        (51, 100, 1000, True),  # few of the rest
        (51, 800, 1000, False),
    ],
)
def test_a_word_covers_what_was_shown_and_what_needs_no_question(shown, vanished, known, covered):
    assert Threshold().may_release(shown, vanished, known) is covered


async def test_what_a_person_released_does_not_make_the_next_removal_suspect():
    world = World()
    await world.lists(paths(30))
    world.guard.asked = True
    await world.lists(paths(30))

    assert await world.guard.allow(paths(2, 30), whole=False, at=1.0) == paths(2, 30)


async def test_what_is_kept_waits_for_nobody_and_stays():
    world = World()
    await world.lists(paths(30))

    assert await world.guard.keep() == 30
    assert world.progress.held == 0
    assert await world.lists(paths(30)) == []
    assert await world.lists(paths(20)) == []
    assert (world.guard.held.kept, world.guard.held.vanished) == (True, 20)
    assert world.kinds == ["held"]


async def test_more_than_was_kept_asks_again():
    world = World()
    await world.lists(paths(30))
    await world.guard.keep()
    await world.lists(paths(31))

    assert (world.guard.held.kept, world.progress.held) == (False, 31)
    assert world.kinds == ["held", "held"]


async def test_what_is_kept_can_be_released():
    world = World()
    await world.lists(paths(30))
    await world.guard.keep()
    world.guard.asked = True

    assert await world.lists(paths(30)) == paths(30)


async def test_nothing_to_keep():
    assert await World().guard.keep() == 0


@pytest.mark.parametrize(("keep", "waits"), [(False, 30), (True, 0)])
async def test_a_new_process_takes_over_what_waits_and_what_was_decided(keep, waits):
    world = World()
    await world.lists(paths(30))
    if keep:
        await world.guard.keep()
    after = World(shelf=world.shelf)
    await after.guard.load()

    assert after.guard.held == world.guard.held
    assert after.progress.held == waits
    assert await after.lists(paths(30)) == []
    assert after.progress.held == waits


async def test_what_an_older_version_held_is_read():
    world = World()
    old = b'{"since": "2026-11-20T12:00:00+00:00", "vanished": 30, "of": 40, "sample": ["a.md"]}'
    await world.shelf.put("docs.held", old)
    await world.guard.load()

    assert world.guard.held == Held("2026-11-20T12:00:00+00:00", 30, 40, ("a.md",), kept=False)


async def test_what_the_bus_did_not_take_is_not_counted_and_nothing_is_removed():
    class Down(MemoryShelf):
        async def put(self, key, value):
            raise BusUnavailable("down")

    world = World(shelf=Down())

    with pytest.raises(BusUnavailable):
        await world.lists(paths(30))
    assert (world.progress.held, world.news) == (0, [])
