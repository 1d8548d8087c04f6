"""The check of every row of a Weaviate collection: is it as it was written, and is it found?

The cursor goes over the objects themselves, in pages, so memory is that of a page. After a crash
an object may be there and be missing from the filters, from the vector index, or from both, for
ever, with nothing in the queue: such a row is torn, and counts as damaged. The cursor alone sees
all of them, so a pass over everything keeps their ids for the closer look that follows.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from shared.domain.filters.terms import COLUMN as TERMS
from shared.domain.ids import bucket_of
from shared.ports import Digest, Hit, Holding, Vectors
from shared.stores import checks, seal
from shared.stores.looks import SweptRow, digested, held
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate.answers import Found, any_vector, rows_of
from shared.stores.weaviate.calls import Collection as Stored
from shared.stores.weaviate.schema import WORDS, WordsNote

PAGE: Final = 512
COLUMNS: Final = (*weaviate_rows.SHOWN, WORDS, TERMS, "bucket", "slot", "seal", "marks")
QUEUE_S: Final = 10.0
"""How long to wait for a moment without vectors that wait to be indexed."""
QUEUE_LOOK_S: Final = 0.1


@dataclass(slots=True)
class Sweeping:
    """The passes over one collection.

    words: what is noted of the words and terms of the rows. torn: object ids that the last whole
    pass found torn.
    """

    stored: Stored
    dimensions: int
    words: WordsNote
    torn: frozenset[str] | None = field(default=None)

    async def digests(self) -> dict[str, Digest]:
        """See `shared.ports.VectorStore.digests`."""
        found: dict[str, Digest] = {}
        suspects: dict[str, SweptRow] = {}
        async for page in self._pages():
            sound = await asyncio.to_thread(looks, page, self.dimensions, self.words)
            known = await self.stored.indexed([one.id for one in page], any_vector(self.dimensions))
            fine = [look for one, look in zip(page, sound, strict=True) if one.id in known]
            suspects |= {
                one.id: look for one, look in zip(page, sound, strict=True) if one.id not in known
            }
            _add(found, fine)
        self.torn = await self._torn(suspects)
        _add(found, [judged(look, key in self.torn) for key, look in suspects.items()])
        return found

    async def holdings(self, buckets: Collection[str]) -> dict[str, Holding]:
        """See `shared.ports.VectorStore.holdings`."""
        wanted = frozenset(buckets)
        if not wanted:
            return {}
        if self.torn is None:
            await self.digests()
        found = await self._looks(wanted)
        for one in await self._alone((self.torn or frozenset()) - found.keys()):
            (look,) = looks([one], self.dimensions, self.words)
            if bucket_of(look.doc_key) in wanted:
                found[one.id] = look
        suspects = await self._unknown(found)
        torn = await self._torn(suspects)
        return held([judged(look, key in torn) for key, look in found.items()])

    @property
    def _columns(self) -> tuple[str, ...]:
        return (*COLUMNS, *self.words.others)

    async def _alone(self, ids: Collection[str]) -> list[Found]:
        return await self.stored.alone(sorted(ids), self._columns)

    async def _pages(self) -> AsyncIterator[list[Found]]:
        after = None
        while page := await self.stored.page(after, PAGE, self._columns):
            yield page
            after = page[-1].id

    async def _looks(self, buckets: Collection[str]) -> dict[str, SweptRow]:
        """The looks at the rows that the filter finds, by object id."""
        values = sorted(map(weaviate_rows.encoded, buckets))
        ids = [one.id async for one in self.stored.among("bucket", values, ("row_id",))]
        found: dict[str, SweptRow] = {}
        for some in checks.slices(sorted(ids), PAGE):
            page = await self.stored.by_ids(some, self._columns, vectors=True)
            seen = await asyncio.to_thread(looks, page, self.dimensions, self.words)
            found |= {one.id: look for one, look in zip(page, seen, strict=True)}
        return found

    async def _unknown(self, found: Mapping[str, SweptRow]) -> dict[str, SweptRow]:
        """Those that the vector index does not know now."""
        known: set[str] = set()
        for some in checks.slices(sorted(found), PAGE):
            known |= await self.stored.indexed(some, any_vector(self.dimensions))
        return {key: look for key, look in found.items() if key not in known}

    async def _torn(self, suspects: Mapping[str, SweptRow]) -> frozenset[str]:
        """Those that will never be indexed: unknown while nothing waits, and still there.

        Where the queue is never empty, none is: rows that wait in it are not torn.
        """
        if not suspects or not await self._queue_empty():
            return frozenset()
        left = await self._unknown(suspects)
        return frozenset(one.id for one in await self._alone(left.keys()))

    async def _queue_empty(self) -> bool:
        """Whether the queue is empty at some moment of the next seconds."""
        for _ in range(round(QUEUE_S / QUEUE_LOOK_S)):
            if await self.stored.queued() == 0:
                return True
            await asyncio.sleep(QUEUE_LOOK_S)
        return False


def judged(look: SweptRow, torn: bool) -> SweptRow:
    return SweptRow(look.id, look.doc_key, look.source, look.path, look.sound and not torn)


def looks(page: Sequence[Found], dimensions: int, words: WordsNote) -> list[SweptRow]:
    """The look at each object."""
    hits = rows_of(page)
    same = _same_vectors(page, dimensions)
    return [
        SweptRow(hit.id, hit.doc_key, hit.source, hit.path, near and _sealed(one, hit, words))
        for one, hit, near in zip(page, hits, same, strict=True)
    ]


def _sealed(found: Found, hit: Hit, words: WordsNote) -> bool:
    """Whether the properties, those for filters included, are as written under the id."""
    properties = found.properties
    return (
        weaviate_rows.sealed(properties, words)
        and weaviate_rows.object_id(hit.id) == found.id
        and properties.get("bucket") == weaviate_rows.encoded(bucket_of(hit.doc_key))
        and properties.get("slot") == weaviate_rows.slot_of(found.id)
    )


def _same_vectors(page: Sequence[Found], dimensions: int) -> list[bool]:
    """Which objects have a vector that points where the written one did."""
    whole = [
        at
        for at, one in enumerate(page)
        if len(one.vector) == dimensions and len(one.properties.get("marks") or ()) == seal.MARKS
    ]
    same = [False] * len(page)
    if not whole:
        return same
    vectors = _matrix([page[at].vector for at in whole])
    marks = _matrix([page[at].properties["marks"] for at in whole])
    agreed = seal.agree(seal.marks_of(weaviate_rows.unit(vectors)), marks)
    for at, near in zip(whole, agreed.tolist(), strict=True):
        same[at] = near
    return same


def _matrix(rows: Sequence[Sequence[float]]) -> Vectors:
    return np.asarray(rows, np.float32)


def _add(found: dict[str, Digest], seen: Sequence[SweptRow]) -> None:
    for bucket, digest in digested((one.id, one.doc_key, one.sound) for one in seen).items():
        found[bucket] = found.get(bucket, Digest()) + digest
