"""The sweep at the gateway: its requests, its answers, and the port to the validator."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import Field

from services.gateway.models import Flag, Request, Response, SweepView
from services.gateway.problems import Problem


class SweepRequest(Request):
    """Compare files, DOCS, ledger and store now, and put right what differs."""

    dry_run: Flag = False
    """Change nothing."""
    batch_size: int = Field(default=100, ge=1, le=10_000)
    """Documents that are sent again before the end of earlier ones is awaited."""
    force: Flag = False
    """Take out the rows of unknown documents that wait for a person, too."""


class GenerateRequest(Request):
    """Send documents with missing or wrong vectors again."""

    batch_size: int = Field(default=100, ge=1, le=10_000)


class GenerateAnswer(Response):
    """The sweep is queued."""

    task_name: Literal["enrich.generate_embeddings"] = "enrich.generate_embeddings"
    status: Literal["queued"] = "queued"
    message: str


class AuditView(Response):
    """A source's files, compared with DOCS and the ledger."""

    source: str
    files: int
    submitted: int = 0
    removed: int = 0
    held: int = 0
    error: str = ""


class SweepAnswer(Response):
    """The outcome of a sweep. Rows: missing, extra, damaged; all else counts documents."""

    at: datetime
    took_s: float
    dry_run: bool
    clean: bool
    """No side differed."""
    needs_you: bool
    """Work is left that only a person can do."""
    documents: int
    rows: int
    missing: int = 0
    extra: int = 0
    damaged: int = 0
    lost: int = 0
    """Their newest change had been forgotten on its way."""
    stuck: int = 0
    unknown: int = 0
    """They had rows, but neither change nor record."""
    beyond_repair: int = 0
    held: int = 0
    """Of the unknown: those whose rows wait for a person's decision."""
    resubmitted: int = 0
    """Documents that were sent again, or taken out."""
    processed: int = 0
    failed: int = 0
    unsent: int = 0
    """Documents left for another sweep, for none of those that were sent has ended."""
    samples: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    audits: tuple[AuditView, ...] = ()


class Sweeps(Protocol):
    """The port to the validator's sweeps. Raises BusUnavailable, StoreUnavailable."""

    async def now(self, request: SweepRequest) -> SweepAnswer: ...

    async def start(self, request: GenerateRequest) -> str:
        """Sweep in the background; the name of the task, or of the one that runs already."""
        ...

    async def last(self) -> SweepAnswer | None:
        """The newest one, of any process."""
        ...


async def sweep(sweeps: Sweeps | None, request: SweepRequest) -> SweepAnswer:
    return await _here(sweeps).now(request)


async def generate(sweeps: Sweeps | None, request: GenerateRequest) -> GenerateAnswer:
    task = await _here(sweeps).start(request)
    return GenerateAnswer(message=f"Task queued with ID: {task}")


async def view(sweeps: Sweeps | None) -> SweepView | None:
    """One line about the newest sweep.

    Held removals, faults of folders and failed documents are in the status as they are now.
    """
    last = await sweeps.last() if sweeps else None
    if last is None:
        return None
    left = bool(last.beyond_repair or last.held)
    return SweepView(at=last.at, repaired=last.resubmitted, needs_you=left)


def answer(note: Mapping[str, Any]) -> SweepAnswer:
    """From the note about a sweep. Pure."""
    kinds = ("missing", "extra", "damaged", "lost", "stuck", "unknown", "beyond_repair", "held")
    audits = note["audits"]
    moved = any(a["submitted"] or a["removed"] or a["held"] or a["error"] for a in audits)
    needs = note["beyond_repair"] or note["held"] or note["failed"]
    return SweepAnswer.model_validate(
        {
            **note,
            "clean": not moved and not any(note[kind] for kind in kinds),
            "needs_you": bool(needs or any(a["held"] or a["error"] for a in audits)),
        }
    )


def _here(sweeps: Sweeps | None) -> Sweeps:
    if sweeps is None:
        raise Problem("unavailable", "this gateway has no validator behind it")
    return sweeps
