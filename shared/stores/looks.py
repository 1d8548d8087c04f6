"""The making of digests and holdings from the rows that a sweep sees. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.domain.ids import bucket_of, mark_of
from shared.ports import Digest, Holding


@dataclass(frozen=True, slots=True)
class SweptRow:
    """One row, as a sweep sees it. sound: it is as it was written under its id."""

    id: str
    doc_key: str
    source: str
    path: str
    sound: bool


def digested(rows: Iterable[tuple[str, str, bool]]) -> dict[str, Digest]:
    """The digest of every bucket from id, doc_key and soundness of its rows."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for row_id, doc_key, sound in rows:
        bucket = bucket_of(doc_key)
        counts[bucket] += 1
        if sound:
            totals[bucket] += _mark(row_id)
    return {bucket: Digest(count, totals[bucket] % 2**64) for bucket, count in counts.items()}


def held(looks: Sequence[SweptRow]) -> dict[str, Holding]:
    """The holding of every document; place and source are those of a sound row if there is one."""
    counts: dict[str, Counter[str]] = {}
    damaged: dict[str, set[str]] = {}
    shown: dict[str, SweptRow] = {}
    for look in looks:
        ids = counts.setdefault(look.doc_key, Counter())
        ids[look.id] += 1
        if ids[look.id] > 1 or not look.sound:
            damaged.setdefault(look.doc_key, set()).add(look.id)
        if look.doc_key not in shown or (look.sound and not shown[look.doc_key].sound):
            shown[look.doc_key] = look
    return {
        key: Holding(
            key,
            shown[key].source,
            shown[key].path,
            frozenset(ids),
            frozenset(damaged.get(key, ())),
        )
        for key, ids in counts.items()
    }


def _mark(row_id: str) -> int:
    """0 for an id that is not one of ours: its bucket cannot agree with any other side."""
    try:
        return mark_of(row_id)
    except ValueError:
        return 0
