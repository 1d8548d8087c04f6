"""Change capture by the real Debezium Server from a real Postgres: DOCS ends as the table is."""

import json
import signal
import statistics
import time

import debezium_server
import nats
import pytest
from table_source import Counted
from watched import Watched

from services.producer.sources.sql.debezium import DebeziumHints
from shared.bus.monitor import watchers

pytestmark = [pytest.mark.debezium, pytest.mark.nats, pytest.mark.slow]

TABLE = """
create table articles (id bigint primary key, title text not null, body text);
alter table articles alter column body set storage external;
insert into articles select n, 'title ' || n from generate_series(1, 30) n;
"""
EDITS = 20


class WatchedTable(Watched):
    """Debezium's messages, and listings at the start and when it asks for one."""

    def __init__(self, root, table, client, **settings):
        url = f"postgresql://postgres@127.0.0.1:{table.port}/postgres"
        rows = {"kind": "sql", "url": url, "table": "articles", "key": "id", "body": "title,body"}
        how = {"watch": "events", "settle": 0.0, "hold_share": 1.0}
        super().__init__(root, **(rows | how | settings))
        self.table, self.client = table, client

    def rows(self):
        row = "json_build_array(id::text, concat_ws(E'\\n\\n', title, nullif(body, '')))"
        return dict(json.loads(self.table(f"select coalesce(json_agg({row}), '[]') from articles")))

    def source(self):
        self.listed = Counted(self.settings)
        return self.listed

    def hints(self, sync):
        async def subscribe(heard):
            return await watchers.hear_changes(self.client, "docs", heard)

        return DebeziumHints(["id"], self.settings, subscribe, sync.problems.note)


@pytest.fixture
def table():
    with debezium_server.postgres() as server:
        server(TABLE)
        yield server


@pytest.fixture
async def client(own_nats_server):
    client = await nats.connect(own_nats_server.url)
    await client.jetstream().add_stream(
        name=debezium_server.STREAM, subjects=["instep.sources.changed.*"], max_age=3600
    )
    yield client
    await client.close()


@pytest.fixture
def capture(tmp_path, table, client):
    server = debezium_server.debezium(
        tmp_path / "debezium",
        table.port,
        client.connected_url.geturl(),
        "instep.sources.changed.docs",
    )
    server.start()
    yield server
    server.stop()


async def test_what_is_done_to_the_table_is_done_to_the_documents(
    tmp_path, table, client, capture, eventually
):
    docs = WatchedTable(tmp_path / "docs", table, client)

    async def becomes(statement):
        table(statement)
        expected = docs.rows()
        await eventually(lambda: docs.held() == expected)

    async with docs.running():
        assert len(docs.held()) == 30
        took = [await seconds(docs, table, n, eventually) for n in range(EDITS)]
        await becomes("insert into articles values (101, 'new')")
        await becomes("update articles set id = 102 where id = 101")
        await becomes("delete from articles where id = 102")
        await becomes("insert into articles values (103, 'long', repeat('x', 9000))")
        await becomes("update articles set title = 'its body is not sent' where id = 103")
        await becomes("begin; delete from articles where id = 1; rollback")
        await becomes("insert into articles select n, 'many' from generate_series(1001, 2000) n")
        await becomes("update articles set title = title || '!'")

        capture.stop(signal.SIGKILL)
        table("update articles set title = 'while it was dead' where id < 10")
        table("delete from articles where id = 10")
        capture.start()
        await becomes("select 1")
        assert docs.listed.listings == 1

    table("update articles set title = 'while nobody listened' where id = 12")
    table("delete from articles where id = 13")
    async with docs.running():
        await becomes("select 1")
        await becomes("truncate articles")
        await becomes("insert into articles values (1, 'after')")
    assert capture.runs
    part = statistics.quantiles(took, n=20, method="inclusive")
    print(f"\ncommit to DOCS, {EDITS} edits: p50 {part[9]:.2f} s, p95 {part[18]:.2f} s")


async def seconds(docs, table, n, eventually):
    """From just before a commit until DOCS has the row."""
    text = f"edit {n}"
    began = time.time()
    table(f"update articles set title = '{text}' where id = {n + 1}")
    await eventually(lambda: docs.held()[str(n + 1)] == text)
    return time.time() - began


async def test_a_change_while_there_is_no_bus_is_told_by_the_next_debezium(
    tmp_path, table, client, own_nats_server, capture, eventually
):
    docs = WatchedTable(tmp_path / "docs", table, client)
    async with docs.running():
        own_nats_server.kill()
        table("update articles set title = 'meanwhile' where id = 1")
        await eventually(lambda: not capture.runs)
        own_nats_server.start()
        await eventually(lambda: client.is_connected)
        capture.start()
        await eventually(lambda: docs.held()["1"] == "meanwhile")
        assert docs.listed.listings == 1


async def test_a_row_above_the_servers_limit_ends_debezium_and_listings_go_on(
    tmp_path, table, client, capture, eventually
):
    docs = WatchedTable(tmp_path / "docs", table, client, watch="auto", poll=0.2)
    async with docs.running():
        table("insert into articles values (101, 'large', repeat('x', 2000000))")
        await eventually(lambda: not capture.runs)
        await eventually(lambda: "101" in docs.held())
        table("update articles set title = 'after its end' where id = 1")
        await eventually(lambda: docs.held()["1"] == "after its end")


async def test_a_debezium_that_sends_keys_only_names_rows_of_any_size(
    tmp_path, table, client, eventually
):
    subject = "instep.sources.changed.docs"
    capture = debezium_server.debezium(
        tmp_path / "debezium",
        table.port,
        client.connected_url.geturl(),
        subject,
        source_column_include_list="public.articles.id",
    )
    capture.start()
    heard = []

    async def hear(message):
        heard.append(message.data)

    await client.subscribe(subject, cb=hear)
    docs = WatchedTable(tmp_path / "docs", table, client)
    try:
        async with docs.running():
            table("insert into articles values (101, 'large', repeat('x', 2000000))")
            await eventually(lambda: "101" in docs.held())
            table("update articles set title = 'only this' where id = 1")
            await eventually(lambda: docs.held()["1"] == "only this")
            assert docs.listed.listings == 1
        assert capture.runs
        assert not any(b"only this" in message for message in heard)
    finally:
        capture.stop()
