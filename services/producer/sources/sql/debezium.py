"""Messages of Debezium that arrive over NATS, as names of rows.

They are hints: the row is read from the database, and a listing of keys is the truth. So their
order, their old and new values, repeated and lost messages decide nothing.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from services.producer.sources.port import LISTING_SHARE, Root
from services.producer.sources.sql.keys import path_of
from shared.domain.errors import GARBAGE, DocumentRefused
from shared.settings import WatchedSettings

log = structlog.get_logger(__name__)

Subscribe = Callable[[Callable[[bytes], None]], Awaitable[Callable[[], Awaitable[None]]]]
"""Call it with what hears each message; it returns what ends the subscription."""

ALL_ROWS: Final = ""
"""The name that stands for the whole source; no row has an empty path."""
AGAIN_S: Final = 5.0
"""A row is looked at once more after this long, or at most twice as long. Debezium reads a commit
from the log, where it can stand before the tables show it: a replica lags, or a synchronous standby
has not answered yet."""

_OF_A_ROW: Final = frozenset("crud")
_BESIDE: Final = frozenset({"ts_ms", "status", "ddl", "tableChanges"})
"""Fields of heartbeats, of transactions and of changes of the schema."""
_TYPES: Final = frozenset({"int8", "int16", "int32", "int64", "string", "boolean"})
_MEANINGS: Final = frozenset({None, "io.debezium.data.Uuid", "io.debezium.data.Enum"})
"""Of dates and decimals, the settings of Debezium decide how they are encoded."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What one message tells about rows."""

    keys: tuple[Mapping[str, str | int], ...] = ()
    """Key column to value; two of them when the key itself has changed."""
    all_rows: bool = False
    """The table was emptied by one command."""
    fault: str = ""
    """Why the message tells nothing, in words for people; the same for all messages of its kind."""


def read(message: bytes, key_columns: Sequence[str]) -> Changed:
    """The keys in a message of Debezium, with or without its schema; raises nothing.

    Keys are integers, texts, UUIDs and truth values, as the database's driver gives them. Values of
    other types are encoded by settings of Debezium that a message does not tell.
    """
    if not message:
        return Changed()  # a tombstone follows a deletion
    try:
        told = json.loads(message)
        if told is None:
            return Changed()
        if told.keys() != {"schema", "payload"}:
            return _read(told, frozenset(), key_columns)
        if told["payload"] is None:
            return Changed()
        return _read(told["payload"], _spelt_otherwise(told["schema"] or {}), key_columns)
    except GARBAGE:
        return Changed(fault="no message of Debezium in JSON")


def _read(event: Any, unlike: frozenset[str], key_columns: Sequence[str]) -> Changed:
    operation = event.get("op")
    if operation == "t":
        return Changed(all_rows=True)
    if operation == "m" or (operation is None and not _BESIDE.isdisjoint(event)):
        return Changed()
    if operation not in _OF_A_ROW:
        return Changed(fault="no change of a row; does a transform of Debezium unwrap messages?")
    rows = [row for row in (event.get("before"), event.get("after")) if row is not None]
    for name in key_columns:
        if not all(name in row for row in rows):
            return Changed(fault=f"the key column {name} is not in it")
        if name in unlike or not all(isinstance(row[name], (str, int)) for row in rows):
            return Changed(fault=f"the key column {name} is no integer, text, UUID or truth value")
    keys = [{name: row[name] for name in key_columns} for row in rows]
    return Changed(keys=tuple(key for n, key in enumerate(keys) if key not in keys[:n]))


def _spelt_otherwise(schema: Any) -> frozenset[str]:
    """Columns with values that the driver of the database spells in another way."""
    return frozenset(
        str(column["field"])
        for row in schema.get("fields", ())
        if row.get("field") in ("before", "after")
        for column in row["fields"]
        if column["type"] not in _TYPES or column.get("name") not in _MEANINGS
    )


class DebeziumHints:
    """Changes of one table. Implements `services.producer.sources.port.Hints`.

    Debezium runs as far as a message has come since the last listing, be it a heartbeat. While none
    comes, the table is listed as often as without.

    Args:
        subscribe: None to look at intervals only.
        tell: hears a fault of the messages, once for each kind.
    """

    def __init__(
        self,
        key_columns: Sequence[str],
        settings: WatchedSettings,
        subscribe: Subscribe | None,
        tell: Callable[[str], None],
        again_s: float = AGAIN_S,
    ) -> None:
        self.anew = False
        self._key_columns, self._settings = key_columns, settings
        self._subscribe, self._tell, self._again_s = subscribe, tell, again_s
        self._end: Callable[[], Awaitable[None]] | None = None
        self._heard: Callable[[Collection[str]], None] = lambda _: None
        self._come = False
        self._faults = Counter[str]()
        self._older, self._newer = set[str](), set[str]()
        """Names that are passed on once more: those of the last interval, and those since."""
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, heard: Callable[[Collection[str]], None]) -> None:
        """Names are paths of rows, or `ALL_ROWS`."""
        self._heard = heard
        if self._subscribe is not None:
            self._end = await self._subscribe(self._hear)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._end is not None:
            await self._end()
        if self._faults:
            log.warning("messages_not_read", by_reason=dict(self._faults))

    async def watch_the_same(self, root: Root) -> None:  # noqa: ARG002 - a table keeps its subject
        """What was heard of all rows is answered by this listing."""
        self.anew = False

    def interval(self, took_s: float, *, waits: bool) -> float:
        come, self._come = self._come, False
        if self._settings.watch == "events" or (come and not waits):
            return self._settings.rescan
        return max(self._settings.poll, took_s / LISTING_SHARE)

    def _hear(self, message: bytes) -> None:
        changed = read(message, self._key_columns)
        if changed.fault:
            self._note(changed.fault)
            return
        self._come = True
        if names := {ALL_ROWS} if changed.all_rows else set(self._paths(changed)):
            self._heard(names)
            self._newer |= names
            if self._timer is None:
                self._timer = self._in_a_while()

    def _paths(self, changed: Changed) -> Iterator[str]:
        for key in changed.keys:
            with contextlib.suppress(DocumentRefused):  # a listing shows the row with this fault
                yield path_of(key, self._key_columns)

    def _note(self, fault: str) -> None:
        self._faults[fault] += 1
        if self._faults[fault] == 1:
            self._tell(
                f"a message of change capture is not read: {fault}; listings find the change"
            )

    def _in_a_while(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._again_s, self._once_more)

    def _once_more(self) -> None:
        if self._older:
            self._heard(self._older)
        self._older, self._newer = self._newer, set()
        self._timer = self._in_a_while() if self._older else None
