"""Messages of Debezium in a stream of a real server, a table beside them, memory for all else."""

import contextlib
import sqlite3
from pathlib import Path

import nats
import pytest
from nats.js.api import RePublish
from table_source import Counted
from watched import Watched

from services.producer.sources.sql.debezium import DebeziumHints
from shared.bus.monitor import watchers

pytestmark = pytest.mark.nats

GOLDEN = Path(__file__).parents[2] / "golden" / "debezium"
SUBJECT = "instep.sources.changed.docs"


class WatchedTable(Watched):
    """A table in a file, and a client that hears a subject about it."""

    def __init__(self, root, client, subject=SUBJECT, again_s=3600.0):
        super().__init__(
            root,
            kind="sql",
            url=f"sqlite:///{root}/table.db",
            table="articles",
            key="id",
            body="body",
            watch="events",
            settle=0.0,
        )
        self.client, self.subject, self.again_s = client, subject, again_s
        self("create table articles (id integer primary key, body text)")

    def __call__(self, statement, *given):
        with contextlib.closing(sqlite3.connect(self.root / "table.db")) as table, table:
            return table.execute(statement, given).fetchall()

    def source(self):
        self.table = Counted(self.settings)
        return self.table

    def hints(self, sync):
        async def subscribe(heard):
            return await watchers.hear_changes(self.client, "docs", heard, self.subject)

        return DebeziumHints(["id"], self.settings, subscribe, sync.problems.note, self.again_s)


def told(name, form="schema"):
    return (GOLDEN / form / f"{name}.json").read_bytes()


@pytest.fixture
async def bus(js):
    await js.add_stream(name="CAPTURE", subjects=["instep.sources.changed.*", "debezium.>"])
    return js


@pytest.fixture
async def client(nats_url):
    client = await nats.connect(nats_url)
    yield client
    await client.close()


@pytest.mark.parametrize("form", ["schema", "bare"])
async def test_a_message_brings_what_the_table_holds_now_and_nothing_is_listed_again(
    form, tmp_path, client, bus, eventually
):
    docs = WatchedTable(tmp_path, client)
    async with docs.running():

        async def becomes(expected, statement, *messages):
            docs(statement)
            for name in messages:
                await bus.publish(SUBJECT, told(name, form))
            await eventually(lambda: docs.held() == expected)

        await becomes({"1": "one"}, "insert into articles values (1, 'one')", "created")
        await becomes({"1": "two"}, "update articles set body = 'two'", "updated", "updated")
        moved = ["key_changed_1", "key_changed_2"]
        await becomes({"2": "two"}, "update articles set id = 2", *moved)
        await becomes({}, "delete from articles", "deleted")
        await becomes({"3": "long"}, "insert into articles values (3, 'long')", "long")
        await becomes({"3": "new"}, "update articles set body = 'new'", "toasted")
        assert docs.table.listings == 1


async def test_messages_that_are_late_in_disorder_or_no_messages_change_nothing(
    tmp_path, client, bus, eventually
):
    docs = WatchedTable(tmp_path, client)
    docs("insert into articles values (1, 'one'), (2, 'two')")
    async with docs.running():
        for name in ("deleted", "key_changed_2", "key_changed_1", "updated", "created", "long"):
            await bus.publish(SUBJECT, told(name))
        for garbage in (b"", b"{", b"[]", b"\xff", told("heartbeat"), told("transaction_begun")):
            await bus.publish(SUBJECT, garbage)
        docs("insert into articles values (9, 'nine')")
        await bus.publish(SUBJECT, told("read"))

        await eventually(lambda: docs.held() == {"1": "one", "2": "two", "9": "nine"})
    assert len(docs.log.appended) == 3
    assert len([news for news in docs.news if "change capture" in news.detail]) == 1


async def test_a_table_that_is_emptied_by_one_command_is_listed_once(
    tmp_path, client, bus, eventually
):
    docs = WatchedTable(tmp_path, client)
    docs("insert into articles values (1, 'one'), (2, 'two')")
    async with docs.running():
        docs("delete from articles")
        await bus.publish(SUBJECT, told("truncated"))
        await eventually(lambda: docs.held() == {})
        docs("insert into articles values (1, 'again')")
        await bus.publish(SUBJECT, told("created"))
        await eventually(lambda: docs.held() == {"1": "again"})

        assert docs.table.listings == 2


async def test_a_row_that_shows_later_than_its_message_is_found_all_the_same(
    tmp_path, client, bus, eventually
):
    docs = WatchedTable(tmp_path, client, again_s=0.5)
    docs("insert into articles values (1, 'one')")
    async with docs.running():
        docs("insert into articles values (9, 'to be seen')")
        await bus.publish(SUBJECT, told("updated"))
        await bus.publish(SUBJECT, told("read"))
        await eventually(lambda: "9" in docs.held())
        docs("update articles set body = 'late' where id = 1")

        await eventually(lambda: docs.held()["1"] == "late")
        assert docs.table.listings == 1


async def test_the_subject_that_debezium_names_by_itself_can_be_heard(
    tmp_path, client, bus, eventually
):
    docs = WatchedTable(tmp_path, client, subject="debezium.public.articles")
    async with docs.running():
        docs("insert into articles values (1, 'one')")
        await bus.publish("debezium.public.articles", told("created"))
        await eventually(lambda: docs.held() == {"1": "one"})


async def test_a_stream_of_other_readers_can_republish_to_the_subject_of_the_source(
    tmp_path, client, js, eventually
):
    own = "debezium.public.articles"
    await js.add_stream(
        name="OTHERS", subjects=["debezium.>"], republish=RePublish(src=own, dest=SUBJECT)
    )
    docs = WatchedTable(tmp_path, client)
    async with docs.running():
        docs("insert into articles values (1, 'one')")
        await js.publish(own, told("created"))
        await eventually(lambda: docs.held() == {"1": "one"})


async def test_what_changed_while_nobody_heard_is_found_at_the_next_start(
    tmp_path, client, bus, eventually
):
    docs = WatchedTable(tmp_path, client)
    docs("insert into articles values (1, 'one')")
    await docs.once()
    docs("update articles set body = 'two'")
    await bus.publish(SUBJECT, told("updated"))

    await docs.once()

    assert docs.held() == {"1": "two"}
