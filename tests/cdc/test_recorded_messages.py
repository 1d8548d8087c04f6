"""The recorded messages that other tests read are those of the real Debezium Server.

With INSTEP_TEST_RECORD=1 they are recorded anew.
"""

import asyncio
import json
import os
from pathlib import Path

import debezium_server
import nats
import pytest

from services.producer.sources.sql.debezium import read

pytestmark = [pytest.mark.debezium, pytest.mark.nats, pytest.mark.slow]

GOLDEN = Path(__file__).parents[1] / "golden" / "debezium"
TABLE = """
create table articles (id bigint primary key, title text not null, body text,
                       price numeric(10, 2), day date,
                       made timestamptz default '2026-01-02 03:04Z');
alter table articles alter column body set storage external;
"""
DONE = {
    "created": "insert into articles (id, title, price, day) values (1, 'a', 1.5, '2026-01-02')",
    "updated": "update articles set title = 'b' where id = 1",
    "key_changed": "update articles set id = 2 where id = 1",
    "deleted": "delete from articles where id = 2",
    "long": "insert into articles (id, title, body) values (3, 'c', repeat('x', 9000))",
    "toasted": "update articles set title = 'd' where id = 3",
    "truncated": "truncate articles",
}
MESSAGES = {name: 1 for name in DONE} | {"key_changed": 2}
BESIDE = {"heartbeat", "transaction_begun", "transaction_ended"}


def shape(told, key=""):
    """The names in a message and the types of their values."""
    if isinstance(told, dict):
        return {name: shape(value, name) for name, value in told.items()}
    if isinstance(told, list):
        return [shape(value) for value in told]
    # the place in the log is not known before the first message
    return "some" if key in ("lsn", "sequence") else type(told).__name__


@pytest.mark.parametrize("schemas", [True, False], ids=["with schema", "bare"])
async def test_debezium_sends_what_is_recorded(schemas, tmp_path, own_nats_server, eventually):
    client = await nats.connect(own_nats_server.url)
    js, got = client.jetstream(), []

    async def hear(message):
        got.append(message.data)

    await client.subscribe("capture.articles", cb=hear)
    await js.add_stream(name=debezium_server.STREAM, subjects=["capture.>"])
    with debezium_server.postgres() as table:
        table(TABLE + "insert into articles (id, title) values (9, 'there before')")
        server = debezium_server.debezium(
            tmp_path / "debezium",
            table.port,
            own_nats_server.url,
            "capture.articles",
            format_value_schemas_enable=str(schemas).lower(),
            source_snapshot_mode="initial",
            source_provide_transaction_metadata="true",
            source_heartbeat_interval_ms="200",
        )
        server.start()
        found = {}
        try:
            await eventually(lambda: rows_of(got))
            found["read"] = rows_of(got)[0]
            for name, statement in DONE.items():
                before = len(got)
                table(statement)
                await eventually(
                    lambda before=before, name=name: len(rows_of(got[before:])) >= MESSAGES[name]
                )
                for n, row in enumerate(rows_of(got[before:])):
                    found[name if MESSAGES[name] == 1 else f"{name}_{n + 1}"] = row
            await eventually(lambda: kinds(got) >= BESIDE)
        finally:
            server.stop()
    await client.close()
    found |= {kind(message): message for message in reversed(got) if kind(message) in BESIDE}

    folder = GOLDEN / ("schema" if schemas else "bare")
    if os.environ.get("INSTEP_TEST_RECORD"):
        await asyncio.to_thread(record, folder, found)
    recorded = {path.stem: path.read_bytes() for path in folder.glob("*.json")}
    assert recorded.keys() == found.keys()
    for name, message in found.items():
        assert shape(json.loads(message)) == shape(json.loads(recorded[name])), name
        assert read(message, ["id"]) == read(recorded[name], ["id"]), name


def record(folder, found):
    folder.mkdir(exist_ok=True)
    for name, message in found.items():
        (folder / f"{name}.json").write_bytes(message)


def event(message):
    told = json.loads(message)
    return told.get("payload", told)


def kind(message):
    told = event(message)
    if "op" in told:
        return "row"
    status = {"BEGIN": "transaction_begun", "END": "transaction_ended"}
    return status.get(told.get("status"), "heartbeat")


def kinds(messages):
    return {kind(message) for message in messages}


def rows_of(messages):
    return [message for message in messages if kind(message) == "row"]
