"""What a chaos run does, and what it counted: plain values, decided by one seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

SOURCE = "docs"
WORKERS = (
    ("producer", 1),
    ("enricher", 2),
    ("embedder", 3),
    ("indexer", 2),
    ("validator", 1),
    ("gateway", 1),
)
"""Services of a run, and how many processes of each."""
NO_DISK = "no file system could be mounted: no disk was filled"
"""The note of a run in which that could not be had."""
MUTATIONS = ("", "no-second-look", "no-compare-and-set", "ack-before-publish")


@dataclass(frozen=True)
class Plan:
    """A run. The same plan makes the same edits and the same faults in the same order."""

    seed: int = 1
    documents: int = 300
    seconds: float = 60.0
    """How long the gremlin is at work; its acts are spread over this time."""
    worker_kills: int = 12
    server_kills: int = 2
    stops: int = 1
    """SIGSTOP for longer than `ack_wait_s`, then SIGCONT."""
    full_disks: int = 1
    edits_per_s: float = 12.0
    duplicates_per_s: float = 2.0
    ack_wait_s: float = 15.0
    poison: int = 4
    faults: bool = True
    """Slow and failing store and model, and clocks that jump."""
    mutation: str = ""
    tmpfs_mb: int = 512

    def for_workers(self) -> dict[str, object]:
        """What `chaos_main` has to know."""
        return {name: asdict(self)[name] for name in ("seed", "ack_wait_s", "faults", "mutation")}


@dataclass(frozen=True)
class Act:
    """Something that the gremlin does, `at_s` seconds after the start."""

    at_s: float
    kind: str


def acts(plan: Plan) -> Iterator[Act]:
    """The gremlin's timetable: evenly over the run, in an order that the seed decides."""
    chance = random.Random(f"acts {plan.seed}")
    kinds = (
        ["kill worker"] * plan.worker_kills
        + ["kill server"] * plan.server_kills
        + ["stop worker"] * plan.stops
        + ["fill disk"] * plan.full_disks
    )
    chance.shuffle(kinds)
    gap = plan.seconds / max(1, len(kinds))
    for n, kind in enumerate(kinds):
        yield Act((n + chance.uniform(0.1, 0.9)) * gap, kind)


@dataclass
class Tally:
    """What happened, by name. What a run found wrong is in `wrong`, one line each."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds_to_quiet: float = 0.0
    notes: list[str] = field(default_factory=list)

    def table(self, plan: Plan) -> str:
        """For people: one count a line, then everything that was wrong."""
        rows = [("seed", plan.seed), ("mutation", plan.mutation or "none")]
        rows += [(name, self.counts[name]) for name in COUNTED]
        rows += [(name, n) for name, n in sorted(self.counts.items()) if name not in COUNTED]
        rows += [("seconds to quiet", round(self.seconds_to_quiet, 1))]
        rows += [("wrong, in all", len(self.wrong))]
        lines = [f"{name:<36}{value:>12}" for name, value in rows]
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes), *self._faults()])

    def report(self, plan: Plan) -> dict[str, object]:
        """The same for programs."""
        return {"plan": asdict(plan)} | asdict(self) | {"counts": dict(self.counts)}

    def _faults(self) -> list[str]:
        shown = [f"WRONG: {line}" for line in self.wrong[:40]]
        left = len(self.wrong) - len(shown)
        return shown + ([f"and {left} more"] if left > 0 else [])


COUNTED = (
    "documents",
    "edits",
    "moves",
    "deletions",
    "recreations",
    "folder renames",
    "worker kills",
    "models killed by poison",
    "server kills",
    "stops",
    "full disks",
    "duplicates",
    "questions",
    "receipts",
    "wrong documents",
    "lost",
    "stale",
    "left over",
    "lost file events",
    "gaps",
    "false receipts",
    "missing receipts",
    "orphan rows before the sweep",
    "orphan rows",
    "dead letters",
    "unexpected dead letters",
    "missing dead letters",
    "unexpected ends",
)
"""Names that every table shows, zero or not, in this order."""
