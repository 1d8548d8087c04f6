"""What lists and counts say by reading every record: slow, and plainly right."""

from collections import Counter

from services.gateway.documents.documents import moment
from services.gateway.documents.reasons import failure_id
from services.gateway.status.ledger_index import LedgerIndex
from services.gateway.status.status import WINDOW_S, Board
from shared.domain.ids import doc_key
from shared.domain.ordering import is_unread, state


def index_of(*records):
    """An index of records, each under a key of its own."""
    index = LedgerIndex()
    for n, record in enumerate(records):
        index.put(doc_key("any", str(n)), record)
    return index


def board(records, now):
    words, sources = Counter(), Counter()
    chunks, oldest, fresh, unreadable = 0, None, [], 0
    for record in records.values():
        if record is None:
            unreadable += 1
            continue
        at = state(record)
        unreadable += at.word == "failed" and is_unread(at)
        words[at.word] += 1
        words["stale"] += at.stale
        if at.word != "removed":
            sources[record.source] += 1
        if record.settled:
            chunks += len(record.settled.rows)
            if now - record.settled.settled_at <= WINDOW_S and record.settled.outcome == "indexed":
                fresh.append(max(0.0, record.settled.settled_at - record.settled.changed_at))
        if at.word == "working" and record.pending:
            changed = record.pending.changed_at
            oldest = changed if oldest is None else min(oldest, changed)
    counted = {word: count for word, count in words.items() if count}
    return Board(counted, chunks, dict(sources), oldest, tuple(sorted(fresh)), unreadable)


def page(records, *, words=(), source="", prefix="", stale=None, after=None, limit):
    """Lines as dictionaries, their number, and whether more follow."""
    found = []
    for key, record in records.items():
        if record is None:
            continue
        at = state(record)
        if (
            (not source or record.source == source)
            and record.path.startswith(prefix)
            and (not words or at.word in words)
            and stale in (None, at.stale)
        ):
            found.append((record.source, record.path, key))
    found.sort()
    rest = [item for item in found if after is None or item[:2] > after]
    shown = [line(key, records[key]) for _, _, key in rest[:limit]]
    return shown, len(found), len(rest) > limit


def line(key, record):
    at, settled = state(record), record.settled
    newest = record.pending or settled
    return {
        "source": record.source,
        "path": record.path,
        "doc_key": key,
        "state": at.word,
        "stage": at.stage,
        "stale": at.stale,
        "reason": at.reason and {"code": at.reason.code, "text": at.reason.text},
        "chunk_count": len(settled.rows) if settled else 0,
        "changed_at": moment(newest.changed_at) if newest else None,
        "settled_at": moment(settled.settled_at) if settled else None,
    }


def failures(records):
    """`(id, document, state, code, stage, since)` of each, in any order."""
    found = set()
    for key, record in records.items():
        if record is None:
            continue
        at = state(record)
        if at.word not in ("refused", "failed", "dropped"):
            continue
        newest = record.pending or record.settled
        since = record.settled.settled_at if at.word == "refused" and record.settled else None
        found.add(
            (
                failure_id(key),
                f"{record.source}/{record.path or key}",
                at.word,
                at.reason.code if at.reason else "unknown",
                at.stage,
                moment(since or (newest.changed_at if newest else None)),
            )
        )
    return found
