"""What speaks for a document beside its text: its static score, its age, its title. Pure.

Signals order what the lists have found; they find nothing themselves.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Final

from services.gateway.search.question import says
from services.gateway.search.rank import Ranked, Weights, with_signal
from shared.domain.ordering import Record
from shared.domain.text.words import asked, spoken, words
from shared.ports import Hit

READ_FOR_PHRASE: Final = 32
"""Hits whose texts are read for the question as a phrase, the best without this signal."""
READ_OF_TEXT: Final = 4_000
"""Characters of such a text, several times those of a chunk that instep cuts: a chunk that came
ready-made may have 512 KB, and reading that holds the event loop for a quarter of a second."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)", re.ASCII)


def static_scores(records: Mapping[str, Record]) -> dict[str, float]:
    """The static score of each document whose source gives one."""
    given = {key: one.settled.static_score for key, one in records.items() if one.settled}
    return {key: score for key, score in given.items() if score is not None}


def recency(
    hits: Iterable[Hit], records: Mapping[str, Record], *, now: float, half_life_s: float
) -> dict[str, float]:
    """1 for a document of now, half as much for each half-life of its age.

    Its date is the one that it says of itself, else that of its last change.

    Args:
        now: Unix time.
    """
    changed = {key: one.settled.changed_at for key, one in records.items() if one.settled}
    told = {hit.doc_key: at for hit in hits if (at := _dated(hit)) is not None}
    return {
        key: 0.5 ** (max(0.0, now - at) / half_life_s) for key, at in {**changed, **told}.items()
    }


def title_matches(question: str, hits: Iterable[Hit]) -> dict[str, float]:
    """The share of the question's words that a document has in its title."""
    wanted = set(asked(question))
    titles = {hit.doc_key: hit.title for hit in hits}
    if not wanted:
        return {}
    return {
        key: len(wanted & set(words(title[:READ_OF_TEXT]))) / len(wanted)
        for key, title in titles.items()
    }


def is_phrase(question: str) -> bool:
    """Whether it has two words or more."""
    return len(spoken(question)) > 1


def phrases(question: str, hits: Iterable[Hit]) -> dict[str, float]:
    """1 for each chunk that has the words of the question one after the other, by row id.

    Within its title, a heading or the beginning of its text. A question of one word is none.
    """
    if not is_phrase(question):
        return {}
    said = spoken(question)
    return {hit.id: 1.0 for hit in hits if says(_read(hit), said)}


def with_signals(
    ranked: Sequence[Ranked],
    records: Mapping[str, Record],
    weights: Weights,
    *,
    question: str,
    now: float,
    half_life_s: float,
) -> list[Ranked]:
    """The hits, best first, after every signal with a weight has its part in their scores.

    Args:
        records: of every hit, and maybe of others.
    """
    found, hits = list(ranked), [item.hit for item in ranked]
    records = {hit.doc_key: records[hit.doc_key] for hit in hits}  # those of others do not count
    if weights.static:
        scores = static_scores(records)
        top = max(scores.values(), default=0.0)
        found = with_signal(found, "static", scores, top=top, weight=weights.static)
    if weights.recency:
        young = recency(hits, records, now=now, half_life_s=half_life_s)
        found = with_signal(found, "recency", young, top=1.0, weight=weights.recency)
    if weights.title:
        titles = title_matches(question, hits)
        found = with_signal(found, "title", titles, top=1.0, weight=weights.title)
    if weights.phrase:
        said = phrases(question, [item.hit for item in found[:READ_FOR_PHRASE]])
        found = with_signal(found, "phrase", said, top=1.0, weight=weights.phrase, of="id")
    return found


def _read(hit: Hit) -> tuple[str, ...]:
    return tuple(part[:READ_OF_TEXT] for part in (hit.title, *hit.heading, hit.text))


def _dated(hit: Hit) -> float | None:
    """Unix time of the date in the metadata of a document; None: it has none that is a date."""
    told = hit.metadata.get("date")
    if not isinstance(told, str) or not (match := _DATE.match(told)):
        return None
    try:
        return datetime.combine(date.fromisoformat(match[0]), time(), UTC).timestamp()
    except (ValueError, OverflowError):
        return None
