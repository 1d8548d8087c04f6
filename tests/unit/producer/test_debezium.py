"""What messages of Debezium say about rows; they are hints, and may hold anything.

The recorded ones are those of a real Debezium Server 3.6.1 (`tests/cdc/test_recorded_messages.py`).
"""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.producer.sources.sql.debezium import ALL_ROWS, Changed, DebeziumHints, read
from shared.settings import FolderSettings

GOLDEN = Path(__file__).parents[2] / "golden" / "debezium"
TOLD = {
    "read": [9],
    "created": [1],
    "updated": [1],
    "key_changed_1": [1],
    "key_changed_2": [2],
    "deleted": [2],
    "long": [3],
    "toasted": [3],
    "heartbeat": [],
    "transaction_begun": [],
    "transaction_ended": [],
}


def message(op="u", before=None, after=None, **more):
    return json.dumps({"op": op, "before": before, "after": after} | more).encode()


def recorded(form):
    return {path.stem: path.read_bytes() for path in (GOLDEN / form).glob("*.json")}


@pytest.mark.parametrize("form", ["schema", "bare"])
def test_recorded_messages_name_the_rows_that_changed(form):
    found = {name: read(told, ["id"]) for name, told in recorded(form).items()}

    assert found.pop("truncated") == Changed(all_rows=True)
    assert {name: [key["id"] for key in told.keys] for name, told in found.items()} == TOLD
    assert not any(told.fault for told in found.values())


@pytest.mark.parametrize("column", ["price", "day", "made"])
def test_a_column_that_the_driver_spells_otherwise_is_no_key(column):
    told = read(recorded("schema")["created"], [column])

    assert (told.keys, column in told.fault) == ((), True)


def test_both_keys_are_named_where_the_key_itself_has_changed():
    told = message(before={"a": "x", "b": 1, "c": ""}, after={"a": "x", "b": 2, "c": "text"})

    assert read(told, ["a", "b"]).keys == ({"a": "x", "b": 1}, {"a": "x", "b": 2})


def test_a_row_that_keeps_its_key_is_named_once():
    assert read(message(before={"id": 1}, after={"id": 1}), ["id"]).keys == ({"id": 1},)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(b"", id="a tombstone"),
        pytest.param(b"null", id="a tombstone in JSON"),
        pytest.param(b'{"schema": null, "payload": null}', id="a tombstone with schema"),
        pytest.param(b'{"ts_ms": 1}', id="a heartbeat"),
        pytest.param(b'{"status": "BEGIN", "id": "1:2", "event_count": null}', id="a transaction"),
        pytest.param(b'{"source": {}, "ddl": "create table", "tableChanges": []}', id="a schema"),
        pytest.param(b'{"op": "m", "message": {"prefix": "x", "content": ""}}', id="a note"),
    ],
)
def test_messages_that_are_about_no_row_are_no_fault(told):
    assert read(told, ["id"]) == Changed()


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (b"{", "no message of Debezium"),
        (b"[1]", "no message of Debezium"),
        (b"\xff\xfe", "no message of Debezium"),
        (b"[" * 100_000, "no message of Debezium"),
        (b"1" * 10_000, "no message of Debezium"),
        (message(op=["u"]), "no message of Debezium"),
        (message(after=7), "no message of Debezium"),
        (b'{"id": 1, "title": "unwrapped"}', "unwrap"),
        (message(op="x"), "unwrap"),
        (message(after={"no": 1}), "key column id is not in it"),
        (message(after={"id": 1.5}), "key column id is no integer"),
        (message(after={"id": None}), "key column id is no integer"),
        (message(after={"id": {"scale": 1, "value": "Ag=="}}), "key column id is no integer"),
    ],
)
def test_what_cannot_be_read_has_a_reason(told, fault):
    found = read(told, ["id"])

    assert (found.keys, found.all_rows) == ((), False)
    assert fault in found.fault


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["schema", "payload", "op", "before", "after", "id", "fields", "field", "type"]
            ),
            inner | st.sampled_from(["u", "c", "d", "t", "after"]),
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(st.one_of(st.binary(max_size=40), json_values.map(lambda one: json.dumps(one).encode())))
def test_any_message_tells_keys_or_a_reason_and_breaks_nothing(told):
    found = read(told, ["id"])

    assert all(isinstance(key["id"], (str, int)) for key in found.keys)
    assert not (found.keys and found.fault)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.integers() | st.text(max_size=9) | st.booleans() | st.uuids().map(str),
        min_size=2,
    ),
    st.sampled_from("cudr"),
    st.booleans(),
)
def test_every_key_is_read_as_it_was_sent(key, op, enveloped):
    row = key | {"title": "x", "price": "AJY="}
    event = {"op": op} | ({"before": row} if op == "d" else {"after": row})
    told = {"schema": None, "payload": event} if enveloped else event

    assert read(json.dumps(told).encode(), ["a", "b"]).keys == (key,)


class Subject:
    """A subject that a test publishes to, and the hints that hear it."""

    def __init__(self, again_s=3600.0, **settings):
        self.heard, self.faults, self.ended = [], [], False
        given = FolderSettings.model_validate(
            {"path": ".", "rescan": 300.0, "poll": 2.0} | settings
        )
        self.hints = DebeziumHints(["id"], given, self.subscribe, self.faults.append, again_s)

    async def subscribe(self, hear):
        self.publish = hear

        async def end():
            self.ended = True

        return end

    async def __aenter__(self):
        await self.hints.start(lambda names: self.heard.append(set(names)))
        return self

    async def __aexit__(self, *_):
        await self.hints.stop()

    def interval(self, took_s=0.0, waits=False):
        return self.hints.interval(took_s, waits=waits)


async def test_rows_are_named_by_their_paths_and_all_of_them_by_one_name():
    async with Subject() as subject:
        subject.publish(message(after={"id": "a/b"}))
        subject.publish(message(op="t"))
        subject.publish(message(after={"id": "x" * 5000}))

    assert subject.heard == [{"a%2Fb"}, {ALL_ROWS}]
    assert subject.ended


async def test_a_fault_is_told_once_for_each_kind():
    async with Subject() as subject:
        for told in (b"{", b"}", message(op="x"), b"["):
            subject.publish(told)

    assert len(subject.faults) == 2
    assert subject.heard == []


async def test_each_name_is_passed_on_once_more_and_then_no_more(eventually):
    async with Subject(again_s=0.05) as subject:
        subject.publish(message(after={"id": 1}))
        subject.publish(message(after={"id": 2}))
        await eventually(lambda: {"1", "2"} in subject.heard)
        await eventually(lambda: subject.hints._timer is None)

        assert subject.heard == [{"1"}, {"2"}, {"1", "2"}]


async def test_nothing_is_passed_on_after_the_end():
    async with Subject(again_s=0.01) as subject:
        subject.publish(message(after={"id": 1}))
    await asyncio.sleep(0.05)

    assert subject.heard == [{"1"}]


async def test_listings_are_rare_only_while_debezium_is_heard():
    async with Subject() as subject:
        assert subject.interval() == 2.0
        subject.publish(b'{"ts_ms": 1}')
        assert subject.interval() == 300.0
        assert subject.interval() == 2.0
        assert subject.interval(took_s=1.0) == 20.0
        subject.publish(message(after={"id": 1}))
        assert subject.interval(waits=True) == 2.0
        subject.publish(b"{")
        assert subject.interval() == 2.0


async def test_a_source_that_relies_on_events_is_listed_rarely_from_the_start():
    async with Subject(watch="events") as subject:
        assert subject.interval() == 300.0
