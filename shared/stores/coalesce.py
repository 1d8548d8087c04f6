"""Many concurrent store calls, one commit.

A commit costs the store the same for one row as for hundreds. So calls go together
(`shared.group`). The calls that come here show whether there is a load, so the rows' origin does
not matter.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from shared.domain.errors import VectorsRejected
from shared.group import Group, Size
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector, VectorStore

GATHER_S: Final = 0.75
"""How long a group may wait for company during a load: a commit of the embedded store is dear."""
SERVER_GATHER_S: Final = 0.025
"""The same for a server of its own, which a call costs little more than a round trip."""


class CoalescingStore:
    """Implements `shared.ports.VectorStore` over another: concurrent calls share inner ones.

    Args:
        gather_s: how long an upsert may wait for company while many come. A load as a whole is
            done sooner by fewer and larger commits, for they leave the processor to the model.
    """

    def __init__(self, inner: VectorStore, gather_s: float = 0.0) -> None:
        self.dimensions = inner.dimensions
        self._inner = inner
        self._is_express = False
        self._upserts: Group[Sequence[Row], None] = Group(self._upsert, _weigh, gather_s)
        self._deletes: Group[Collection[str], None] = Group(self._delete, _length)
        self._ids: Group[Mapping[str, int], Mapping[str, frozenset[str]]] = Group(
            self._find_ids, _length
        )
        self._probes: Group[Sequence[Probe], frozenset[str]] = Group(self._probe, _length)
        self._groups: list[Group[Any, Any]] = [
            self._upserts,
            self._deletes,
            self._ids,
            self._probes,
        ]

    def express(self) -> "CoalescingStore":
        """The same store for calls that go before all others; closing this one closes that, too.

        Writers share their commits. Readers of the two do not wait for each other.
        """
        made = CoalescingStore(self._inner)
        made._is_express = True
        made._upserts, made._deletes = self._upserts, self._deletes
        self._groups += [made._ids, made._probes]
        return made

    async def upsert(self, rows: Sequence[Row]) -> None:
        await self._upserts(rows, express=self._is_express)

    async def delete(self, ids: Collection[str]) -> None:
        await self._deletes(ids, express=self._is_express)

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        return await self._ids(documents)

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        return await self._probes(probes)

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        return await self._inner.search(vector, limit=limit, where=where)

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        return await self._inner.search_text(text, limit=limit, where=where)

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        return await self._inner.rows(ids)

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        return await self._inner.vectors(ids)

    async def count(self) -> int:
        return await self._inner.count()

    async def digests(self) -> Mapping[str, Digest]:
        return await self._inner.digests()

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        return await self._inner.holdings(buckets)

    async def lag_s(self) -> float | None:
        return await self._inner.lag_s()

    async def incarnation(self) -> str | None:
        return await self._inner.incarnation()

    async def maintain(self) -> None:
        await self._inner.maintain()

    async def close(self) -> None:
        """Wait for calls under way, then close the inner store."""
        for group in self._groups:
            await group.finished()
        await self._inner.close()

    async def _upsert(self, calls: Sequence[Sequence[Row]]) -> Sequence[Exception | None]:
        try:
            await self._inner.upsert([row for rows in calls for row in rows])
        except VectorsRejected as error:
            return [own_rejection(rows, error) for rows in calls]
        return [None] * len(calls)

    async def _delete(self, calls: Sequence[Collection[str]]) -> Sequence[None]:
        await self._inner.delete({key for ids in calls for key in ids})
        return [None] * len(calls)

    async def _find_ids(
        self, calls: Sequence[Mapping[str, int]]
    ) -> Sequence[Mapping[str, frozenset[str]] | Exception]:
        answers: list[Mapping[str, frozenset[str]]] = []
        for agreeing in agreeing_runs(calls):
            found = await self._inner.ids(
                {k: born for call in agreeing for k, born in call.items()}
            )
            answers.extend({key: found[key] for key in call} for call in agreeing)
        return answers

    async def _probe(self, calls: Sequence[Sequence[Probe]]) -> Sequence[frozenset[str]]:
        lost = await self._inner.unsearchable([probe for probes in calls for probe in probes])
        return [lost & {probe.id for probe in probes} for probes in calls]


def agreeing_runs(calls: Sequence[Mapping[str, int]]) -> list[list[Mapping[str, int]]]:
    """The calls in order, cut wherever one asks for a document with another `born`."""
    runs: list[list[Mapping[str, int]]] = []
    asked: dict[str, int] = {}
    for call in calls:
        if not runs or any(asked.get(key, born) != born for key, born in call.items()):
            runs.append([])
            asked = {}
        runs[-1].append(call)
        asked.update(call)
    return runs


def own_rejection(rows: Sequence[Row], error: VectorsRejected) -> VectorsRejected | None:
    """The part of a group's rejection that concerns the rows of one caller."""
    own = error.ids & {row.id for row in rows}
    return VectorsRejected(f"{len(own)} of {len(rows)} vectors were rejected", own) if own else None


def _weigh(rows: Sequence[Row]) -> Size:
    return Size(len(rows), sum(row.vector.nbytes + 4 * len(row.text) for row in rows))


def _length(call: Collection[object]) -> Size:
    return Size(len(call))
