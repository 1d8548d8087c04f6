"""P7: who may remove what, and what a person's word covers."""

import asyncio
import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_kv import MemoryShelf

from services.producer.removals.guard import Guard
from services.producer.removals.held import PART_BYTES, Held, HeldNote, about
from services.producer.removals.holds import NotedHolds
from services.producer.sources.listing import Seen
from services.producer.sources.listing_store import KeptListing, Threshold
from services.producer.sources.port import Version
from shared.domain.errors import BusUnavailable, TransientError
from shared.observe.progress import Progress

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
            self.listing.put(path, Seen(Version(1, 1, 1, 1), 1, "h", 1))
        self.guard = Guard(
            "/docs", self.listing, self.progress, lambda: NOW, threshold or Threshold()
        )

    async def lists(self, gone, at=0.0, unseen=(), **more):
        """A whole listing misses these; returns what may be removed, and removes it."""
        allowed = await self.guard.allow(gone, whole=True, at=at, unseen=unseen, **more)
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
    assert "instep removals" in world.news[0].detail


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


async def released_meanwhile(gone=30, known=40):
    """The next process, after a person has released what was held while none ran."""
    world = World(known)
    await world.lists(paths(gone))
    assert await NotedHolds(world.shelf).release("docs") == gone
    after = World(known, world.shelf)
    await after.guard.load()
    return after


async def test_a_release_that_was_noted_is_made_by_the_first_whole_listing():
    world = await released_meanwhile()
    waits = world.progress.held
    event = await world.guard.allow(paths(1), whole=False, at=0.0)
    removed = await world.lists(paths(30))

    assert (waits, event, removed) == (0, [], paths(30))
    assert (world.guard.held, world.progress.held, world.kinds) == (None, 0, [])
    assert await world.shelf.keys() == []


async def test_a_release_that_was_noted_covers_no_more_than_one_that_is_made_at_once():
    world = await released_meanwhile(gone=31, known=60)

    assert await world.lists(paths(55)) == []
    assert (world.guard.held.released, world.progress.held) == (False, 55)
    assert world.kinds == ["held"]
    assert await world.lists(paths(31)) == []  # the word was for one listing


async def test_a_release_that_was_noted_does_not_cover_the_empty_folder_below_a_missing_mount():
    world = await released_meanwhile(gone=30)
    beside = await world.guard.allow(paths(40), whole=True, at=0.0, exchanged=True)

    assert (beside, world.progress.held) == ([], 40)


async def test_a_release_that_was_noted_takes_out_nothing_that_is_back_or_that_nobody_can_see():
    back = await released_meanwhile()
    hidden = await released_meanwhile()

    assert await back.lists([]) == []
    assert (back.guard.held, back.kinds) == (None, ["notice"])
    assert await hidden.lists([], unseen=paths(40)) == []
    assert (hidden.progress.held, hidden.kinds) == (30, ["held"])


async def test_what_was_released_meanwhile_can_be_kept_and_what_was_kept_be_released():
    world = await released_meanwhile()
    holds = NotedHolds(world.shelf)
    await holds.keep("docs")
    (kept,) = await holds.list()
    await holds.release("docs")
    (released,) = await holds.list()
    await world.guard.keep()
    (again,) = await holds.list()

    assert [(h.kept, h.released) for h in (kept, released, again)] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert not any(hold.waits for hold in (kept, released, again))


@pytest.mark.parametrize("word", ["release", "keep"])
async def test_nothing_is_decided_about_paths_that_nobody_knows(word):
    world = World()
    await world.lists(paths(30))
    (part,) = await world.shelf.keys("docs.held.")
    await world.shelf.delete(part)
    holds = NotedHolds(world.shelf)

    with pytest.raises(TransientError, match="start instep up"):
        await getattr(holds, word)("docs")
    (hold,) = await holds.list()
    assert (hold.vanished, hold.waits) == (30, True)
    assert await getattr(holds, word)("other") == 0


async def test_a_decision_about_paths_that_were_lost_since_is_asked_for_again():
    world = await released_meanwhile()
    (part,) = await world.shelf.keys("docs.held.")
    await world.shelf.delete(part)
    after = World(shelf=world.shelf)
    await after.guard.load()

    assert after.progress.held == 30
    assert await after.lists(paths(30)) == []


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


async def test_what_cannot_be_seen_is_not_back():
    world = World()
    await world.lists(paths(30))
    during = await world.lists([], unseen=paths(40))
    held = world.guard.held.vanished
    some = await world.lists(paths(5), unseen=paths(10, 20))

    assert (during, held, some) == ([], 30, [])
    assert world.guard.held.paths == {*paths(5), *paths(10, 20)}
    assert world.progress.held == 15
    assert world.kinds == ["held"]


@pytest.mark.parametrize("keep", [True, False])
async def test_another_path_in_place_of_one_that_is_back_is_not_what_was_kept(keep):
    world = World()
    await world.lists(paths(30))
    if keep:
        await world.guard.keep()
    await world.lists(paths(29, 1))
    fewer = world.guard.held.kept
    await world.lists([*paths(28, 2), "035.md"])

    assert (fewer, world.guard.held.kept) == (keep, False)
    assert world.progress.held == 29


async def test_what_is_kept_stays_kept_while_some_of_it_cannot_be_seen():
    world = World()
    await world.lists(paths(30))
    await world.guard.keep()
    await world.lists(paths(10), unseen=paths(30, 10))

    assert (world.guard.held.kept, world.guard.held.vanished) == (True, 30)


async def test_a_release_removes_what_is_seen_to_be_gone_and_the_rest_waits():
    world = World()
    await world.lists(paths(30))
    world.guard.asked = True
    removed = await world.lists(paths(10), unseen=paths(20, 10))

    assert removed == paths(10)
    assert (world.guard.released, world.guard.held.paths) == (10, {*paths(20, 10)})
    assert await world.lists(paths(20, 10)) == []


async def test_a_release_covers_the_paths_that_were_shown_not_their_number():
    world = World(known=70, threshold=Threshold(share=0.2))
    await world.lists(paths(40))
    world.guard.asked = True

    assert await world.lists(paths(36, 34)) == []  # 30 of these were never shown
    assert world.guard.held.vanished == 36


def test_a_forecast_knows_what_was_kept_by_its_paths():
    world = World()
    world.guard.held = about("2026-11-20T12:00:00+00:00", paths(30), 40, kept=True)
    ask = partial(world.guard.forecast, known=40, at=0.0, exchanged=False)

    assert ask(paths(30)) == (0, 0)
    assert ask(paths(30, 1)) == (0, 30)
    world.guard.held = replace(world.guard.held, kept=False)
    assert ask(paths(5), paths(10, 25)) == (0, 10)


async def test_the_paths_of_a_hold_outlive_a_restart_however_many_they_are():
    many = frozenset(f"{n:06}/" + hashlib.sha512(b"%d" % n).hexdigest() for n in range(6_000))
    shelf = MemoryShelf()
    first = HeldNote(shelf, "docs")
    await first.put(about("2026-11-20T12:00:00+00:00", paths(3), 4))
    await first.put(held := about("2026-11-20T12:00:00+00:00", many, 9_000, kept=True))
    parts = await shelf.keys("docs.held.")
    longest = max([len(await shelf.get(part)) for part in parts])
    second = HeldNote(shelf, "docs")
    read = await second.load()
    await second.put(None)

    assert len(parts) > 1
    assert longest <= PART_BYTES
    assert read == held
    assert await shelf.keys() == []


async def test_without_its_paths_what_was_kept_is_asked_about_again():
    world = World()
    await world.lists(paths(30))
    await world.guard.keep()
    for part in await world.shelf.keys("docs.held."):
        await world.shelf.put(part, b"damaged")
    after = World(shelf=world.shelf)
    await after.guard.load()
    loaded = after.guard.held
    await after.lists([], unseen=paths(30))
    unseen = after.guard.held.vanished

    assert (loaded.vanished, loaded.kept, loaded.paths) == (30, False, frozenset())
    assert (unseen, after.progress.held) == (30, 30)


async def test_a_process_that_dies_while_it_notes_a_hold_leaves_the_one_before():
    class Dying(MemoryShelf):
        alive = True

        async def put(self, key, value):
            if key == "docs.held" and not self.alive:
                raise BusUnavailable("down")
            await super().put(key, value)

    shelf, since = Dying(), "2026-11-20T12:00:00+00:00"
    note = HeldNote(shelf, "docs")
    await note.put(before := about(since, paths(30), 40, kept=True))
    shelf.alive = False
    with pytest.raises(BusUnavailable):
        await note.put(about(since, paths(31), 40))
    after = HeldNote(shelf, "docs")

    assert await after.load() == before
    shelf.alive = True
    await after.put(before)
    assert len(await shelf.keys("docs.held.")) == 1


@pytest.mark.parametrize("keep", [True, False])
async def test_a_path_that_is_seen_again_leaves_the_hold_at_once(keep):
    world = World()
    await world.lists(paths(30))
    if keep:
        await world.guard.keep()
    await world.guard.back(paths(5))
    after = World(shelf=world.shelf)
    await after.guard.load()

    assert world.guard.held.paths == {*paths(25, 5)}
    assert (world.guard.held.kept, world.guard.held.vanished) == (keep, 25)
    assert after.guard.held == world.guard.held
    assert world.progress.held == (0 if keep else 25)
    await world.guard.back(paths(30))
    assert (world.guard.held, world.progress.held) == (None, 0)
    assert world.kinds == ["held", "notice"]


async def test_a_noted_release_does_not_cover_a_path_that_was_seen_again():
    world = await released_meanwhile()
    await world.guard.back(paths(3))

    assert (world.guard.held.released, world.guard.held.vanished) == (True, 27)


@pytest.mark.parametrize("seed", range(200))
async def test_whatever_the_order_a_rejection_covers_only_what_stayed_away_since(seed):
    """Vanish, reject, come back, vanish again: a removal is made, waits, or was rejected itself."""
    chance, world = random.Random(seed), World()
    there, covered = set(paths(40)), set()
    for step in range(30):
        absent = set(world.listing.entries) - there
        some = {path for path in world.listing.entries if chance.random() < chance.random()}
        match chance.choice(["vanish", "back", "reject", "list"]):
            case "vanish":
                there -= some
                gone = await world.guard.allow(sorted(some), whole=False, at=step * 90.0)
                for path in gone:
                    world.listing.remove(path)
                    covered.discard(path)
            case "back":
                there |= some & absent
                covered -= some
                await world.guard.back(sorted(some & there))
            case "reject":
                if await world.guard.keep():
                    covered |= world.guard.held.paths
            case "list":
                gone = await world.lists(sorted(absent), at=step * 90.0)
                held = world.guard.held.paths if world.guard.held else frozenset()
                assert absent in ({*gone}, held)
        if world.guard.held and world.guard.held.kept:
            assert world.guard.held.paths <= covered


async def test_a_hold_that_moves_alone_had_made_ends_and_the_few_others_go():
    world = World()
    await world.lists(paths(30))
    allowed = await world.lists(paths(4), moved=paths(26, 4))

    assert (allowed, world.guard.held, world.progress.held) == (paths(4), None, 0)
    assert world.kinds == ["held", "notice"]
    assert "moved" in world.news[1].detail


async def test_moves_leave_a_hold_whose_others_are_many():
    world = World()
    await world.lists(paths(39))
    allowed = await world.lists(paths(30), moved=paths(9, 30))

    assert (allowed, sorted(world.guard.held.paths)) == ([], paths(30))


async def test_files_that_came_back_are_no_moves_and_the_rest_waits_on():
    world = World()
    await world.lists(paths(30))
    await world.guard.back(paths(20, 4))
    allowed = await world.lists(paths(3), moved=paths(1, 3))
    _, after = await world.lists(paths(2), moved=paths(1, 2)), world.guard.held

    assert allowed == []
    assert (after.vanished, after.back) == (2, 26)


@pytest.mark.parametrize("how", ["kept", "strict", "unseen"])
async def test_moves_end_no_hold_that_waits_for_another_reason(how):
    world = World()
    if how == "strict":
        await world.guard.allow(paths(30), whole=True, at=0.0, exchanged=True)
    else:
        await world.lists(paths(30))
    if how == "kept":
        await world.guard.keep()
    unseen = paths(1, 4) if how == "unseen" else ()
    allowed = await world.lists(paths(4), moved=paths(25, 5), unseen=unseen)

    assert allowed == []
    assert world.guard.held.paths == {*paths(4), *unseen}


@given(st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)))
def test_whatever_moves_a_whole_listing_removes_nothing_that_would_have_waited(gone, moved):
    """Beside the moves: what goes without a question is little, with and without a hold."""

    async def story():
        world = World()
        await world.lists([f"{n:03}.md" for n in sorted(gone | moved)])
        lost = [f"{n:03}.md" for n in sorted(gone - moved)]
        there = [path for path in lost if path in world.listing.entries]
        allowed = await world.lists(there, moved=[f"{n:03}.md" for n in sorted(moved)])
        return len(allowed), len(there), world.guard.held

    allowed, lost, held = asyncio.run(story())

    assert allowed in (0, lost)
    assert allowed <= 20
    assert held is None or held.vanished == lost


@given(st.integers(0, 99), st.booleans(), st.sets(st.text("abc", min_size=1), min_size=1))
def test_the_note_of_a_hold_tells_what_came_back_and_why_it_waits(back, strict, held_paths):
    async def story():
        note = HeldNote(MemoryShelf(), "docs")
        held = replace(about(NOW.isoformat(), held_paths, 40, strict=strict), back=back)
        await note.put(held)
        return held, await note.load()

    put, loaded = asyncio.run(story())
    assert loaded == put


async def test_a_moved_document_is_one_document_though_both_of_its_places_are_listed():
    """20 of 30 are gone, and 10 are listed twice."""
    world = World(known=40)
    allowed = await world.lists(paths(20), moved=paths(10, 20))

    assert (allowed, world.guard.held.vanished, world.guard.held.of) == ([], 20, 30)
