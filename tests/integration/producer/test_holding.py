"""Removals of a real folder that wait, and what a person can do about them."""

import asyncio
import os
import time

import pytest
from watched import SOURCE, Watched

from services.producer.removals.holds import WatchedHolds
from services.producer.sources.folder.folder import Folder
from services.producer.sources.port import SourceUnavailable
from shared.domain.errors import BusUnavailable


@pytest.fixture
async def emptied(tmp_path):
    """A folder of 30 documents of which 25 have vanished."""
    docs = Watched(tmp_path / "docs", poll=0.05)
    for n in range(30):
        docs.write(f"{'some/' if n < 25 else ''}{n:02}.md", str(n))
    await docs.once()
    (docs.root / "some").rename(tmp_path / "elsewhere")
    return docs


async def test_what_waits_is_listed_and_released(emptied):
    async with emptied.running() as watch:
        holds = WatchedHolds({SOURCE: watch})
        (hold,) = await holds.list()
        waiting = emptied.progress.held
        released = await holds.release(SOURCE)
        left = await holds.list()
        again = await holds.release(SOURCE)

    assert (hold.source, hold.vanished, hold.of, hold.kept) == (SOURCE, 25, 30, False)
    assert "some/00.md" in hold.sample
    assert (waiting, released, again) == (25, 25, 0)
    assert (list(left), emptied.progress.held, len(emptied.held())) == ([], 0, 5)


async def test_two_processes_that_release_one_hold_both_tell_each_document_once(
    emptied, monkeypatch
):
    monkeypatch.setattr("services.producer.removals.moves.LATELY_S", 0.0)  # it always reads DOCS
    async with emptied.running() as one, emptied.running() as other:
        first = await WatchedHolds({SOURCE: one}).release(SOURCE)
        second = await WatchedHolds({SOURCE: other}).release(SOURCE)

    assert (first, second, one.held, other.held) == (25, 25, None, None)
    assert len([change for change in emptied.log.appended if change.op == "deleted"]) == 25


async def test_what_another_process_has_removed_lets_no_further_removals_through(emptied):
    async with emptied.running() as one, emptied.running() as other:
        holds = [WatchedHolds({SOURCE: watch}) for watch in (one, other)]
        released = await asyncio.gather(*(each.release(SOURCE) for each in holds))
        for watch in (one, other):
            watch.guard.removed(20, time.monotonic())
        further = [watch.guard.would_hold(3, time.monotonic(), exchanged=False)
                   for watch in (one, other)]  # fmt: skip

    assert (released, further) == ([25, 25], [True, True])


async def test_a_process_that_has_just_begun_reads_what_is_held_before_it_releases(emptied):
    await emptied.once()
    watch = emptied.build()
    releasing = asyncio.create_task(WatchedHolds({SOURCE: watch}).release(SOURCE))
    await asyncio.sleep(0)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(120):
        released = await releasing
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert released == 25


@pytest.mark.parametrize("taken", [10, 0])
async def test_removals_that_the_bus_does_not_take_are_not_told_as_made(
    emptied, monkeypatch, taken
):
    append, left = emptied.log.append, iter(range(taken))

    async def full(change, **given):
        if next(left, None) is None:
            raise BusUnavailable("no room")
        return await append(change, **given)

    async with emptied.running() as watch:
        monkeypatch.setattr(emptied.log, "append", full)
        holds = WatchedHolds({SOURCE: watch})
        if taken:
            assert await holds.release(SOURCE) == taken
        else:
            with pytest.raises(BusUnavailable, match="none of the removals"):
                await holds.release(SOURCE)


async def test_what_is_kept_stays_over_a_restart_until_the_files_are_back(emptied, eventually):
    async with emptied.running() as watch:
        kept = await WatchedHolds({SOURCE: watch}).keep(SOURCE)
    async with emptied.running() as watch:
        (hold,) = await WatchedHolds({SOURCE: watch}).list()
        waiting = emptied.progress.held
        (emptied.root.parent / "elsewhere").rename(emptied.root / "some")
        await watch.rescan()
        ended = watch.held is None

    assert (kept, hold.kept, waiting, ended) == (25, True, 0, True)
    assert len(emptied.held()) == 30


async def test_while_something_is_held_the_folder_is_listed_often(emptied, eventually):
    async with emptied.running() as watch:
        (emptied.root.parent / "elsewhere").rename(emptied.root / "some")
        await eventually(lambda: watch.held is None)

        assert emptied.progress.held == 0


async def test_a_vanishing_while_it_runs_is_counted_exactly(emptied, eventually):
    (emptied.root.parent / "elsewhere").rename(emptied.root / "some")
    async with emptied.running() as watch:
        (emptied.root / "some").rename(emptied.root.parent / "elsewhere")
        await eventually(lambda: watch.held)
        (emptied.root / "25.md").unlink()
        await eventually(lambda: watch.held.vanished == 26)

        assert emptied.progress.held == 26


async def test_a_folder_that_cannot_be_listed_releases_nothing_then_or_later(emptied):
    async with emptied.running() as watch:
        emptied.root.rename(emptied.root.parent / "unplugged")
        async with asyncio.timeout(120):
            with pytest.raises(SourceUnavailable):
                await WatchedHolds({SOURCE: watch}).release(SOURCE)
        (emptied.root.parent / "unplugged").rename(emptied.root)
        await watch.rescan()

        assert watch.held.vanished == 25
    assert len(emptied.held()) == 30


async def test_an_unknown_source_holds_nothing():
    holds = WatchedHolds({})

    assert list(await holds.list()) == []
    assert (await holds.release("docs"), await holds.keep("docs")) == (0, 0)


@pytest.mark.parametrize("watch", ["events", "poll"])
async def test_a_renamed_folder_is_no_removal(tmp_path, eventually, watch):
    docs = Watched(tmp_path / "docs", poll=3600.0, watch=watch)
    for n in range(30):
        docs.write(f"{'some/' if n < 25 else ''}{n:02}.md", str(n))
    async with docs.running() as running:
        (docs.root / "some").rename(docs.root / "other")
        await running.rescan()
        await eventually(lambda: "other/24.md" in docs.held() and "some/00.md" not in docs.held())
        held = running.held

    assert held is None
    assert len(docs.held()) == 30
    assert not [news for news in docs.news if news.kind == "held"]


@pytest.fixture
async def mounted(tmp_path):
    """Three documents in a folder that may be exchanged for an empty one."""
    docs = Watched(tmp_path / "docs", poll=0.05)
    for n in range(3):
        docs.write(f"{n}.md", str(n))
    await docs.once()
    return docs


def unmount(docs):
    docs.root.rename(docs.root.parent / "disk")
    docs.root.mkdir()


def mount(docs):
    docs.root.rmdir()
    (docs.root.parent / "disk").rename(docs.root)


async def test_an_empty_folder_in_place_of_the_root_is_held_however_few_there_were(
    mounted, eventually
):
    async with mounted.running() as watch:
        unmount(mounted)
        await eventually(lambda: watch.held)
        (waiting,) = await mounted.audit()
        kept = len(mounted.held())
        mount(mounted)
        await eventually(lambda: watch.held is None)

    assert (waiting.held, kept, len(mounted.held())) == (3, 3, 3)


async def test_an_exchange_while_nobody_watched_is_held_too_and_over_restarts(mounted):
    unmount(mounted)
    async with mounted.running() as watch:
        (planned,) = await mounted.audit(dry_run=True)
        first = watch.held.vanished
    async with mounted.running() as watch:
        second = watch.held.vanished
        kept = len(mounted.held())
        released = await WatchedHolds({SOURCE: watch}).release(SOURCE)

    assert (planned.held, first, second, kept, released) == (3, 3, 3, 3, 3)
    assert mounted.held() == {}


async def test_another_folder_with_most_of_the_files_is_believed(mounted):
    unmount(mounted)
    for n in range(2):
        mounted.write(f"{n}.md", str(n))
    async with mounted.running() as watch:
        held = watch.held

    assert held is None
    assert set(mounted.held()) == {"0.md", "1.md"}


async def test_a_damaged_note_of_the_root_exchanges_nothing(mounted):
    mounted.listings._values[f"{SOURCE}.root"] = b"[1"
    (mounted.root / "0.md").unlink()
    (mounted.root / "1.md").unlink()
    await mounted.once()

    assert set(mounted.held()) == {"2.md"}


async def test_a_damaged_note_of_what_waits_asks_again(emptied):
    await emptied.once()
    emptied.listings._values[f"{SOURCE}.held"] = b"{}"
    async with emptied.running() as watch:
        held = watch.held

    assert held.vanished == 25
    assert len(emptied.held()) == 30


async def test_the_thresholds_are_settings(tmp_path, eventually):
    docs = Watched(tmp_path / "docs", hold_share=0.2, hold_count=2)
    for n in range(10):
        docs.write(f"{n}.md", str(n))
    await docs.once()
    for n in range(3):
        (docs.root / f"{n}.md").unlink()
    async with docs.running() as watch:
        held = watch.held.vanished
    docs.settings = docs.settings.model_copy(update={"hold_share": 1.0})
    docs.listings._values.pop(f"{SOURCE}.held")
    await docs.once()

    assert held == 3
    assert len(docs.held()) == 7


async def test_sixty_percent_in_many_small_portions_are_held_before_they_are_gone(
    tmp_path, eventually
):
    docs = Watched(tmp_path / "docs")
    for n in range(100):
        docs.write(f"{n:02}.md", str(n))
    async with docs.running() as watch:
        for n in range(60):
            (docs.root / f"{n:02}.md").unlink()
            if n % 5 == 4:
                await eventually(lambda n=n: len(docs.held()) <= 99 - n or watch.held)
        await watch.rescan()
        held, left = watch.held, len(docs.held())

    assert left >= 50
    assert held.vanished == left - 40


async def test_another_branch_brings_its_files_and_the_old_ones_wait(tmp_path):
    docs = Watched(tmp_path / "docs")

    def check_out(branch, left):
        for n in range(30):
            (docs.root / f"{left}{n}.md").unlink(missing_ok=True)
            docs.write(f"{branch}{n}.md", f"{branch} {n}")
        docs.write("both.md", branch)

    check_out("main", "other")
    await docs.once()
    check_out("other", "main")
    async with docs.running() as watch:
        vanished, both = watch.held.vanished, docs.held()
    check_out("main", "other")
    async with docs.running() as watch:
        back = watch.held.sample[0]  # once something is held, all removals wait for the person
        released = await WatchedHolds({SOURCE: watch}).release(SOURCE)

    assert (vanished, len(both), both["both.md"]) == (30, 61, "other")
    assert (back, released) == ("other0.md", 30)
    assert docs.held() == {"both.md": "main"} | {f"main{n}.md": f"main {n}" for n in range(30)}


async def test_files_that_vanish_while_they_are_read_are_removals_like_others(
    tmp_path, eventually, monkeypatch
):
    """All were touched, so all are read; the disk goes right after they were listed.

    Without events: those of a few files would be removals of a few files.
    """
    docs = Watched(tmp_path / "docs", watch="poll", poll=3600.0)
    for n in range(30):
        docs.write(f"{n:02}.md", str(n))
    await docs.once()
    read = Folder.read

    def goes(self, path, **how):
        for n in range(30):
            (docs.root / f"{n:02}.md").unlink(missing_ok=True)
        return read(self, path, **how)

    monkeypatch.setattr(Folder, "read", goes)
    async with docs.running() as watch:
        await eventually(lambda: watch.held)
        vanished = watch.held.vanished

    assert (vanished, len(docs.held())) == (30, 30)


async def test_what_is_kept_and_what_comes_on_top(emptied, eventually):
    async with emptied.running() as watch:
        holds = WatchedHolds({SOURCE: watch})
        await holds.keep(SOURCE)
        (emptied.root / "25.md").unlink()
        await watch.rescan()
        (hold,) = await holds.list()
        (audit,) = await emptied.audit()
        released = await holds.release(SOURCE)

    assert (hold.vanished, hold.kept, audit.held, released) == (26, False, 26, 26)
    assert len(emptied.held()) == 4


async def test_what_is_held_stays_held_while_its_folder_cannot_be_listed(tmp_path, monkeypatch):
    docs = Watched(tmp_path / "docs", watch="poll", poll=3600.0)
    for n in range(40):
        docs.write(f"{'sub/' if n < 22 else ''}{n}.md", str(n))
    scandir, shut = os.scandir, []

    def closing(path):
        if str(path).endswith("/sub") and shut:
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closing)
    async with docs.running() as watch:
        for n in range(22):
            (docs.root / f"sub/{n}.md").unlink()
        for n in range(10):
            docs.write(f"new{n}.md", f"another {n}")
        await watch.rescan()  # 22 of 50 by now would need no question
        shut.append(True)
        await watch.rescan()
        (planned,) = await docs.audit(dry_run=True)
        closed = watch.held.vanished
    async with docs.running() as watch:
        restarted = watch.held.vanished
        shut.clear()
        await watch.rescan()
        open_again = watch.held.vanished

    assert (closed, planned.held, restarted, open_again) == (22, 22, 22, 22)
    assert len(docs.held()) == 50
    assert not [news for news in docs.news if "is back" in news.detail]


async def test_another_removal_in_place_of_a_kept_one_that_is_back_asks_again(tmp_path):
    docs = Watched(tmp_path / "docs", watch="poll", poll=3600.0)
    for n in range(60):
        docs.write(f"{n}.md", str(n))
    await docs.once()
    for n in range(40):
        (docs.root / f"{n}.md").unlink()
    async with docs.running() as watch:
        await watch.guard.keep()
    docs.write("0.md", "0")
    async with docs.running() as watch:
        fewer = watch.held
    (docs.root / "50.md").unlink()
    async with docs.running() as watch:
        other = watch.held

    assert (fewer.vanished, fewer.kept) == (39, True)
    assert (other.vanished, other.kept, docs.progress.held) == (40, False, 40)


@pytest.fixture
async def rejected(tmp_path):
    """A folder of 100 documents whose 59 named k are gone; a person has rejected their removal."""
    docs = Watched(tmp_path / "docs")
    for n in range(100):
        docs.write(f"{'k' if n < 59 else 'n'}{n}.md", str(n))
    await docs.once()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for n in range(59):
        (docs.root / f"k{n}.md").rename(elsewhere / f"k{n}.md")
    async with docs.running() as watch:
        assert await WatchedHolds({SOURCE: watch}).keep(SOURCE) == 59
    docs.back = lambda name: (elsewhere / name).rename(docs.root / name)
    return docs


async def test_rejected_removals_end_when_the_files_are_back_and_the_next_deletion_is_made(
    rejected, eventually
):
    async with rejected.running() as watch:
        for n in range(10, 15):
            rejected.back(f"k{n}.md")
        await eventually(lambda: watch.held and watch.held.vanished == 54)
        for n in [*range(10), *range(15, 59)]:
            rejected.back(f"k{n}.md")
        await eventually(lambda: watch.held is None)
        (rejected.root / "k8.md").unlink()
        await eventually(lambda: "k8.md" not in rejected.held())

    assert len(rejected.held()) == 99


async def test_a_file_that_came_back_after_a_rejection_and_vanishes_again_waits_for_a_decision(
    rejected, eventually
):
    rejected.settings = rejected.settings.model_copy(update={"poll": 3600.0})
    async with rejected.running() as watch:  # no listing sees the file: only its events tell
        rejected.back("k8.md")
        await eventually(lambda: watch.held and watch.held.vanished == 58)
        (rejected.root / "k8.md").unlink()
        await eventually(lambda: watch.held and watch.held.vanished == 59)

        assert (watch.held.kept, rejected.progress.held) == (False, 59)


async def test_rejected_files_that_come_back_without_events_are_noticed_by_a_listing(
    rejected, eventually, monkeypatch
):
    rejected.settings = rejected.settings.model_copy(update={"poll": 0.05})
    async with rejected.running() as watch:
        monkeypatch.setattr(watch, "_look_at", lambda paths: asyncio.sleep(0))  # as for a mount
        for n in range(59):
            rejected.back(f"k{n}.md")
        await eventually(lambda: watch.held is None)

        assert len(rejected.held()) == 100
