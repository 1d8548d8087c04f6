"""How far the index is behind, and alerts about the bus. Pure: no I/O, no clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from services.gateway.models import STATES, CheckView, SourceView, StageView, StatusAnswer
from services.gateway.views import Freshness
from shared.observe.progress import SourceHealth
from shared.ports import StreamCapacity

NEARLY: Final = 0.8
FULL: Final = 0.98
"""A message may not fit although a little room is left."""


def alerts(streams: Iterable[StreamCapacity], unrecorded: int) -> list[CheckView]:
    """One line about the room on the bus, and one about failures on their way to the ledger."""
    tight = sorted((r for r in streams if r.refuses and r.share >= NEARLY), key=lambda r: -r.share)
    found = [_room(tight)]
    if unrecorded:
        found.append(
            CheckView(
                name="failures",
                level="WARN",
                text=f"{unrecorded:,} dead letters are not noted at their documents yet",
                fix="wait; if they stay: instep run validator",
            )
        )
    return found


def _room(tight: list[StreamCapacity]) -> CheckView:
    if not tight:
        return CheckView(name="room", level="ok", text="every stream has room")
    named = ", ".join(f"{room.name} {min(100, int(room.share * 100))} %" for room in tight)
    full = tight[0].share >= FULL
    return CheckView(
        name="room",
        level="FAIL" if full else "WARN",
        text=f"{'full' if full else 'nearly full'}: {named}; "
        f"{'work waits, nothing is lost' if full else 'work will wait when it is full'}",
        fix="instep status shows which stage is behind: start more of it, or dismiss dead letters",
    )


WINDOW_S: Final = 3600.0
"""Window of the freshness figures."""
PROBLEMS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class StageSeen:
    """A stage as the bus shows it."""

    name: str
    """`accept`, `enricher`, `embedder`, `indexer`, `validator`."""
    waiting: int
    """Messages that are not delivered yet."""
    running: int
    """Messages delivered and not acknowledged."""
    takes: str = "parts"
    """As `shared.domain.topology.Stage.takes`."""
    done: int | None = None
    """A number that grows by one for each message finished."""
    oldest_at: float | None = None
    """Unix time of the oldest unfinished message."""
    replicas: int | None = None
    """Processes that serve the stage, by their own announcements; None: not known."""


@dataclass(frozen=True, slots=True)
class PastFolder:
    """A folder that was watched once and is not given to instep any more."""

    at: float
    """Unix time at which it was last watched."""
    path: str = ""
    same_as: str = ""
    """The source that has all of its documents."""
    kind: str = "folder"


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at the flow."""

    at: float
    """Unix time of the look."""
    stages: tuple[StageSeen, ...] = ()
    listed: bool = True
    """Every folder has been listed once since the process began that watches it."""
    held: int = 0
    held_of: Mapping[str, int] = field(default_factory=dict)
    """The same by source."""
    sources: Mapping[str, SourceHealth] = field(default_factory=dict)
    """Faults of the watched folders."""
    watched_at: float | None = None
    """Unix time of the last word about the folders, where no instance runs; None: one runs."""
    past: Mapping[str, PastFolder] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether what changes in the folders is known: each was listed, and can be."""
        return self.listed and not any(health.error for health in self.sources.values())

    @property
    def known_at(self) -> float:
        """Unix time up to which changes are known."""
        return self.at if self.watched_at is None else min(self.watched_at, self.at)


@dataclass(frozen=True, slots=True)
class Board:
    """The counts of the ledger."""

    documents: Mapping[str, int]
    chunks: int
    by_source: Mapping[str, int]
    oldest_open_at: float | None
    """Unix time of the oldest change that is not searchable yet and not given up."""
    freshness_s: tuple[float, ...]
    """From change to searchable, of each document settled within the window, ascending."""
    unreadable: int = 0
    """Documents whose newest change, or whose record, cannot be read."""


EMPTY: Final = Board({}, 0, {}, None, ())


def busy(seen: Observation) -> bool:
    """Whether a stage before the end of a change has unfinished messages."""
    return any(s.waiting + s.running for s in seen.stages if s.takes != "results")


def freshness(board: Board, seen: Observation) -> Freshness:
    """How far answers may be behind.

    A change before the enricher is in no ledger record yet; one that the enricher has in hand may
    be in both, so the number of pending documents is never too small, and at rest exact.
    """
    before = _before_ledger(seen)
    queued = sum(s.waiting + s.running for s in before)
    working = board.documents.get("working", 0)
    oldest = _oldest(board, before)
    behind = seen.known_at if oldest is None else min(oldest, seen.known_at)
    return Freshness(
        watermark=datetime.fromtimestamp(behind, UTC) if seen.known else None,
        pending_documents=queued + working,
        oldest_pending_s=None if oldest is None else round(max(0.0, seen.at - oldest), 3),
    )


def _before_ledger(seen: Observation) -> list[StageSeen]:
    return [s for s in seen.stages if s.takes in ("submissions", "changes")]


def _oldest(board: Board, stages: Sequence[StageSeen]) -> float | None:
    """Unix time of the oldest change that is not done, or still with one of these stages."""
    times = [s.oldest_at for s in stages if s.oldest_at is not None and s.waiting + s.running]
    if board.oldest_open_at is not None:
        times.append(board.oldest_open_at)
    return min(times, default=None)


def is_done(board: Board, seen: Observation, since: float) -> bool:
    """Whether all that changed before `since` (Unix time) has an outcome; later changes may not."""
    oldest = _oldest(board, [s for s in seen.stages if s.takes != "results"])
    return seen.listed and seen.known_at >= since and (oldest is None or oldest > since)


def needs_you(board: Board, seen: Observation) -> bool:
    """Whether work alone brings the index not in step: a folder is not known, a removal waits for a
    decision, or a change cannot be read."""
    return bool(not seen.known or seen.held or board.unreadable)


def is_in_step(board: Board, seen: Observation) -> bool:
    """Whether the index holds what the sources do, as far as is known at the look."""
    is_left = busy(seen) or freshness(board, seen).pending_documents
    return not is_left and not needs_you(board, seen)


def stage_rows(seen: Observation, before: Observation | None) -> tuple[StageView, ...]:
    """A row for each stage; rates from the look before, if it was at least half a second ago."""
    earlier = {s.name: s for s in before.stages} if before else {}
    passed = seen.at - before.at if before else 0.0
    return tuple(
        StageView(
            stage=s.name,
            waiting=s.waiting,
            running=s.running,
            per_second=_rate(s, earlier.get(s.name), passed),
            lag_s=None if s.oldest_at is None else round(max(0.0, seen.at - s.oldest_at), 3),
            replicas=s.replicas,
        )
        for s in seen.stages
    )


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of a sorted list; None of an empty one."""
    if not ascending:
        return None
    rank = max(0, min(len(ascending) - 1, -int(-share * len(ascending) // 1) - 1))
    return round(ascending[rank], 3)


def status(
    board: Board,
    seen: Observation,
    before: Observation | None = None,
    *,
    sources: Sequence[SourceView] = (),
    generation: str = "",
    version: str = "",
) -> StatusAnswer:
    """The whole table."""
    behind = freshness(board, seen)
    documents = {word: board.documents.get(word, 0) for word in (*STATES, "stale")}
    documents |= {"held": seen.held, "unreadable": board.unreadable}
    sources = [*sources, *_unconfigured(sources, seen)]
    known = {source.name for source in sources}
    listed = [
        *sources,
        *(_unlisted(n, seen) for n in board.by_source if n not in known),
    ]
    runs, in_step = seen.watched_at is None, is_in_step(board, seen)
    return StatusAnswer(
        in_step=runs and in_step,
        runs=runs,
        in_step_as_of=behind.watermark if in_step and not runs else None,
        pending_documents=behind.pending_documents,
        oldest_pending_s=behind.oldest_pending_s,
        watermark=behind.watermark,
        freshness_p50_s=percentile(board.freshness_s, 0.5),
        freshness_p95_s=percentile(board.freshness_s, 0.95),
        stages=stage_rows(seen, before),
        documents=documents,
        chunks=board.chunks,
        sources=tuple(
            _source(s, board.by_source.get(s.name, 0), seen.sources.get(s.name))
            for s in sorted(listed, key=lambda s: s.name)
        ),
        generation=generation,
        version=version,
        at=datetime.fromtimestamp(seen.at, UTC),
    )


def _unconfigured(sources: Sequence[SourceView], seen: Observation) -> list[SourceView]:
    """Sources with a fault that only another process has in its settings."""
    known = {source.name for source in sources}
    faulty = (name for name, health in seen.sources.items() if health.error and name not in known)
    return [_watched_elsewhere(name, seen.sources[name]) for name in faulty]


def _watched_elsewhere(name: str, health: SourceHealth) -> SourceView:
    return SourceView(name=name, kind=health.kind, path=health.path or None)


def _unlisted(name: str, seen: Observation) -> SourceView:
    """A source that has documents, and that the settings do not name."""
    if (past := seen.past.get(name)) is None:
        health = seen.sources.get(name)
        return _watched_elsewhere(name, health) if health else SourceView(name=name, kind="push")
    return SourceView(
        name=name,
        kind=past.kind,
        path=past.path or None,
        given=False,
        last_seen=datetime.fromtimestamp(past.at, UTC),
        same_as=past.same_as,
    )


def _source(view: SourceView, documents: int, health: SourceHealth | None) -> SourceView:
    wrong = health or SourceHealth()
    some = sorted(wrong.problems.items())[:PROBLEMS_SHOWN]
    return view.model_copy(
        update={
            "documents": documents,
            "error": wrong.error,
            "problems": dict(some),
            "problem_count": len(wrong.problems) + wrong.more,
            "left_out": wrong.left_out,
        }
    )


def _rate(now: StageSeen, before: StageSeen | None, passed: float) -> float | None:
    if before is None or now.done is None or before.done is None or passed < 0.5:
        return None
    return round(max(0, now.done - before.done) / passed, 1)
