"""Whether a searcher would find rows: the questions that confirm a revision."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from shared.ports import Filter, Probe
from shared.stores import checks
from shared.stores.weaviate import answers as weaviate_answers
from shared.stores.weaviate import calls as weaviate_calls
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate.calls import IDS_PER_CALL, at_once

NEIGHBOURS: Final = 20
"""Rows among which a row has to be when it is asked for by its own vector."""
FEW: Final = 2
"""Rows that are asked for first: almost always the row itself is the first of them, and an answer
costs by its length."""


@dataclass(frozen=True, slots=True)
class Searching:
    """Asks one collection, whose vectors have so many dimensions."""

    rows: weaviate_calls.Collection
    dimensions: int

    async def unsearchable(self, probes: Sequence[Probe]) -> tuple[frozenset[str], set[str]]:
        """Ids of the probes that a searcher would not find now, and of those that the index knows.

        Proven for every probe: the vector index knows the row. Asked as a searcher asks, for
        every probe with a vector: the plain search by it, without a filter (one with a filter
        finds rows that a searcher does not yet), has the row among the nearest, or nothing but
        rows of the same vector.
        """
        ids = {probe.id for probe in probes}
        asked = {probe.id: probe for probe in probes if probe.vector is not None}
        shown, known = await asyncio.gather(
            self._found(asked.values(), FEW), self.indexed(ids - asked.keys())
        )
        doubted = asked.keys() - shown
        known |= shown | await self.indexed(doubted)
        shown |= await self._found([asked[key] for key in doubted & known], NEIGHBOURS)
        return frozenset((ids - known) | (asked.keys() - shown)), known

    async def indexed(self, ids: Collection[str]) -> set[str]:
        """The ids of rows that the vector index knows."""
        named = {weaviate_rows.object_id(key): key for key in ids}
        known: set[str] = set()
        for batch in checks.slices(sorted(named), IDS_PER_CALL):
            known |= await self.rows.indexed(batch, weaviate_answers.any_vector(self.dimensions))
        return {named[key] for key in known}

    async def _found(self, probes: Collection[Probe], most: int) -> set[str]:
        """Ids of the probes whose row is among the nearest to their vector.

        Where all of `NEIGHBOURS` have that vector, the row may be one more of them.
        """

        async def finds(probe: Probe) -> bool:
            if probe.vector is None or not checks.sound(probe.vector, self.dimensions):
                return False
            found = await self.rows.near(probe.vector, most, (), Filter())
            same = {one.id for one in found if one.distance < checks.SAME}
            return len(same) == NEIGHBOURS or weaviate_rows.object_id(probe.id) in same

        found = await at_once(list(probes), finds)
        return {probe.id for probe, is_found in zip(probes, found, strict=True) if is_found}
