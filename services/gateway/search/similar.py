"""Documents that are similar to one, by the vectors that the store has: nothing is encoded.

A document is asked for by the mean of the vectors of its chunks: one search however long it is, and
its whole subject counts, where its best chunk would find what shares a paragraph with it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from services.gateway.models import SimilarRequest
from services.gateway.problems import Problem
from services.gateway.search.groups import Alike
from services.gateway.search.question import ParsedQuestion
from services.gateway.search.rank import Ranked, Weights, best_per_document
from services.gateway.search.search import DEEPER, DEEPEST, DEPTH, Admission, Search
from services.gateway.views import SearchAnswer, Total
from shared.domain.ordering import Record, state
from shared.ports import Vector, VectorStore

MOST_CHUNKS: Final = 256
"""Chunks whose vectors make the mean; of a longer document as many, spread evenly."""
_BY_VECTOR: Final = Weights(vector=1.0, keyword=0.0)
_NO_WORDS: Final = ParsedQuestion("")


async def similar(
    search: Search, key: str, record: Record, request: SimilarRequest
) -> SearchAnswer:
    """The documents whose chunks are nearest to the mean of a document's; never itself.

    Raises:
        Problem: it is not searchable, or the filter cannot be understood.
        StillLoading, StoreUnavailable, BusUnavailable: no answer is possible now.
    """
    started = time.perf_counter()
    admission = Admission(search.condition(request), _NO_WORDS)
    vector = await _mean(await search.store(), key, record)
    behind = await search.behind()
    limit, depth = request.limit or search.defaults.limit, DEPTH
    while True:
        found = await search.found(vector, admission.condition, depth)
        ranked = await search.ranked(found, admission, _BY_VECTOR, depth)
        shown = _others(ranked, found.records, key, record, copies=request.copies)
        whole = len(found.by_vector) < depth
        if whole or len(shown) >= limit or depth >= DEEPEST:
            break
        depth = min(DEEPER * depth, DEEPEST)  # its own chunks come first
    return SearchAnswer(
        hits=tuple(search.hit(Alike(one), found, _NO_WORDS, request) for one in shown[:limit]),
        total=Total(value=len(shown), exact=whole),
        mode="vector",
        took_ms=round(1000 * (time.perf_counter() - started), 1),
        generation=search.generation,
        freshness=behind,
    )


def spread(ids: Sequence[str], most: int) -> list[str]:
    """At most so many of the ids, evenly from the first to the last. Pure."""
    if len(ids) <= most:
        return list(ids)
    return [ids[n * len(ids) // most] for n in range(most)]


async def _mean(store: VectorStore, key: str, record: Record) -> Vector:
    """The mean of the vectors of a document's chunks. float32, norm 1.

    Raises:
        Problem: `not_searchable`.
    """
    name, settled = f"{record.source}/{record.path}"[:400], record.settled
    if settled is None or not settled.rows:
        word = state(record).word
        raise Problem("not_searchable", f"{name} is {word}: it has no chunks in the index")
    if not settled.is_active:
        raise Problem("not_searchable", f"{name} is inactive: search leaves it out")
    rows = [row.id(key) for row in settled.rows]
    vectors = [*(await store.vectors(spread(rows, MOST_CHUNKS))).values()]
    total = np.sum(np.asarray(vectors, np.float64), axis=0) if vectors else np.zeros(1)
    norm = float(np.linalg.norm(total))
    if not norm:
        told = f"the store has no vectors of {name} now"
        raise Problem("not_searchable", told, "ask again in a moment; instep sweep repairs it")
    return np.asarray(total / norm, np.float32)


def _others(
    ranked: Sequence[Ranked],
    records: Mapping[str, Record],
    key: str,
    record: Record,
    *,
    copies: bool,
) -> list[Ranked]:
    """The best hit of each other document, without equal ones unless they are asked for. Pure."""
    own = _content(record)
    return [
        item
        for item in best_per_document(ranked)
        if item.hit.doc_key != key and (copies or _content(records[item.hit.doc_key]) != own)
    ]


def _content(record: Record) -> tuple[str, ...]:
    return tuple(row.chunk_key for row in record.settled.rows) if record.settled else ()
