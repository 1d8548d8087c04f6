"""Reports of batches and the history of validations, as they are asked for."""

import re
from typing import Protocol

from services.gateway.models import BatchesRequest, BatchRequest
from services.gateway.problems import Problem
from services.gateway.views import BatchesAnswer, ValidationsAnswer
from shared.identity import SOURCE_PATTERN
from shared.reports import BatchReport, ReportLine, Validation


class Reports(Protocol):
    """`shared.history.History`, as far as it is asked here. Every method raises BusUnavailable."""

    async def history(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[ReportLine], str]: ...
    async def validations(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[Validation], str]: ...
    async def report(self, batch_id: str, source: str = "") -> BatchReport | None: ...


async def batches(reports: Reports | None, request: BatchesRequest) -> BatchesAnswer:
    """Raises Problem: the source is no name."""
    if reports is None:
        return BatchesAnswer(batches=())
    lines, following = await reports.history(_source(request.source), request.limit, request.cursor)
    return BatchesAnswer(batches=tuple(lines), next_cursor=following or None)


async def validations(reports: Reports | None, request: BatchesRequest) -> ValidationsAnswer:
    """Raises Problem: the source is no name."""
    if reports is None:
        return ValidationsAnswer(validations=())
    found, following = await reports.validations(
        _source(request.source), request.limit, request.cursor
    )
    return ValidationsAnswer(validations=tuple(found), next_cursor=following or None)


async def report(reports: Reports | None, request: BatchRequest) -> BatchReport:
    """Raises Problem: there is no such batch."""
    source = _source(request.source)
    found = await reports.report(request.batch, source) if reports else None
    if found is None:
        raise Problem("batch_not_found", _no_batch(request.batch, source))
    return found


def _source(name: str) -> str:
    """The name; it becomes part of a key."""
    if name and not re.fullmatch(SOURCE_PATTERN.rstrip("$"), name):
        raise Problem("invalid_request", f"source: {name[:80]!r} is no name of a source")
    return name


def _no_batch(batch: str, source: str) -> str:
    of = f" of {source}" if source else ""
    if batch == "last":
        return f"no batch{of} has ended in the last 30 days"
    return f"{batch[:80]!r} is no batch{of} that ended in the last 30 days"
