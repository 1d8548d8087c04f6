"""The commands of the gateway over the ports: retry, drop, release, keep, forget, validate."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from services.gateway.documents import removals
from services.gateway.documents.failures import choose
from services.gateway.models import (
    ChooseRequest,
    ForgetRequest,
    HoldRequest,
    ValidateAnswer,
    ValidateRequest,
)
from services.gateway.queries import DeadLetters, InstanceQueries
from services.gateway.status import sweeps
from services.gateway.status.sweeps import (
    GenerateAnswer,
    GenerateRequest,
    SweepAnswer,
    SweepRequest,
)
from services.gateway.views import Chosen, ChosenAnswer, FailureView, HoldAnswer
from shared.domain.errors import LedgerConflict
from shared.domain.ordering import state
from shared.ports import ChangeLog, Ledger
from shared.repair import resubmit_newest

AT_ONCE: Final = 16
"""Failures that a command handles side by side."""

Validate = Callable[[ValidateRequest], Awaitable[ValidateAnswer]]


class Commands(Protocol):
    """Everything that changes an instance through the gateway. Every method may raise Problem."""

    async def retry(self, request: ChooseRequest) -> ChosenAnswer: ...
    async def drop(self, request: ChooseRequest) -> ChosenAnswer: ...
    async def release(self, request: HoldRequest) -> HoldAnswer: ...
    async def keep(self, request: HoldRequest) -> HoldAnswer: ...
    async def forget(self, request: ForgetRequest) -> HoldAnswer: ...
    async def validate(self, request: ValidateRequest) -> ValidateAnswer: ...
    async def sweep(self, request: SweepRequest) -> SweepAnswer: ...
    async def generate(self, request: GenerateRequest) -> GenerateAnswer: ...


@dataclass(frozen=True, slots=True)
class InstanceCommands:
    """Implements `Commands` over the ports of one generation."""

    queries: InstanceQueries
    changes: ChangeLog
    ledger: Ledger
    generation: str
    validation: Validate
    dead_letters: DeadLetters | None = None
    sweeper: sweeps.Sweeps | None = None

    async def retry(self, request: ChooseRequest) -> ChosenAnswer:
        """Publish the newest change of each chosen document again."""
        return await self._each(request, self._retry)

    async def drop(self, request: ChooseRequest) -> ChosenAnswer:
        """Mark the chosen failures `dropped` until the next change; the index stays as it is."""
        return await self._each(request, self._drop)

    async def release(self, request: HoldRequest) -> HoldAnswer:
        """Do the removals of a source that wait."""
        answer = await removals.release(self.queries.removals, request.source)
        self.queries.looks.forget()
        return answer

    async def keep(self, request: HoldRequest) -> HoldAnswer:
        """Leave the documents of a source whose files are gone."""
        answer = await removals.keep(self.queries.removals, request.source)
        self.queries.looks.forget()
        return answer

    async def forget(self, request: ForgetRequest) -> HoldAnswer:
        """Take all documents of a source out of the index that is not watched."""
        status = await self.queries.status()
        answer = await removals.forget(self.queries.removals, request.source, status)
        self.queries.looks.forget()
        return answer

    async def validate(self, request: ValidateRequest) -> ValidateAnswer:
        return await self.validation(request)

    async def sweep(self, request: SweepRequest) -> SweepAnswer:
        """Compare all sides now."""
        return await sweeps.sweep(self.sweeper, request)

    async def generate(self, request: GenerateRequest) -> GenerateAnswer:
        """The same in the background."""
        return await sweeps.generate(self.sweeper, request)

    async def _each(
        self, request: ChooseRequest, act: Callable[[FailureView], Awaitable[tuple[bool, str]]]
    ) -> ChosenAnswer:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(failure: FailureView) -> Chosen:
            async with slots:
                done, detail = (True, "") if request.dry_run else await act(failure)
            return Chosen(id=failure.id, document=failure.document, done=done, detail=detail)

        chosen = choose(await self.queries.all_failures(), request)
        return _answer(await asyncio.gather(*map(one, chosen)), dry_run=request.dry_run)

    async def _retry(self, failure: FailureView) -> tuple[bool, str]:
        if failure.doc_key is None:
            return False, f"it belongs to no document: {failure.fix}"
        entry = await self.ledger.get(failure.doc_key)  # the list may be a moment old
        if failure.state != "dropped" and entry and state(entry.record).word == "dropped":
            return False, "it has just been dismissed; repeat the command to retry it"
        newest = await self.changes.newest(failure.source, failure.doc_key)
        if newest and newest.readable is None:
            return await self._read_again(failure.source)
        revision = newest and await resubmit_newest(
            self.changes, newest, generation=self.generation
        )
        if revision is None:
            return False, "a newer change of it is on its way"
        return True, f"revision {revision}"

    async def _read_again(self, source: str) -> tuple[bool, str]:
        """An unreadable change cannot be sent again, but its file can be read again."""
        if source not in await self.queries.folders() or self.sweeper is None:
            return False, "its newest change cannot be read: send the document anew, or delete it"
        await self.sweeper.start(GenerateRequest())
        return True, "a sweep has begun and reads its file again"

    async def _drop(self, failure: FailureView) -> tuple[bool, str]:
        if failure.doc_key is None:
            there = await self._forget_letter(int(failure.id.removeprefix("d_")))
            return there, "" if there else "it is gone already"
        if failure.state == "refused":
            return False, "it stays in the list until the document is changed, deleted or excluded"
        entry = await self.ledger.get(failure.doc_key)
        failed = entry.record.failed if entry else None
        if entry is None or failed is None or state(entry.record).word not in ("failed", "dropped"):
            return False, "it is over already"
        if failed.dropped:
            return False, "it is dismissed already"
        try:
            dropped = replace(entry.record, failed=replace(failed, dropped=True))
            await self.ledger.update(failure.doc_key, dropped, expect=entry.at)
        except LedgerConflict:
            return False, "it has just changed"
        return True, "it stays as it is until the document changes"

    async def _forget_letter(self, id: int) -> bool:
        return self.dead_letters is not None and await self.dead_letters.drop(id)


def _answer(items: Sequence[Chosen], *, dry_run: bool) -> ChosenAnswer:
    done = sum(item.done for item in items)
    return ChosenAnswer(done=done, skipped=len(items) - done, dry_run=dry_run, items=tuple(items))
