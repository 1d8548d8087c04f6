"""Joins two services: the gateway's operations, with the validator behind `validate` and sweeps."""

import time
from dataclasses import dataclass
from functools import partial

from services.gateway import build as gateway
from services.gateway.answers import Faces
from services.gateway.commands import Validate
from services.gateway.models import CheckView, ValidateAnswer, ValidateRequest
from services.gateway.status.reports import only_one, source_name
from services.gateway.status.sweeps import GenerateRequest, SweepAnswer, SweepRequest
from services.gateway.status.sweeps import answer as sweep_answer
from services.host.service import Part
from services.host.wiring import OpenGeneration
from services.validator.app import sweeper, validate_now
from services.validator.checks import SampleQuery
from services.validator.checkup import Checkup
from services.validator.sweep.sweeper import Sweeper
from shared.domain.errors import GARBAGE, StillLoading, StoreUnavailable
from shared.ports import GetEncoder, GetStore, Holds


async def gateway_part(opened: OpenGeneration) -> Part:
    """The gateway; it answers before model and store are loaded."""
    return await gateway.build(
        opened, partial(_faces, opened, opened.store_now, opened.encoder_now)
    )


async def faces(opened: OpenGeneration, left: Holds | None = None) -> Faces:
    """The operations; those that need the model or the store wait until it is loaded.

    Args:
        left: removals as the last process left them, if none runs; None: the running ones are
            asked.
    """
    return await _faces(opened, opened.store, opened.encoder, left)


async def _faces(
    opened: OpenGeneration, store: GetStore, encoder: GetEncoder, left: Holds | None = None
) -> Faces:
    validate = await validation(opened, store, encoder)
    sweeps = ValidatorSweeps(opened, store, asks=left is None)
    return await gateway.faces(opened, store, encoder, validate, sweeps, left)


async def validation(opened: OpenGeneration, store: GetStore, encoder: GetEncoder) -> Validate:
    history = await opened.host.history()

    async def validate(request: ValidateRequest) -> ValidateAnswer:
        started = time.perf_counter()
        queries = [SampleQuery(query.q, query.expect) for query in request.queries]
        members = None
        if request.batch is not None:
            source = source_name(request.source)
            found = await history.members(request.batch, source)
            members = only_one(found, request.batch, source)
        await store()
        if queries or opened.host.settings.validation.queries:
            await encoder()
        checkup = await (await validate_now(opened))(members, queries)
        return answer(checkup, took_ms=round(1000 * (time.perf_counter() - started), 1))

    return validate


@dataclass(frozen=True, slots=True)
class ValidatorSweeps:
    """Implements the gateway's `Sweeps` by the validator's sweeper."""

    opened: OpenGeneration
    store: GetStore
    asks: bool
    """Whether the processes that watch folders are asked; False: none runs."""

    async def now(self, request: SweepRequest) -> SweepAnswer:
        sweep = await self._sweeper()
        done = await sweep(
            dry_run=request.dry_run, force=request.force, batch_size=request.batch_size
        )
        return sweep_answer(done.note())

    async def start(self, request: GenerateRequest) -> str:
        return (await self._sweeper()).start(batch_size=request.batch_size)

    async def last(self) -> SweepAnswer | None:
        try:
            note = await (await self._sweeper()).last()
        except (StillLoading, StoreUnavailable):
            return None
        try:
            return sweep_answer(note) if note else None
        except GARBAGE:  # not a sweep's note
            return None

    async def _sweeper(self) -> Sweeper:
        await self.store()
        return await sweeper(self.opened, asks=self.asks)


def answer(checkup: Checkup, *, took_ms: float) -> ValidateAnswer:
    """The checkup as the API answers it. Pure."""
    checked = checkup.checked
    return ValidateAnswer(
        passed=checkup.passed,
        checks=tuple(_checks(checkup)),
        generation=checkup.generation,
        took_ms=took_ms,
        documents=checkup.documents,
        rows=checked.found_rows if checkup.rows is None else checkup.rows,
        expected_rows=checked.expected_rows,
    )


def _checks(checkup: Checkup) -> list[CheckView]:
    checked, fresh = checkup.checked, checkup.freshness
    found = [
        _check(
            "count",
            not checked.failed and not checkup.orphans,
            f"{checked.found_rows:,} rows of {checked.documents:,} documents, "
            f"{checked.expected_rows:,} expected, {checkup.orphans:,} without a document",
            _remedy(checkup),
        ),
        _check(
            "self-query",
            checked.self_queries_passed == checked.self_queries,
            f"{checked.self_queries_passed} of {checked.self_queries} documents "
            "are found by their own vector",
            "instep retry SOURCE/PATH of documents not found",
        ),
    ]
    if checkup.samples:
        passed = sum(sample.passed for sample in checkup.samples)
        found.append(
            _check(
                "samples",
                passed == len(checkup.samples),
                f"{passed} of {len(checkup.samples)} questions find their document in the top 5",
                "instep search each question with --explain",
            )
        )
    if fresh.p95_s is not None:
        slow = fresh.over > 0
        text = f"change to searchable p50 {fresh.p50_s:.2f} s, p95 {fresh.p95_s:.2f} s"
        found.append(CheckView(name="freshness", level="WARN" if slow else "ok", text=text))
    if checkup.pending:
        found.append(
            CheckView(
                name="pending",
                level="WARN",
                text=f"{checkup.pending:,} documents are not settled yet",
                fix="instep status --pending",
            )
        )
    return found


def _remedy(checkup: Checkup) -> str:
    if checkup.orphans and not checkup.checked.failed:
        return "instep sweep; rows of a source unwatched here: instep sweep --force"
    return "instep sweep: it writes differing rows anew"


def _check(name: str, passed: bool, text: str, fix: str) -> CheckView:
    return CheckView(
        name=name, level="ok" if passed else "FAIL", text=text, fix="" if passed else fix
    )
