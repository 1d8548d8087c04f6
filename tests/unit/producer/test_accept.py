"""A file against the newest change of its document."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_kv import MemoryShelf

from services.producer.accept import AcceptFile, changed_at
from services.producer.sources.listing import Seen, to_bytes
from services.producer.sources.listing_store import KeptListing, Threshold
from services.producer.sources.port import Body, Given, Version, hash_of
from shared.domain.events import Batch
from shared.domain.ids import doc_key
from shared.repair import resubmit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = Batch(id="b", count=1, source="docs", started_at=NOW)


def body(text: str | None) -> Body | None:
    if text is None:
        return None
    data = text.encode()
    return Body(Version(len(data), 0, 0, 1), 0, hashlib.sha256(data).hexdigest(), data, "file:///a")


class Disk:
    """A file as it is at each look."""

    def __init__(self, *states: str | None) -> None:
        self.states = list(states)
        self.looks = 0

    async def __call__(self) -> Body | None:
        self.looks += 1
        return body(self.states.pop(0) if len(self.states) > 1 else self.states[0])


def door(log: MemoryChangeLog) -> AcceptFile:
    return AcceptFile("docs", log, MemoryContent(), lambda: NOW)


async def test_a_new_file_needs_no_question():
    class Asking(MemoryChangeLog):
        async def newest(self, source, doc_key):
            raise AssertionError("asked")

    log = Asking()
    outcome = await door(log)("a.md", Disk("one"), BATCH, known=False)

    assert (outcome.word, outcome.revision) == ("accepted", 1)
    assert log.appended[0].document.revision == 1


async def test_the_same_content_is_published_once_whatever_the_caller_knows():
    log = MemoryChangeLog()
    accept = door(log)
    await accept("a.md", Disk("one"), BATCH, known=False)
    words = [(await accept("a.md", Disk("one"), BATCH, known=k)).word for k in (True, False)]

    assert words == ["unchanged", "unchanged"]
    assert len(log.appended) == 1


async def test_an_unchanged_file_puts_its_body_again_which_may_have_been_lost():
    log, text = MemoryChangeLog(), "word " * 100_000
    accept = door(log)
    await accept("a.md", Disk(text), BATCH, known=False)
    name = log.appended[0].content.hash
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await accept.bodies.forget(name, put_before=later)

    outcome = await accept("a.md", Disk(text), BATCH, known=True)

    assert outcome.word == "unchanged"
    assert await accept.bodies.get(name) == text.encode()


async def test_what_never_was_or_is_gone_already_is_not_deleted():
    log = MemoryChangeLog()
    accept = door(log)
    first = await accept("a.md", Disk(None), BATCH, known=True)
    await accept("a.md", Disk("one"), BATCH, known=True)
    await accept("a.md", Disk(None), BATCH, known=True)
    again = await accept("a.md", Disk(None), BATCH, known=True)

    assert [first.word, again.word] == ["absent", "absent"]
    assert [c.op for c in log.appended] == ["upserted", "deleted"]


async def test_the_end_of_what_docs_has_lost_is_told():
    log = MemoryChangeLog()
    outcome = await door(log)("a.md", Disk(None), BATCH, known=True, accepted=True)
    again = await door(log)("a.md", Disk(None), BATCH, known=True, accepted=True)

    assert (outcome.word, again.word) == ("accepted", "absent")
    assert [c.op for c in log.appended] == ["deleted"]


async def test_a_deleted_file_that_comes_back_with_its_content_is_a_change():
    log = MemoryChangeLog()
    accept = door(log)
    for state in ("one", None, "one"):
        await accept("a.md", Disk(state), BATCH, known=True)

    assert [c.op for c in log.appended] == ["upserted", "deleted", "upserted"]


async def test_a_repair_under_way_is_not_replaced_by_the_same_content():
    log = MemoryChangeLog()
    accept = door(log)
    await accept("a.md", Disk("one"), BATCH, known=True)
    await resubmit(log, "docs", doc_key("docs", "a.md"), generation="g1")
    outcome = await accept("a.md", Disk("one"), BATCH, known=True)

    assert outcome.word == "unchanged"
    assert log.appended[-1].repair == "g1"


async def test_who_loses_the_race_reads_the_file_again():
    log = MemoryChangeLog()
    await door(log)("a.md", Disk("newer"), BATCH, known=True)
    late = Disk("older", "newer")  # read before the other worker's publish, and after it
    outcome = await door(log)("a.md", late, BATCH, known=False)

    assert (outcome.word, late.looks) == ("unchanged", 2)
    assert [c.content.data for c in log.appended] == ["newer"]


async def test_intake_and_version_of_the_newest_change_are_carried():
    log = MemoryChangeLog()
    accept = door(log)
    await accept("a.md", Disk("one"), BATCH, known=True)
    first = log.appended[0].model_copy(update={"intake": 9, "source_version": 4})
    await log.append(first, expect=1, message_id="x")
    await accept("a.md", Disk("two"), BATCH, known=True)

    assert (log.appended[-1].intake, log.appended[-1].source_version) == (9, 4)
    assert log.appended[-1].origin == "watch"


@settings(deadline=None, max_examples=100, database=None)
@given(
    states=st.lists(st.sampled_from(["A", "B", None]), min_size=1, max_size=6),
    tape=st.lists(st.integers(0, 9), max_size=60),
)
def test_two_watchers_of_one_file_end_with_what_the_file_holds(states, tape):
    watched = TwoWatchers(states)
    for choice in tape:
        if choice % 3 == 2 and watched.left:
            watched.edit()
        else:
            watched.step(choice % 2)
    watched.finish()

    last = watched.log.appended[-1].content if watched.log.appended else None
    assert (last and last.data) == states[-1]


class TwoWatchers:
    """Each looks again after every change, one look at a time, in any order of their steps."""

    def __init__(self, states: list[str | None]) -> None:
        self.log, self.left, self.state = Stepping(), list(states), None
        self.dirty = {0: False, 1: False}
        self.running: dict = {}
        self.listed = {0}

    async def look(self) -> Body | None:
        seen = body(self.state)
        await Stop()
        return seen

    def edit(self) -> None:
        self.state = self.left.pop(0)
        self.dirty = {0: True, 1: True}

    def step(self, watcher: int) -> None:
        if watcher not in self.running and self.dirty[watcher]:
            self.dirty[watcher] = False
            known = watcher in self.listed
            self.listed.add(watcher)
            self.running[watcher] = door(self.log)("a.md", self.look, BATCH, known=known)
        if watcher in self.running:
            try:
                self.running[watcher].send(None)
            except StopIteration:
                del self.running[watcher]

    def finish(self) -> None:
        while self.left:
            self.edit()
        while self.running or any(self.dirty.values()):
            self.step(0)
            self.step(1)


class Stop:
    def __await__(self):
        yield


class Stepping(MemoryChangeLog):
    async def newest(self, source, doc_key):
        await Stop()
        return await super().newest(source, doc_key)

    async def append(self, change, *, expect, message_id):
        await Stop()
        return await super().append(change, expect=expect, message_id=message_id)


@pytest.mark.parametrize(("age_s", "trusted"), [(0, True), (9, True), (11, False), (-1, False)])
def test_freshness_counts_from_the_edit_if_that_was_just_now(age_s, trusted):
    made = NOW - timedelta(seconds=age_s)
    ns = int(made.timestamp()) * 10**9

    assert changed_at(ns, NOW) == (made if trusted else NOW)


@pytest.mark.parametrize("ns", [253402300800 * 10**9, 2**63, -(10**20), 10**30])
def test_a_time_stamp_that_no_clock_has_counts_as_now(ns):
    assert changed_at(ns, NOW) == NOW


# -- the kept listing and the guard ----------------------------------------------------------------


async def test_a_listing_is_kept_over_restarts_and_only_changed_shards_are_written():
    class Counting(MemoryShelf):
        puts = 0

        async def put(self, key, value):
            self.puts += 1
            await super().put(key, value)

    shelf = Counting()
    seen = Seen(Version(1, 2, 3, 4), 5, "ab", 6)
    first = KeptListing(shelf, "docs")
    for n in range(50):
        first.put(f"{n}.md", seen)
    await first.save()
    written = shelf.puts
    first.put("7.md", seen)
    await first.save()
    again = shelf.puts
    first.remove("7.md")
    await first.save()
    second = KeptListing(shelf, "docs")
    await second.load()

    assert again == written
    assert shelf.puts == written + 1
    assert second.entries == {f"{n}.md": seen for n in range(50) if n != 7}


async def test_a_listing_that_was_never_kept_or_is_damaged_is_doubtful():
    shelf = MemoryShelf()
    seen = Seen(Version(1, 2, 3, 4), 10**12, "h", 7)
    doubts = []
    for key, value in [(None, b""), ("docs.new.0", b"junk"), ("docs.00", b"junk"), (None, b"")]:
        listing = KeptListing(shelf, "docs")
        if key is not None:
            await shelf.put(key, value)
        await listing.load()
        doubts.append(listing.doubtful)
        if key is None:
            for n in range(300):
                listing.put(f"{n}.md", seen)
            await listing.save()
        else:
            await shelf.delete(key)
            await shelf.put("docs.00", to_bytes({}))

    assert doubts == [True, True, True, False]


@pytest.mark.parametrize(
    ("vanished", "lately", "known", "allowed"),
    [(19, 0, 19, True), (20, 0, 20, False), (20, 0, 40, True), (21, 0, 40, False),
     (10, 15, 30, False), (5, 15, 85, True), (0, 0, 0, True)],
)  # fmt: skip
def test_more_than_half_and_at_least_twenty_removals_wait(vanished, lately, known, allowed):
    assert Threshold().may_remove(vanished, lately, known) is allowed


async def test_a_note_of_new_files_is_never_written_over():
    """A process died while it deleted its notes, and left a gap."""
    shelf = MemoryShelf()
    first = KeptListing(shelf, "docs")
    for path in ("a.md", "b.md", "c.md"):
        await first.intend([path])
    await shelf.delete("docs.new.0")
    second = KeptListing(shelf, "docs")
    await second.load()
    await second.intend(["d.md"])
    third = KeptListing(shelf, "docs")
    await third.load()

    assert set(third.entries) == {"b.md", "c.md", "d.md"}


async def test_a_change_of_activity_or_score_alone_is_a_change_of_the_document():
    log = MemoryChangeLog()

    async def look(**told):
        data, given = b"one", Given(**told)
        version = Version(len(data), 0, 0, 1)

        async def read():
            return Body(version, 0, hash_of(data, given), data, "file:///a", given=given)

        return (await door(log)("a.md", read, BATCH, known=True)).word

    words = [
        await look(),
        await look(is_active=False),
        await look(is_active=False),
        await look(static_score=0.5),
        await look(),
    ]

    assert words == ["accepted", "accepted", "unchanged", "accepted", "accepted"]
    told = [(change.is_active, change.static_score) for change in log.appended]
    assert told == [(True, None), (False, None), (True, 0.5), (True, None)]
