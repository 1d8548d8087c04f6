"""Search: vector and keyword lists, fused, limited to the rows that the ledger lists."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from services.gateway.documents.documents import moment, reason_view
from services.gateway.documents.receipts import read_receipt, wait_for
from services.gateway.models import SearchRequest, SimilarRequest
from services.gateway.problems import Problem
from services.gateway.search.filters import Condition, parse
from services.gateway.search.groups import Alike, facets, without_copies
from services.gateway.search.question import ParsedQuestion, highlights, parse_question
from services.gateway.search.rank import (
    Ranked,
    Weights,
    best_per_chunk,
    best_per_document,
    floor,
    fuse,
    lower_repeated,
    weights_for,
)
from services.gateway.search.signals import with_signals
from services.gateway.views import (
    CopyView,
    Freshness,
    HitChunk,
    HitDocument,
    HitView,
    PartView,
    SearchAnswer,
    Total,
)
from shared.domain.ordering import Record, RowRef, State, settled_seq, state
from shared.domain.text.unicode_text import normalised
from shared.ports import GetEncoder, GetStore, Hit, Ledger, Mode, Vector
from shared.settings import SearchSettings

DEPTH: Final = 100
"""Rows taken from each list."""
DEPTH_FILTERED: Final = 500
"""The same where the store cannot decide the whole filter."""
DEEPER: Final = 4
DEEPEST: Final = 8_000
"""The longest list, however many unwanted rows come first."""
REMEMBERED: Final = 256
"""Questions whose vectors are kept."""

ASKED_AGAIN: Final = 2
READ_AT_ONCE: Final = 2
"""Questions whose candidates' texts are read: no other code runs beside a thread that does."""
COPIES: Final = 20
"""Copies of a document that a hit names."""

Behind = Callable[[], Awaitable[Freshness]]
Promised = Mapping[str, Mapping[RowRef, int]]
"""The settled rows of each active document and their positions, counting from 1."""


class FoundRows(NamedTuple):
    by_vector: Sequence[Hit]
    by_text: Sequence[Hit]
    records: Mapping[str, Record]
    promised: Promised


async def _unknown() -> Freshness:
    return Freshness(watermark=None, pending_documents=0)


@dataclass(frozen=True, slots=True)
class Admission:
    """The hits that filter and question admit. The text of each is looked at once."""

    condition: Condition
    question: ParsedQuestion
    _known: dict[str, bool] = field(default_factory=dict)

    def admits(self, hit: Hit) -> bool:
        if not self.condition.admits(hit.source, hit.path):
            return False
        if hit.id not in self._known:
            self._known[hit.id] = self.question.admits(hit)
        return self._known[hit.id]


@dataclass
class Search:
    """The search of one index generation. Safe to call concurrently."""

    store: GetStore
    ledger: Ledger
    encoder: GetEncoder
    generation: str
    defaults: SearchSettings = field(default_factory=SearchSettings)
    behind: Behind = _unknown
    _vectors: OrderedDict[str, Vector] = field(default_factory=OrderedDict, repr=False)
    _reading: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(READ_AT_ONCE), repr=False
    )

    async def __call__(self, request: SearchRequest) -> SearchAnswer:
        """Answer a question.

        Raises:
            Problem: the filter, the weights or the receipt of `after` cannot be understood.
            StillLoading: the model or the store is.
            EncoderBusy, StoreUnavailable, BusUnavailable: no answer is possible now.
        """
        started = time.perf_counter()
        condition, question = parse(request.filter, request.source), _read(request.q)
        mode = request.mode or self.defaults.mode
        weights = self._weights(request, mode)
        met = await self._after(request)
        behind = await self.behind()  # first: the answer includes every change that it knows
        limit = request.limit or self.defaults.limit
        beyond = condition.beyond_store or question.restricts
        depth = DEPTH_FILTERED if beyond else DEPTH
        admission = Admission(condition, question)
        while True:
            found = await self.found(question.text, condition, depth, mode)
            ranked = await self.ranked(found, admission, weights, depth)
            shown = _shown(ranked, found.records, request)
            whole = _is_whole(found, question, mode, depth)
            if whole or len(shown) >= limit or depth >= DEEPEST:
                break
            depth = min(DEEPER * depth, DEEPEST)  # rows outside the ledger come first
        return SearchAnswer(
            hits=tuple(self.hit(one, found, question, request) for one in shown[:limit]),
            total=Total(value=len(shown), exact=whole),
            phrases=question.demanded,
            excluded=question.without,
            facets=facets(request.facets, (item.hit for item in ranked)),
            mode=mode,
            took_ms=round(1000 * (time.perf_counter() - started), 1),
            generation=self.generation,
            freshness=behind.model_copy(update={"after_met": met}),
        )

    def _weights(self, request: SearchRequest, mode: Mode) -> Weights:
        given = request.weights.model_dump(exclude_none=True)
        wanted = Weights(**{**self.defaults.weights, **given})
        try:
            return weights_for(mode, wanted)
        except ValueError as error:
            raise Problem("invalid_request", str(error)) from None

    async def ranked(
        self, found: FoundRows, admission: Admission, weights: Weights, depth: int
    ) -> list[Ranked]:
        """The hits that may be shown, best first, one for each chunk.

        Where the question restricts them, thousands of texts may be read: in a thread.
        """
        if admission.question.restricts:
            async with self._reading:
                fused = await asyncio.to_thread(_fused, found, admission, weights, depth)
        else:
            fused = _fused(found, admission, weights, depth)
        weighed = with_signals(
            fused,
            found.records,
            weights,
            question=admission.question.text,
            now=time.time(),
            half_life_s=self.defaults.recency_half_life,
        )
        return lower_repeated(weighed, {key: len(rows) for key, rows in found.promised.items()})

    async def _after(self, request: SearchRequest) -> bool | None:
        if request.after is None:
            return None
        doc_key, revision = read_receipt(request.after)
        return await wait_for(self.ledger, doc_key, revision, request.wait)

    async def found(
        self, q: str | Vector, condition: Condition, depth: int, mode: Mode = "vector"
    ) -> "FoundRows":
        """The rows of the store, and the ledger's records of them.

        Args:
            q: words, or a vector to ask by.

        The store is asked first. If a document settles between the two reads, the ledger no longer
        lists the rows found, so the store is asked again: the new rows were searchable before.
        """
        before: set[str] = set()
        for _ in range(1 + ASKED_AGAIN):
            by_vector, by_text = await asyncio.gather(
                self._by_vector(q, condition, depth if mode != "keyword" else 0),
                self._by_text(q, condition, depth if mode != "vector" else 0),
            )
            hits = (*by_vector, *by_text)
            keys = {hit.doc_key for hit in hits}
            records = await self.ledger.get_many(keys) if keys else {}
            found = FoundRows(by_vector, by_text, records, _promised(records))
            overtaken = {hit.id for hit in hits if _is_overtaken(hit, records, found.promised)}
            if overtaken <= before:  # none, or rows that are not cleaned up yet
                break
            before = overtaken
        return found

    async def _by_vector(self, q: str | Vector, condition: Condition, depth: int) -> Sequence[Hit]:
        if not depth:
            return ()
        store, where = await self.store(), condition.where()
        vector = await self._vector(q) if isinstance(q, str) else q
        return await store.search(vector, limit=depth, where=where)

    async def _by_text(self, q: str | Vector, condition: Condition, depth: int) -> Sequence[Hit]:
        if not depth or not isinstance(q, str):
            return ()
        store = await self.store()
        return await store.search_text(q, limit=depth, where=condition.where())

    async def _vector(self, q: str) -> Vector:
        q = normalised(q)
        known = self._vectors.get(q)
        if known is None:
            encoder = await self.encoder()
            known = np.asarray((await encoder.encode([q]))[0], np.float32)
            self._vectors[q] = known
            if len(self._vectors) > REMEMBERED:
                self._vectors.popitem(last=False)
        return known

    def hit(
        self,
        alike: Alike,
        found: FoundRows,
        question: ParsedQuestion,
        request: SearchRequest | SimilarRequest,
    ) -> HitView:
        ranked = alike.best
        hit, record = ranked.hit, found.records[ranked.hit.doc_key]
        at = state(record)
        parts = {
            name: PartView(raw=p.raw, normalised=p.normalised, weight=p.weight, adds=p.adds)
            for name, p in ranked.parts.items()
        }
        return HitView(
            document=_document(hit, record, at),
            chunk=HitChunk(
                id=hit.id,
                n=found.promised[hit.doc_key][RowRef(hit.chunk_key, hit.born)],
                heading=tuple(hit.heading),
                text=hit.text,
            ),
            score=ranked.score,
            parts=parts if request.explain else None,
            copies=tuple(
                CopyView(source=one.source, path=one.path, doc_key=one.doc_key)
                for one in alike.copies[:COPIES]
            ),
            copy_count=len(alike.copies),
            highlights=tuple(highlights(question, hit.text))
            if isinstance(request, SearchRequest) and request.highlight
            else None,
        )


def _read(q: str) -> ParsedQuestion:
    try:
        return parse_question(q)
    except ValueError as error:
        raise Problem("invalid_request", str(error)) from None


def _is_whole(found: FoundRows, question: ParsedQuestion, mode: Mode, depth: int) -> bool:
    """Whether a deeper look cannot find more: keywords find every row that has a phrase."""
    if question.phrases and mode != "vector" and question.finds_every_phrase:
        return len(found.by_text) < depth
    return max(len(found.by_vector), len(found.by_text)) < depth


def _shown(
    ranked: Sequence[Ranked], records: Mapping[str, Record], request: SearchRequest
) -> list[Alike]:
    """What the answer lists: chunks, or documents without their copies."""
    if request.group_by == "chunk":
        return [Alike(item) for item in ranked]
    documents = best_per_document(ranked)
    if request.group_by == "content":
        return without_copies(documents, records)
    return [Alike(item) for item in documents]


def _fused(found: FoundRows, admission: Admission, weights: Weights, depth: int) -> list[Ranked]:
    """The hits that the ledger lists, best first, one for each chunk."""
    by_vector, by_text = (
        [hit for hit in hits if _is_promised(hit, found.promised) and admission.admits(hit)]
        for hits in (found.by_vector, found.by_text)
    )
    fused = fuse(
        by_vector,
        by_text,
        weights,
        vector_floor=floor(found.by_vector, depth),
        keyword_floor=floor(found.by_text, depth),
    )
    return best_per_chunk(fused)


def _promised(records: Mapping[str, Record]) -> Promised:
    return {
        key: {row: n for n, row in enumerate(record.settled.rows, 1)}
        for key, record in records.items()
        if record.settled and record.settled.is_active
    }


def _is_overtaken(hit: Hit, records: Mapping[str, Record], promised: Promised) -> bool:
    """Whether the row belongs to a version before the settled one."""
    rows, record = promised.get(hit.doc_key), records.get(hit.doc_key)
    if not rows or RowRef(hit.chunk_key, hit.born) in rows:
        return False
    return record is not None and hit.born < settled_seq(record)


def _is_promised(hit: Hit, promised: Promised) -> bool:
    return RowRef(hit.chunk_key, hit.born) in promised.get(hit.doc_key, {})


def _document(hit: Hit, record: Record, at: State) -> HitDocument:
    since = None
    if at.stale:
        newest = record.pending or record.settled
        since = moment(newest.changed_at) if newest else None
    return HitDocument(
        source=hit.source,
        path=hit.path,
        doc_key=hit.doc_key,
        title=hit.title,
        state=at.word,
        stale=at.stale,
        stale_since=since,
        reason=reason_view(at.reason),
        static_score=record.settled.static_score if record.settled else None,
    )
