"""Search: vector and keyword lists, fused, limited to the rows that the ledger lists."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from services.gateway.documents.documents import moment, reason_view
from services.gateway.documents.receipts import read_receipt, wait_for
from services.gateway.models import SearchRequest, SimilarRequest
from services.gateway.problems import Problem
from services.gateway.search.comparisons import Fields
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
    with_share,
)
from services.gateway.search.rerank import Reranker, judged
from services.gateway.search.signals import is_phrase, with_signals
from services.gateway.search.stopwatch import Stopwatch
from services.gateway.views import (
    CopyView,
    Freshness,
    HitChunk,
    HitDocument,
    HitView,
    PartView,
    QuestionLanguage,
    SearchAnswer,
    Total,
)
from shared.domain.ordering import Record, RowRef, State, settled_seq, state
from shared.domain.text import language
from shared.domain.text.unicode_text import normalised
from shared.ports import GetEncoder, GetStore, Hit, Ledger, Mode, Vector
from shared.settings import SearchSettings

DEPTH: Final = 100
"""Rows taken from each list."""
DEPTH_RESTRICTED: Final = 500
"""The same where phrases and exclusions of the question are looked for in the texts."""
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
AskApart = Callable[[SearchRequest, Vector | None], Awaitable[SearchAnswer | None]]
"""Has another process answer, given the question's vector; None: this one shall."""
GetRecords = Callable[[Collection[str]], Awaitable[Mapping[str, Record]]]
"""The ledger's records of the documents that have one, as they are now."""
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
        if not self.condition.admits(hit.source, hit.path, hit.metadata):
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
    records: GetRecords | None = None
    """None: the ledger is asked each time."""
    reranker: Reranker | None = None
    languages: Collection[str] = ()
    """ISO 639-1 codes of those that the model knows; empty: it may know any."""
    only: Set[str] | None = None
    """The sources that may be found; None: all."""
    declared: Mapping[str, Fields] = field(default_factory=dict)
    """By source, the metadata that filters may compare."""
    apart: AskApart | None = None
    """None: this process answers all questions; else those of whom may see all sources are asked
    there first."""
    _vectors: OrderedDict[str, Vector] = field(default_factory=OrderedDict, repr=False)
    _reading: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(READ_AT_ONCE), repr=False
    )

    def condition(self, request: SearchRequest | SimilarRequest) -> Condition:
        """What may be found. Raises Problem `invalid_filter`."""
        asked = parse(request.filter, request.source, self.fields)
        return asked if self.only is None else asked.within(self.only)

    @property
    def fields(self) -> Fields:
        """The metadata that filters may compare, of the sources that may be found."""
        seen = (
            one for name, one in self.declared.items() if self.only is None or name in self.only
        )
        return {name: kind for one in seen for name, kind in one.items()}

    async def __call__(self, request: SearchRequest) -> SearchAnswer:
        """Answer a question.

        Raises:
            Problem: the filter, the weights or the receipt of `after` cannot be understood.
            StillLoading: the model or the store is.
            EncoderBusy, StoreUnavailable, BusUnavailable: no answer is possible now.
        """
        started, watch = time.perf_counter(), Stopwatch()
        condition = self.condition(request)
        question = _read(request.q)
        mode = request.mode or self.defaults.mode
        wanted = {**self.defaults.weights, **request.weights.model_dump(exclude_none=True)}
        weights = _weights(wanted, mode, question)
        if request.rerank and self.reranker is None:
            raise Problem("invalid_request", "rerank: the settings name no search.rerank.url")
        met = await self._after(request)
        if self.apart is not None and self.only is None:
            vector = await self._to_ask_by(question, mode, watch)
            answer = await self.apart(request.model_copy(update={"after": None}), vector)
            if answer is not None:
                return _completed(answer, met, watch, started)
        with watch.part("freshness"):
            behind = await self.behind()  # first: the answer includes every change that it knows
        limit = request.limit or self.defaults.limit
        depth = DEPTH_RESTRICTED if question.restricts else DEPTH
        admission = Admission(condition, question)
        while True:
            found, foreign = await asyncio.gather(
                self.found(question.text, condition, depth, mode, watch),
                self._language(question.text, mode),
            )
            with watch.part("rank"):
                ranked = await self.ranked(found, admission, weights, depth)
            shown = _shown(ranked, found.records, request)
            whole = _is_whole(found, question, mode, depth)
            if whole or len(shown) >= limit or depth >= DEEPEST:
                break
            depth = min(DEEPER * depth, DEEPEST)  # rows outside the ledger come first
        reranked = None
        if request.rerank is not False and self.reranker is not None:
            with watch.part("rerank"):
                again = await self._reranked(self.reranker, question.text, ranked)
            reranked, ranked = again is not None, again or ranked
            shown = _shown(ranked, found.records, request)
        return SearchAnswer(
            hits=tuple(self.hit(one, found, question, request) for one in shown[:limit]),
            total=Total(value=len(shown), exact=whole),
            phrases=question.demanded,
            excluded=question.without,
            facets=facets(request.facets, (item.hit for item in ranked), self.fields),
            reranked=reranked,
            language=foreign,
            mode=mode,
            took_ms=_ms_since(started),
            timings=dict(watch.told()) if request.explain else None,
            weights=wanted if request.explain else None,
            generation=self.generation,
            freshness=behind.model_copy(update={"after_met": met}),
        )

    def remember(self, q: str, vector: Vector) -> None:
        """Keep the vector of a question, which then needs no encoder."""
        self._keep(normalised(_read(q).text), vector)

    def _keep(self, text: str, vector: Vector) -> None:
        self._vectors[text] = vector
        if len(self._vectors) > REMEMBERED:
            self._vectors.popitem(last=False)

    async def _to_ask_by(
        self, question: ParsedQuestion, mode: Mode, watch: Stopwatch
    ) -> Vector | None:
        """The question's vector; None: only words ask. Raises StillLoading for the store, too."""
        await self.store()
        if mode == "keyword":
            return None
        with watch.part("encode"):
            return await self._vector(question.text)

    async def _language(self, q: str, mode: Mode) -> QuestionLanguage | None:
        """Loading what tells languages takes most of a second, once: in a thread."""
        if not self.languages or mode == "keyword":
            return None
        if not language.is_loaded():
            await asyncio.to_thread(language.load)
        found = language.foreign_language(q, self.languages)
        return QuestionLanguage(question=found, model=tuple(self.languages)) if found else None

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

    async def _reranked(
        self, reranker: Reranker, q: str, ranked: Sequence[Ranked]
    ) -> list[Ranked] | None:
        """The hits after the reranker's judgement of the best; None: it did not answer."""
        settings = self.defaults.rerank
        texts = {item.hit.id: _whole_text(item.hit) for item in ranked[: settings.top]}
        values = await judged(reranker, q, texts)
        return None if values is None else with_share(ranked, "rerank", values, settings.weight)

    async def _after(self, request: SearchRequest) -> bool | None:
        if request.after is None:
            return None
        doc_key, revision = read_receipt(request.after)
        return await wait_for(self.ledger, doc_key, revision, request.wait)

    async def found(
        self,
        q: str | Vector,
        condition: Condition,
        depth: int,
        mode: Mode = "vector",
        watch: Stopwatch | None = None,
    ) -> "FoundRows":
        """The rows of the store, and the ledger's records of them.

        Args:
            q: words, or a vector to ask by.

        The store is asked first. If a document settles between the two reads, the ledger no longer
        lists the rows found, so the store is asked again: the new rows were searchable before.
        """
        before: set[str] = set()
        watch = watch or Stopwatch()
        for _ in range(1 + ASKED_AGAIN):
            by_vector, by_text = await asyncio.gather(
                self._by_vector(q, condition, depth if mode != "keyword" else 0, watch),
                self._by_text(q, condition, depth if mode != "vector" else 0, watch),
            )
            hits = (*by_vector, *by_text)
            keys = {hit.doc_key for hit in hits}
            with watch.part("ledger"):
                records = await self._records(keys)
            found = FoundRows(by_vector, by_text, records, _promised(records))
            overtaken = {hit.id for hit in hits if _is_overtaken(hit, records, found.promised)}
            if overtaken <= before:  # none, or rows that are not cleaned up yet
                break
            before = overtaken
        return found

    async def _records(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        ask = self.records or self.ledger.get_many
        return await ask(doc_keys) if doc_keys else {}

    async def _by_vector(
        self, q: str | Vector, condition: Condition, depth: int, watch: Stopwatch
    ) -> Sequence[Hit]:
        if not depth:
            return ()
        store, where = await self.store(), condition.where()
        with watch.part("encode"):
            vector = await self._vector(q) if isinstance(q, str) else q
        with watch.part("vectors"):
            return await store.search(vector, limit=depth, where=where)

    async def _by_text(
        self, q: str | Vector, condition: Condition, depth: int, watch: Stopwatch
    ) -> Sequence[Hit]:
        if not depth or not isinstance(q, str):
            return ()
        store = await self.store()
        with watch.part("words"):
            return await store.search_text(q, limit=depth, where=condition.where())

    async def _vector(self, q: str) -> Vector:
        q = normalised(q)
        known = self._vectors.get(q)
        if known is None:
            encoder = await self.encoder()
            known = np.asarray((await encoder.encode([q]))[0], np.float32)
            self._keep(q, known)
        return known

    def _raw(self, name: str, raw: float | None) -> float | None:
        """A part's raw value; that of keywords counts the words of sources that may not be seen."""
        return None if name == "keyword" and self.only is not None else raw

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
            name: PartView(
                raw=self._raw(name, p.raw), normalised=p.normalised, weight=p.weight, adds=p.adds
            )
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


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 1)


def _completed(
    answer: SearchAnswer, met: bool | None, watch: Stopwatch, started: float
) -> SearchAnswer:
    """The answer of another process with what this one has done for it."""
    told = None if answer.timings is None else {**answer.timings, **watch.told()}
    freshness = answer.freshness.model_copy(update={"after_met": met})
    return answer.model_copy(
        update={"took_ms": _ms_since(started), "timings": told, "freshness": freshness}
    )


def _whole_text(hit: Hit) -> str:
    """The chunk under its headings, as a person reads it."""
    return "\n".join(filter(None, (hit.title, *hit.heading, hit.text)))


def _read(q: str) -> ParsedQuestion:
    try:
        return parse_question(q)
    except ValueError as error:
        raise Problem("invalid_request", str(error)) from None


def _weights(wanted: Mapping[str, float], mode: Mode, question: ParsedQuestion) -> Weights:
    phrase = wanted["phrase"] if is_phrase(question.text) else 0.0
    try:
        return weights_for(mode, Weights(**{**wanted, "phrase": phrase}))
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
        revision=(record.settled.served or None) if record.settled else None,
    )
