"""The ledger in a NATS KV bucket: one key a document, changed by compare-and-set only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

import structlog
from nats.js import JetStreamContext

from shared.bus.jetstream.buckets import BucketFeed, KvBucket
from shared.domain.codecs.record_codec import read, to_bytes
from shared.domain.errors import Conflict, LedgerConflict
from shared.domain.ids import is_doc_key
from shared.domain.ordering import Record
from shared.domain.topology import ledger_bucket
from shared.ports import Entry, FeedState, LedgerChange

AT_ONCE_BYTES: Final = 16 * 1024
"""Bytes of records that a reader decodes before others have their turn."""

log = structlog.get_logger(__name__)


class KvLedger:
    """Implements `shared.ports.Ledger`.

    `get` asks the stream's leader, so a worker never decides by a record older than its own write.
    `get_many` and `entries` are for reading; in a cluster a replica that lags may answer them.

    An unreadable value counts as absent: the sweep has the document sent again, as after a loss of
    the whole ledger. A key that no document can have is passed over.
    """

    def __init__(self, js: JetStreamContext, generation: str) -> None:
        self._bucket = KvBucket(js, ledger_bucket(generation).name)

    async def open(self) -> None:
        """Raises ConfigurationError when the bucket was not provisioned, BusUnavailable."""
        await self._bucket.open()

    async def get(self, doc_key: str) -> Entry | None:
        value = await self._bucket.get(doc_key)
        record = value and _record(doc_key, value.data)
        return Entry(record, value.at) if value and record else None

    async def update(self, doc_key: str, record: Record, *, expect: int) -> int:
        data = to_bytes(record)
        try:
            return await self._bucket.put(doc_key, data, expect=expect)
        except Conflict as conflict:
            unreadable = None if expect else await self._unreadable(doc_key)
            if unreadable is None:
                raise LedgerConflict(str(conflict)) from conflict
        try:
            return await self._bucket.put(doc_key, data, expect=unreadable)
        except Conflict as conflict:
            raise LedgerConflict(str(conflict)) from conflict

    async def _unreadable(self, doc_key: str) -> int | None:
        """Revision of the unreadable value under the key, or None."""
        value = await self._bucket.get(doc_key)
        return value.at if value and _record(doc_key, value.data) is None else None

    async def get_many(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        values = await self._bucket.get_many(doc_keys)
        records = ((key, _record(key, value.data)) for key, value in values.items())
        return {key: record for key, record in records if record}

    async def entries(self) -> AsyncIterator[tuple[str, Record | None]]:
        turn = _Turn()
        async with contextlib.aclosing(self._bucket.items()) as items:
            async for key, value in items:
                if is_doc_key(key):
                    await turn.of(len(value.data))
                    yield key, _record(key, value.data)

    async def follow(self) -> "KvLedgerFeed":
        return KvLedgerFeed(await self._bucket.follow())


class KvLedgerFeed:
    """Implements `shared.ports.LedgerFeed`."""

    def __init__(self, bucket: BucketFeed) -> None:
        self._bucket = bucket

    async def more(self) -> Sequence[LedgerChange]:
        changes, turn = [], _Turn()
        for key, data in await self._bucket.more():
            await turn.of(len(data or b""))
            changes.append(_change(key, data))
        return changes

    async def state(self, keys: int) -> FeedState:
        return await self._bucket.state(keys)

    async def close(self) -> None:
        await self._bucket.close()


class _Turn:
    """How long one reader may keep all others waiting, counted in bytes."""

    def __init__(self) -> None:
        self._left = AT_ONCE_BYTES

    async def of(self, size: int) -> None:
        """Take so many bytes of it; the others come first when it is over."""
        if self._left <= 0:
            self._left = AT_ONCE_BYTES
            await asyncio.sleep(0)
        self._left -= size


def _change(doc_key: str, data: bytes | None) -> LedgerChange:
    record = None if data is None else _record(doc_key, data)
    return LedgerChange(doc_key, record, unreadable=data is not None and record is None)


def _record(doc_key: str, data: bytes) -> Record | None:
    """The record, or None when the value is not one."""
    record = read(data)
    if record is None:
        log.warning("ledger_record_unreadable", doc_key=doc_key)
    return record
