"""LanceDB where it meets the machine: other processes, kills, torn files, the index."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import FTS
from other_words import make_words_otherwise
from structlog.testing import capture_logs

from shared.domain.errors import FilterNotReady, StoreMismatch, StoreUnavailable
from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.where import IsBetween, IsOneOf
from shared.domain.ids import bucket_of, doc_key, mark_of, row_id
from shared.ports import Digest, Filter, Probe, Row, Vector
from shared.stores import checks, seal
from shared.stores.lance import rows as lance_rows
from shared.stores.lance import store as lance
from shared.stores.lance import sweep as lance_sweep
from shared.stores.lance import table as lance_upkeep
from shared.stores.lance import words as lance_words
from shared.stores.lance.store import LanceStore
from shared.stores.lance.table import MARK

DIMENSIONS = 16
KILLS = 4
EVERYWHERE = Filter()
FROM_8 = Filter(where=IsBetween("n", "number", 8.0, None))

Open = Callable[..., Awaitable[LanceStore]]
Alter = Callable[[pa.Schema], Iterable[pa.Field]]

WRITER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from shared.ports import Row
from shared.stores.lance.store import LanceStore

async def main(folder, start, step, batches):
    store = await LanceStore.open(Path(folder), table="chunks", dimensions=16)
    print("open", flush=True)
    sys.stdin.readline()
    for n in range(int(batches)):
        rows = [
            Row(f"row-{int(start) + int(step) * n + m:06}", "doc", "notes", "a.md", 1, "c", "", (),
                "a text", {}, np.ones(16, np.float32))
            for m in range(8)
        ]
        await store.upsert(rows)
        if n % 3 == 2:
            await store.delete([rows[0].id])
            print("gone", rows[0].id, flush=True)
            rows = rows[1:]
        print("done", *(row.id for row in rows), flush=True)
        if n % 7 == 6:
            await store.compact()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def open_store(tmp_path) -> AsyncIterator[Open]:
    opened: list[LanceStore] = []

    async def open_store(**options) -> LanceStore:
        arguments = {"table": "chunks", "dimensions": DIMENSIONS} | options
        opened.append(await LanceStore.open(tmp_path, **arguments))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def row(n: int, text: str = "a text") -> Row:
    return Row(f"row-{n:06}", f"doc-{n % 9}", "notes", f"{n}.md", 1, "c", "", (), text, {}, unit(n))


def counted(one: Row) -> Row:
    """The row with an id that digests count."""
    return replace(one, id=row_id(one.doc_key, one.path, one.born))


def start_writer(folder: Path, *, start: int, step: int, batches: int) -> subprocess.Popen[str]:
    """A process that writes 8 rows a batch and says which it was told are written."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(start), str(step), str(batches)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


def note(line: str, told: set[str], gone: set[str]) -> None:
    """Keep what a writer said; the last line of a killed one may be torn, and says nothing."""
    if line.endswith("\n"):
        word, *ids = line.split()
        {"done": told, "gone": gone}[word].update(ids)


def release(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    writer.stdin.write("go\n")
    writer.stdin.flush()


# -- other processes -------------------------------------------------------------------------------


@pytest.mark.slow
async def test_two_processes_that_write_the_same_new_rows_make_each_once(open_store, tmp_path):
    store = await open_store()
    await store.upsert([row(999_999)])
    writers = [start_writer(tmp_path, start=0, step=8, batches=2) for _ in range(2)]
    for writer in writers:
        release(writer)
    ends = [await asyncio.to_thread(writer.communicate) for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0], ends
    assert await store.count() == 17
    assert len((await store.ids({"doc": 1}))["doc"]) == 16


async def test_handles_of_one_table_that_race_make_no_row_twice(open_store):
    stores = [await open_store() for _ in range(3)]
    rows = [row(n) for n in range(40)]
    for start in range(0, 40, 10):
        await asyncio.gather(
            *(s.upsert(rows[start : start + 10]) for s in stores for _ in range(2))
        )

    assert [await s.count() for s in stores] == [40] * 3


@pytest.mark.slow
async def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(open_store, tmp_path):
    store = await open_store()
    told: set[str] = set()
    gone: set[str] = set()
    writers = [
        start_writer(tmp_path, start=10_000 * n, step=8, batches=10_000) for n in range(KILLS)
    ]
    for n, writer in enumerate(writers):
        release(writer)
        assert writer.stdout is not None
        for _ in range(3 + 4 * n):
            note(await asyncio.to_thread(writer.stdout.readline), told, gone)
        writer.send_signal(signal.SIGKILL)
        for line in await asyncio.to_thread(writer.stdout.readlines):
            note(line, told, gone)
        writer.communicate()
    await store.close()

    again = await open_store()
    held = (await again.ids({"doc": 1}))["doc"]

    assert not again.created
    assert not again.rebuilt
    assert told
    assert told <= held
    assert not gone & held
    assert await again.count() == len(held)
    assert await again.unsearchable([Probe(key) for key in told]) == frozenset()


# -- opening ---------------------------------------------------------------------------------------


async def test_a_table_opened_again_holds_its_rows(open_store):
    store = await open_store()
    await store.upsert([row(n) for n in range(10)])
    await store.close()

    again = await open_store()

    assert (store.created, again.created, again.rebuilt) == (True, False, False)
    assert await again.count() == 10
    assert len(await again.search_text("text", limit=20, where=EVERYWHERE)) == 10


@pytest.mark.parametrize("indexed", [False, True])
async def test_another_number_of_dimensions_is_refused_and_nothing_is_lost(open_store, indexed):
    store = await open_store(index_from=10)
    await store.upsert([row(n) for n in range(300)])
    if indexed:
        await store._index()

    with pytest.raises(StoreMismatch, match="vector"):
        await open_store(dimensions=DIMENSIONS + 1)

    assert await (await open_store()).count() == 300


def unsealed(schema: pa.Schema) -> pa.Schema:
    """The columns as the version before seals made them."""
    return pa.schema([field for field in schema if field.name not in {"seal", "marks"}])


async def test_a_table_of_a_version_without_seals_is_put_aside_and_made_anew(open_store, tmp_path):
    store = await open_store()
    schema = unsealed(await (await store._table.now()).schema())
    connection = await lancedb.connect_async(tmp_path)
    await connection.create_table("older", schema=schema)

    fresh = await open_store(table="older")

    assert (fresh.created, fresh.rebuilt) == (False, True)
    assert (tmp_path / "older.broken-1").is_dir()
    await fresh.upsert([row(1)])
    assert sum(digest.rows for digest in (await fresh.digests()).values()) == 1

    again = await open_store(table="older")

    assert (again.created, again.rebuilt) == (False, False)
    assert await again.count() == 1


async def make_table_without_words(folder: Path, rows: Sequence[Row]) -> None:
    """A table as the version before words made it, after its first compaction."""
    connection = await lancedb.connect_async(folder)
    table = await connection.create_table("chunks", schema=lance_rows.schema(DIMENSIONS))
    english = FTS(stem=True, remove_stop_words=True, ascii_folding=True, with_position=False)
    await table.create_index("words", config=english)
    data = lance_rows.to_arrow(rows, DIMENSIONS)
    texts = ["\n".join((one.title, *one.heading, one.text)) for one in rows]
    seals = [seal.seal_of(one) for one in rows]
    for name, values in {"words": texts, "seal": seals}.items():
        at = data.schema.get_field_index(name)
        data = data.set_column(at, data.schema.field(name), [values])
    await table.add(data)
    await table.optimize()


async def found(store: LanceStore, question: str) -> list[str]:
    return [hit.id for hit in await store.search_text(question, limit=9, where=EVERYWHERE)]


async def test_a_table_of_a_version_without_words_gets_them_and_answers_meanwhile(
    open_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(lance_sweep, "PAGE", 4)
    monkeypatch.setattr(checks, "TOLD_EVERY", 4)
    rows = [counted(row(n, text=f"maxPayload number{n} {'f' * n * 10}")) for n in range(10)]
    await make_table_without_words(tmp_path, rows)
    store = await open_store()
    sound = await store.digests()
    assert (store.created, store.rebuilt) == (False, False)
    assert await found(store, "number3") == [rows[3].id]
    assert await found(store, "payload") == await found(store, "f" * 90) == []
    await store.upsert([row(10, text="maxPayload fresh")])
    assert rows[3].id in await found(store, "number3 numbers")

    with capture_logs() as said:
        await store.maintain()

    told = [line["reason"] for line in said if line["event"] == "words_written"]
    assert [text.split(":")[-1].split(" rows")[0] for text in told] == [
        *(" 0 of 11", " 4 of 11", " 8 of 11", "all 11"),
    ]
    assert len(await found(store, "payload")) == 9
    assert await found(store, "f" * 90) == [rows[9].id]
    assert await found(store, "fresh") == [row(10).id]
    await store.delete([row(10).id])
    assert await store.digests() == sound
    with capture_logs() as said:
        await store.maintain()
        again = await open_store()
        assert await found(again, "f" * 90) == [rows[9].id]
    assert said == []


async def test_a_table_of_a_version_without_terms_gets_them_and_refuses_filters_meanwhile(
    open_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(lance_sweep, "PAGE", 4)
    rows = [replace(row(n), metadata={"n": n}) for n in range(10)]
    store = await open_store()
    await store.upsert(rows)
    sound, incarnation = await store.digests(), await store.incarnation()
    await (await store._table.now()).drop_columns([TERMS])
    await store.close()

    store, other = await open_store(), await open_store()
    assert (store.created, store.rebuilt) == (False, False)
    await store.upsert([replace(row(10), metadata={"n": 10})])
    assert len(await store.search(unit(0), limit=20, where=Filter(sources=("notes",)))) == 11
    for asked in (
        store.search(unit(0), limit=9, where=FROM_8),
        other.search_text("a", limit=9, where=FROM_8),
    ):
        with pytest.raises(FilterNotReady):
            await asked

    with capture_logs() as said:
        await asyncio.gather(store.maintain(), other.maintain())

    assert "0 of 11 rows" in next(one["reason"] for one in said if one["event"] == "terms_written")
    for one in (store, other):
        found = await one.search(unit(0), limit=9, where=FROM_8)
        assert {hit.id for hit in found} == {row(n).id for n in (8, 9, 10)}
    await store.delete([row(10).id])
    assert (await store.digests(), await store.incarnation()) == (sound, incarnation)
    with capture_logs() as said:
        await store.maintain()
    assert said == []


async def test_a_damaged_row_of_a_version_without_words_stays_damaged(open_store, tmp_path):
    rows = [row(n) for n in range(3)]
    await make_table_without_words(tmp_path, rows)
    store = await open_store()
    table = await store._table.now()
    await table.update({"text": "altered"}, where=f"id = '{rows[1].id}'")

    await store.maintain()

    holdings = await store.holdings({bucket_of(rows[1].doc_key)})
    assert holdings[rows[1].doc_key].damaged == {rows[1].id}


async def test_the_next_version_of_words_finds_every_row_and_damages_none(
    open_store, tmp_path, monkeypatch
):
    rows = [counted(row(n, text=f"rotating lamp{chr(97 + n)}")) for n in range(5)]
    store = await open_store()
    await store.upsert(rows)
    sound = await store.digests()
    table = await store._table.now()
    await table.update({"text": "altered"}, where=f"id = '{rows[4].id}'")
    damaged = await store.digests()
    make_words_otherwise(monkeypatch)
    newer = await open_store()

    assert await newer.digests() == damaged != sound
    assert await found(newer, "rotate") == []
    await newer.maintain()

    assert sorted(await found(newer, "rotate")) == sorted(one.id for one in rows[:4])
    assert await newer.digests() == damaged
    assert (await newer.holdings({bucket_of(rows[0].doc_key)}))[rows[0].doc_key].damaged == set()
    monkeypatch.undo()  # and back to the version before
    await (again := await open_store()).maintain()
    assert {one.id for one in rows[:4]} < set(await found(again, "rotate"))
    assert await again.digests() == damaged


async def test_questions_are_of_words_while_the_rows_have_those_of_another_version(
    open_store, tmp_path, monkeypatch
):
    await (await open_store()).upsert([row(1, text="rotating maxPayload")])
    monkeypatch.setattr(lance_words, "INDEX", "words_2")

    assert await found(await open_store(), "Max-payloads") == [row(1).id]


async def test_an_index_of_words_that_a_kill_left_behind_is_dropped(
    open_store, tmp_path, monkeypatch
):
    await make_table_without_words(tmp_path, [row(1, text="maxPayload")])
    store = await open_store()
    with monkeypatch.context() as patch:

        async def killed(table, name):
            raise OSError("interrupted")

        patch.setattr(lancedb.AsyncTable, "drop_index", killed)
        with pytest.raises(StoreUnavailable):
            await store.maintain()
    table = await store._table.now()
    assert len(await table.list_indices()) == 2

    for one in (store, await open_store()):
        with capture_logs() as said:
            await one.maintain()
        assert said == []
        assert [index.name for index in await table.list_indices()] == [lance_words.INDEX]
        assert await found(one, "payload") == [row(1).id]


async def test_words_of_one_process_are_used_by_the_others(open_store, tmp_path):
    await make_table_without_words(tmp_path, [row(1, text="maxPayload")])
    reader, writer = await open_store(), await open_store()
    assert await found(reader, "payload") == []

    await writer.maintain()

    assert await found(reader, "payload") == [row(1).id]


ANOTHER_VERSION = {
    "a column more": lambda schema: [*schema, pa.field("more", pa.string())],
    "a column less": lambda schema: [field for field in schema if field.name != "title"],
    "another type": lambda schema: altered(schema, pa.field("metadata", pa.binary())),
    "other vectors of the length": lambda schema: altered(
        schema, pa.field("vector", pa.list_(pa.float64(), DIMENSIONS))
    ),
    "may be null": lambda schema: altered(schema, pa.field("text", pa.string())),
    "no seals": unsealed,
    "no seals and a column more": lambda schema: [
        *unsealed(schema),
        pa.field("more", pa.string()),
    ],
}
FOREIGN = {
    "no id": lambda schema: [field for field in schema if field.name != "id"],
    "no doc_key": lambda schema: [field for field in schema if field.name != "doc_key"],
    "born is text": lambda schema: altered(schema, pa.field("born", pa.string(), nullable=False)),
    "no key": lambda schema: [field.remove_metadata() for field in unsealed(schema)],
    "other dimensions": lambda schema: altered(
        unsealed(schema), pa.field("vector", pa.list_(pa.float32(), 3), nullable=False)
    ),
}


def altered(schema: pa.Schema, wanted: pa.Field) -> list[pa.Field]:
    return [wanted if field.name == wanted.name else field for field in schema]


async def make_table(folder: Path, name: str, alter: Alter, rows: int = 0) -> None:
    """A table with our columns, altered; what is not known of its rows is empty."""
    schema = pa.schema(alter(lance_rows.schema(DIMENSIONS)))
    connection = await lancedb.connect_async(folder)
    table = await connection.create_table(name, schema=schema)
    if rows:
        known = lance_rows.to_arrow([row(n) for n in range(rows)], DIMENSIONS)
        columns = [
            known[field.name].cast(field.type)
            if field.name in known.column_names
            else pa.nulls(rows, field.type)
            for field in schema
        ]
        await table.add(pa.table(columns, schema=schema))


@pytest.mark.parametrize("alter", ANOTHER_VERSION.values(), ids=ANOTHER_VERSION.keys())
async def test_a_table_of_another_version_is_put_aside_and_told_of(open_store, tmp_path, alter):
    await make_table(tmp_path, "other", alter, 3)

    with capture_logs() as said:
        fresh = await open_store(table="other")
        again = await open_store(table="other")

    assert (fresh.created, fresh.rebuilt) == (False, True)
    assert (again.created, again.rebuilt, await again.count()) == (False, False, 0)
    (line,) = said
    assert (line["event"], line["log_level"]) == ("index_written_again", "warning")
    aside = tmp_path / "other.broken-1"
    assert "its 3 rows are written again" in line["reason"]
    assert f"stays as {aside} until you delete it" in line["reason"]
    aside.rename(tmp_path / "kept.lance")
    kept = await (await lancedb.connect_async(tmp_path)).open_table("kept")
    assert await kept.count_rows() == 3


@pytest.mark.parametrize("alter", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_table_that_no_version_of_this_index_made_is_refused(open_store, tmp_path, alter):
    await make_table(tmp_path, "other", alter)

    with pytest.raises(StoreMismatch, match=r"move .*other\.lance away"):
        await open_store(table="other")

    assert (tmp_path / "other.lance").is_dir()


async def test_a_table_without_the_key_is_refused(open_store, tmp_path):
    store = await open_store()
    schema = (await (await store._table.now()).schema()).remove_metadata()
    plain = pa.schema([field.remove_metadata() for field in schema])
    connection = await lancedb.connect_async(tmp_path)
    await connection.create_table("other", schema=plain)

    with pytest.raises(StoreMismatch, match="the key of id"):
        await open_store(table="other")


def newest_manifest(table: Path) -> Path:
    return min((table / "_versions").glob("*.manifest"))


def newest_data(table: Path) -> Path:
    return max((table / "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "empty manifest": lambda table: newest_manifest(table).write_bytes(b""),
    "torn manifest": lambda table: halve(newest_manifest(table)),
    "no manifest": lambda table: [path.unlink() for path in (table / "_versions").iterdir()],
    "empty data": lambda table: newest_data(table).write_bytes(b""),
    "torn data": lambda table: halve(newest_data(table)),
    "no data": lambda table: newest_data(table).unlink(),
    "no index": lambda table: [
        path.unlink() for path in (table / "_indices").rglob("*") if path.is_file()
    ],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_table_that_a_power_loss_tore_is_put_aside_and_made_anew(
    open_store, tmp_path, damage
):
    for attempt in (1, 2):
        store = await open_store()
        await store.upsert([row(n) for n in range(10)])
        await store.compact()
        await store.upsert([row(n) for n in range(10, 20)])
        await store.close()
        damage(tmp_path / "chunks.lance")

        fresh = await open_store()

        assert (fresh.created, fresh.rebuilt) == (False, True)
        assert await fresh.count() == 0
        assert (tmp_path / f"chunks.broken-{attempt}").is_dir()
        await fresh.upsert([row(1)])
        assert [h.id for h in await fresh.search(unit(1), limit=3, where=EVERYWHERE)] == [row(1).id]
        await fresh.close()


async def test_a_table_that_may_not_be_read_just_now_is_left_alone(
    open_store, tmp_path, monkeypatch
):
    store = await open_store()
    await store.upsert([row(1)])

    async def fails(*_, **__):
        raise RuntimeError("LanceError(IO): Too many open files (os error 24)")

    monkeypatch.setattr(lancedb.AsyncConnection, "open_table", fails)
    with pytest.raises(StoreUnavailable):
        await open_store()
    monkeypatch.undo()

    assert await (await open_store()).count() == 1


async def test_a_crash_between_the_table_and_its_text_index_is_made_good(open_store, tmp_path):
    store = await open_store()
    await store.upsert([row(1)])
    await (await store._table.now()).drop_index(lance_words.INDEX)
    again = await open_store()

    assert await found(again, "text") == [row(1).id]
    await again.maintain()
    indices = await (await again._table.now()).list_indices()
    assert [index.name for index in indices] == [lance_words.INDEX]
    assert await found(again, "texts") == [row(1).id]


async def test_a_table_dropped_by_somebody_makes_every_call_unavailable(open_store, tmp_path):
    store = await open_store()
    await store.upsert([row(1)])
    connection = await lancedb.connect_async(tmp_path)
    await connection.drop_table("chunks")

    for call in (
        lambda: store.upsert([row(2)]),
        lambda: store.delete(["row-000001"]),
        lambda: store.ids({"doc-1": 1}),
        lambda: store.unsearchable([Probe("row-000001", unit(1))]),
        lambda: store.search(unit(1), limit=1, where=EVERYWHERE),
        lambda: store.search_text("text", limit=1, where=EVERYWHERE),
        lambda: store.rows(["row-000001"]),
        store.count,
        store.digests,
        lambda: store.holdings(["do"]),
        store.compact,
    ):
        with pytest.raises(StoreUnavailable):
            await call()


async def test_a_deleted_folder_is_made_anew_for_all_who_have_it_open(open_store, tmp_path):
    one, other = await open_store(), await open_store()
    await one.upsert([row(1)])
    assert await other.count() == 1
    before = {await one.incarnation(), await other.incarnation()}
    shutil.rmtree(tmp_path)
    with pytest.raises(StoreUnavailable, match="deleted"):
        await other.search(unit(1), limit=1, where=EVERYWHERE)
    after = {await one.incarnation(), await other.incarnation()}
    emptied = await one.count(), await other.count()
    await one.upsert([row(2)])

    assert len(before) == len(after) == 1
    assert before != after
    assert emptied == (0, 0)
    assert [h.id for h in await other.search(unit(2), limit=3, where=EVERYWHERE)] == [row(2).id]
    assert [h.id for h in await other.search_text("text", limit=3, where=EVERYWHERE)]


async def test_a_copy_that_is_put_back_is_another_making_and_has_its_rows(open_store, tmp_path):
    store, table = await open_store(), tmp_path / "chunks.lance"
    await store.upsert([row(1)])
    before = await store.incarnation()
    await store.close()
    shutil.copytree(table, tmp_path / "copied")
    table.rename(tmp_path / "gone")
    (tmp_path / "copied").rename(table)

    store = await open_store()

    assert await store.incarnation() != before
    assert await store.count() == 1


async def test_rows_written_while_a_folder_goes_do_not_keep_it_from_being_made_anew(
    open_store, tmp_path
):
    store = await open_store()
    await store.upsert([row(1)])
    before = await store.incarnation()
    (tmp_path / "chunks.lance" / MARK).unlink()
    shutil.rmtree(tmp_path / "chunks.lance" / "_versions")

    assert await store.incarnation() != before
    assert await store.count() == 0
    assert (tmp_path / "chunks.broken-1").is_dir()


async def test_nothing_is_printed(tmp_path):
    script = (
        "import asyncio, sys; from pathlib import Path; import numpy as np\n"
        "from shared.ports import Filter\n"
        "from shared.stores.lance.store import LanceStore\n"
        "async def main():\n"
        "    s = await LanceStore.open(Path(sys.argv[1]), table='t', dimensions=4)\n"
        "    await s.search(np.ones(4, np.float32), limit=1, where=Filter())\n"
        "    await s.search_text('words', limit=1, where=Filter())\n"
        "    await s.compact()\n"
        "asyncio.run(main())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "LANCEDB_LOG"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("", "")


# -- index and upkeep ------------------------------------------------------------------------------


async def vector_indexes(store: LanceStore) -> list[str]:
    return [
        i.name for i in await (await store._table.now()).list_indices() if i.columns == ["vector"]
    ]


@pytest.fixture
def always_due(monkeypatch) -> None:
    monkeypatch.setattr(lance_upkeep, "compaction_due", lambda wear: wear.commits > 0)


async def test_the_index_is_made_over_the_threshold_and_renewed_when_grown_fourfold(
    open_store, always_due
):
    store = await open_store(index_from=499)
    made, rows = [], [row(n) for n in range(2000)]
    for size in (499, 500, 1999, 2000):
        await store.upsert(rows[:size])
        await store.maintain()
        made.append(await vector_indexes(store))

    assert made == [[], ["vector_at_500"], ["vector_at_500"], ["vector_at_2000"]]


async def test_rows_are_read_and_deleted_by_their_keys_whether_or_not_these_are_indexed(
    open_store, always_due
):
    store = await open_store(index_from=300)
    rows = [row(n) for n in range(500)]
    await store.upsert(rows[:400])
    await store.maintain()
    table = await store._table.now()
    indexed = {tuple(index.columns) for index in await table.list_indices()}
    assert {("id",), ("doc_key",)} < indexed

    await store.upsert(rows[400:])  # not in the indexes yet
    await store.delete([r.id for r in rows[::2]])
    left = {r.id for r in rows[1::2]}
    keys = {r.doc_key: 2**53 for r in rows}
    for _ in ("before", "after they are renewed"):
        assert set().union(*(await store.ids(keys)).values()) == left
        assert await store.unsearchable([Probe(r.id) for r in rows]) == {r.id for r in rows[::2]}
        assert {one for one in await store.rows([r.id for r in rows])} == left
        await store.maintain()
    again = await open_store(index_from=300)
    assert set().union(*(await again.ids(keys)).values()) == left


@pytest.mark.parametrize("limit", [10, 100])
async def test_an_indexed_search_recalls_what_an_exact_one_finds(open_store, always_due, limit):
    store = await open_store(index_from=1000)
    rows = [row(n) for n in range(5000)]
    await store.upsert(rows[:4800])
    await store.maintain()
    await store.upsert(rows[4800:])
    matrix = np.stack([r.vector for r in rows])
    found = 0
    for n in range(50):
        query = unit(100_000 + n)
        exact = {rows[at].id for at in np.argsort(-(matrix @ query))[:limit]}
        hits = await store.search(query, limit=limit, where=EVERYWHERE)
        found += len(exact & {hit.id for hit in hits})

    assert await vector_indexes(store) == ["vector_at_4800"]
    assert found >= 0.99 * 50 * limit
    assert await store.unsearchable([Probe(r.id, r.vector) for r in rows[::50]]) == frozenset()


async def test_a_narrow_filter_still_fills_an_indexed_answer(open_store, always_due):
    store = await open_store(index_from=1000)
    await store.upsert([replace(row(n), metadata={"n": n}) for n in range(5000)])
    await store.maintain()

    hits = await store.search(unit(7), limit=10, where=Filter(path_prefix="49"))
    few = await store.search(
        unit(7), limit=10, where=Filter(where=IsOneOf("n", "keyword", ("7", "4999")))
    )

    assert len(hits) == 10
    assert all(hit.path.startswith("49") for hit in hits)
    assert {hit.metadata["n"] for hit in few} == {7, 4999}


async def test_writers_go_on_while_the_index_is_made(open_store, always_due):
    store = await open_store(index_from=1000)
    await store.upsert([row(n) for n in range(3000)])
    upkeep = asyncio.create_task(store.maintain())
    for n in range(3000, 3060, 2):
        await store.upsert([row(n), row(n + 1)])
        await store.delete([row(n).id])
    await upkeep

    assert await store.count() == 3030
    assert (
        await store.unsearchable([Probe(row(n).id, unit(n)) for n in range(3001, 3060, 2)])
        == frozenset()
    )


async def test_compaction_bounds_the_files_and_keeps_the_rows(open_store, tmp_path):
    store = await open_store()
    for n in range(60):
        await store.upsert([row(n)])
    await store.delete([row(n).id for n in range(0, 60, 2)])
    await store.maintain()

    assert len(await (await store._table.now()).query().select(["id"]).to_list()) == 30
    stats = await (await store._table.now()).stats()
    assert stats["fragment_stats"]["num_fragments"] == 1
    assert (
        await store.unsearchable([Probe(row(n).id, unit(n)) for n in range(1, 60, 2)])
        == frozenset()
    )


async def test_a_vector_that_a_search_misses_is_named_even_if_the_row_is_there(
    open_store, monkeypatch
):
    store = await open_store()
    rows = [row(n) for n in range(40)]
    await store.upsert(rows)
    asked = []

    async def misses(vectors):
        asked.append(len(vectors))
        return {row(3).id} if len(vectors) > 4 else {next(iter(vectors))}

    monkeypatch.setattr(store, "_not_found", misses)

    lost = await store.unsearchable([Probe(r.id, r.vector) for r in rows])

    assert lost == {row(3).id}
    assert asked == [4, 40]


# -- sweeping --------------------------------------------------------------------------------------


def sealed(n: int) -> Row:
    """A row with an id of its own making, of the document `n // 3`."""
    path = f"{n // 3}.md"
    key = doc_key("notes", path)
    return replace(row(n), doc_key=key, path=path, id=row_id(key, "c", n), born=n)


def digests_of(rows: list[Row]) -> dict[str, Digest]:
    found: dict[str, Digest] = {}
    for each in rows:
        bucket = bucket_of(each.doc_key)
        found[bucket] = found.get(bucket, Digest()) + Digest(1, mark_of(each.id))
    return found


async def damaged(store: LanceStore) -> set[str]:
    held = await store.holdings(list(await store.digests()))
    return set().union(*(holding.damaged for holding in held.values()))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "a text."},
        {"title": "a title"},
        {"path": "b.md"},
        {"source": "other"},
        {"metadata": '{"n": 1}'},
        {"metadata": "no JSON"},
        {"heading": ["One"]},
        {"chunk_key": "d"},
        {"born": 2**40},
        {"words": "other words"},
        {TERMS: ["klang:en"]},
        {"vector": unit(999).tolist()},
        {"vector": (-unit(4)).tolist()},
        {"vector": [0.0] * DIMENSIONS},
        {"vector": (2 * unit(4)).tolist()},
        {"seal": 7},
        {"marks": [0.0] * 5},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_row_altered_behind_the_store_is_found_and_no_other(open_store, changes):
    store = await open_store()
    rows = [sealed(n) for n in range(12)]
    await store.upsert(rows)
    hurt = rows[4]
    await (await store._table.now()).update(changes, where=f"id = '{hurt.id}'")

    whole = digests_of([r for r in rows if r.id != hurt.id])

    bucket = bucket_of(hurt.doc_key)
    whole[bucket] = whole[bucket] + Digest(1, 0)
    assert await store.digests() == whole
    assert await damaged(store) == {hurt.id}
    holding = (await store.holdings([bucket]))[hurt.doc_key]
    assert (holding.source, holding.path) == (hurt.source, hurt.path)
    assert holding.ids == {r.id for r in rows[3:6]}


async def test_a_row_moved_to_another_document_is_missed_there_and_damaged_here(open_store):
    store = await open_store()
    rows = [sealed(n) for n in range(6)]
    await store.upsert(rows)
    await (await store._table.now()).update(
        {"doc_key": rows[0].doc_key}, where=f"id = '{rows[4].id}'"
    )

    held = await store.holdings([bucket_of(r.doc_key) for r in rows])

    assert held[rows[0].doc_key].ids == {rows[n].id for n in (0, 1, 2, 4)}
    assert held[rows[0].doc_key].damaged == {rows[4].id}
    assert held[rows[3].doc_key].ids == {rows[3].id, rows[5].id}


async def test_a_row_that_is_there_twice_is_found(open_store):
    store = await open_store()
    rows = [sealed(n) for n in range(6)]
    await store.upsert(rows)
    await (await store._table.now()).add(
        await (await store._table.now()).query().where(f"id = '{rows[2].id}'").to_arrow()
    )

    assert await store.digests() != digests_of(rows)
    assert await damaged(store) == {rows[2].id}

    await store.delete([rows[2].id])
    await store.upsert([rows[2]])

    assert await store.digests() == digests_of(rows)
    assert await damaged(store) == set()


async def test_bytes_that_changed_on_the_disk_are_found(open_store, tmp_path):
    store = await open_store()
    rows = [replace(sealed(n), text=f"text number {n:04}, in its place") for n in range(12)]
    await store.upsert(rows)
    await store.close()
    place = newest_data(tmp_path / "chunks.lance")
    data = place.read_bytes()
    assert data.count(b"text number 0004") == 2
    place.write_bytes(data.replace(b"text number 0004", b"text number 0040", 1))

    again = await open_store()

    assert not again.rebuilt
    assert await damaged(again) == {rows[4].id}


async def test_rows_of_many_commits_and_deletions_are_each_read_once(open_store):
    store = await open_store()
    rows = [sealed(n) for n in range(1500)]
    for start in range(0, 1500, 100):
        await store.upsert(rows[start : start + 100])
    await store.delete([r.id for r in rows[::3]])
    kept = [r for n, r in enumerate(rows) if n % 3]

    assert await store.digests() == digests_of(kept)

    await store.compact()

    assert await store.digests() == digests_of(kept)
    assert await damaged(store) == set()


async def test_a_sweep_sees_one_moment_whatever_is_written_and_compacted_meanwhile(
    open_store, monkeypatch
):
    monkeypatch.setattr(lance, "KEPT_FOR", timedelta(milliseconds=1))
    store = await open_store()
    rows = [sealed(n) for n in range(3000)]
    await store.upsert(rows)
    intact = lance_sweep.intact
    reached, go_on = threading.Event(), threading.Event()

    def slow(page, *, worded):
        reached.set()
        assert go_on.wait(300), "the sweep holds up the event loop"
        return intact(page, worded=worded)

    monkeypatch.setattr(lance_sweep, "intact", slow)
    sweeping = asyncio.create_task(store.digests())
    assert await asyncio.to_thread(reached.wait, 300)
    await store.delete([r.id for r in rows[1000:2000]])
    await store.upsert([sealed(n) for n in range(3000, 3300)])
    await store.compact()
    go_on.set()

    assert await sweeping == digests_of(rows)
    assert await store.digests() == digests_of(
        [*rows[:1000], *rows[2000:], *(sealed(n) for n in range(3000, 3300))]
    )


async def test_files_of_older_versions_go_after_a_sweep_that_has_failed(open_store, monkeypatch):
    monkeypatch.setattr(lance, "KEPT_FOR", timedelta(milliseconds=1))
    store = await open_store()
    for n in range(6):
        await store.upsert([sealed(n)])

    async def fails(connection, name):
        raise OSError("no such file")

    with monkeypatch.context() as broken:
        broken.setattr(lance_sweep, "digests", fails)
        with pytest.raises(StoreUnavailable):
            await store.digests()
    before = len(await (await store._table.now()).list_versions())
    await store.compact()

    assert len(await (await store._table.now()).list_versions()) < before


@pytest.mark.parametrize("work", ["_writing", "_upkeep"])
async def test_a_table_is_not_made_anew_while_this_process_writes_to_the_old_one(
    open_store, tmp_path, monkeypatch, work
):
    store = await open_store()
    before, make_anew, lock = (
        await store.incarnation(),
        store._table.make_anew,
        getattr(store, work),
    )
    held = []

    async def made():
        held.append(lock.locked())
        return await make_anew()

    monkeypatch.setattr(store._table, "make_anew", made)
    shutil.rmtree(tmp_path)

    assert await store.incarnation() != before
    assert held == [True]


async def test_a_folder_that_is_deleted_while_it_is_asked_for_is_made_anew_at_last(
    open_store, tmp_path
):
    """A deletion goes through the folder in any order: first the mark, and the rest after it."""
    store = await open_store()
    await store.upsert([row(1)])
    table = tmp_path / "chunks.lance"
    (table / MARK).unlink()
    marked = await store.incarnation()
    for part in [part for part in table.iterdir() if part.is_dir()]:
        shutil.rmtree(part)

    assert await store.incarnation() != marked
    await store.upsert([row(2)])
    assert [h.id for h in await store.search(unit(2), limit=3, where=EVERYWHERE)] == [row(2).id]


async def test_an_index_that_is_built_while_the_folder_goes_does_not_bring_it_back(
    open_store, tmp_path
):
    store = await open_store(index_from=300)
    await store.upsert([row(n) for n in range(400)])
    building = asyncio.create_task(store._index())
    await asyncio.sleep(0)
    shutil.rmtree(tmp_path / "chunks.lance", ignore_errors=True)
    await store.incarnation()
    await asyncio.gather(building, return_exceptions=True)
    await store.incarnation()

    await store.upsert([row(1)])
    assert [h.id for h in await store.search(unit(1), limit=3, where=EVERYWHERE)] == [row(1).id]
