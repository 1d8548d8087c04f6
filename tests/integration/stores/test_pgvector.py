"""A Postgres that is stopped, locked, poor in rights or altered; nothing acknowledged is lost."""

import asyncio
import random
import threading
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import postgres_server
import psycopg
import pytest
from other_words import make_words_otherwise
from pgvector_store import drop, open_pgvector
from structlog.testing import capture_logs

from shared.domain.errors import ConfigurationError, FilterNotReady, StoreMismatch, StoreUnavailable
from shared.domain.filters.where import IsBetween, IsOneOf, NoneOf
from shared.domain.ids import bucket_of, doc_key, row_id
from shared.ports import Filter, Probe, Row
from shared.stores.memory import MemoryStore
from shared.stores.pgvector import rewrite
from shared.stores.pgvector import rows as pg_rows
from shared.stores.pgvector.store import PgvectorStore

DIMENSIONS = 16
EVERYWHERE = Filter()
FROM_3 = Filter(where=IsBetween("n", "number", 3.0, None))

pytestmark = pytest.mark.stores


def unit(seed, dimensions=DIMENSIONS):
    vector = np.random.default_rng(seed).normal(size=dimensions).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def row(n, dimensions=DIMENSIONS, **changes):
    path = f"{n}.md"
    key = doc_key("notes", path)
    plain = Row(
        id=row_id(key, f"{n:064}", 1),
        doc_key=key,
        source="notes",
        path=path,
        born=1,
        chunk_key=f"{n:064}",
        title="A title",
        heading=("One",),
        text=f"text number{n}",
        metadata={"n": n},
        vector=unit(n, dimensions),
    )
    return replace(plain, **changes)


@asynccontextmanager
async def admin(url):
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def opened(postgres):
    """A maker of stores; the table of the plain one is named `name`."""
    async with open_pgvector(postgres) as make:
        yield make


@pytest.fixture
async def store(opened):
    return await opened("plain", DIMENSIONS)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A server that a test may stop."""
    with postgres_server.running(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def name_of(store):
    return store._place.name


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "text = text || ' '",
        "title = ''",
        "heading = '{One,Two}'",
        "metadata = '{}'",
        "path = 'other.md'",
        "born = 2",
        "words = words || '''added'':1'::tsvector",
        "terms_1 = '{knever}'",
        "terms_1 = NULL",
        "vector = (vector::real[] || 0.5::real)[2:17]::vector",
        "marks = '{}'",
        "seal = seal + 1",
    ],
    ids=lambda change: change.split()[0],
)
async def test_a_row_that_was_altered_is_damaged(postgres, store, change):
    rows = [row(n) for n in range(3)]
    await store.upsert(rows)
    before = dict(await store.digests())
    async with admin(postgres) as connection:
        await connection.execute(
            f"UPDATE {name_of(store)} SET {change} WHERE id = %s", [rows[1].id]
        )

    after = dict(await store.digests())
    bucket = bucket_of(rows[1].doc_key)
    holding = (await store.holdings([bucket]))[rows[1].doc_key]

    assert {key for key in before if before[key] != after[key]} == {bucket}
    assert holding.damaged == {rows[1].id}


async def test_a_table_that_is_dropped_is_made_anew_as_another(postgres, store, monkeypatch):
    monkeypatch.setattr("shared.stores.pgvector.store.LOOK_S", 0.0)
    await store.upsert([row(1)])
    before = await store.incarnation()
    await drop(postgres, name_of(store))

    with pytest.raises(StoreUnavailable, match="lost the table"):
        await store.upsert([row(1)])
    await store.maintain()
    await store.upsert([row(2)])

    assert await store.incarnation() not in (None, before)
    assert await store.count() == 1


@pytest.mark.parametrize(
    "change",
    ["ALTER COLUMN born TYPE numeric", "DROP COLUMN marks", "ALTER COLUMN vector TYPE vector"],
)
async def test_a_table_that_was_changed_by_hand_is_refused(postgres, store, change):
    async with admin(postgres) as connection:
        await connection.execute(f"ALTER TABLE {name_of(store)} {change}")

    with pytest.raises(StoreMismatch, match="is not as instep makes it"):
        await PgvectorStore.open(postgres, table=name_of(store), dimensions=DIMENSIONS)


async def test_a_table_for_another_model_is_refused(postgres, store):
    with pytest.raises(StoreMismatch, match=r"vector\(16\) and not vector\(17\)"):
        await PgvectorStore.open(postgres, table=name_of(store), dimensions=17)


# -- several at once -------------------------------------------------------------------------------


async def test_processes_that_start_at_once_make_one_table(opened):
    stores = await asyncio.gather(*(opened("first", DIMENSIONS) for _ in range(6)))

    assert sum(store.created for store in stores) == 1
    assert len({await store.incarnation() for store in stores}) == 1


async def test_writers_of_the_same_rows_in_any_order_all_get_through(opened):
    one, other = await opened("same", DIMENSIONS), await opened("same", DIMENSIONS)
    rows = [row(n) for n in range(40)]

    async def churn(store):
        for _ in range(4):
            await store.upsert(random.sample(rows, 40))
            await store.delete([each.id for each in random.sample(rows, 20)])

    await asyncio.gather(*(churn(store) for store in (one, other) * 3))
    await one.upsert(rows)

    assert await other.count() == 40


# -- terms of filters ------------------------------------------------------------------------------


async def test_a_table_of_a_version_without_terms_gets_them_and_refuses_filters_meanwhile(
    opened, postgres, soon, monkeypatch
):
    monkeypatch.setattr("shared.stores.pgvector.rewrite.PAGE", 2)
    rows = [row(n, metadata={"n": n, "it's": "nul\0"}) for n in range(5)]
    older = await opened("termed", DIMENSIONS)
    await older.upsert(rows)
    sound, incarnation = await older.digests(), await older.incarnation()
    async with admin(postgres) as connection:
        await connection.execute(f"ALTER TABLE {name_of(older)} DROP COLUMN terms_1")

    store, other = await opened("termed", DIMENSIONS), await opened("termed", DIMENSIONS)
    await store.upsert([row(5)])
    assert len(await store.search(unit(0), limit=9, where=Filter(sources=("notes",)))) == 6
    for asked in (
        store.search(unit(0), limit=9, where=FROM_3),
        other.search_text("text", limit=9, where=FROM_3),
    ):
        with pytest.raises(FilterNotReady):
            await asked
    with capture_logs() as said:
        await asyncio.gather(store.maintain(), other.maintain())

    assert "terms_written" in {line["event"] for line in said}
    for one in (store, other):
        found = await one.search(unit(0), limit=9, where=FROM_3)
        assert {hit.metadata["n"] for hit in found} == {3, 4, 5}
    await store.delete([row(5).id])
    assert (await store.digests(), await store.incarnation()) == (sound, incarnation)
    with capture_logs() as said:
        await store.maintain()
    assert said == []


async def test_rows_that_a_version_before_writes_beside_this_one_get_their_terms(
    opened, postgres, soon
):
    store = await opened("beside", DIMENSIONS)
    await store.upsert([row(n, metadata={"n": n}) for n in range(5)])
    await store.maintain()
    one, many = (IsOneOf("n", "keyword", tuple(map(str, range(50, end)))) for end in (51, 99))
    asked = (FROM_3, Filter(where=NoneOf(one)), Filter(where=NoneOf(many)))
    async with admin(postgres) as connection:
        await connection.execute(f"UPDATE {name_of(store)} SET terms_1 = NULL WHERE born > 0")
    assert [list(await store.search(unit(0), limit=9, where=one)) for one in asked] == [[], [], []]

    with capture_logs() as said:
        await store.maintain()

    assert "terms_written" in {line["event"] for line in said}
    found = await store.search(unit(0), limit=9, where=FROM_3)
    assert {hit.metadata["n"] for hit in found} == {3, 4}
    async with admin(postgres) as connection:
        await connection.execute(f"UPDATE {name_of(store)} SET terms_1 = NULL WHERE born > 0")
        await connection.execute(f"COMMENT ON COLUMN {name_of(store)}.terms_1 IS NULL")
    with pytest.raises(FilterNotReady):
        await store.search(unit(0), limit=9, where=FROM_3)


# -- words -----------------------------------------------------------------------------------------


async def by_words(store, text):
    return sorted(hit.id for hit in await store.search_text(text, limit=9, where=EVERYWHERE))


@pytest.mark.parametrize("noted", [True, False])
async def test_the_next_version_of_words_finds_every_row_and_damages_none(
    opened, postgres, soon, monkeypatch, noted
):
    monkeypatch.setattr("shared.stores.pgvector.rewrite.PAGE", 2)
    rows = [row(n, text=f"rotating it's\0 lamp{chr(97 + n)}") for n in range(5)]
    store = await opened("worded", DIMENSIONS)
    await store.upsert(rows)
    incarnation = await store.incarnation()
    async with admin(postgres) as connection:
        await connection.execute(
            f"UPDATE {name_of(store)} SET text = 'altered' WHERE id = %s", [rows[4].id]
        )
        if not noted:
            await connection.execute(f"COMMENT ON COLUMN {name_of(store)}.words IS NULL")
    damaged = await store.digests()
    make_words_otherwise(monkeypatch)
    newer, other = await opened("worded", DIMENSIONS), await opened("worded", DIMENSIONS)

    assert await by_words(newer, "rotate") == []
    with capture_logs() as said:
        await asyncio.gather(newer.maintain(), other.maintain())

    assert "words_written" in {line["event"] for line in said}
    assert await by_words(newer, "rotate") == sorted(one.id for one in rows[:4])
    assert await newer.digests() == damaged
    assert (await newer.holdings([bucket_of(rows[4].doc_key)]))[rows[4].doc_key].damaged
    assert await newer.incarnation() == incarnation
    with capture_logs() as said:
        await newer.maintain()
    assert said == []


async def test_a_row_that_is_deleted_while_words_are_written_stays_deleted(
    opened, soon, monkeypatch
):
    rows = [row(n) for n in range(3)]
    store = await opened("raced", DIMENSIONS)
    await store.upsert(rows)
    make_words_otherwise(monkeypatch)
    made = rewrite.worded

    def deleted_meanwhile(page, dimensions):
        asyncio.run_coroutine_threadsafe(store.delete([rows[0].id]), loop).result()
        return made(page, dimensions)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(rewrite, "worded", deleted_meanwhile)
    await store.maintain()

    assert await by_words(store, "number1 text") == sorted(one.id for one in rows[1:])
    assert await store.count() == 2


async def test_rows_are_made_beside_the_event_loop(store, monkeypatch):
    made, threads = pg_rows.parameters, []

    def parameters(rows):
        threads.append(threading.current_thread())
        return made(rows)

    monkeypatch.setattr(pg_rows, "parameters", parameters)
    await store.upsert([row(1)])

    assert threads
    assert threading.main_thread() not in threads


async def test_words_are_found_and_scored_as_by_the_plain_formula(store):
    dice = random.Random(3)
    words = [f"word{n}" for n in range(30)] + ["it's", "back\\slash", "ünï", "w" * 3000]
    common = [words[min(int(dice.expovariate(0.2)), 33)] for _ in range(4000)]
    rows = [row(n, text=" ".join(dice.sample(common, dice.randint(1, 60)))) for n in range(120)]
    plain = MemoryStore(DIMENSIONS)
    for each in (plain, store):
        await each.upsert(rows)

    for question in ["word1", "word0 word20 ünï", "it's word29 back\\slash", "w" * 3000, "absent"]:
        wanted = await plain.search_text(question, limit=200, where=EVERYWHERE)
        found = await store.search_text(question, limit=200, where=EVERYWHERE)
        assert {hit.id: hit.score for hit in found} == pytest.approx(
            {hit.id: hit.score for hit in wanted}, rel=1e-4
        )
        assert [hit.score for hit in found] == sorted((h.score for h in found), reverse=True)


async def test_statistics_of_a_large_table_give_the_same_scores(postgres, store, monkeypatch):
    dice = random.Random(5)
    texts = [" ".join(f"w{int(dice.expovariate(0.1))}" for _ in range(30)) for _ in range(400)]
    await store.upsert([row(n, text=text) for n, text in enumerate(texts)])
    question = "w0 w1 w20 w40 absent"
    counted = await store.search_text(question, limit=50, where=EVERYWHERE)
    async with admin(postgres) as connection:
        await connection.execute(f"ANALYZE {name_of(store)}")
    monkeypatch.setattr("shared.stores.pgvector.words.COUNTED_ROWS", 100)
    monkeypatch.setattr("shared.stores.pgvector.words.CANDIDATES", 60)
    monkeypatch.setattr("shared.stores.pgvector.words.FRESH_S", 0.0)

    known = await store.search_text(question, limit=50, where=EVERYWHERE)
    more = await store.search_text(question, limit=390, where=EVERYWHERE)
    scores = {hit.id: hit.score for hit in counted}

    assert [hit.id for hit in known[:10]] == [hit.id for hit in counted[:10]]
    assert [h.score for h in known] == pytest.approx([scores[h.id] for h in known], rel=0.05)
    assert [hit.id for hit in more[:10]] == [hit.id for hit in counted[:10]]
    assert len(more) > 300


# -- the vector index ------------------------------------------------------------------------------


@pytest.fixture
def soon(monkeypatch):
    """The vector index is made at the next upkeep."""
    monkeypatch.setattr("shared.stores.pgvector.table.INDEX_FROM_ROWS", 1)
    monkeypatch.setattr("shared.stores.pgvector.table.IDLE_S", 0.0)
    monkeypatch.setattr("shared.stores.pgvector.store.LOOK_S", 0.0)


async def indexes(url, name):
    """Definitions of the finished vector indexes of a table."""
    async with admin(url) as connection:
        found = await connection.execute(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indisvalid AND "
            "indrelid = to_regclass(%s) AND pg_get_indexdef(indexrelid) LIKE '%%hnsw%%'",
            [name],
        )
        return [row[0] for row in await found.fetchall()]


@pytest.mark.parametrize(
    ("dimensions", "kind"),
    [(64, "vector_cosine_ops"), (2000, "vector_cosine_ops"), (2001, "halfvec_cosine_ops")],
)
async def test_an_index_finds_what_an_exact_search_finds(
    postgres, opened, soon, dimensions, kind, monkeypatch
):
    store = await opened("indexed", dimensions)
    rows = [row(n, dimensions) for n in range(300)]
    await store.upsert(rows)
    exact = await store.search(unit(999, dimensions), limit=10, where=EVERYWHERE)
    await store.maintain()
    await always_by_index(monkeypatch, store)

    (definition,) = await indexes(postgres, name_of(store))
    found = await store.search(unit(999, dimensions), limit=10, where=EVERYWHERE)

    assert kind in definition
    assert [hit.id for hit in found] == [hit.id for hit in exact]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in exact], abs=1e-6)
    assert not await store.unsearchable([Probe(each.id, each.vector) for each in rows[:40]])


async def always_by_index(monkeypatch, store, tuples=20_000):
    """Let the planner take the vector index of a table that is too small for it; a walk through it
    ends after so many rows."""
    await store._connections.close()
    store._connections._closed = False
    monkeypatch.setattr(
        "shared.stores.pgvector.connections.SET_UP",
        "SELECT set_config('enable_seqscan', 'off', false), %(ef_search)s, "
        "set_config('enable_bitmapscan', 'off', false), set_config('enable_sort', 'off', false), "
        f"set_config('hnsw.max_scan_tuples', '{tuples}', false), "
        "set_config('hnsw.iterative_scan', 'strict_order', false)",
    )


@pytest.mark.parametrize("tuples", [1, 20_000])
async def test_a_filter_that_few_rows_pass_finds_all_of_them(opened, soon, monkeypatch, tuples):
    store = await opened("filtered", DIMENSIONS)
    await store.upsert([row(n) for n in range(600)])
    await store.upsert([row(1000 + n, source="rare", vector=-unit(5)) for n in range(7)])
    await store.maintain()
    await always_by_index(monkeypatch, store, tuples)

    for where in (Filter(sources=("rare",)), Filter(where=IsBetween("n", "number", 1000, None))):
        found = await store.search(unit(5), limit=10, where=where)
        assert {hit.id for hit in found} == {row(1000 + n).id for n in range(7)}


async def test_an_index_that_was_left_unfinished_is_made_anew(postgres, store, soon):
    await store.upsert([row(n) for n in range(20)])
    name = name_of(store)
    async with admin(postgres) as connection:
        await connection.execute(f"CREATE INDEX {name}_vector ON {name} (born)")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)",
            [f"{name}_vector"],
        )
    await store.maintain()

    assert len(await indexes(postgres, name)) == 1


async def test_more_dimensions_than_an_index_takes_are_searched_exactly_and_told(
    postgres, opened, soon
):
    store = await opened("wide", 4001)
    await store.upsert([row(n, 4001) for n in range(5)])
    await store.maintain()

    (hit, *_) = await store.search(unit(3, 4001), limit=3, where=EVERYWHERE)

    assert hit.id == row(3).id
    assert await indexes(postgres, name_of(store)) == []
    assert "4,001 dimensions" in store.notice
    with pytest.raises(ConfigurationError, match="at most 16,000"):
        await opened("wider", 16_001)


# -- rights ----------------------------------------------------------------------------------------


@asynccontextmanager
async def database(url, *statements):
    """A database of its own and a plain user in it; yields the user's address."""
    name = f"test{uuid.uuid4().hex[:12]}"
    base = url.rpartition("/")[0]
    async with admin(url) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.execute(f"CREATE ROLE {name} LOGIN")
    try:
        async with admin(f"{base}/{name}") as connection:
            for statement in statements:
                await connection.execute(statement.format(user=name))
        yield f"{base.replace('postgres@', f'{name}@')}/{name}"
    finally:
        async with admin(url) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await connection.execute(f"DROP ROLE {name}")


async def test_a_plain_user_needs_the_extension_and_a_schema_only(postgres):
    granted = "GRANT CREATE ON SCHEMA public TO {user}"
    elsewhere = "CREATE SCHEMA extensions", "GRANT USAGE ON SCHEMA extensions TO {user}"
    extension = "CREATE EXTENSION vector SCHEMA extensions"
    async with database(postgres, *elsewhere, extension, granted) as url:
        store = await PgvectorStore.open(url, table="chunks", dimensions=DIMENSIONS)
        await store.upsert([row(1)])

        assert not await store.unsearchable([Probe(row(1).id, unit(1))])
        await store.close()


async def test_what_a_user_may_not_do_is_a_matter_for_a_person(postgres):
    async with database(postgres) as url:
        with pytest.raises(ConfigurationError, match=r"administrator .* CREATE EXTENSION vector"):
            await PgvectorStore.open(url, table="chunks", dimensions=DIMENSIONS)
    async with database(postgres, "CREATE EXTENSION vector") as url:
        with pytest.raises(ConfigurationError, match=r"denies a right: .*CREATE"):
            await PgvectorStore.open(url, table="chunks", dimensions=DIMENSIONS)


@pytest.mark.parametrize(("old", "new"), [("postgres@", "nobody:secret@"), ("/postgres", "/none")])
async def test_a_wrong_address_is_a_matter_for_a_person_and_shows_no_secret(postgres, old, new):
    with pytest.raises(ConfigurationError, match=r"store\.pgvector\.url") as raised:
        await PgvectorStore.open(postgres.replace(old, new), table="x", dimensions=8)

    assert "secret" not in f"{raised.value!r} {raised.value.__cause__!r}"


# -- the server ------------------------------------------------------------------------------------


async def test_a_server_that_restarts_between_two_calls_costs_none(own):
    async with open_pgvector(own.url) as make:
        store = await make("restarted", DIMENSIONS)
        await asyncio.gather(*(store.upsert([row(n)]) for n in range(8)))
        own.stop()
        own.start()

        assert await store.count() == 8


async def test_a_server_that_is_away_is_told_and_comes_back_by_itself(own):
    async with open_pgvector(own.url) as make:
        store = await make("away", DIMENSIONS)
        await store.upsert([row(1)])
        own.stop()
        try:
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await store.upsert([row(2)])
            with pytest.raises(StoreUnavailable, match="does not listen"):
                await store.search(unit(1), limit=1, where=EVERYWHERE)
        finally:
            own.start()
        await store.upsert([row(2)])

        assert await store.count() == 2


async def test_a_call_that_gets_no_answer_ends_in_time(postgres, store, monkeypatch):
    monkeypatch.setattr("shared.stores.pgvector.connections.CALL_S", 0.3)
    await store.upsert([row(1)])
    async with admin(postgres) as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {name_of(store)}")
        with pytest.raises(StoreUnavailable, match=r"within 0\.3 s"):
            await store.upsert([row(2)])

    assert await store.count() == 1
