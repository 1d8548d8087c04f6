"""Shared requests to the bus for the look-ups and writes of concurrent parts.

A part may be of one text only, and then a request for each would cost more than its vector. A call
goes at once while no request is under way; calls meanwhile go together. Without, the bus has 37
messages an edit instead of 30 (`bench/edit.py --beside 50 --model fake-384`, the sum of the
server's `in_msgs` and `out_msgs`, one run each).
"""

from collections.abc import Collection, Mapping, Sequence

from shared.domain.ordering import Record
from shared.group import Group, Size
from shared.ports import Entry, Ledger, Vector, VectorCache


class GatheredCache:
    """Implements `shared.ports.VectorCache` over another."""

    def __init__(self, inner: VectorCache) -> None:
        self._inner = inner
        self._gets: Group[Collection[str], Mapping[str, Vector]] = Group(self._get, _keys)
        self._puts: Group[Mapping[str, Vector], None] = Group(self._put, _keys)

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Vector]:
        found = await self._gets(keys)
        return {key: found[key] for key in keys if key in found}

    async def put_many(self, vectors: Mapping[str, Vector]) -> None:
        if vectors:
            await self._puts(vectors)

    async def _get(self, calls: Sequence[Collection[str]]) -> list[Mapping[str, Vector]]:
        return [await self._inner.get_many(set().union(*calls))] * len(calls)

    async def _put(self, calls: Sequence[Mapping[str, Vector]]) -> list[None]:
        await self._inner.put_many({key: made for call in calls for key, made in call.items()})
        return [None] * len(calls)


class GatheredLedger:
    """Records by `get_many`, which a replica of the bus may answer that lags.

    An embedder only leaves out what a record calls overtaken or settled, and that stays true: an
    older record costs work, never a part. Never base a write on these records.
    """

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner
        self._gets: Group[Collection[str], Mapping[str, Record]] = Group(self._get, _keys)

    async def get(self, doc_key: str) -> Entry | None:
        record = (await self._gets((doc_key,))).get(doc_key)
        return Entry(record, at=-1) if record else None

    async def _get(self, calls: Sequence[Collection[str]]) -> list[Mapping[str, Record]]:
        return [await self._inner.get_many(set().union(*calls))] * len(calls)


def _keys(call: Collection[str]) -> Size:
    return Size(len(call))
