"""A Weaviate server that is killed, frozen, full, locked or altered; nothing acknowledged is lost.

A start takes eight seconds, so one server serves the module and starts again only where a test
needs other settings or has killed it.
"""

import asyncio
import contextlib
import shutil
import threading
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import weaviate_server
from other_words import make_words_otherwise
from structlog.testing import capture_logs
from weaviate_store import address, connected, drop, until_searchable

from shared.domain.errors import (
    ConfigurationError,
    FilterNotReady,
    StoreMismatch,
    StoreUnavailable,
    VectorsRejected,
)
from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.where import IsBetween
from shared.domain.ids import bucket_of, doc_key, row_id
from shared.ports import Filter, Probe, Row
from shared.stores import seal
from shared.stores.weaviate import calls as weaviate_calls
from shared.stores.weaviate import open as weaviate_open
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate.lag import GIVE_UP_S, SUFFIX
from shared.stores.weaviate.schema import WORDS
from shared.stores.weaviate.store import WeaviateStore

DIMENSIONS = 16
OTHER_WORDS = "words_0"
NEVER = {"QUEUE_SCHEDULER_INTERVAL": "1h"}
"""Vectors are queued and stay there."""
KEY = "a key of the tests"
LOCKED = {
    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
    "AUTHENTICATION_APIKEY_ENABLED": "true",
    "AUTHENTICATION_APIKEY_ALLOWED_KEYS": KEY,
    "AUTHENTICATION_APIKEY_USERS": "instep",
    "GOMEMLIMIT": "150MiB",
    "MEMORY_READONLY_PERCENTAGE": "30",
}
"""Anonymous callers are refused, and there is little memory."""


def rows(count: int, *, document: str = "a.md", born: int = 1) -> list[Row]:
    key = doc_key("notes", document)
    made = []
    for n in range(count):
        seed = np.random.default_rng(abs(hash((document, n))))
        vector = seed.normal(size=DIMENSIONS).astype(np.float32)
        made.append(
            Row(
                id=row_id(key, f"{n:064}", born),
                doc_key=key,
                source="notes",
                path=document,
                born=born,
                chunk_key=f"{n:064}",
                title="A title",
                heading=("One",),
                text=f"text number{n}",
                metadata={},
                vector=vector / np.float32(np.linalg.norm(vector)),
            )
        )
    return made


class Own:
    """The module's server, as a test wants it."""

    def __init__(self, server: weaviate_server.WeaviateServer) -> None:
        self.server = server
        self.running: dict[str, str] | None = None

    def run(self, **environment: str) -> weaviate_server.Reached:
        """Have it run with these settings."""
        if self.running != environment:
            self.server.stop()
            self.server.environment = environment
            self.server.start()
            self.running = environment
        return self.server.reached

    def kill(self) -> None:
        self.server.kill()
        self.running = None


@pytest.fixture(scope="module")
def starting_locked(tmp_path_factory):
    """A second server, which starts while the tests of the first one run."""
    folder = tmp_path_factory.mktemp("locked")
    server = weaviate_server.WeaviateServer(weaviate_server.own_executable(), folder, **LOCKED)
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(server.start)
        yield server, started
    server.stop()


@pytest.fixture
def locked(starting_locked):
    server, started = starting_locked
    started.result()
    return server.reached


@pytest.fixture(scope="module")
def own(tmp_path_factory, starting_locked):
    executable = weaviate_server.own_executable()
    own = Own(weaviate_server.WeaviateServer(executable, tmp_path_factory.mktemp("weaviate")))
    yield own
    own.server.stop()


@contextlib.asynccontextmanager
async def opened(server, name=None, *, dimensions=DIMENSIONS, **kwargs):
    name = name or f"Fault{uuid.uuid4().hex[:12]}"
    store = await WeaviateStore.open(address(server), name=name, dimensions=dimensions, **kwargs)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def opened_later(server, name):
    """A maker of stores of one collection."""
    async with contextlib.AsyncExitStack() as stack:

        async def make():
            return await stack.enter_async_context(opened(server, name, api_key=server.key))

        yield make


def lose_queue(server: weaviate_server.WeaviateServer) -> int:
    """Delete what waits to be indexed, of a server that is down."""
    found = [p for p in (server.folder / "data").rglob("*queue*") if p.is_dir()]
    for folder in found:
        shutil.rmtree(folder)
    return len(found)


# -- a server that indexes late ----------------------------------------------------------------


async def test_rows_that_are_written_again_stay_searchable(own):
    """What is written twice is not indexed twice: meanwhile no search would find it."""
    written = rows(5)
    async with opened(own.run(), "Twice") as store:
        await store.upsert(written)
        await until_searchable(store, written)
    async with opened(own.run(**NEVER), "Twice") as store:
        await store.upsert(written)
        await store.upsert([replace(row, title="Another title") for row in written[:2]])

        assert not await store.unsearchable([Probe(row.id, row.vector) for row in written])


async def test_how_late_a_server_indexes_is_measured_beside_what_is_there(own):
    reached = own.run(**NEVER)
    async with opened(reached) as store:
        await store.upsert(rows(3))
        late = await store.lag_s()
        count = await store.count()
    async with connected(reached) as client:
        left = [name for name in await client.collections.list_all() if SUFFIX in name]

    assert late == GIVE_UP_S
    assert (count, left) == (3, [])


# -- torn rows -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torn_name(own):
    """A collection with rows that are there, in no vector index, and in no queue."""

    async def write(server) -> None:
        async with opened(server, "Torn") as store:
            await store.upsert(rows(10))
            await store.upsert(rows(10, document="again.md"))

    asyncio.run(write(own.run(**NEVER)))
    own.kill()
    assert lose_queue(own.server)
    own.run()
    return "Torn"


async def test_the_sweep_sees_a_row_that_the_vector_index_lost(own, torn_name):
    whole = rows(5, document="whole.md")
    lost = rows(10)
    async with opened(own.run(), torn_name) as store:
        await store.upsert(whole)
        await until_searchable(store, whole)

        digests = await store.digests()
        holdings = await store.holdings([bucket_of(whole[0].doc_key), bucket_of(lost[0].doc_key)])

        assert sum(digest.rows for digest in digests.values()) == 25
        assert digests[bucket_of(lost[0].doc_key)].total == 0
        assert holdings[lost[0].doc_key].damaged == {row.id for row in lost}
        assert holdings[whole[0].doc_key].damaged == frozenset()


async def test_a_torn_row_that_was_sent_again_becomes_searchable(own, torn_name, eventually):
    """As a message that is delivered again does it; then the indexer asks, and maintains."""
    lost = rows(10, document="again.md")
    async with opened(own.run(), torn_name) as store:
        await store.upsert(lost)

        async def found() -> bool:
            await store.maintain()
            probes = [Probe(row.id, row.vector) for row in lost]
            return not await store.unsearchable(probes)

        await eventually(found)

        digest = (await store.digests())[bucket_of(lost[0].doc_key)]
        assert digest.rows == 10
        assert digest.total


async def test_a_repair_brings_back_what_the_vector_index_lost(own, torn_name):
    lost, anew = rows(10), rows(10, born=2)
    async with opened(own.run(), torn_name) as store:
        await store.upsert(anew)
        await store.delete([row.id for row in lost])
        await until_searchable(store, anew)

        probes = [Probe(row.id, row.vector) for row in anew]

        assert await store.unsearchable(probes) == frozenset()
        assert (await store.ids({lost[0].doc_key: 9}))[lost[0].doc_key] == {r.id for r in anew}
        holding = (await store.holdings([bucket_of(lost[0].doc_key)]))[lost[0].doc_key]
        assert (holding.ids, holding.damaged) == ({row.id for row in anew}, frozenset())


# -- killed ----------------------------------------------------------------------------------------


async def test_nothing_acknowledged_is_lost_by_a_kill(own, eventually, monkeypatch):
    """What was under way is searchable, too, once it was sent again, by the same store.

    The client sends by itself again what a kill has interrupted, so a call that ends well after
    the kill may have left torn rows.
    """
    server = own.run()
    acknowledged: list[Row] = []
    refused: list[Row] = []
    async with opened(server) as store:
        enough = asyncio.Event()

        async def write(worker: int) -> None:
            for n in range(1000):
                batch = rows(64, document=f"{worker}-{n}.md")
                try:
                    await store.upsert(batch)
                except StoreUnavailable:
                    refused.extend(batch)
                else:
                    acknowledged.extend(batch)
                if len(acknowledged) > 1000:
                    enough.set()
                if enough.is_set():
                    return

        async def found_in_the_end() -> bool:
            await store.maintain()
            return await all_there(store, acknowledged + refused)

        writers = [asyncio.create_task(write(worker)) for worker in range(4)]
        await asyncio.wait_for(enough.wait(), 300)
        own.kill()
        safe = list(acknowledged)
        with monkeypatch.context() as quick:
            for name in ("QUERY_S", "INSERT_S"):
                quick.setattr(f"shared.stores.weaviate.calls.{name}", 1.0)
            ended = await asyncio.gather(*every_call(store), return_exceptions=True)
        with pytest.raises(StoreUnavailable):
            await WeaviateStore.open(address(server), name="Away", dimensions=DIMENSIONS)
        await asyncio.to_thread(own.run)

        await eventually(lambda: all_there(store, safe), within_s=300)
        await asyncio.gather(*writers)
        await store.upsert(refused)
        await eventually(found_in_the_end, within_s=300)

        assert {type(error) for error in ended} == {StoreUnavailable}
        assert await store.count() == len(acknowledged) + len(refused)


def every_call(store: WeaviateStore) -> list[Coroutine[Any, Any, Any]]:
    (row,) = rows(1)
    return [
        store.upsert([row]),
        store.delete([row.id]),
        store.ids({row.doc_key: 1}),
        store.unsearchable([Probe(row.id)]),
        store.search(row.vector, limit=1, where=Filter()),
        store.search_text("number1", limit=1, where=Filter()),
        store.rows([row.id]),
        store.count(),
        store.digests(),
        store.holdings(["ab"]),
    ]


async def all_there(store: WeaviateStore, wanted: list[Row]) -> bool:
    try:
        lost = await store.unsearchable([Probe(row.id) for row in wanted])
    except StoreUnavailable:
        return False
    return not lost


# -- slow ---------------------------------------------------------------------------------


async def test_a_frozen_server_is_given_up_in_time(own, monkeypatch, eventually):
    written = rows(3)
    async with opened(own.run()) as store:
        await store.upsert(written)
        own.server.freeze()
        try:
            with monkeypatch.context() as quick:
                for name in ("QUERY_S", "INSERT_S"):
                    quick.setattr(f"shared.stores.weaviate.calls.{name}", 0.3)
                with pytest.raises(StoreUnavailable, match="did not answer within"):
                    await store.count()
                with pytest.raises(StoreUnavailable, match="did not answer within"):
                    await store.upsert(rows(1, document="b.md"))
        finally:
            own.server.thaw()

        await eventually(lambda: all_there(store, written))


# -- altered by hand -------------------------------------------------------------------------------


async def test_a_collection_that_was_changed_by_hand_is_refused(weaviate):
    from weaviate.classes.config import Configure, DataType, Property

    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with connected(weaviate) as client:
        await client.collections.create(
            name,
            vector_config=Configure.Vectors.self_provided(),
            properties=[Property(name="born", data_type=DataType.TEXT)],
        )

    with pytest.raises(StoreMismatch) as raised:
        async with opened(weaviate, name, api_key=weaviate.key):
            pass

    assert "property born of another kind" in str(raised.value)
    assert "no property doc_key" in str(raised.value)
    await drop(weaviate, name)


async def make_collection_without_words(client, name, some, monkeypatch):
    """A collection and rows as the version before words made them."""

    properties = weaviate_rows.properties

    def without(rows):
        made = properties(rows)
        return [
            {k: v for k, v in one.items() if k != WORDS} | {"seal": str(seal.seal_of(row))}
            for row, one in zip(rows, made, strict=True)
        ]

    with monkeypatch.context() as patch:
        columns = [column for column in weaviate_open.COLUMNS if column.name != WORDS]
        patch.setattr(weaviate_open, "COLUMNS", columns)
        await weaviate_open._create(client, name, 1)
    with monkeypatch.context() as patch:
        patch.setattr(weaviate_calls.weaviate_rows, "properties", without)
        assert await weaviate_calls.Collection(client, name).insert(some) == {}


async def found(store, question):
    return sorted(hit.id for hit in await store.search_text(question, limit=9, where=Filter()))


async def test_a_collection_of_a_version_without_words_gets_them_and_answers_meanwhile(
    weaviate, eventually, monkeypatch
):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    some = [
        replace(one, text=f"{'f' * 70}_payload lamp{letter}")
        for letter, one in zip("abcde", rows(5), strict=True)
    ]
    async with connected(weaviate) as client:
        await make_collection_without_words(client, name, some, monkeypatch)

    async with opened(weaviate, name, api_key=weaviate.key) as store:
        assert not store.created
        probes = [Probe(one.id, one.vector) for one in some]
        await eventually(lambda: all_there(store, some))
        sound = await store.digests()
        assert sum(digest.rows for digest in sound.values()) == 5
        assert await found(store, "lampd") == [some[3].id]
        assert await found(store, "payloads") == []

        with capture_logs() as said:
            await store.maintain()

        begun, ended = (line["reason"] for line in said if line["event"] == "words_written")
        assert "0 of 5 rows" in begun
        assert "all 5 rows" in ended
        assert await found(store, "payloads") == sorted(one.id for one in some)
        assert await found(store, "lampd") == [some[3].id]
        # the vectors stay in the index, so a search by them has found the rows all the time
        assert await store.unsearchable(probes) == frozenset()
        assert await store.digests() == sound
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        assert await found(store, "payloads") == sorted(one.id for one in some)
        with capture_logs() as said:
            await store.maintain()
        assert said == []
    await drop(weaviate, name)


async def test_a_collection_of_a_version_without_terms_gets_them_and_refuses_filters_meanwhile(
    weaviate, eventually, monkeypatch
):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    some = [replace(one, metadata={"n": n}) for n, one in enumerate(rows(5))]
    asked = Filter(where=IsBetween("n", "number", 3.0, None))
    properties = weaviate_rows.properties

    def without(rows):
        return [{k: v for k, v in one.items() if k != TERMS} for one in properties(rows)]

    async with connected(weaviate) as client:
        with monkeypatch.context() as patch:
            columns = [column for column in weaviate_open.COLUMNS if column.name != TERMS]
            patch.setattr(weaviate_open, "COLUMNS", columns)
            await weaviate_open._create(client, name, 1)
            patch.setattr(weaviate_calls.weaviate_rows, "properties", without)
            assert await weaviate_calls.Collection(client, name).insert(some) == {}

    async with opened_later(weaviate, name) as later:
        store, other = await later(), await later()
        await eventually(lambda: all_there(store, some))
        sound = await store.digests()
        assert sum(digest.rows for digest in sound.values()) == 5
        for refused in (
            store.search(some[0].vector, limit=9, where=asked),
            other.search_text("text", limit=9, where=asked),
        ):
            with pytest.raises(FilterNotReady):
                await refused

        with capture_logs() as said:
            await asyncio.gather(store.maintain(), other.maintain())

        assert "terms_written" in {line["event"] for line in said}
        for one in (store, other):
            near = await one.search(some[0].vector, limit=9, where=asked)
            assert {hit.metadata["n"] for hit in near} == {3, 4}
            assert await one.digests() == sound
        with capture_logs() as said:
            await store.maintain()
        assert said == []
    await drop(weaviate, name)


async def make_collection_of_other_words(client, name, some, monkeypatch):
    """A collection and rows as a version with other words made them: none is as it is now."""
    columns = [
        replace(column, name=OTHER_WORDS) if column.name == WORDS else column
        for column in weaviate_open.COLUMNS
    ]
    with monkeypatch.context() as patch:
        patch.setattr(weaviate_open, "COLUMNS", columns)
        patch.setattr(weaviate_open, "WORDS", OTHER_WORDS)
        await weaviate_open._create(client, name, 1)
    with monkeypatch.context() as patch:
        make_words_otherwise(patch)
        patch.setattr(weaviate_rows, "WORDS", OTHER_WORDS)
        assert await weaviate_calls.Collection(client, name).insert(some) == {}


async def test_another_version_of_words_finds_every_row_and_damages_none(
    weaviate, eventually, monkeypatch
):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    some = [
        replace(one, text=f"rotating lamp{letter}")
        for letter, one in zip("abcde", rows(5), strict=True)
    ]
    document = some[0].doc_key
    probes = [Probe(one.id, one.vector) for one in some]
    async with (
        connected(weaviate) as client,
        opened_later(weaviate, name) as later,
    ):
        await make_collection_of_other_words(client, name, some, monkeypatch)
        store, validator = await later(), await later()
        collection = client.collections.use(name)
        await eventually(lambda: all_there(store, some))
        sound = await store.digests()
        altered = {"text": "altered"}
        await collection.data.update(weaviate_rows.object_id(some[4].id), altered)
        damaged = await validator.digests()
        assert damaged != sound
        assert (await validator.holdings([bucket_of(document)]))[document].damaged == {some[4].id}
        with monkeypatch.context() as patch:
            make_words_otherwise(patch)  # its words are asked for meanwhile
            assert len(await found(store, "rotate")) == 5

        await asyncio.gather(store.maintain(), (await later()).maintain())

        assert await found(store, "rotate") == sorted(one.id for one in some[:4])
        for one in (store, validator):
            assert await one.digests() == damaged
            holding = (await one.holdings([bucket_of(document)]))[document]
            assert holding.damaged == {some[4].id}
        assert validator._sweeping.words.complete
        kept = await collection.query.fetch_object_by_id(weaviate_rows.object_id(some[0].id))
        assert kept.properties[OTHER_WORDS] is None
        assert await store.unsearchable(probes) == frozenset()
        with capture_logs() as said:
            await store.maintain()
        assert said == []
    await drop(weaviate, name)


async def test_words_are_not_noted_when_a_row_was_refused_and_a_deleted_one_stays_so(
    weaviate, eventually, monkeypatch
):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    some = rows(3)
    async with (
        connected(weaviate) as client,
        opened_later(weaviate, name) as later,
    ):
        await make_collection_without_words(client, name, some, monkeypatch)
        store = await later()
        made, threads = weaviate_rows.fresh_words, []

        def refused(found, others):
            return made(found, others) and {"born": "no number"}

        with monkeypatch.context() as patch:
            patch.setattr(weaviate_rows, "fresh_words", refused)
            with pytest.raises((StoreMismatch, StoreUnavailable)):
                await store.maintain()
        assert not (await store._words_note()).complete
        loop = asyncio.get_running_loop()

        def deleted_meanwhile(found, others):
            threads.append(threading.current_thread())
            asyncio.run_coroutine_threadsafe(store.delete([some[0].id]), loop).result()
            return made(found, others)

        monkeypatch.setattr(weaviate_rows, "fresh_words", deleted_meanwhile)
        await store.maintain()
        whole = await store._rows.page(None, 9, weaviate_rows.SHOWN)

        assert sorted(one.properties["row_id"] for one in whole) == sorted(
            one.id for one in some[1:]
        )
        assert threading.main_thread() not in threads
        assert await found(store, "texts") == sorted(one.id for one in some[1:])
        await store._rows.write_again([replace(whole[0], id=weaviate_rows.object_id(some[0].id))])
        assert await store.count() == 2
    await drop(weaviate, name)


async def test_rows_are_made_beside_the_event_loop(weaviate, monkeypatch):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    made, threads = weaviate_rows.properties, []

    def properties(some):
        threads.append(threading.current_thread())
        return made(some)

    monkeypatch.setattr(weaviate_rows, "properties", properties)
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        await store.upsert(rows(1))

    assert threads
    assert threading.main_thread() not in threads
    await drop(weaviate, name)


async def test_vectors_of_another_model_are_refused_at_the_start(weaviate):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        await store.upsert(rows(1))

    with pytest.raises(StoreMismatch, match="16 dimensions, the model makes 17"):
        await WeaviateStore.open(address(weaviate), name=name, dimensions=17, api_key=weaviate.key)
    await drop(weaviate, name)


async def test_a_collection_that_was_deleted_is_named(weaviate):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        await drop(weaviate, name)

        for call in (store.upsert(rows(1)), store.count(), store.ids({"a": 1})):
            with pytest.raises(StoreUnavailable, match="the collection was deleted"):
                await call
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        assert store.created
    await drop(weaviate, name)


async def test_a_collection_that_was_deleted_is_made_anew_by_the_stores_that_are_open(weaviate):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    alias = f"A{name}"
    async with (
        opened(weaviate, name, api_key=weaviate.key, alias=alias) as one,
        opened(weaviate, name, api_key=weaviate.key, alias=alias) as other,
    ):
        await one.upsert(rows(3))
        before = {await one.incarnation(), await other.incarnation()}
        async with connected(weaviate) as client:
            await client.alias.delete(alias_name=alias)
        await drop(weaviate, name)
        after = set(await asyncio.gather(one.incarnation(), other.incarnation()))
        await other.upsert(rows(1))
        async with connected(weaviate) as client:
            behind = client.collections.use(alias)
            count = (await behind.aggregate.over_all(total_count=True)).total_count

        assert (len(before), len(after), len(before | after)) == (1, 1, 2)
        assert (await one.count(), count) == (1, 1)
        assert [r.id for r in rows(1)] == list(await one.rows([rows(1)[0].id]))
    async with connected(weaviate) as client:
        await client.alias.delete(alias_name=alias)
    await drop(weaviate, name)


async def test_a_collection_that_a_write_made_instead_of_the_deleted_one_is_refused(
    weaviate, monkeypatch
):
    """As a server does it that AUTOSCHEMA_ENABLED is not off for."""
    from weaviate.classes.config import Configure

    monkeypatch.setattr("shared.stores.weaviate.store.LOOK_S", 0.0)
    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        await drop(weaviate, name)
        async with connected(weaviate) as client:
            await client.collections.create(name, vector_config=Configure.Vectors.self_provided())

        with pytest.raises(StoreMismatch, match="no property doc_key"):
            await store.maintain()
    await drop(weaviate, name)


async def test_the_indexer_makes_a_collection_anew_while_it_maintains(weaviate, monkeypatch):
    monkeypatch.setattr("shared.stores.weaviate.store.LOOK_S", 0.0)
    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with opened(weaviate, name, api_key=weaviate.key) as store:
        await drop(weaviate, name)
        await store.maintain()
        await store.upsert(rows(2))

        assert await store.count() == 2
    await drop(weaviate, name)


async def test_two_that_open_a_new_generation_at_once_share_one_collection(weaviate):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    alias = f"Alias{name}"
    async with contextlib.AsyncExitStack() as stack:
        opening = [
            stack.enter_async_context(
                opened(weaviate, name, api_key=weaviate.key, alias=f"A{name}")
            )
            for _ in range(4)
        ]
        stores = await asyncio.gather(*opening)
        await stores[0].upsert(rows(1))

        assert [await store.count() for store in stores] == [1] * 4
        assert sum(store.created for store in stores) == 1
    async with connected(weaviate) as client:
        await client.alias.delete(alias_name=alias)
    await drop(weaviate, name)


async def test_rows_that_the_server_refuses_are_named(weaviate):
    """A collection that somebody filled with longer vectors while we were connected."""
    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with (
        opened(weaviate, name, api_key=weaviate.key) as store,
        opened(weaviate, name, api_key=weaviate.key, dimensions=20) as other,
    ):
        long = [replace(row, vector=np.ones(20, np.float32)) for row in rows(1, document="long.md")]
        await other.upsert(long)
        await until_searchable(other, long)

        with pytest.raises(VectorsRejected) as raised:
            await store.upsert(rows(3))

        assert raised.value.ids == {row.id for row in rows(3)}
        assert await store.count() == 1
    await drop(weaviate, name)


# -- locked and full -------------------------------------------------------------------------------


async def test_a_wrong_key_is_a_matter_for_a_person(locked):
    for key in (None, "another key"):
        with pytest.raises(ConfigurationError, match=r"store\.weaviate\.key"):
            async with opened(locked, api_key=key):
                pass

    async with opened(locked, api_key=KEY) as store:
        assert await store.count() == 0


async def test_a_full_disk_refuses_writes_and_answers_questions(locked, caplog, capsys):
    """What the server does at 90 % of the disk, done by hand: shards become read-only."""
    written = rows(3)
    async with (
        opened(locked, "Full", api_key=KEY) as store,
        connected(locked, KEY) as administrator,
    ):
        await store.upsert(written)
        await until_searchable(store, written)
        await administrator.collections.use("Full").config.update_shards("READONLY")

        for some in (rows(1, document="b.md"), rows(5, document="b.md")):
            with pytest.raises(StoreUnavailable, match="takes no writes"):
                await store.upsert(some)
        with pytest.raises(StoreUnavailable):
            await store.delete([written[0].id])

        assert len(await store.search_text("text", limit=5, where=Filter())) == 3
        assert len(await store.search(written[0].vector, limit=5, where=Filter())) == 3
        assert await store.unsearchable([Probe(row.id) for row in written]) == frozenset()
        await administrator.collections.use("Full").config.update_shards("READY")
        await store.upsert(rows(1, document="b.md"))
        assert await store.count() == 4
    assert "text number" not in caplog.text + "".join(capsys.readouterr())


async def test_a_server_out_of_memory_refuses_writes_and_loses_nothing(locked):
    written: list[Row] = []
    async with opened(locked, "Memory", api_key=KEY) as store:

        async def fill() -> None:
            for n in range(100):
                large = [replace(r, text="word " * 20_000) for r in rows(60, document=f"{n}.md")]
                await store.upsert(large)
                written.extend(large)

        with pytest.raises(StoreUnavailable, match="takes no writes"):
            await fill()

        assert set(await store.rows([row.id for row in written])) == {row.id for row in written}


async def test_many_processes_note_at_once_what_the_rows_have(weaviate):
    name = f"Fault{uuid.uuid4().hex[:12]}"
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(weaviate)) for _ in range(6)]
        await weaviate_open._create(clients[0], name, 1)
        await asyncio.gather(*(weaviate_open.note_terms(client, name) for client in clients))
        await asyncio.gather(*(weaviate_open.note_words(client, name, ()) for client in clients))
        note = await weaviate_open.words_note(clients[0], name)
        assert (note.complete, note.termed) == (True, True)
    await drop(weaviate, name)
