"""Rows in a Weaviate collection: a server for many machines, which indexes vectors later.

Three things here are not obvious; each was measured. A row that is there by its id, and found by
keywords, may be missing from the vector index: for milliseconds as a rule, and for ever after some
crashes. So presence is asked of the vector index, never of the objects alone. A vector that is not
finite is taken without a word and spoils its neighbours, so every one is checked before it is
sent. Where no server listens, the client tries for a minute: every call here has its own end.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from shared.domain.errors import FilterNotReady, StoreUnavailable
from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.filters.where import reads_fields, without_exclusions
from shared.domain.text import words
from shared.ports import Digest, Filter, Hit, Holding, Probe, Row, Vector
from shared.stores import checks
from shared.stores.weaviate import answers as weaviate_answers
from shared.stores.weaviate import calls as weaviate_calls
from shared.stores.weaviate import lag as weaviate_lag
from shared.stores.weaviate import open as weaviate_open
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate import schema as weaviate_schema
from shared.stores.weaviate import sweep as weaviate_sweep
from shared.stores.weaviate.answers import Found
from shared.stores.weaviate.calls import IDS_PER_CALL, MOST_FOUND, at_once
from shared.stores.weaviate.limits import TRY_AGAIN_S
from shared.stores.weaviate.open import Address, CollectionPlace, OpenCollection
from shared.stores.weaviate.schema import WORDS, WordsNote, alias_name, collection_name

if TYPE_CHECKING:
    from weaviate import WeaviateAsyncClient


log = structlog.get_logger(__name__)

NEIGHBOURS: Final = 20
"""Rows among which a search by a row's own vector has to find it."""
FEW: Final = 2
"""Rows of a first search: almost always the row itself is the first of them, and an answer costs by
its length."""


@dataclass(frozen=True, slots=True)
class Searching:
    """Asks one collection, whose vectors have so many dimensions."""

    rows: weaviate_calls.Collection
    dimensions: int

    async def unsearchable(self, probes: Sequence[Probe]) -> tuple[frozenset[str], set[str]]:
        """Ids of the probes that a search would not find now, and of those that the index knows.

        Proven for every probe: the vector index knows the row. For every probe with a vector, the
        plain search by it, without a filter (one with a filter finds rows that a plain one does not
        yet), has the row among the nearest, or only rows of the same vector.
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


__all__ = ["Address", "WeaviateStore", "alias_name", "collection_name"]


ROWS_PER_CALL: Final = 256
BYTES_PER_CALL: Final = 8 * 1024 * 1024
MISSING_MOST: Final = 10_000
IDLE_S: Final = 2.0
"""A row that is missing for so long, while no vector waits to be indexed, is torn."""
BUSY_S: Final = 120.0
"""The same while much waits; writing it again does no harm, only work."""
CLOSE_S: Final = 5.0
LOOK_S: Final = 5.0
"""How soon the store notices that the collection was deleted."""
TRIES_AT_START: Final = 10


class WeaviateStore:
    """Implements `shared.ports.VectorStore`; made by `open`.

    Attributes:
        created: the collection was not there; the index is empty and has to be filled.
        notice: a message about the server for people; may be empty.
    """

    def __init__(
        self,
        client: "WeaviateAsyncClient",
        place: CollectionPlace,
        opened: OpenCollection,
        dimensions: int,
    ) -> None:
        self.dimensions = dimensions
        self.created = opened.created
        self.notice = opened.notice
        self._excludes = opened.excludes
        self._client, self._place, name = client, place, place.name
        self._looked_at = time.monotonic()
        self._rows = weaviate_calls.Collection(client, name)
        self._sweeping = weaviate_sweep.Sweeping(self._rows, dimensions, opened.words)
        self._searching = Searching(self._rows, dimensions)
        self._missing: dict[str, float] = {}

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        name: str,
        dimensions: int,
        api_key: str | None = None,
        replicas: int = 1,
        alias: str | None = None,
    ) -> "WeaviateStore":
        """Connect; open or create the collection.

        Args:
            alias: another name that shall lead to the collection.

        Raises:
            StoreMismatch: the collection was made otherwise, or changed by hand.
            ConfigurationError: the key is refused, or the server is too old.
            StoreUnavailable: the server cannot be used at the moment.
        """
        await asyncio.to_thread(__import__, "weaviate")
        client = await weaviate_open.connect(address, api_key)
        place = CollectionPlace(name, replicas, alias)
        try:
            opened = await weaviate_open.open_collection(client, name, replicas=replicas)
            store = cls(client, place, opened, dimensions)
            await store._check_dimensions()
            await weaviate_open.point(client, place)
        except BaseException:
            await client.close()
            raise
        return store

    async def upsert(self, rows: Sequence[Row]) -> None:
        good, bad = checks.vet(rows, self.dimensions)
        for batch in weaviate_rows.batches(good, ROWS_PER_CALL, BYTES_PER_CALL):
            bad |= await self._insert(batch)
        if bad:
            raise checks.refusal(bad)

    async def delete(self, ids: Collection[str]) -> None:
        for batch in checks.slices(_objects(ids), IDS_PER_CALL):
            await self._rows.delete(batch)

    async def ids(self, documents: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
        keys = {weaviate_rows.encoded(key): key for key in documents}
        found: dict[str, set[str]] = {key: set() for key in documents}
        columns = ("row_id", "doc_key", "born")
        async for row in self._rows.among("doc_key", sorted(keys), columns):
            key = keys.get(row.properties["doc_key"])
            if key is not None and row.properties["born"] <= documents[key]:
                found[key].add(row.properties["row_id"])
        return {key: frozenset(ids) for key, ids in found.items()}

    async def unsearchable(self, probes: Sequence[Probe]) -> frozenset[str]:
        lost, known = await self._searching.unsearchable(probes)
        self._note({probe.id for probe in probes}, known)
        return lost

    async def search(self, vector: Vector, *, limit: int, where: Filter) -> Sequence[Hit]:
        asks, rest = checks.checked_query(vector, self.dimensions), self._possible(where)
        if not asks or limit < 1 or rest is None:
            return []
        most = min(limit, MOST_FOUND)
        await self._check_ready(rest)
        found = await self._rows.near(vector, most, weaviate_rows.SHOWN, rest)
        return [weaviate_rows.to_hit(one.properties, _cosine(one.distance)) for one in found]

    async def search_text(self, text: str, *, limit: int, where: Filter) -> Sequence[Hit]:
        query, rest = checks.clean_query(text), self._possible(where)
        asked = words.asked(query)
        if not asked or limit < 1 or rest is None:
            return []
        await self._check_ready(rest)
        searched: Sequence[str] = weaviate_rows.SEARCHED
        if by_words := (await self._words_note()).searched:
            query, searched = " ".join(asked), by_words
        found = await self._rows.keywords(query, min(limit, MOST_FOUND), searched, rest)
        return [weaviate_rows.to_hit(one.properties, one.score) for one in found]

    async def rows(self, ids: Collection[str]) -> Mapping[str, Hit]:
        found: dict[str, Hit] = {}
        for batch in checks.slices(_objects(ids), IDS_PER_CALL):
            for one in await self._rows.by_ids(batch, weaviate_rows.SHOWN):
                hit = weaviate_rows.to_hit(one.properties, 0.0)
                found[hit.id] = hit
        return found

    async def vectors(self, ids: Collection[str]) -> Mapping[str, Vector]:
        found: dict[str, Vector] = {}
        for batch in checks.slices(_objects(ids), IDS_PER_CALL):
            for one in await self._rows.by_ids(batch, ("row_id",), vectors=True):
                vector = np.asarray(one.vector, np.float32)
                found[one.properties["row_id"]] = weaviate_rows.unit(vector[np.newaxis, :])[0]
        return found

    async def count(self) -> int:
        return await self._rows.count()

    async def digests(self) -> Mapping[str, Digest]:
        """See the port; a row that the vector index will not know is damaged, too."""
        await self._words_note()
        return await self._sweeping.digests()

    async def holdings(self, buckets: Collection[str]) -> Mapping[str, Holding]:
        await self._words_note()
        return await self._sweeping.holdings(buckets)

    async def lag_s(self) -> float:
        return await weaviate_lag.lag_s(self._client, self._rows.name)

    async def incarnation(self) -> str:
        found = await weaviate_open.incarnation(self._client, self._place.name)
        if found and found != weaviate_open.UNNAMED:
            return found
        opened = await weaviate_open.make_anew(self._client, self._place)
        if opened.created:
            self._missing.clear()
        return opened.incarnation

    async def maintain(self) -> None:
        """Make a deleted collection anew; write missing words; have torn rows indexed.

        After a crash of the server, or a call that was cut off, rows that it did not acknowledge
        may be there and never be found, and sending them again does not help. This looks only at
        rows that were searched for in vain.
        """
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = time.monotonic()
            await self.incarnation()
        if not (note := await self._words_note()).complete:
            await self._write_words(note.others)
        if not note.termed:
            await self._write_terms()
        if not self._missing:
            return
        idle = await self._rows.queued() == 0
        due = overdue(self._missing, time.monotonic(), idle=idle)
        if not due:
            return
        self._note(due, await self._searching.indexed(due))
        torn = [weaviate_rows.object_id(key) for key in due if key in self._missing]
        columns = (*weaviate_schema.NAMES, *note.others)
        await self._rows.write_again(await self._rows.alone(torn, columns))
        for key in due:
            self._missing.pop(key, None)

    async def close(self) -> None:
        async with asyncio.timeout(CLOSE_S):
            await self._client.close()

    async def _words_note(self) -> WordsNote:
        """What is noted of the words and terms of the rows; once all have them, it stays so."""
        sweeping = self._sweeping
        if not (sweeping.words.complete and sweeping.words.termed):
            sweeping.words = await weaviate_open.words_note(self._client, self._place.name)
        return sweeping.words

    async def _write_words(self, others: Sequence[str]) -> None:
        """Have every row found by the words of this version; until then searches use those of
        others, or its text."""
        columns = (*weaviate_rows.SHOWN, WORDS, *others, "seal")
        seen, of, after = 0, await self.count(), None
        log.warning("words_written", reason=checks.words_told(0, of))
        while page := await self._rows.page(after, ROWS_PER_CALL, columns):
            await self._rows.change(page, partial(weaviate_rows.fresh_words, others=others))
            if seen // checks.TOLD_EVERY < (seen + len(page)) // checks.TOLD_EVERY:
                log.warning("words_written", reason=checks.words_told(seen + len(page), of))
            seen, after = seen + len(page), page[-1].id
        await weaviate_open.note_words(self._client, self._place.name, others)
        log.warning("words_written", reason=checks.words_told(of, of))

    async def _write_terms(self) -> None:
        """Have every row found by filters; until then those over metadata are refused."""
        seen, of, after = 0, await self.count(), None
        log.warning("terms_written", reason=checks.terms_told(0, of))
        while page := await self._rows.page(after, ROWS_PER_CALL, ("metadata", TERMS)):
            await self._rows.change(page, weaviate_rows.fresh_terms)
            if seen // checks.TOLD_EVERY < (seen + len(page)) // checks.TOLD_EVERY:
                log.warning("terms_written", reason=checks.terms_told(seen + len(page), of))
            seen, after = seen + len(page), page[-1].id
        await weaviate_open.note_terms(self._client, self._place.name)
        log.warning("terms_written", reason=checks.terms_told(of, of))

    def _possible(self, asked: Filter) -> Filter | None:
        """The filter as the server knows it; None when no row can match.

        A server below 1.33 knows no NOT: it also returns rows that are excluded, and the gateway,
        which looks at each, asks for longer lists.
        """
        if asked.where is not None and not self._excludes:
            left = without_exclusions(asked.where)
            if left is False:
                return None
            asked = replace(asked, where=None if left is True else left)
        return checks.possible(asked)

    async def _check_ready(self, asked: Filter) -> None:
        """Raises FilterNotReady."""
        if reads_fields(asked.where) and not (await self._words_note()).termed:
            raise FilterNotReady(checks.NO_TERMS)

    def _note(self, asked: Collection[str], known: Collection[str]) -> None:
        """Remember since when rows are missing from the vector index."""
        for key in known:
            self._missing.pop(key, None)
        now = time.monotonic()
        for key in set(asked).difference(known):
            if len(self._missing) < MISSING_MOST:
                self._missing.setdefault(key, now)

    async def _check_dimensions(self) -> None:
        """Raises StoreMismatch where the index holds vectors of another length."""
        found = await self._first_row()
        if found and len(found[0].vector) != self.dimensions:
            raise weaviate_schema.other_dimensions(len(found[0].vector), self.dimensions)

    async def _first_row(self) -> Sequence[Found]:
        """At most one row, once the collection answers: it may have been made this moment."""
        for _ in range(TRIES_AT_START):
            try:
                return await self._rows.page(None, 1, ("row_id",))
            except StoreUnavailable:
                await asyncio.sleep(TRY_AGAIN_S)
        return await self._rows.page(None, 1, ("row_id",))

    async def _insert(self, rows: Sequence[Row]) -> frozenset[str]:
        """Write rows; those that the server refuses once more, alone.

        Returns:
            The ids of rows that it refuses for their content.
        """
        messages = await self._rows.insert(rows)
        again = [row for row in rows if row.id in messages]
        alone: dict[str, str] = {}
        for row in again:
            alone |= await self._rows.insert([row])
        return weaviate_answers.refused(alone)


def overdue(missing: Mapping[str, float], now: float, *, idle: bool) -> list[str]:
    """The rows that should have been indexed by now, at most so many as one call takes. Pure.

    Args:
        missing: since when each is known to be missing, on the clock of `now`, in seconds.
        idle: no vector waits to be indexed.
    """
    patience_s = IDLE_S if idle else BUSY_S
    return [key for key, since in missing.items() if now - since >= patience_s][:ROWS_PER_CALL]


def _objects(ids: Collection[str]) -> list[str]:
    """The object ids of rows, each once, in order."""
    return sorted({weaviate_rows.object_id(key) for key in ids})


def _cosine(distance: float) -> float:
    return max(-1.0, min(1.0, 1.0 - distance))
