"""Bodies in a JetStream object store, named by their sha256.

Written by nats-py, so the layout is the usual one. Read here, by a pull: nats-py's `get` has no
time-out, leaves its consumer behind when cancelled, and depends on the acknowledgement format.
Deleted here, too: by compare-and-set, so that a body that is put again at the same moment stays.
"""

import asyncio
import contextlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from weakref import WeakValueDictionary

from nats.js import JetStreamContext
from nats.js.errors import BadRequestError
from nats.js.object_store import ObjectStore

from shared.bus.jetstream.change_log import EXPECTED, WRONG_LAST_SEQUENCE
from shared.bus.jetstream.reading import newest, scan, translated
from shared.domain.errors import GARBAGE, BusUnavailable
from shared.domain.ids import content_hash as hash_of
from shared.domain.topology import BODIES

RENEW_AFTER: Final = timedelta(minutes=10)
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ROLLUP: Final = "Nats-Rollup"


@dataclass(frozen=True, slots=True)
class _Described:
    """The description of an object, its sequence, and the time at which the server stored it.

    info: empty where it cannot be read.
    """

    info: dict[str, Any]
    sequence: int
    at: datetime

    @property
    def there(self) -> bool:
        """Whether it lists chunks."""
        return bool(self.info) and not self.info.get("deleted")


class ObjectContent:
    """Implements `shared.ports.ContentStore`. Raises BusUnavailable too."""

    def __init__(
        self,
        js: JetStreamContext,
        bucket: str = BODIES,
        *,
        timeout_s: float = 60.0,
        renew_after: timedelta = RENEW_AFTER,
    ) -> None:
        self._js, self._bucket, self._timeout_s = js, bucket, timeout_s
        self._renew_after = renew_after
        self._stream = f"OBJ_{bucket}"
        self._store = ObjectStore(bucket, self._stream, js)
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, data: bytes) -> str:
        name = hash_of(data)
        # Two writers of one name would leave one set of chunks behind for ever.
        lock = self._writing.setdefault(name, asyncio.Lock())
        with translated(f"writing {self._bucket}"):
            async with lock, asyncio.timeout(self._timeout_s):
                while not await self._renewed(name):
                    found = await self._described(name)
                    if found is None or not found.there or not await self._is_whole(found):
                        await self._make_room(found)
                        await self._store.put(name, data)
        return name

    async def get(self, content_hash: str) -> bytes:
        with translated(f"reading {self._bucket}"):
            async with asyncio.timeout(self._timeout_s):
                found = await self._described(content_hash)
                if found is None or not found.there:
                    raise KeyError(content_hash)
                messages = scan(self._js, self._stream, self._chunks(found))
                data = b"".join([message.data async for message in messages])
        if hash_of(data) != content_hash:
            raise BusUnavailable(f"reading {self._bucket}: {content_hash} came incomplete")
        return data

    async def stored(self) -> Mapping[str, datetime]:
        """Those whose deletion was begun and did not end are there, too."""
        subject = f"$O.{self._bucket}.M.>"
        found: dict[str, datetime] = {}
        async with contextlib.aclosing(
            scan(self._js, self._stream, subject, values=False)
        ) as messages:
            async for message in messages:
                if name := _name(message.subject.rpartition(".")[2]):
                    found[name] = message.metadata.timestamp.astimezone(UTC)
        return found

    async def forget(self, content_hash: str, *, put_before: datetime) -> bool:
        with translated(f"deleting from {self._bucket}"):
            async with asyncio.timeout(self._timeout_s):
                found = await self._described(content_hash)
                if found is None or found.at >= put_before:
                    return False
                sequence = found.sequence
                if found.there:
                    marked = await self._redescribe(content_hash, found, deleted=True)
                    if marked is None:
                        return False
                    sequence = marked
                if found.info:
                    await self._js.purge_stream(self._stream, subject=self._chunks(found))
                # by its sequence: the body may have been put again since
                await self._js.delete_msg(self._stream, sequence)
        return True

    async def _renewed(self, name: str) -> bool:
        """Whether the object is there and whole, put lately or marked as put now."""
        found = await self._described(name)
        if found is None or not found.there or not await self._is_whole(found):
            return False
        if datetime.now(UTC) - found.at < self._renew_after:
            return True
        return await self._redescribe(name, found) is not None

    async def _is_whole(self, found: _Described) -> bool:
        """Whether as many chunks are there as were put; one can be lost or added, not altered."""
        chunks = self._chunks(found)
        info = await self._js.stream_info(self._stream, subjects_filter=chunks)
        there = (info.state.subjects or {}).get(chunks, 0)
        return bool(there == found.info.get("chunks"))

    async def _make_room(self, found: _Described | None) -> None:
        """Delete a description that nats-py cannot read, and so cannot replace."""
        if found is not None and not found.info:
            await self._js.delete_msg(self._stream, found.sequence)

    async def _redescribe(
        self, name: str, found: _Described, *, deleted: bool = False
    ) -> int | None:
        """Replace the description if it is the newest; its sequence, or None."""
        info = {**found.info, "deleted": True} if deleted else found.info
        headers = {EXPECTED: str(found.sequence), _ROLLUP: "sub"}
        try:
            acknowledged = await self._js.publish(
                self._description(name), json.dumps(info).encode(), headers=headers
            )
        except BadRequestError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                return None
            raise
        return acknowledged.seq

    async def _described(self, name: str) -> _Described | None:
        found = await newest(self._js, self._stream, self._description(name))
        if found is None:
            return None
        assert found.seq is not None  # of every message that is stored
        assert found.time is not None
        return _Described(_info(found.data or b""), found.seq, found.time.astimezone(UTC))

    def _description(self, name: str) -> str:
        return f"$O.{self._bucket}.M.{urlsafe_b64encode(name.encode()).decode()}"

    def _chunks(self, found: _Described) -> str:
        return f"$O.{self._bucket}.C.{found.info['nuid']}"


def _name(token: str) -> str | None:
    """The hash that a subject's last part stands for; None where it is none."""
    try:
        name = urlsafe_b64decode(token).decode()
    except GARBAGE:
        return None
    return name if _HASH.fullmatch(name) else None


def _info(data: bytes) -> dict[str, Any]:
    """The content of a description; empty where it cannot be read."""
    try:
        info = json.loads(data)
        return info if isinstance(info["nuid"], str) else {}
    except GARBAGE:
        return {}
