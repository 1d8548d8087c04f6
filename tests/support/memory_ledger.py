"""A ledger in memory: for tests, and as the plainest statement of the contract."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from shared.domain.codecs.record_codec import read, to_bytes
from shared.domain.errors import LedgerConflict, PermanentError
from shared.domain.ordering import Record
from shared.domain.topology import MAX_MESSAGE_BYTES
from shared.ports import Entry, FeedState, LedgerChange


class MemoryLedger:
    """Implements `shared.ports.Ledger`. Holds the bytes that the bus would hold.

    Each call decides in one step of the event loop, as the server decides in one step.
    """

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytes, int]] = {}
        self._revision = 0

    async def get(self, doc_key: str) -> Entry | None:
        data, at = self._values.get(doc_key, (b"", 0))
        record = read(data)
        return Entry(record, at) if record else None

    async def update(self, doc_key: str, record: Record, *, expect: int) -> int:
        data = to_bytes(record)
        if len(data) > MAX_MESSAGE_BYTES:
            raise PermanentError(f"the record of {doc_key} is larger than a message may be")
        found, at = self._values.get(doc_key, (b"", 0))
        if at != expect and (expect or read(found) is not None):
            raise LedgerConflict(f"the record of {doc_key} is not at {expect}")
        self._revision += 1
        self._values[doc_key] = data, self._revision
        return self._revision

    async def get_many(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        records = ((key, read(self._values.get(key, (b"", 0))[0])) for key in doc_keys)
        return {key: record for key, record in records if record}

    async def entries(self) -> AsyncIterator[tuple[str, Record | None]]:
        for key, (data, _) in list(self._values.items()):
            yield key, read(data)

    def write(self, doc_key: str, data: bytes) -> None:
        """Any bytes under a key, as whoever may write to the bucket may send them."""
        self._revision += 1
        self._values[doc_key] = data, self._revision

    async def follow(self) -> "MemoryLedgerFeed":
        return MemoryLedgerFeed(self._values)


class MemoryLedgerFeed:
    """Implements `shared.ports.LedgerFeed`."""

    def __init__(self, values: Mapping[str, tuple[bytes, int]]) -> None:
        self._values = values
        self._last = 0

    async def more(self) -> Sequence[LedgerChange]:
        changed = sorted((at, key) for key, (_, at) in self._values.items() if at > self._last)
        if changed:
            self._last, _ = changed[-1]
        records = ((key, read(self._values[key][0])) for _, key in changed)
        return [LedgerChange(key, record, unreadable=record is None) for key, record in records]

    async def state(self, keys: int) -> FeedState:
        newest = max((at for _, at in self._values.values()), default=0)
        return FeedState(len(self._values) == keys, newest == self._last)

    async def close(self) -> None:
        """Nothing is kept open."""
