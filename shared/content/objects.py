"""Bodies in a JetStream object store, named by their sha256.

Written by nats-py, so the layout is the usual one. Read here, by a pull: nats-py's `get` has no
time-out, leaves its consumer behind when cancelled, and depends on the acknowledgement format.
"""

import asyncio
import json
from base64 import urlsafe_b64encode
from weakref import WeakValueDictionary

from nats.js import JetStreamContext
from nats.js.object_store import ObjectStore

from shared.bus.reading import newest, scan, translated
from shared.errors import BusUnavailable
from shared.identity import content_hash as hash_of
from shared.topology import BODIES


class ObjectContent:
    """Implements `shared.ports.ContentStore`. Raises BusUnavailable too."""

    def __init__(
        self, js: JetStreamContext, bucket: str = BODIES, *, timeout_s: float = 60.0
    ) -> None:
        self._js, self._bucket, self._timeout_s = js, bucket, timeout_s
        self._stream = f"OBJ_{bucket}"
        self._store = ObjectStore(bucket, self._stream, js)
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, data: bytes) -> str:
        name = hash_of(data)
        # Two writers of one name would leave one set of chunks behind for ever.
        lock = self._writing.setdefault(name, asyncio.Lock())
        with translated(f"writing {self._bucket}"):
            async with lock, asyncio.timeout(self._timeout_s):
                if await self._chunks_of(name) is None:
                    await self._store.put(name, data)
        return name

    async def get(self, content_hash: str) -> bytes:
        with translated(f"reading {self._bucket}"):
            async with asyncio.timeout(self._timeout_s):
                chunks = await self._chunks_of(content_hash)
                if chunks is None:
                    raise KeyError(content_hash)
                messages = scan(self._js, self._stream, chunks)
                data = b"".join([message.data async for message in messages])
        if hash_of(data) != content_hash:
            raise BusUnavailable(f"reading {self._bucket}: {content_hash} came incomplete")
        return data

    async def _chunks_of(self, name: str) -> str | None:
        """Subject of the chunks of an object, or None when there is no such object."""
        encoded = urlsafe_b64encode(name.encode()).decode()
        found = await newest(self._js, self._stream, f"$O.{self._bucket}.M.{encoded}")
        if found is None:
            return None
        info = json.loads(found.data or b"{}")
        return None if info.get("deleted") else f"$O.{self._bucket}.C.{info['nuid']}"
