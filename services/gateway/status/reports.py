"""Queries of the reports of batches and the history of validations."""

import asyncio
import re
import time
from collections.abc import Mapping, Set
from typing import Final, Protocol, TypeVar

from services.gateway.models import BatchesRequest, BatchRequest, EndedBatchRequest
from services.gateway.problems import Problem
from services.gateway.views import BatchesAnswer, ValidationsAnswer
from shared.batches.reports import BatchReport, ReportLine, Validation
from shared.domain.ids import SOURCE_PATTERN

T = TypeVar("T")

AGAIN_S: Final = 0.5
"""Between two looks for the report of a batch."""


class Reports(Protocol):
    """The part of the batches' `History` in use here. Every method raises BusUnavailable."""

    async def history(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[ReportLine], str]: ...
    async def validations(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[Validation], str]: ...
    async def reports(self, batch_id: str, source: str = "") -> Mapping[str, BatchReport]: ...
    def only(self, sources: Set[str]) -> "Reports":
        """The part that is about these sources."""
        ...


async def batches(reports: Reports | None, request: BatchesRequest) -> BatchesAnswer:
    """Raises Problem: the source is no name."""
    if reports is None:
        return BatchesAnswer(batches=())
    lines, following = await reports.history(
        source_name(request.source), request.limit, request.cursor
    )
    return BatchesAnswer(batches=tuple(lines), next_cursor=following or None)


async def validations(reports: Reports | None, request: BatchesRequest) -> ValidationsAnswer:
    """Raises Problem: the source is no name."""
    if reports is None:
        return ValidationsAnswer(validations=())
    found, following = await reports.validations(
        source_name(request.source), request.limit, request.cursor
    )
    return ValidationsAnswer(validations=tuple(found), next_cursor=following or None)


async def report(reports: Reports | None, request: BatchRequest) -> BatchReport:
    """Raises Problem: there is no such batch, or more than one source has one of this id."""
    source = source_name(request.source)
    found = await reports.reports(request.batch, source) if reports else {}
    return only_one(found, request.batch, source)


async def ended(reports: Reports | None, request: EndedBatchRequest) -> BatchReport:
    """The report of a batch that has ended, or that ends within `wait` seconds.

    Raises:
        Problem: as `report`; `batch_not_found` when the time is over.
    """
    deadline = time.monotonic() + request.wait
    while True:
        try:
            return await report(reports, request)
        except Problem as problem:
            left = deadline - time.monotonic()
            if problem.code != "batch_not_found" or left <= 0:
                raise
        await asyncio.sleep(min(AGAIN_S, left))


def only_one(found: Mapping[str, T], batch: str, source: str) -> T:
    """The one find for a batch, by source. Raises Problem: there is none, or several."""
    if not found:
        raise Problem("batch_not_found", _no_batch(batch, source))
    if len(found) > 1:
        names = sorted(found)
        raise Problem(
            "ambiguous_batch",
            f"{batch[:80]!r} is a batch of {', '.join(names[:-1])} and of {names[-1]}",
            f"name its source: --source {names[0]}; over HTTP source={names[0]}",
        )
    return found[next(iter(found))]


def source_name(name: str) -> str:
    """The name; it becomes part of a key."""
    if name and not re.fullmatch(SOURCE_PATTERN.rstrip("$"), name):
        raise Problem("invalid_request", f"source: {name[:80]!r} is not the name of a source")
    return name


def _no_batch(batch: str, source: str) -> str:
    of = f" of {source}" if source else ""
    if batch == "last":
        return f"no batch{of} has ended in the last 30 days"
    return f"{batch[:80]!r} is not a batch{of} that ended in the last 30 days"
