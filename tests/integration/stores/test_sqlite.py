"""The SQLite store where it meets the machine: other processes, kills, lost and damaged files."""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from other_words import make_words_otherwise

from shared.domain.errors import FilterNotReady, QuestionRefused, StoreMismatch, StoreUnavailable
from shared.domain.filters.where import IsBetween, IsOneOf
from shared.domain.ids import bucket_of, doc_key, row_id
from shared.ports import Filter, Probe, Row, Vector
from shared.stores.sqlite import file as sqlite_file
from shared.stores.sqlite import store as sqlite_store
from shared.stores.sqlite.store import SqliteStore

DIMENSIONS = 16
EVERYWHERE = Filter()

pytestmark = pytest.mark.stores

Open = Callable[..., Awaitable[SqliteStore]]

WRITER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from shared.ports import Row
from shared.stores.sqlite.store import SqliteStore

async def main(folder):
    store = await SqliteStore.open(Path(folder), table="chunks", dimensions=16)
    for n in range(100_000):
        ids = [f"row-{8 * n + m:06}" for m in range(8)]
        await store.upsert([
            Row(key, "doc", "notes", "a.md", 1, "c", "", (), "a text", {}, np.ones(16, np.float32))
            for key in ids
        ])
        if n % 3 == 2:
            await store.delete([ids[0]])
            print("gone", ids.pop(0), flush=True)
        print("done", *ids, flush=True)

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
async def open_store(tmp_path) -> AsyncIterator[Open]:
    opened: list[SqliteStore] = []

    async def open_store(table: str = "chunks", dimensions: int = DIMENSIONS) -> SqliteStore:
        opened.append(
            await SqliteStore.open(tmp_path / "store", table=table, dimensions=dimensions)
        )
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "store" / "chunks.sqlite3"


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def row(n: int, **changes) -> Row:
    key = doc_key("notes", f"{n}.md")
    plain = Row(
        id=row_id(key, f"{n:064}", 1),
        doc_key=key,
        source="notes",
        path=f"{n}.md",
        born=1,
        chunk_key=f"{n:064}",
        title="A title",
        heading=("One",),
        text=f"text number{n}",
        metadata={"n": n},
        vector=unit(n),
    )
    return replace(plain, **changes)


def altered(path: Path, statement: str, *values) -> None:
    """Alter the file as another program does."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount


async def near(store: SqliteStore, n: int) -> list[str]:
    return [hit.id for hit in await store.search(unit(n), limit=1, where=EVERYWHERE)]


async def found(store: SqliteStore, question: str) -> list[str]:
    return [hit.id for hit in await store.search_text(question, limit=50, where=EVERYWHERE)]


# -- other processes -------------------------------------------------------------------------------


async def test_what_another_handle_has_written_or_deleted_shows_in_the_next_search(open_store):
    one, other = await open_store(), await open_store()
    rows = [row(n) for n in range(40)]
    for each in rows:
        await one.upsert([each])
        assert await near(other, int(each.path[:-3])) == [each.id]
        assert (await found(other, each.text.split()[1]))[0] == each.id
    for each in rows[::2]:
        await other.delete([each.id])
        assert await near(one, int(each.path[:-3])) != [each.id]
        assert await one.unsearchable([Probe(each.id, each.vector)]) == {each.id}

    assert await one.count() == await other.count() == 20


async def test_a_reader_that_missed_forgotten_deletions_reads_all_codes_anew(
    open_store, monkeypatch
):
    monkeypatch.setattr(sqlite_store, "LOOK_S", 0.0)
    monkeypatch.setattr(sqlite_store, "KEPT_DELETIONS", 5)
    one, other = await open_store(), await open_store()
    rows = [row(n) for n in range(60)]
    await one.upsert(rows)
    assert await near(other, 7) == [rows[7].id]
    await one.delete([each.id for each in rows[:50]])
    await one.maintain()

    hits = await other.search(unit(7), limit=60, where=EVERYWHERE)

    assert {hit.id for hit in hits} == {each.id for each in rows[50:]}
    await one.upsert([row(99)])
    assert await near(other, 99) == [row(99).id]


async def test_handles_of_one_file_that_race_make_no_row_twice(open_store):
    stores = [await open_store() for _ in range(3)]
    rows = [row(n) for n in range(40)]
    await asyncio.gather(*(s.upsert(random.sample(rows, 40)) for s in stores for _ in range(3)))

    assert [await s.count() for s in stores] == [40] * 3
    assert len(await found(stores[0], "text")) == 40


@pytest.mark.slow
async def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(open_store, tmp_path):
    told: set[str] = set()
    gone: set[str] = set()
    for n in range(3):
        writer = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-c", WRITER, str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert writer.stdout is not None
        lines = [await asyncio.to_thread(writer.stdout.readline) for _ in range(3 + 4 * n)]
        writer.send_signal(signal.SIGKILL)
        lines += await asyncio.to_thread(writer.stdout.readlines)
        writer.communicate()
        for word, *ids in (line.split() for line in lines if line.endswith("\n")):
            {"done": told, "gone": gone}[word].update(ids)
            {"done": gone, "gone": told}[word].difference_update(ids)

    store = await open_store()
    held = (await store.ids({"doc": 1}))["doc"]

    assert (store.created, store.rebuilt) == (False, False)
    assert told
    assert told <= held
    assert await store.count() == len(held)
    assert await store.unsearchable([Probe(key) for key in told]) == frozenset()


async def test_a_writer_that_waits_too_long_for_another_says_so_and_can_try_again(
    open_store, path, monkeypatch
):
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.01)
    store = await open_store()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another process"):
            await store.upsert([row(1)])
        assert await found(store, "text") == []
        other.execute("ROLLBACK")
    await store.upsert([row(1)])

    assert await found(store, "text") == [row(1).id]


async def test_a_full_disk_keeps_what_is_there_and_the_next_write_goes_on(open_store, path):
    store = await open_store()
    await store.upsert([row(1)])
    writer = store._file._now.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailable, match="no room") as raised:
        await store.upsert([row(n, text="secret " * 500) for n in range(2, 40)])

    assert "secret" not in str(raised.value)
    assert await found(store, "text") == [row(1).id]
    writer.execute("PRAGMA max_page_count = 1000000")
    await store.upsert([row(2)])
    assert await store.count() == 2


# -- the file --------------------------------------------------------------------------------------


async def test_a_file_opened_again_holds_its_rows_and_is_private(open_store, path):
    store = await open_store()
    await store.upsert([row(n) for n in range(10)])
    modes = {part.name: part.stat().st_mode & 0o777 for part in path.parent.iterdir()}
    await store.close()

    again = await open_store()

    assert (store.created, again.created, again.rebuilt) == (True, False, False)
    assert await again.incarnation() == await again.incarnation()
    assert len(await found(again, "text")) == 10
    assert set(modes.values()) == {0o600}
    assert {path.name, f"{path.name}-wal"} <= modes.keys()
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_another_number_of_dimensions_is_refused_and_nothing_is_lost(open_store):
    await (await open_store()).upsert([row(1)])

    with pytest.raises(StoreMismatch, match=f"of {DIMENSIONS} dimensions"):
        await open_store(dimensions=DIMENSIONS + 1)

    assert await (await open_store()).count() == 1


async def test_a_file_that_instep_did_not_make_is_refused_and_left_alone(open_store, path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE rows (id TEXT)")
    before = path.read_bytes()

    with pytest.raises(StoreMismatch, match=r"move it away"):
        await open_store()

    assert path.read_bytes() == before


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def fill(path: Path, start: int, end: int) -> None:
    with path.open("r+b") as opened:
        opened.seek(start)
        opened.write(b"\xa5" * (end - start))


DAMAGE = {
    "empty": lambda path: os.truncate(path, 0),
    "torn": halve,
    "no header": lambda path: fill(path, 0, 512),
    "no tables": lambda path: fill(path, 200, 4096),
    "all but the header": lambda path: fill(path, 4096, path.stat().st_size),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_damaged_file_is_put_aside_and_made_anew(open_store, path, damage):
    for attempt in (1, 2):
        store = await open_store()
        await store.upsert([row(n) for n in range(200)])
        await store.close()
        damage(path)

        fresh = await open_store()

        assert (fresh.created, fresh.rebuilt) == (False, True)
        assert await fresh.count() == 0
        assert path.with_name(f"chunks.broken-{attempt}").is_file()
        await fresh.upsert([row(1)])
        assert await near(fresh, 1) == [row(1).id]
        await fresh.close()


async def test_a_file_of_another_version_is_put_aside(open_store, path):
    store = await open_store()
    await store.upsert([row(1)])
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    assert (await open_store()).rebuilt
    assert path.with_name("chunks.broken-1").is_file()


async def test_a_copy_that_is_put_back_is_another_making_and_has_its_rows(open_store, path):
    store = await open_store()
    await store.upsert([row(1)])
    before = await store.incarnation()
    await store.close()
    shutil.copytree(path.parent, path.parent.with_name("copied"))
    path.parent.rename(path.parent.with_name("gone"))
    path.parent.with_name("copied").rename(path.parent)

    store = await open_store()

    assert await store.incarnation() != before
    assert await store.count() == 1


async def test_a_file_that_is_damaged_while_it_is_open_is_made_anew(open_store, path):
    one, other = await open_store(), await open_store()
    await one.upsert([row(n) for n in range(200)])
    before = await one.incarnation()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(path, 4096, path.stat().st_size)
    for store in (one, other):
        with pytest.raises(StoreUnavailable, match="damaged"):
            await (await fresh_reader(store)).digests()

    after = await one.incarnation()

    assert after != before
    assert await one.count() == 0
    await one.upsert([row(1)])
    assert await other.incarnation() == after  # though it has seen the damage, too
    assert await other.count() == 1
    assert await near(other, 1) == [row(1).id]


async def fresh_reader(store: SqliteStore) -> SqliteStore:
    """The store without what its readers have in their caches."""
    now = store._file._now
    while not now.readers.empty():
        now.readers.get_nowait().close()
    return store


LOST = {
    "folder": lambda path: shutil.rmtree(path.parent),
    "file": lambda path: path.unlink(),
    "file and logs": lambda path: [part.unlink() for part in path.parent.glob("chunks.sqlite3*")],
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST.keys())
async def test_a_deleted_file_is_made_anew_for_all_who_have_it_open(open_store, path, lose):
    one, other = await open_store(), await open_store()
    await one.upsert([row(1)])
    assert await near(other, 1) == [row(1).id]
    before = {await one.incarnation(), await other.incarnation()}
    lose(path)
    for call in (
        lambda: one.upsert([row(2)]),
        lambda: one.delete([row(1).id]),
        lambda: one.ids({"doc": 1}),
        lambda: one.unsearchable([Probe(row(1).id, unit(1))]),
        lambda: other.search(unit(1), limit=1, where=EVERYWHERE),
        lambda: other.search_text("text", limit=1, where=EVERYWHERE),
        other.count,
        other.digests,
    ):
        with pytest.raises(StoreUnavailable, match="deleted"):
            await call()

    after = {await one.incarnation()}
    await one.upsert([row(n) for n in range(2, 100)])  # before the other has closed the old one
    assert await other.count() == 98
    after.add(await other.incarnation())
    await other.upsert([row(100)])

    assert len(before) == len(after) == 1
    assert before != after
    assert await near(one, 100) == [row(100).id]
    assert sum(digest.rows for digest in (await one.digests()).values()) == 99
    await other.close()
    await one.close()
    again = await open_store()
    assert await again.count() == 99
    assert not again.rebuilt


# -- the content -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", "a text."),
        ("title", "a title"),
        ("path", "b.md"),
        ("source", "other"),
        ("metadata", '{"n": 1}'),
        ("metadata", "no JSON"),
        ("heading", '["Two"]'),
        ("heading", "no JSON"),
        ("chunk_key", "d"),
        ("born", 2**40),
        ("born", "no number"),
        ("text", b"\xff\xfe"),
        ("words", "other words"),
        ("terms", "klang:en"),
        ("seal", 7),
        ("marks", b""),
        ("marks", bytes(20)),
    ],
)
async def test_a_row_altered_behind_the_store_is_found_and_no_other(
    open_store, path, column, value
):
    store = await open_store()
    rows = [row(n) for n in range(12)]
    await store.upsert(rows)
    altered(path, f"UPDATE rows SET {column} = ? WHERE id = ?", value, rows[4].id)

    assert await damaged(store) == {rows[4].id}


@pytest.mark.parametrize("table", ["vectors", "held"])
@pytest.mark.parametrize("value", [b"", bytes(4 * DIMENSIONS), unit(99).tobytes(), b"a" * 16])
async def test_an_altered_vector_is_found_and_no_other(open_store, path, table, value):
    store = await open_store()
    rows = [row(n) for n in range(12)]
    await store.upsert(rows)
    column = {"vectors": "vector", "held": "code"}[table]
    n = "(SELECT n FROM rows WHERE id = ?)"
    altered(path, f"UPDATE {table} SET {column} = ? WHERE n = {n}", value, rows[4].id)

    assert await damaged(store) == {rows[4].id}
    altered(path, f"DELETE FROM {table} WHERE n = {n}", rows[4].id)
    assert await damaged(store) == {rows[4].id}
    await store.delete([rows[4].id])
    await store.upsert([rows[4]])
    assert await damaged(store) == set()
    assert await store.unsearchable([Probe(each.id, each.vector) for each in rows]) == frozenset()


NAN = np.full(DIMENSIONS, np.nan, "<f4").tobytes()


@pytest.mark.parametrize(
    "change",
    [
        *(f"rows SET {name} = CAST(x'ff41' AS TEXT)" for name in ("text", "title", "metadata")),
        *(f"rows SET {name} = CAST(x'ff41' AS TEXT)" for name in ("heading", "words", "terms")),
        "rows SET born = 9e999",
        f"rows SET heading = '{'[' * 100_000}'",
        *(f"held SET length = {value}" for value in ("'many'", "x'ff'", "-7", "9e999")),
        f"vectors SET vector = '{'é' * 4 * DIMENSIONS}'",
        f"vectors SET vector = x'{NAN.hex()}'",
    ],
)
async def test_one_altered_value_is_found_and_spoils_neither_searches_nor_opening(
    open_store, path, change
):
    rows = [row(n) for n in range(12)]
    await (await open_store()).upsert(rows)
    altered(path, f"UPDATE {change} WHERE n = (SELECT n FROM rows WHERE id = ?)", rows[4].id)

    store = await open_store()

    assert await damaged(store) == {rows[4].id}
    for n in set(range(12)) - {4}:
        assert await near(store, n) == [rows[n].id]
        assert rows[n].id in await found(store, f"number{n}")
    assert len(await store.rows([each.id for each in rows])) == 12


async def damaged(store: SqliteStore) -> set[str]:
    held = await store.holdings(list(await store.digests()))
    return set().union(*(holding.damaged for holding in held.values()))


async def test_the_next_version_of_words_finds_every_row_and_damages_none(
    open_store, path, monkeypatch
):
    monkeypatch.setattr(sqlite_store, "LOOK_S", 0.0)
    rows = [row(n, text=f"rotating lamp{chr(97 + n)}") for n in range(5)]
    store = await open_store()
    await store.upsert(rows)
    altered(path, "UPDATE rows SET title = 'altered' WHERE id = ?", rows[4].id)
    before = await store.digests()
    make_words_otherwise(monkeypatch)
    newer = await open_store()
    assert await newer.digests() == before
    assert await found(newer, "rotate") == []
    from_3 = Filter(where=IsBetween("n", "number", 3.0, None))
    with pytest.raises(FilterNotReady):
        await newer.search(unit(0), limit=9, where=from_3)

    await newer.maintain()

    assert sorted(await found(newer, "rotate")) == sorted(one.id for one in rows[:4])
    assert len(await newer.search(unit(0), limit=9, where=from_3)) == 2
    assert await newer.digests() == before
    bucket = bucket_of(rows[4].doc_key)
    assert (await newer.holdings([bucket]))[rows[4].doc_key].damaged == {rows[4].id}


async def test_capitals_of_words_and_values_are_told_apart(open_store):
    store = await open_store()
    texts = ["IT department", "^it^ department", "the it girl"]
    await store.upsert(
        [row(n, text=text, metadata={"k": f"It{n}"}) for n, text in enumerate(texts)]
    )

    assert (await found(store, "IT"))[0] == row(0).id
    for asked, expected in (("It1", 1), ("it1", 0), ("^it1", 0)):
        where = Filter(where=IsOneOf("k", "keyword", (asked,)))
        assert len(await store.search(unit(1), limit=9, where=where)) == expected


async def test_keyword_scores_are_those_of_a_first_build_whatever_the_history(
    open_store, monkeypatch
):
    monkeypatch.setattr(sqlite_store, "LOOK_S", 0.0)
    chance = random.Random(7)

    def text() -> str:
        return " ".join(f"term{chr(97 + chance.randint(0, 25))}" for _ in range(30))

    edited, first = await open_store("edited"), await open_store("first")
    rows = {n: row(n, text=text()) for n in range(60)}
    await edited.upsert(list(rows.values()))
    for n in range(60, 90):
        await edited.delete([rows.pop(chance.choice(list(rows))).id])
        rows[n] = row(n, text=text())
        await edited.upsert([rows[n]])
        await edited.maintain()
    await first.upsert(list(rows.values()))

    for question in ("terma termb", "termc", "termd terme termf"):
        one, other = [
            await store.search_text(question, limit=100, where=EVERYWHERE)
            for store in (edited, first)
        ]
        assert one == other


async def test_a_word_that_most_rows_have_is_found_and_changes_no_other_order(open_store):
    store = await open_store()
    texts = ["stone river lantern", "river lantern"] + [f"river filler{n}" for n in range(30)]
    await store.upsert([row(n, text=text, title="") for n, text in enumerate(texts)])

    assert len(await found(store, "river")) == 32
    assert (await found(store, "river lantern stone"))[:2] == [row(0).id, row(1).id]
    assert len(await found(store, "river lantern")) == 32
    hits = await store.search_text("river lantern", limit=2, where=EVERYWHERE)
    assert {hit.id for hit in hits} == {row(0).id, row(1).id}


ODD = (
    'a "quoted" \\ back',
    "tab\tnew\nline\r",
    "nul\0in",
    "\x01\x1b\x7f",
    "😀 漢字 é",
    "]}'); --",
    "",
)


async def test_every_character_of_a_row_comes_back_and_a_long_list_in_parts(
    open_store, monkeypatch
):
    monkeypatch.setattr(sqlite_store, "ROWS_PER_ANSWER", 4)
    store = await open_store()
    rows = [
        row(n, text=f"word {odd}", title=odd, heading=(odd, "two"), metadata={"odd": odd})
        for n, odd in enumerate(ODD * 3)
    ]
    await store.upsert(rows)
    wanted = {each.id: (each.text, each.title, each.heading, dict(each.metadata)) for each in rows}

    by_vector = await store.search(unit(1), limit=50, where=EVERYWHERE)
    by_word = await store.search_text("word", limit=50, where=EVERYWHERE)
    by_id = (await store.rows([each.id for each in rows])).values()

    for hits in (by_vector, by_word, by_id):
        assert {h.id: (h.text, h.title, h.heading, dict(h.metadata)) for h in hits} == wanted
    assert [h.score for h in by_vector] == sorted((h.score for h in by_vector), reverse=True)


async def test_a_row_that_was_altered_to_bytes_keeps_no_search_from_its_answer(open_store, path):
    store = await open_store()
    await store.upsert([row(n) for n in range(3)])
    for column in ("text", "title", "heading", "metadata", "born"):
        altered(path, f"UPDATE rows SET {column} = ? WHERE id = ?", b"\xff\xfe", row(1).id)

    found_now = await store.search(unit(0), limit=9, where=EVERYWHERE)

    assert {row(0).id, row(2).id} <= {hit.id for hit in found_now}


async def test_a_question_that_sqlite_cannot_take_is_refused_without_its_text(
    open_store, monkeypatch
):
    store = await open_store()
    monkeypatch.setattr(sqlite_store.sqlite_rows, "marked", lambda word: f"{word}\ud800")

    with pytest.raises(QuestionRefused) as raised:
        await store.search_text("secret", limit=5, where=EVERYWHERE)

    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


async def test_a_question_of_thousands_of_words_is_answered(open_store):
    store = await open_store()
    await store.upsert([row(n) for n in range(20)])

    assert await found(store, " ".join(f"number{n}" for n in range(5, 5000)))
    where = Filter(where=IsOneOf("n", "number", tuple(map(str, range(19, 5000)))))
    assert isinstance(await store.search(unit(1), limit=9, where=where), list)


@contextlib.contextmanager
def readers(path, *, overlap):
    """Two that read by turns, at least one at each moment; or one that never ends."""
    ended = threading.Event()

    def read():
        both = [sqlite3.connect(path, isolation_level=None) for _ in range(2)]
        for turn in itertools.count():
            now, before = both[turn % 2], both[(turn + 1) % 2]
            now.execute("BEGIN")
            now.execute("SELECT count(*) FROM rows").fetchone()
            began.set()
            if ended.wait(0.005 if overlap else None):
                break
            if before.in_transaction:
                before.execute("COMMIT")
        for connection in both:
            connection.close()

    began, thread = threading.Event(), threading.Thread(target=read)
    thread.start()
    assert began.wait(10)
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("overlap", [True, False], ids=["searches", "one long look"])
async def test_the_log_of_writes_stays_short_while_somebody_always_reads(
    open_store, path, monkeypatch, overlap
):
    monkeypatch.setattr(sqlite_file, "LOG_BYTES", 100_000)
    monkeypatch.setattr(sqlite_store, "LOOK_S", 0.0)
    store = await open_store()
    log_file = path.with_name(f"{path.name}-wal")
    await store.upsert([row(n) for n in range(100)])

    with readers(path, overlap=overlap):
        await store.upsert([row(n) for n in range(100, 700)])
        before = log_file.stat().st_size
        for n in range(700, 720):
            await store.upsert([row(n)])
            await store.maintain()
        after = log_file.stat().st_size
    await store.maintain()

    assert before > 100_000
    assert (after <= 100_000) is overlap
    assert await store.count() == 720
