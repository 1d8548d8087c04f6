"""Documents as people see them: lines, revisions, pages of a list, names. Pure."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

from services.gateway.problems import Problem
from services.gateway.views import DocumentLine, ReasonView, RevisionView
from shared.domain.ids import doc_key
from shared.domain.ordering import Pending, Reason, Record, Settled, State, state

DOC_KEY: Final = re.compile(r"[a-z2-7]{26}")


def moment(seconds: float | None) -> datetime | None:
    """Unix time as aware UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def reason_view(reason: Reason | None) -> ReasonView | None:
    return ReasonView(code=reason.code, text=reason.text) if reason else None


@dataclass(frozen=True, slots=True)
class Summary:
    """The values of a document in lists and counts."""

    key: str
    source: str
    path: str
    state: State
    chunk_count: int
    """Chunks in the index."""
    changed_at: float | None
    settled_at: float | None
    freshness_s: float | None
    """From change to searchable; None: it is not searchable."""


def summary(key: str, record: Record, at: State | None = None) -> Summary:
    """Of a record. `at`: its state, where the newest change is known too."""
    settled = record.settled
    newest = record.pending or settled
    indexed = settled is not None and settled.outcome == "indexed"
    return Summary(
        key=key,
        source=record.source,
        path=record.path,
        state=at or state(record),
        chunk_count=len(settled.rows) if settled else 0,
        changed_at=newest.changed_at if newest else None,
        settled_at=settled.settled_at if settled else None,
        freshness_s=max(0.0, settled.settled_at - settled.changed_at)
        if settled and indexed
        else None,
    )


def line(seen: Summary) -> DocumentLine:
    """One row of a list."""
    return DocumentLine(
        source=seen.source,
        path=seen.path,
        doc_key=seen.key,
        state=seen.state.word,
        stage=seen.state.stage,
        stale=seen.state.stale,
        reason=reason_view(seen.state.reason),
        chunk_count=seen.chunk_count,
        changed_at=moment(seen.changed_at),
        settled_at=moment(seen.settled_at),
    )


def settled_view(settled: Settled) -> RevisionView:
    """A revision that is done."""
    total = len(settled.rows)
    return RevisionView(
        sequence=settled.seq,
        outcome=settled.outcome,
        changed_at=datetime.fromtimestamp(settled.changed_at, UTC),
        settled_at=moment(settled.settled_at),
        freshness_s=round(max(0.0, settled.settled_at - settled.changed_at), 3),
        chunks=total,
        inserted=settled.inserted,
        kept=max(0, total - settled.inserted),
        removed=settled.removed,
        encoded=settled.encoded,
        reason=reason_view(settled.reason),
        is_active=settled.is_active,
        static_score=settled.static_score,
    )


def pending_view(pending: Pending) -> RevisionView:
    """A revision that is being made."""
    return RevisionView(
        sequence=pending.seq,
        outcome=pending.outcome,
        changed_at=datetime.fromtimestamp(pending.changed_at, UTC),
        started_at=moment(pending.started_at),
        chunks=len(pending.rows),
        inserted=pending.inserted,
        kept=max(0, len(pending.rows) - pending.inserted),
        encoded=pending.encoded,
        waiting=len(pending.todo),
        reason=reason_view(pending.reason),
        is_active=pending.is_active,
        static_score=pending.static_score,
    )


def write_cursor(source: str, path: str) -> str:
    """An opaque place in the list, stable under writes."""
    return urlsafe_b64encode(json.dumps([source, path]).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[str, str] | None:
    """The place of a cursor. Raises Problem `invalid_request` when it is none."""
    if not cursor:
        return None
    try:
        source, path = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return str(source), str(path)
    except (ValueError, TypeError, RecursionError):
        raise Problem("invalid_request", "the cursor is not one of this instance") from None


def candidates(
    name: str, sources: Iterable[str], roots: Mapping[str, PurePath], file: str = ""
) -> list[tuple[str, str]]:
    """The (source, path) pairs that a name may mean, most likely first.

    Args:
        name: `source/path` or a path.
        sources: every source name known.
        roots: the folders of the sources that have one, absolute.
        file: the absolute path that the name may stand for.
    """
    found: list[tuple[str, str]] = []
    for source, root in roots.items():
        if file and PurePath(file).is_relative_to(root):
            found.append((source, PurePath(file).relative_to(root).as_posix()))
    head, _, tail = name.partition("/")
    names = sorted({*sources, *roots})
    if head in names and tail:
        found.append((head, tail))
    found += [(source, name.removeprefix("./")) for source in names]
    return list(dict.fromkeys(found))


def keys_of(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """doc_key to (source, path), in the order given."""
    return {doc_key(source, path): (source, path) for source, path in pairs}
