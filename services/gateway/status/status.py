"""How far the index is behind, from plain observations. Pure: no I/O, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from services.gateway.models import STATES, SourceView, StageView, StatusAnswer
from services.gateway.views import Freshness
from shared.observe.progress import SourceHealth

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
class Observation:
    """One look at the flow."""

    at: float
    """Unix time of the look."""
    stages: tuple[StageSeen, ...] = ()
    listed: bool = True
    """Every folder has been listed once since the start."""
    held: int = 0
    sources: Mapping[str, SourceHealth] = field(default_factory=dict)
    """Faults of the watched folders."""
    watched_at: float | None = None
    """Unix time of the last word about the folders, where no instance runs; None: one runs."""

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
    before = [s for s in seen.stages if s.takes in ("submissions", "changes")]
    queued = sum(s.waiting + s.running for s in before)
    working = board.documents.get("working", 0)
    times = [s.oldest_at for s in before if s.oldest_at is not None and s.waiting + s.running]
    if board.oldest_open_at is not None:
        times.append(board.oldest_open_at)
    oldest = min(times, default=None)
    behind = seen.known_at if oldest is None else min(oldest, seen.known_at)
    return Freshness(
        watermark=datetime.fromtimestamp(behind, UTC) if seen.listed else None,
        pending_documents=queued + working,
        oldest_pending_s=None if oldest is None else round(max(0.0, seen.at - oldest), 3),
    )


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
        *(
            SourceView(name=n, kind="folder" if n in seen.sources else "push")
            for n in board.by_source
            if n not in known
        ),
    ]
    runs, is_done = seen.watched_at is None, _is_done(behind, board, seen)
    return StatusAnswer(
        in_step=runs and is_done,
        runs=runs,
        in_step_as_of=behind.watermark if is_done and not runs else None,
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


def _is_done(behind: Freshness, board: Board, seen: Observation) -> bool:
    """Whether no known work is left to be done or waits for a person."""
    left = behind.pending_documents or seen.held or board.unreadable
    return seen.listed and not busy(seen) and not left


def _unconfigured(sources: Sequence[SourceView], seen: Observation) -> list[SourceView]:
    """Folders with a fault that only another process has in its settings."""
    known = {source.name for source in sources}
    faulty = (name for name, health in seen.sources.items() if health.error and name not in known)
    return [SourceView(name=name, kind="folder") for name in faulty]


def _source(view: SourceView, documents: int, health: SourceHealth | None) -> SourceView:
    wrong = health or SourceHealth()
    some = sorted(wrong.problems.items())[:PROBLEMS_SHOWN]
    return view.model_copy(
        update={
            "documents": documents,
            "error": wrong.error,
            "problems": dict(some),
            "problem_count": len(wrong.problems),
        }
    )


def _rate(now: StageSeen, before: StageSeen | None, passed: float) -> float | None:
    if before is None or now.done is None or before.done is None or passed < 0.5:
        return None
    return round(max(0, now.done - before.done) / passed, 1)
