"""Removals of a real folder that wait, and what a person can do about them."""

import asyncio

import pytest
from watched import SOURCE, Watched

from services.producer.folder import SourceUnavailable
from services.producer.holds import FolderHolds


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
        holds = FolderHolds({SOURCE: watch})
        (hold,) = await holds.list()
        waiting = emptied.progress.held
        released = await holds.release(SOURCE)
        left = await holds.list()
        again = await holds.release(SOURCE)

    assert (hold.source, hold.vanished, hold.of, hold.kept) == (SOURCE, 25, 30, False)
    assert "some/00.md" in hold.sample
    assert (waiting, released, again) == (25, 25, 0)
    assert (list(left), emptied.progress.held, len(emptied.held())) == ([], 0, 5)


async def test_what_is_kept_stays_over_a_restart_until_the_files_are_back(emptied, eventually):
    async with emptied.running() as watch:
        kept = await FolderHolds({SOURCE: watch}).keep(SOURCE)
    async with emptied.running() as watch:
        (hold,) = await FolderHolds({SOURCE: watch}).list()
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
        async with asyncio.timeout(20):
            with pytest.raises(SourceUnavailable):
                await FolderHolds({SOURCE: watch}).release(SOURCE)
        (emptied.root.parent / "unplugged").rename(emptied.root)
        await watch.rescan()

        assert watch.held.vanished == 25
    assert len(emptied.held()) == 30


async def test_an_unknown_source_holds_nothing():
    holds = FolderHolds({})

    assert list(await holds.list()) == []
    assert (await holds.release("docs"), await holds.keep("docs")) == (0, 0)


@pytest.mark.parametrize("watch", ["events", "poll"])
async def test_a_renamed_folder_is_no_removal(tmp_path, eventually, watch):
    docs = Watched(tmp_path / "docs", poll=0.05, watch=watch)
    for n in range(30):
        docs.write(f"{'some/' if n < 25 else ''}{n:02}.md", str(n))
    async with docs.running() as running:
        (docs.root / "some").rename(docs.root / "other")
        await eventually(lambda: "other/24.md" in docs.held() and "some/00.md" not in docs.held())
        await running.rescan()
        held = running.held

    assert held is None
    assert len(docs.held()) == 30
    assert not [news for news in docs.news if news.kind == "held"]
