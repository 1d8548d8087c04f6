"""A real folder, memory for everything else: what people and editors do to files."""

import asyncio
import os
import shutil
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from memory_change_log import MemoryChangeLog
from memory_kv import MemoryShelf
from watched import Watched

from services.producer.sources.folder.folder import Folder
from services.producer.sources.folder.fs_events import FolderHints, Notices
from services.producer.sources.folder.snapshot import content
from services.producer.sources.port import SourceUnavailable
from services.producer.sync import GROWS, RESTLESS
from shared.domain.errors import BusUnavailable
from shared.domain.formats import KINDS_TOLD


@pytest.fixture(params=["auto", "poll"])
def docs(request, tmp_path):
    return Watched(tmp_path / "docs", watch=request.param, poll=0.05)


@pytest.fixture
def live(tmp_path):
    return Watched(tmp_path / "docs")


async def test_files_that_are_there_are_accepted_at_the_start(docs):
    docs.write("a.md", "one")
    docs.write("deep/er/b.txt", "two")
    docs.write("picture.png", "no document")

    await docs.once()

    assert docs.held() == {"a.md": "one", "deep/er/b.txt": "two"}


async def test_create_edit_and_delete_are_seen(docs, eventually):
    async with docs.running():
        docs.write("a.md", "one")
        await eventually(lambda: docs.held() == {"a.md": "one"})
        docs.write("a.md", "two, longer")
        await eventually(lambda: docs.held() == {"a.md": "two, longer"})
        (docs.root / "a.md").unlink()
        await eventually(lambda: docs.held() == {})
        docs.write("a.md", "again")
        await eventually(lambda: docs.held() == {"a.md": "again"})


async def test_a_move_is_a_deletion_and_a_creation_and_is_told_as_a_move(docs, eventually):
    docs.write("0.md", "text")
    names = [f"{n}.md" for n in range(6)]
    async with docs.running():
        for old, new in pairwise(names):
            (docs.root / old).rename(docs.root / new)
            await eventually(lambda new=new: docs.held() == {new: "text"})
            if moves := {a.detail for a in docs.news if a.kind == "moved"}:
                break  # else the system was slow to tell one of the two names

    assert moves
    assert moves <= {f"{old} -> {new}" for old, new in pairwise(names)}


async def test_what_changed_while_nobody_watched_is_found_at_the_next_start(docs):
    docs.write("kept.md", "same")
    docs.write("edited.md", "before")
    docs.write("gone.md", "x")
    await docs.once()
    docs.write("edited.md", "after.")
    docs.write("new.md", "y")
    (docs.root / "gone.md").unlink()
    before = len(docs.log.appended)

    await docs.once()

    assert docs.held() == {"kept.md": "same", "edited.md": "after.", "new.md": "y"}
    assert len(docs.log.appended) - before == 3


async def test_a_restart_without_changes_publishes_nothing_and_completes_an_empty_batch(docs):
    docs.write("a.md", "one")
    await docs.once()
    before = len(docs.log.appended)

    await docs.once()

    assert len(docs.log.appended) == before
    empty = [b for b in (await docs.batches.open()).values() if not b.members]
    assert [(b.unchanged, b.whole) for b in empty] == [(1, True)]


async def test_a_listing_that_is_behind_the_log_hides_nothing(docs):
    """A process died after its publish, before it kept the listing; then the file went back."""
    docs.write("a.md", "one")
    await docs.once()
    kept = dict(docs.listings._values)
    docs.write("a.md", "two")
    await docs.once()
    docs.listings._values = kept
    docs.write("a.md", "one")
    await docs.once()

    assert docs.held() == {"a.md": "one"}


async def test_a_new_file_that_a_dying_process_accepted_can_still_be_deleted(docs):
    docs.write("a.md", "one")
    docs.listings = Dying()
    with pytest.raises(RuntimeError):
        await docs.once()
    accepted = docs.held()
    docs.listings.alive = True
    (docs.root / "a.md").unlink()
    await docs.once()

    assert accepted == {"a.md": "one"}
    assert docs.held() == {}
    assert await docs.listings.keys("docs.new.") == []


async def test_a_new_file_whose_publish_had_no_answer_can_still_be_deleted(live, eventually):
    class Deaf(MemoryChangeLog):
        deaf = True

        async def append(self, change, *, expect, message_id):
            sequence = await super().append(change, expect=expect, message_id=message_id)
            if self.deaf:
                self.deaf = False
                (live.root / "a.md").unlink()
                raise BusUnavailable("no answer")
            return sequence

    live.log = Deaf()
    live.write("a.md", "one")
    async with live.running():
        await eventually(lambda: len(live.log.appended) == 2)

    assert live.held() == {}


class Dying(MemoryShelf):
    """Ends the process at the first shard that is to be kept."""

    alive = False

    async def put(self, key, value):
        if not self.alive and ".new." not in key:
            raise RuntimeError("died here")
        await super().put(key, value)


async def test_a_lost_listing_is_made_anew_without_a_change(docs):
    docs.write("a.md", "one")
    await docs.once()
    docs.listings._values.clear()

    await docs.once()

    assert len(docs.log.appended) == 1


async def test_of_a_hundred_edits_of_one_size_within_a_moment_the_last_wins(live, eventually):
    async with live.running():
        for n in range(100):
            live.write("a.md", f"edit {n:03d}")
        await eventually(lambda: live.held() == {"a.md": "edit 099"})
        live.write("a.md", "edit 100")
        await eventually(lambda: live.held() == {"a.md": "edit 100"})


async def test_an_edit_with_the_old_size_and_the_old_time_is_seen(docs, eventually):
    docs.write("a.md", "one")
    await docs.once()
    stat = (docs.root / "a.md").stat()
    docs.write("a.md", "two")
    os.utime(docs.root / "a.md", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    await docs.once()

    assert docs.held() == {"a.md": "two"}


async def test_a_file_that_is_only_touched_is_no_change(live, eventually):
    live.write("a.md", "one")
    live.write("b.md", "b")
    async with live.running():
        os.utime(live.root / "a.md", (1, 1))
        live.write("b.md", "later")
        await eventually(lambda: live.held()["b.md"] == "later")

    assert [c.document.path for c in live.log.appended].count("a.md") == 1


async def test_an_atomic_save_is_one_revision_and_leaves_no_trace(live, eventually):
    live.write("a.md", "one")
    async with live.running():
        live.write(".a.md.swp", "draft")
        live.write("a.md~", "one")
        live.write("a.md.tmp", "two")
        (live.root / "a.md.tmp").replace(live.root / "a.md")
        (live.root / ".a.md.swp").unlink()
        await eventually(lambda: live.held() == {"a.md": "two"})

    assert {c.document.path for c in live.log.appended} == {"a.md"}
    assert len(live.log.appended) == 2


async def test_truncating_before_writing_is_one_revision(live, eventually):
    live.write("a.md", "one")
    async with live.running():
        with (live.root / "a.md").open("w") as file:
            file.flush()
            await eventually(lambda: (live.root / "a.md").stat().st_size == 0)
            file.write("two")
        await eventually(lambda: live.held() == {"a.md": "two"})

    assert [live.text(c.content) for c in live.log.appended] == ["one", "two"]


async def test_a_folder_moved_in_and_out_brings_and_takes_its_documents(docs, tmp_path, eventually):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "a.md").write_text("a")
    (elsewhere / "sub" / "b.md").write_text("b")
    async with docs.running():
        elsewhere.rename(docs.root / "in")
        await eventually(lambda: docs.held() == {"in/a.md": "a", "in/sub/b.md": "b"})
        (docs.root / "in").rename(docs.root / "in2")
        await eventually(lambda: docs.held() == {"in2/a.md": "a", "in2/sub/b.md": "b"})
        (docs.root / "in2").rename(elsewhere)
        await eventually(lambda: docs.held() == {})


async def test_a_file_in_a_new_folder_is_seen_at_once(live, eventually):
    async with live.running():
        for n in range(20):
            live.write(f"d{n}/e/a.md", str(n))
        await eventually(lambda: len(live.held()) == 20)


async def test_a_root_that_vanishes_removes_nothing_and_heals(docs, tmp_path, eventually):
    docs.write("a.md", "one")
    async with docs.running():
        docs.root.rename(tmp_path / "away")
        await eventually(lambda: [a for a in docs.news if "tries again" in a.detail])
        held = docs.held()
        (tmp_path / "away").rename(docs.root)
        docs.write("b.md", "two")
        await eventually(lambda: docs.held() == {"a.md": "one", "b.md": "two"})

    assert held == {"a.md": "one"}


async def test_a_root_that_is_made_anew_is_watched_again(live, eventually, tmp_path):
    live.write("a.md", "one")
    live.write("b.md", "two")
    live.write("c.md", "three")
    async with live.running() as watch:
        shutil.copytree(live.root, tmp_path / "copy")
        live.root.rename(tmp_path / "old")
        (tmp_path / "copy").rename(live.root)
        await watch.rescan()
        live.write("d.md", "four")
        (live.root / "a.md").unlink()
        await eventually(lambda: set(live.held()) == {"b.md", "c.md", "d.md"})


async def test_a_missing_root_at_the_start_removes_nothing(live, tmp_path, eventually):
    live.write("a.md", "one")
    await live.once()
    live.root.rename(tmp_path / "away")
    watch = live.build()

    task = asyncio.create_task(watch.run())
    await eventually(lambda: live.news)
    task.cancel()

    assert live.held() == {"a.md": "one"}
    assert not watch.listed.is_set()


async def test_removals_over_the_threshold_are_held_until_a_person_releases_them(live, eventually):
    for n in range(40):
        live.write(f"{n}.md", str(n))
    await live.once()
    for n in range(30):
        (live.root / f"{n}.md").unlink()
    live.write("new.md", "new")

    async with live.running() as watch:
        kept = dict(live.held())
        held = watch.held
        await watch.release()

        assert len(kept) == 41
        assert held is not None
        assert (held.vanished, held.of) == (30, 40)
        assert [a.kind for a in live.news] == ["held"]
        assert len(live.held()) == 11
        assert watch.held is None


async def test_what_is_held_stays_held_over_a_restart_and_ends_when_it_comes_back(live):
    for n in range(25):
        live.write(f"{n}.md", str(n))
    await live.once()
    for n in range(25):
        (live.root / f"{n}.md").rename(live.root.parent / f"{n}.md")
    await live.once()
    async with live.running() as watch:
        assert watch.held is not None
        assert watch.held.vanished == 25
        for n in range(25):
            (live.root.parent / f"{n}.md").rename(live.root / f"{n}.md")
        await watch.rescan()
        assert watch.held is None

    assert len(live.log.appended) == 25


async def test_a_deletion_in_pieces_is_held_as_well(live, eventually):
    for n in range(60):
        live.write(f"{n}.md", str(n))
    async with live.running() as watch:
        for n in range(60):
            (live.root / f"{n}.md").unlink()
            if n % 10 == 9:
                await eventually(lambda n=n: len(live.held()) <= 59 - n or watch.held)
        await eventually(lambda: watch.held)

    assert len(live.held()) >= 30


async def test_a_file_over_the_limit_is_sent_by_reference_to_be_refused(tmp_path):
    docs = Watched(tmp_path / "docs", max_bytes=10)
    docs.write("big.md", "x" * 11)
    docs.write("small.md", "x" * 10)
    await docs.once()
    await docs.once()

    assert docs.held() == {"big.md": "-> 11 bytes", "small.md": "x" * 10}
    assert len(docs.log.appended) == 2


async def test_a_larger_limit_lets_a_refused_file_in(tmp_path):
    docs = Watched(tmp_path / "docs", max_bytes=10)
    docs.write("big.md", "x" * 11)
    await docs.once()
    docs.settings = docs.settings.model_copy(update={"max_bytes": 11})
    await docs.once()

    assert docs.held() == {"big.md": "x" * 11}


async def test_a_large_file_goes_to_the_content_store(live):
    live.write("large.md", "y" * 300_000)
    await live.once()

    assert live.log.appended[0].content.kind == "stored"
    assert live.held() == {"large.md": "y" * 300_000}


async def test_an_unreadable_file_is_told_and_keeps_its_document(live, eventually):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    live.write("a.md", "one")
    await live.once()
    live.write("a.md", "two")
    (live.root / "a.md").chmod(0)
    await live.once()

    assert live.held() == {"a.md": "one"}
    assert [a.detail for a in live.news] == ["permission denied"]


async def test_progress_counts_found_unchanged_and_changed(live):
    live.write("a.md", "one")
    live.write("b.md", "two")
    await live.once()
    first = (live.progress.found, live.progress.unchanged, live.progress.changed)
    live.write("b.md", "three")
    await live.once()

    assert first == (2, 0, 2)
    assert (live.progress.found, live.progress.unchanged, live.progress.changed) == (2, 1, 1)


async def test_one_listing_is_one_batch_with_its_count_on_every_change(live):
    for n in range(5):
        live.write(f"{n}.md", str(n))
    await live.once()

    (batch,) = (await live.batches.open()).values()
    assert {(c.batch.id, c.batch.count) for c in live.log.appended} == {(batch.batch.id, 5)}
    assert set(batch.members) == {c.document.doc_key for c in live.log.appended}
    assert batch.batch.format == "md"


async def test_one_file_that_cannot_be_handled_stops_no_other(docs, eventually, monkeypatch):
    """A fault of ours: it is told, and the file is tried again by the next listing."""
    read, odd = Folder.read, ["odd.md"]

    def fails(self, path, **how):
        if path in odd:
            raise ValueError("year 10000 is out of range")
        return read(self, path, **how)

    docs.write("odd.md", "odd")
    for n in range(40):
        docs.write(f"{n}.md", str(n))
    monkeypatch.setattr(Folder, "read", fails)
    async with docs.running() as watch:
        first = docs.held()
        told = dict(docs.sources["docs"].problems)
        odd.clear()
        await watch.rescan()
        after = dict(docs.sources["docs"].problems)

    assert (len(first), "odd.md" in first) == (40, False)
    assert told == {"odd.md": "a fault in instep: ValueError"}
    assert (docs.held()["odd.md"], after) == ("odd", {})


async def test_a_file_of_the_year_10000_is_an_ordinary_document(docs):
    docs.write("a.md", "a")
    docs.write("far.md", "far")
    year_10000 = 253402300800
    os.utime(docs.root / "far.md", (year_10000, year_10000))
    await docs.once()

    assert docs.held() == {"a.md": "a", "far.md": "far"}


async def test_batches_that_the_bus_did_not_take_are_told_once_each_by_many_who_try(live):
    live.write("a.md", "a")
    live.write("b.md", "b")
    sync = live.build()._sync
    announce, told = live.batches.announce, []

    async def down(*batch):
        raise BusUnavailable("away")

    async def slow(*batch):
        await asyncio.sleep(0.01)
        told.append(batch[0].id)
        await announce(*batch)

    live.batches.announce = down
    for name, stat in sync.source.scan().files.items():
        await sync({name: stat}, started_at=datetime.now(UTC), always=True)
    live.batches.announce = slow
    await asyncio.gather(*(sync.keep() for _ in range(5)))

    assert (len(told), len(set(told)), sync.behind) == (2, 2, False)


async def test_a_file_that_changes_alone_is_accepted_without_a_list_of_its_batch(live):
    live.write("a.md", "a")
    live.write("b.md", "b")
    sync = live.build()._sync
    files = dict(sync.source.scan().files)

    lone = await sync({"a.md": files["a.md"]}, started_at=datetime.now(UTC))
    listed_after_one = await live.batches.open()
    (live.root / "a.md").unlink()
    both = await sync({"b.md": files["b.md"], "a.md": None}, started_at=datetime.now(UTC))
    listed_after_two = await live.batches.open()

    assert (len(lone.members), len(both.members)) == (1, 2)
    assert [len(found) for found in (listed_after_one, listed_after_two)] == [0, 1]


@pytest.fixture
def growing(docs, monkeypatch):
    """A log: while it grows, somebody writes a line during every reading."""
    monkeypatch.setattr("services.producer.retry_queue.OVERDUE_S", 0.2)
    docs.write("log.txt", "line\n")
    docs.write("other.md", "other")
    readings = []

    def grows(file, size):
        data = content(file, size)
        if os.fstat(file).st_ino == (docs.root / "log.txt").stat().st_ino:
            readings.append(size)
            if docs.grows:
                with (docs.root / "log.txt").open("a") as log:
                    log.write("line\nhalf a ")
        return data

    docs.grows = True
    monkeypatch.setattr("services.producer.sources.folder.snapshot.content", grows)
    return readings


async def test_a_file_that_grows_all_the_time_is_taken_and_told(docs, growing, eventually):

    def health():
        return docs.sources["docs"].problems

    async with docs.running():
        await eventually(lambda: "log.txt" in docs.held() and health())
        first, told, tries = docs.held(), dict(health()), len(growing)
        docs.grows = False  # a reading that is under way may still see it grow
        await eventually(lambda: docs.held()["log.txt"] == (docs.root / "log.txt").read_text())
        await eventually(lambda: not health())

    assert first["log.txt"].startswith("line\nline\n")
    assert first["log.txt"].endswith("line\n")
    assert (told, tries < 12) == ({"log.txt": GROWS}, True)
    assert [news.path for news in docs.news if news.detail == GROWS] == ["log.txt"]


async def test_a_file_that_is_rewritten_all_the_time_is_told_and_never_mixed(
    docs, monkeypatch, eventually
):
    monkeypatch.setattr("services.producer.retry_queue.OVERDUE_S", 0.2)
    docs.write("a.md", "0" * 10)
    rests, count = [], iter(range(1, 10**6))

    def changes(file, size):
        data = content(file, size)
        if not rests:
            docs.write("a.md", str(next(count) % 10) * 10)
        return data

    monkeypatch.setattr("services.producer.sources.folder.snapshot.content", changes)
    async with docs.running():
        await eventually(lambda: docs.sources["docs"].problems)
        before, told = docs.held(), dict(docs.sources["docs"].problems)
        rests.append(True)
        await eventually(lambda: "a.md" in docs.held())

    assert (before, told) == ({}, {"a.md": RESTLESS})
    assert len(set(docs.held()["a.md"])) == 1


async def test_a_file_that_is_left_alone_and_deleted_goes_at_once(live, eventually):
    live.write("a.md", "a")
    async with live.running() as watch:
        watch._when.settling.leave_alone("a.md", asyncio.get_running_loop().time(), 3600.0)
        (live.root / "a.md").unlink()
        await eventually(lambda: live.held() == {})


@pytest.mark.parametrize("what", ["shut", "a.md"])
async def test_what_could_not_be_read_is_read_when_it_can_though_no_event_comes(
    tmp_path, eventually, monkeypatch, what
):
    docs = Watched(tmp_path / "docs", poll=0.05)
    docs.write("a.md", "a")
    docs.write("shut/b.md", "b")
    scandir, opens, broken = os.scandir, os.open, [what]

    def is_broken(path):
        return any(str(path).endswith(name) for name in broken)

    def failing(real):
        def call(path, *args, **how):
            if is_broken(path):
                raise OSError(5, "Input/output error")
            return real(path, *args, **how)

        return call

    monkeypatch.setattr(os, "scandir", failing(scandir))
    monkeypatch.setattr(os, "open", failing(opens))
    async with docs.running():
        problems = docs.sources["docs"].problems
        first, told = set(docs.held()), set(problems)
        broken.clear()
        await eventually(lambda: set(docs.held()) == {"a.md", "shut/b.md"})
        await eventually(lambda: not problems)

    assert first == {"a.md", "shut/b.md"} - {"a.md" if what == "a.md" else "shut/b.md"}
    assert told == {what}


async def test_a_root_that_comes_after_the_start_is_watched(live, tmp_path, eventually):
    live.write("a.md", "a")
    live.root.rename(tmp_path / "away")
    task = asyncio.create_task((watch := live.build()).run())
    try:
        await eventually(lambda: live.sources["docs"].error)
        (tmp_path / "away").rename(live.root)
        await eventually(watch.listed.is_set)
        live.write("b.md", "b")
        await eventually(lambda: set(live.held()) == {"a.md", "b.md"})
    finally:
        task.cancel()


async def test_a_root_that_is_away_when_it_is_to_be_watched_is_an_error_until_it_is_back(
    live, tmp_path
):
    hearing = FolderHints(live.root, live.settings, Notices(live.root), print)
    root = live.build()._sync.source.identity()
    live.root.rename(tmp_path / "away")
    heard = set()
    await hearing.start(heard.update)
    async with asyncio.timeout(120):
        try:
            with pytest.raises(SourceUnavailable, match="cannot be watched"):
                await hearing.watch_the_same(root)
            (tmp_path / "away").rename(live.root)
            while hearing._notices.missing:
                await asyncio.sleep(0.01)
            await hearing.watch_the_same(root)
            live.write("b.md", "b")
            while str(live.root / "b.md") not in heard:
                await asyncio.sleep(0.01)
        finally:
            await hearing.stop()


async def test_a_kind_of_file_that_is_left_out_is_told_once(docs, eventually):
    docs.write("a.md", "one")
    docs.write("b.png", "no document")
    async with docs.running() as watch:
        await eventually(lambda: docs.held() == {"a.md": "one"})
        docs.write("c.png", "no document")
        docs.write("d.zip", "no document")
        await watch.rescan()
        await watch.rescan()
        left_out = [news.detail for news in docs.news if "left out" in news.detail]

    assert [text.partition(";")[0] for text in left_out] == [
        "left out: 1 .png",
        "left out: 2 .png, 1 .zip",
    ]


async def test_a_kind_that_becomes_frequent_again_is_not_told_again(docs, eventually):
    kinds = [f"k{n}" for n in range(KINDS_TOLD + 1)]
    *others, last, rare = kinds
    docs.write("a.md", "one")
    for kind in (*others, *others, *others, last, last, rare):
        docs.write(f"{len(list(docs.root.iterdir()))}.{kind}", "no document")
    async with docs.running() as watch:
        await eventually(lambda: docs.held() == {"a.md": "one"})
        for n, kind in enumerate((rare, rare, last, last, rare, rare)):
            docs.write(f"more{n}.{kind}", "no document")
            await watch.rescan()
        left_out = [news.detail for news in docs.news if "left out" in news.detail]

    assert len(left_out) == 2
    assert f".{rare}" not in left_out[0]
    assert f".{rare}" in left_out[1]
