"""Fusion of two result lists and of other signals into one score that shows its parts. Pure.

A score is the sum of its parts, exactly as displayed: every part is rounded to a ten-thousandth
before it is added. A hit that one list lacks counts there as the worst of a list that was cut,
because its score is at most that, and as 0 in a whole list. A text that repeats on the pages of a
source has a part below 0.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal, NamedTuple

from shared.ports import Hit, Mode

TICKS: Final = 10_000
"""Parts of a unit of score; scores and parts are whole numbers of them."""
REPEATED_IN: Final = 3
"""Titles of one source whose documents share a text, so that it belongs to none of them."""
COMPARED_FIRST: Final = 8
"""Words of a text that are compared before all of them are."""
REPEATED_LOSES: Final = 0.5
"""The share of its score that such a text loses."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each list and each signal counts; all are at least 0 and sum to 1."""

    vector: float
    keyword: float
    static: float = 0.0
    recency: float = 0.0
    title: float = 0.0
    phrase: float = 0.0


class ScorePart(NamedTuple):
    """A part of a score: what one list or signal adds, or what a repeated text loses.

    `raw` is the score of the list, None when it lacks the hit: then `normalised` is that of the
    worst hit of a list that was cut, else 0. Of a signal it is the value that counts. Of a repeated
    text, it is the number of titles.
    """

    raw: float | None
    normalised: float
    weight: float
    adds: float


class Ranked(NamedTuple):
    """A hit, its score from 0 to 1 but for the rounding of its parts, which sum to it."""

    hit: Hit
    score: float
    parts: Mapping[str, ScorePart]


def weights_for(mode: Mode, wanted: Weights) -> Weights:
    """The weights of a mode, scaled to sum to 1.

    The one list of a mode that is not hybrid counts as much as both together do.

    Raises:
        ValueError: the mode has no list that counts.
    """
    lists = wanted.vector + wanted.keyword
    if lists <= 0:
        if mode == "hybrid":
            raise ValueError("one of the weights vector and keyword must be above 0")
        lists = 1.0
    vector, keyword = wanted.vector, wanted.keyword
    if mode != "hybrid":
        vector, keyword = lists * (mode == "vector"), lists * (mode == "keyword")
    total = lists + wanted.static + wanted.recency + wanted.title + wanted.phrase
    return Weights(
        vector / total,
        keyword / total,
        wanted.static / total,
        wanted.recency / total,
        wanted.title / total,
        wanted.phrase / total,
    )


def fuse(
    vector: Sequence[Hit],
    keyword: Sequence[Hit],
    weights: Weights,
    *,
    vector_floor: float = 0.0,
    keyword_floor: float = 0.0,
) -> list[Ranked]:
    """One list, best first.

    Args:
        vector: hits with their cosine similarity in [-1, 1]; below 0 counts as 0.
        keyword: hits with a positive score; the best one counts as 1.
        vector_floor, keyword_floor: the score of a hit that the list lacks, see `floor`.
    """
    cosine = _best(vector)
    bm25 = _best(keyword)
    hits = {hit.id: hit for hit in (*keyword, *vector)}
    top = max(bm25.values(), default=0.0)
    lists = [
        ("vector", cosine, 1.0, weights.vector, _part(None, 1.0, weights.vector, vector_floor)),
        ("keyword", bm25, top, weights.keyword, _part(None, top, weights.keyword, keyword_floor)),
    ]
    ranked = []
    for row, hit in hits.items():
        parts = {
            name: _part(scores[row], best, weight, 0.0) if row in scores else lacking
            for name, scores, best, weight, lacking in lists
            if weight
        }
        ranked.append(_summed(hit, parts))
    return sorted(ranked, key=_order)


def with_signal(
    ranked: Sequence[Ranked],
    name: str,
    values: Mapping[str, float],
    *,
    top: float,
    weight: float,
    of: Literal["doc_key", "id"] = "doc_key",
) -> list[Ranked]:
    """The hits, best first, after a signal has its part in their scores.

    Args:
        values: by `doc_key`, or by row id; a hit without one has 0 from it.
        top: the value that counts as 1; values below 0 count as 0.
    """
    weighed, without = [], _part(None, top, weight, 0.0)
    for item in ranked:
        value = values.get(getattr(item.hit, of))
        if value is None:
            weighed.append(Ranked(item.hit, item.score, {**item.parts, name: without}))
        else:
            part = _part(value, top, weight, 0.0)
            weighed.append(_summed(item.hit, {**item.parts, name: part}))
    return sorted(weighed, key=_order)


def with_share(
    ranked: Sequence[Ranked], name: str, values: Mapping[str, float], share: float
) -> list[Ranked]:
    """The hits, best first, after a signal has a share of their scores and the rest loses it.

    Args:
        values: in [0, 1], by row id; a hit without one has 0 from it.
        share: in (0, 1].
    """
    weighed = []
    for item in ranked:
        rest = {
            key: part._replace(
                weight=part.weight * (1 - share),
                adds=round(part.adds * (1 - share) * TICKS) / TICKS,
            )
            for key, part in item.parts.items()
        }
        part = _part(values.get(item.hit.id), 1.0, share, 0.0)
        weighed.append(_summed(item.hit, {**rest, name: part}))
    return sorted(weighed, key=_order)


def floor(hits: Sequence[Hit], depth: int) -> float:
    """The score that a hit outside this list has at most: the lowest of a list of `depth` hits."""
    if len(hits) < max(1, depth):
        return 0.0
    return min(_best(hits).values())


def best_per_chunk(ranked: Sequence[Ranked]) -> list[Ranked]:
    """The best hit of each (doc_key, chunk_key): a repaired chunk may be there twice."""
    seen: dict[tuple[str, str], Ranked] = {}
    for item in ranked:
        seen.setdefault((item.hit.doc_key, item.hit.chunk_key), item)
    return list(seen.values())


def lower_repeated(ranked: Sequence[Ranked], rows: Mapping[str, int]) -> list[Ranked]:
    """The hits, best first, after texts that repeat on the pages of a source have lost a share.

    Copies and versions of a document have its title, and count once. A document all of whose rows
    repeat is a copy, too, and keeps its score.

    Args:
        ranked: one hit for each chunk.
        rows: the rows of each document by `doc_key`, found or not.
    """
    pages = _pages_alike([item.hit for item in ranked])
    if not any(pages):
        return list(ranked)
    alike = Counter(item.hit.doc_key for item, n in zip(ranked, pages, strict=True) if n)
    weighed = [
        _lowered(item, n) if n and alike[item.hit.doc_key] < rows[item.hit.doc_key] else item
        for item, n in zip(ranked, pages, strict=True)
    ]
    return sorted(weighed, key=_order)


def _pages_alike(hits: Sequence[Hit]) -> list[int]:
    """For each hit the titles of its source whose pages have its text; 0: too few to count.

    Texts are compared only where that many begin with the same words.
    """
    begun = [(hit.source, *hit.text.split(None, COMPARED_FIRST)[:COMPARED_FIRST]) for hit in hits]
    often = {start for start, n in Counter(begun).items() if n >= REPEATED_IN}
    texts = {
        n: (hit.source, " ".join(hit.text.split()))
        for n, (hit, start) in enumerate(zip(hits, begun, strict=True))
        if start in often
    }
    titles: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for n, text in texts.items():
        titles[text].add(hits[n].title)
    counts = [len(titles[texts[n]]) if n in texts else 0 for n in range(len(hits))]
    return [n if n >= REPEATED_IN else 0 for n in counts]


def best_per_document(ranked: Sequence[Ranked]) -> list[Ranked]:
    """The best hit of each document, in the order given."""
    seen: dict[str, Ranked] = {}
    for item in ranked:
        seen.setdefault(item.hit.doc_key, item)
    return list(seen.values())


def _summed(hit: Hit, parts: Mapping[str, ScorePart]) -> Ranked:
    return Ranked(hit, sum(round(part.adds * TICKS) for part in parts.values()) / TICKS, parts)


def _best(hits: Sequence[Hit]) -> dict[str, float]:
    best: dict[str, float] = {}
    for hit in hits:
        score = hit.score if isfinite(hit.score) else 0.0
        best[hit.id] = max(score, best.get(hit.id, score))
    return best


def _part(raw: float | None, top: float, weight: float, floor: float) -> ScorePart:
    score = floor if raw is None else raw
    normalised = min(1.0, max(0.0, score) / top) if top > 0 else 0.0
    adds = round(weight * normalised * TICKS) / TICKS
    return ScorePart(None if raw is None else round(raw, 4), round(normalised, 4), weight, adds)


def _lowered(item: Ranked, pages: int) -> Ranked:
    ticks = round(item.score * TICKS)
    kept = ticks - round(ticks * REPEATED_LOSES)
    part = ScorePart(float(pages), item.score, -REPEATED_LOSES, (kept - ticks) / TICKS)
    return Ranked(item.hit, kept / TICKS, {**item.parts, "repeated": part})


def _order(item: Ranked) -> tuple[float, float, str, str, str]:
    exact = sum(part.weight * part.normalised for part in item.parts.values())
    return (-item.score, -exact, item.hit.source, item.hit.path, item.hit.chunk_key)
