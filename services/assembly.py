"""What needs more than one service: the gateway's faces with the validator behind `validate`."""

import time
from dataclasses import dataclass

from services.gateway import build as gateway
from services.gateway.commands import Validate
from services.gateway.faces import Faces
from services.gateway.models import CheckView, ValidateAnswer, ValidateRequest
from services.gateway.reports import only_one, source_name
from services.gateway.sweeps import GenerateRequest, SweepAnswer, SweepRequest
from services.gateway.sweeps import answer as sweep_answer
from services.part import Part
from services.validator.app import sweeper, validate_now
from services.validator.checks import SampleQuery
from services.validator.checkup import Checkup
from services.validator.sweeper import Sweeper
from shared.errors import GARBAGE
from shared.wiring import Wiring


async def gateway_part(wiring: Wiring) -> Part:
    return await gateway.build(wiring, await validation(wiring), await sweeps(wiring))


async def faces(wiring: Wiring) -> Faces:
    return await gateway.faces(wiring, await validation(wiring), await sweeps(wiring))


async def validation(wiring: Wiring) -> Validate:
    now, history = await validate_now(wiring), await wiring.history()

    async def validate(request: ValidateRequest) -> ValidateAnswer:
        started = time.perf_counter()
        queries = [SampleQuery(query.q, query.expect) for query in request.queries]
        members = None
        if request.batch is not None:
            source = source_name(request.source)
            found = await history.members(request.batch, source)
            members = only_one(found, request.batch, source)
        checkup = await now(members, queries)
        return answer(checkup, took_ms=round(1000 * (time.perf_counter() - started), 1))

    return validate


@dataclass(frozen=True, slots=True)
class ValidatorSweeps:
    """Implements the gateway's `Sweeps` by the validator's sweeper."""

    sweeper: Sweeper

    async def now(self, request: SweepRequest) -> SweepAnswer:
        done = await self.sweeper(
            dry_run=request.dry_run, force=request.force, batch_size=request.batch_size
        )
        return sweep_answer(done.note())

    def start(self, request: GenerateRequest) -> str:
        return self.sweeper.start(batch_size=request.batch_size)

    async def last(self) -> SweepAnswer | None:
        note = await self.sweeper.last()
        try:
            return sweep_answer(note) if note else None
        except GARBAGE:  # no sweep wrote that
            return None


async def sweeps(wiring: Wiring) -> ValidatorSweeps:
    return ValidatorSweeps(await sweeper(wiring))


def answer(checkup: Checkup, *, took_ms: float) -> ValidateAnswer:
    """The checkup as people and programs read it. Pure."""
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
            f"{checked.expected_rows:,} expected, {checkup.orphans:,} of nobody",
            _remedy(checkup),
        ),
        _check(
            "self-query",
            checked.self_queries_passed == checked.self_queries,
            f"{checked.self_queries_passed} of {checked.self_queries} documents "
            "are found by their own vector",
            "instep retry SOURCE/PATH of what is not found",
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
        return "instep sweep; rows of a source that is not watched here: instep sweep --force"
    return "instep sweep: it writes anew what differs"


def _check(name: str, passed: bool, text: str, fix: str) -> CheckView:
    return CheckView(
        name=name, level="ok" if passed else "FAIL", text=text, fix="" if passed else fix
    )
