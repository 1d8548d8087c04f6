"""Renamed and edited files of a real folder are moves, and only what is really gone waits."""

import random
import shutil
from pathlib import Path

import pytest
from watched import SOURCE, Watched

from services.producer.removals.moves import likeness as alike
from services.producer.removals.moves import pair_alike, sketch
from shared.bus.admin.provision import provision
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.kv import KvShelf
from shared.domain.events import Batch
from shared.domain.topology import LISTINGS

WORDS = (Path(__file__).parents[3] / "README.md").read_text().split()


def text_of(n, seed=0):
    """An article of its own: some hundred words, of which others have the same in other order."""
    words = random.Random(f"{seed} {n}")
    lines = [" ".join(words.choices(WORDS, k=12)) for _ in range(words.randint(8, 40))]
    return f"# Article {n}\n\nLicence: may be read by everybody who has it.\n\n" + "\n".join(lines)


def edited(text, n):
    """One line of it is another one, and one is new."""
    lines = text.split("\n")
    lines[4 + n % (len(lines) - 4)] = f"This line of {n} was written anew."
    return "\n".join([*lines, f"And {n} has a last line."])


COUNT = 300


def tree(docs, names, seed=0):
    for n in names:
        docs.write(f"section-{n % 7}/article-{n:03}.md", text_of(n, seed))


def rename(docs, names):
    """As a version control system does: other files, in other folders, a third of them edited."""
    for n in names:
        old = docs.root / f"section-{n % 7}" / f"article-{n:03}.md"
        text = old.read_text()
        old.unlink()
        docs.write(f"chapters/{n % 5}/a-{n:03}.markdown", edited(text, n) if n % 3 == 0 else text)


def contents(docs):
    return {
        path.relative_to(docs.root).as_posix(): path.read_text()
        for path in docs.root.rglob("*.m*")
        if path.is_file()
    }


@pytest.fixture
async def docs(tmp_path):
    docs = Watched(tmp_path / "docs", poll=0.05)
    tree(docs, range(COUNT))
    await docs.once()
    return docs


def held_news(docs):
    return [news for news in docs.news if news.kind == "held"]


def waits(docs, watch, gone, *, exactly):
    """Only files that are gone wait, and DOCS has these and the folder.

    While it watches, the first of many removals are few: these are made.
    """
    held = watch.held.paths if watch.held else frozenset()
    fits = held == gone if exactly else held and held <= gone
    return fits and docs.held().keys() == contents(docs).keys() | held


async def test_most_files_renamed_and_a_third_edited_while_it_was_down_hold_nothing(docs):
    rename(docs, range(40, COUNT))
    async with docs.running() as watch:
        assert watch.held is None

    assert docs.held() == contents(docs)
    assert held_news(docs) == []


async def test_the_same_while_it_watches_ends_in_step_without_a_hold(docs, eventually):
    async with docs.running() as watch:
        rename(docs, range(40, COUNT))
        await eventually(lambda: docs.held() == contents(docs) and watch.held is None)


class Noted(JetChangeLog):
    """DOCS on a server, with a note of all that is appended."""

    def __init__(self, js):
        super().__init__(js)
        self.appended = []

    async def append(self, change, *, expect, message_id):
        sequence = await super().append(change, expect=expect, message_id=message_id)
        self.appended.append(change)
        return sequence


@pytest.mark.nats
@pytest.mark.parametrize("while_watched", [False, True])
async def test_on_a_server_the_same_is_true_and_large_texts_are_compared(
    js, tmp_path, eventually, while_watched
):
    await provision(js, generation="g1")
    docs = Watched(tmp_path / "docs", poll=0.05)
    docs.log, docs.listings = Noted(js), KvShelf(js, LISTINGS.name)
    tree(docs, range(COUNT))
    for n in range(3):
        docs.write(f"section-{n}/article-{n:03}.md", text_of(n) * 200)
    await docs.once()
    gone = {f"section-{n % 7}/article-{n:03}.md" for n in range(100, COUNT)}

    def change():
        rename(docs, range(100))
        for path in gone:
            (docs.root / path).unlink()

    if not while_watched:
        change()
    async with docs.running() as watch:
        if while_watched:
            change()
        await eventually(lambda: waits(docs, watch, gone, exactly=not while_watched))
        for n in range(100, COUNT):
            docs.write(f"late/a-{n:03}.md", edited(text_of(n), n))
        await eventually(lambda: watch.held is None and docs.held() == contents(docs))


async def test_files_that_appear_after_a_hold_was_noted_end_it(docs, tmp_path, eventually):
    shutil.copytree(docs.root, tmp_path / "elsewhere")
    for n in range(40, COUNT):
        (docs.root / f"section-{n % 7}" / f"article-{n:03}.md").unlink()
    async with docs.running() as watch:
        noted = watch.held.vanished
        for n in range(40, COUNT):
            text = text_of(n)
            docs.write(f"chapters/a-{n:03}.md", edited(text, n) if n % 3 == 0 else text)
        await eventually(lambda: watch.held is None and docs.held() == contents(docs))

    assert noted == COUNT - 40


async def test_a_hold_of_an_earlier_process_ends_when_the_files_are_found_elsewhere(docs):
    for n in range(40, COUNT):
        (docs.root / f"section-{n % 7}" / f"article-{n:03}.md").unlink()
    await docs.once()
    for n in range(40, COUNT):
        docs.write(f"chapters/a-{n:03}.md", edited(text_of(n), n))
    async with docs.running() as watch:
        assert watch.held is None

    assert docs.held() == contents(docs)


@pytest.mark.parametrize("while_watched", [False, True])
async def test_of_files_that_are_renamed_and_gone_those_that_are_gone_wait(
    docs, eventually, while_watched
):
    gone = {f"section-{n % 7}/article-{n:03}.md" for n in range(0, 200)}

    def change():
        rename(docs, range(200, COUNT))
        for path in gone:
            (docs.root / path).unlink()

    if not while_watched:
        change()
    async with docs.running() as watch:
        if while_watched:
            change()
        await eventually(lambda: waits(docs, watch, gone, exactly=not while_watched))


async def test_a_few_that_are_gone_beside_many_moves_go_without_a_question(docs):
    rename(docs, range(10, COUNT))
    for n in range(10):
        (docs.root / f"section-{n % 7}" / f"article-{n:03}.md").unlink()
    async with docs.running() as watch:
        assert watch.held is None

    assert docs.held() == contents(docs)


async def test_moves_make_no_later_removal_suspect(docs):
    async with docs.running() as watch:
        rename(docs, range(COUNT))
        await watch.rescan()
        for path in sorted(contents(docs))[:30]:
            (docs.root / path).unlink()
        await watch.rescan()

        assert watch.held is None
    assert docs.held() == contents(docs)


async def test_a_wiped_folder_with_other_files_waits_for_a_decision(docs):
    """The others have the same template, licence and words."""
    shutil.rmtree(docs.root / "section-1")
    for n in range(7):
        shutil.rmtree(docs.root / f"section-{n}", ignore_errors=True)
    tree(docs, range(1000, 1000 + COUNT), seed=1)
    async with docs.running() as watch:
        assert watch.held.vanished == COUNT

    assert len(docs.held()) == 2 * COUNT


async def test_one_new_file_stands_for_one_document_however_often_it_is_asked(tmp_path):
    docs = Watched(tmp_path / "docs", poll=0.02, hold_count=1, hold_share=0.01)
    tree(docs, range(10))
    for n in range(3):
        docs.write(f"old/{n}.md", f"{text_of(99)}\nnumber {n}\n")
    await docs.once()
    shutil.rmtree(docs.root / "old")
    docs.write("new.md", text_of(99))
    async with docs.running() as watch:
        for _ in range(5):
            await watch.rescan()

        assert watch.held.vanished == 2
    assert len(docs.held()) == 13


async def test_what_waits_because_the_root_was_exchanged_waits_on_though_some_are_found(tmp_path):
    docs = Watched(tmp_path / "docs", poll=0.05)
    for n in range(5):
        docs.write(f"{n}.md", text_of(n))
    await docs.once()
    docs.root.rename(tmp_path / "disk")
    docs.root.mkdir()
    async with docs.running() as watch:
        first = watch.held.vanished
        for n in range(3):
            docs.write(f"other/{n}.md", edited(text_of(n), n))
        await watch.rescan()
        await watch.rescan()
        then = watch.held.vanished
    async with docs.running() as watch:
        after = watch.held.vanished

    assert (first, then, after) == (5, 2, 2)


async def test_a_document_that_was_removed_another_way_leaves_the_hold(docs):
    for n in range(40, COUNT):
        (docs.root / f"section-{n % 7}" / f"article-{n:03}.md").unlink()
    async with docs.running() as watch:
        held = sorted(watch.held.paths)
    accept, now = docs.build()._sync.accept, docs.build()._sync.now
    batch = Batch(id="b", count=1, source=SOURCE, started_at=now())
    for path in held[:100]:
        await accept(path, _nothing, batch, known=True)
    async with docs.running() as watch:
        assert sorted(watch.held.paths) == held[100:]
    for path in held[100:]:
        await accept(path, _nothing, batch, known=True)
    async with docs.running() as watch:
        assert watch.held is None

    assert docs.held() == contents(docs)


async def test_a_rejected_hold_stays_though_the_content_is_elsewhere(docs):
    for n in range(40, COUNT):
        (docs.root / f"section-{n % 7}" / f"article-{n:03}.md").unlink()
    async with docs.running() as watch:
        await watch.guard.keep()
        for n in range(40, COUNT):
            docs.write(f"chapters/a-{n:03}.md", text_of(n))
        await watch.rescan()

        assert (watch.held.kept, watch.held.vanished) == (True, COUNT - 40)


async def _nothing():
    pass


def test_pairs_of_a_whole_corpus_are_the_right_ones():
    old = {f"{n}": sketch(text_of(n).encode()) for n in range(200)}
    new = {f"{n}": sketch(edited(text_of(n), n).encode()) for n in range(100, 300)}
    pairs = pair_alike(old, new)

    assert pairs == {f"{n}": f"{n}" for n in range(100, 200)}
    assert alike(old["1"], old["1"]) == 1.0
    assert alike(old["1"], sketch(b"")) == alike(sketch(b""), sketch(b"")) == 0.0
