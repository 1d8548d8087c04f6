"""The outcomes of the documents of a batch, by the ledger. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.batches.reports import Documents
from shared.domain.events import BatchSummary, ChunkCounts
from shared.domain.ordering import Outcome, Reason, Record, Settled

NOTHING_DONE: Final = ChunkCounts()
LEAST_WATCH_S: Final = 60.0
"""A process gives up a batch only after it has seen it rest for so long: after a long stop, the
events sent meanwhile come first."""


@dataclass(frozen=True, slots=True)
class MemberOutcome:
    """The outcome of a document of a batch. `exact`: it is this very revision's."""

    outcome: Outcome | None
    """None: failed."""
    seq: int
    exact: bool
    chunks: ChunkCounts = NOTHING_DONE
    freshness_s: float | None = None
    settled_at: float = 0.0
    """Unix time; 0 where it failed."""
    document: str = ""
    """`source/path`."""
    reason: Reason | None = None
    stage: str | None = None
    kind: str = "failed"
    """The field of `shared.batches.reports.Documents` that counts it."""


def outcome_of(record: Record | None, seq: int) -> MemberOutcome | None:
    """The outcome of a revision, or of a newer one that took its place; None: not yet."""
    if record is None:
        return None
    settled, document = record.settled, f"{record.source}/{record.path}"
    if settled and settled.seq >= seq:
        exact = settled.seq == seq
        return MemberOutcome(
            settled.outcome,
            settled.seq,
            exact,
            _chunks(settled) if exact else NOTHING_DONE,
            max(0.0, settled.settled_at - settled.changed_at),
            settled.settled_at,
            document,
            settled.reason,
            kind=settled.effect,
        )
    failed = record.failed
    if failed and failed.seq >= seq:
        return MemberOutcome(
            None,
            failed.seq,
            failed.seq == seq,
            document=document,
            reason=failed.reason,
            stage=failed.stage,
        )
    return None


def _chunks(settled: Settled) -> ChunkCounts:
    total = len(settled.rows)
    return ChunkCounts(
        total=total,
        inserted=settled.inserted,
        kept=max(0, total - settled.inserted),
        removed=settled.removed,
        encoded=settled.encoded,
    )


def summarise(outcomes: Iterable[MemberOutcome], *, unchanged: int, declined: int) -> BatchSummary:
    """Documents of a batch by outcome, as in the event."""
    words = {"indexed": 0, "removed": 0, "refused": declined, "failed": 0}
    chunks = dict.fromkeys(ChunkCounts.model_fields, 0)
    for outcome in outcomes:
        words[outcome.outcome or "failed"] += 1
        for name in chunks:
            chunks[name] += getattr(outcome.chunks, name)
    return BatchSummary(unchanged=unchanged, chunks=ChunkCounts(**chunks), **words)


@dataclass(frozen=True, slots=True)
class Listed:
    """The facts of a batch besides the outcomes of its documents."""

    count: int
    """Documents that were announced."""
    members: int
    unchanged: int = 0
    declined: int = 0
    moved: int = 0
    waiting: int = 0
    whole: bool = True

    @property
    def missing(self) -> int:
        """Documents that never came; of a batch that was announced whole, none."""
        return 0 if self.whole else max(0, self.count - self.members - self.unchanged)


def count(outcomes: Iterable[MemberOutcome], listed: Listed) -> Documents:
    """Documents of a batch by their kind of outcome.

    A move is a removal and an insertion of the same batch; together they are one move.
    """
    kinds, superseded = Counter[str](), 0
    for outcome in outcomes:
        kinds[outcome.kind] += 1
        superseded += not outcome.exact
    moved = min(listed.moved, kinds["inserted"], kinds["removed"])
    return Documents(
        inserted=kinds["inserted"] - moved,
        updated=kinds["updated"],
        unchanged=kinds["unchanged"] + listed.unchanged,
        moved=moved,
        removed=kinds["removed"] - moved,
        refused=kinds["refused"] + listed.declined,
        failed=kinds["failed"],
        waiting=listed.waiting,
        missing=listed.missing,
        superseded=superseded,
    )


@dataclass(frozen=True, slots=True)
class Rest:
    """Times without any progress, in seconds.

    noted_s: of this batch, by its notes on the bus: survives a restart, follows the clock.
    watched_s: of this batch, as this process has seen it.
    anywhere_s: of any document, as this process has seen it.
    waiting: documents of the batch are on their way.
    accepted: some document of it was accepted.
    """

    noted_s: float
    watched_s: float
    anywhere_s: float
    waiting: bool
    accepted: bool = True


def is_given_up(rest: Rest, timeout_s: float) -> bool:
    """Whether a batch has rested long enough to be closed as it is.

    A document may wait behind many others: while any of them makes progress, the batch stays open.
    Where every document that came was refused, its publisher has seldom more to send.
    """
    if rest.watched_s < min(timeout_s, LEAST_WATCH_S):
        return False
    if not rest.accepted:
        return True
    if rest.waiting:
        return min(rest.watched_s, rest.anywhere_s) >= timeout_s
    return max(rest.noted_s, rest.watched_s) >= timeout_s
