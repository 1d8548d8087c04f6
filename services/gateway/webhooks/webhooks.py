"""The webhooks of an instance: their runners, their state, and the command to send again."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from services.gateway.models import CheckView
from services.gateway.problems import Problem, hint
from services.gateway.webhooks.models import (
    DeadEvent,
    RetriedAnswer,
    WebhookRequest,
    WebhooksAnswer,
    WebhookView,
)
from services.gateway.webhooks.record import WebhookRecord, packed, unpacked
from services.gateway.webhooks.runner import FOLDER, Runner, WebhookRecords
from shared.domain.addresses import web_address
from shared.domain.errors import BusUnavailable, Conflict
from shared.settings import Webhook

SHOWN_DEAD: Final = 20
CHANGES_TRIED: Final = 20
"""How often a record is read again that another process has just changed."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What people ask and order about webhooks. Every method may raise Problem, BusUnavailable."""

    declared: Mapping[str, Webhook] = field(default_factory=dict)
    records: WebhookRecords | None = None
    """None: no instance runs."""
    runners: Sequence[Runner] = ()
    clock: Callable[[], float] = time.time

    async def list(self) -> WebhooksAnswer:
        """All of them, each with its counts."""
        names = sorted(self.declared)
        return WebhooksAnswer(webhooks=tuple([await self._view(name) for name in names]))

    async def retry(self, request: WebhookRequest) -> RetriedAnswer:
        """Send everything again that failed, now."""
        if request.name not in self.declared:
            near = hint(request.name, sorted(self.declared))
            raise Problem("webhook_not_found", f"no webhook {request.name!r} is declared{near}")
        for _ in range(CHANGES_TRIED):
            found = await self._read(request.name)
            if found is None:
                break
            record, at = found
            again, events = record.again(self.clock())
            if not events:
                break
            try:
                await self._records.put(f"{FOLDER}.{request.name}", packed(again), expect=at)
            except Conflict:
                continue
            return RetriedAnswer(name=request.name, events=events)
        else:
            raise BusUnavailable(f"webhook {request.name} changes all the time: ask again")
        return RetriedAnswer(name=request.name, events=0)

    async def checks(self) -> Sequence[CheckView]:
        """Warnings about webhooks that need somebody."""
        views = [] if self.records is None else (await self.list()).webhooks
        return [check for view in views if (check := check_of(view))]

    async def _view(self, name: str) -> WebhookView:
        found, one = await self._read(name), self.declared[name]
        record, stopped = found[0] if found else None, self._stopped(name)
        state = record or WebhookRecord(position=0)
        newest = sorted(state.dead, reverse=True)[:SHOWN_DEAD]
        return WebhookView(
            name=name,
            host=web_address.origin_of(web_address.normal(one.url.get_secret_value())),
            types=one.types,
            sources=one.sources,
            position=record.position if record else None,
            delivered=state.delivered,
            waiting=len(state.open) - state.failing,
            failing=state.failing,
            dead=len(state.dead),
            lost=state.lost,
            error=state.error,
            error_at=_moment(state.error_at),
            stopped=stopped,
            last_dead=tuple(
                DeadEvent(
                    id=n,
                    at=datetime.fromtimestamp(state.dead[n].at, UTC),
                    error=state.dead[n].error,
                )
                for n in newest
            ),
        )

    def _stopped(self, name: str) -> str:
        return next((one.denied for one in self.runners if one.name == name), "")

    async def _read(self, name: str) -> tuple[WebhookRecord, int] | None:
        kept = await self._records.get(f"{FOLDER}.{name}")
        record = unpacked(kept.data) if kept else None
        return (record, kept.at) if kept and record else None

    @property
    def _records(self) -> WebhookRecords:
        if self.records is None:
            raise Problem("unavailable", "no instance runs, so no webhook sends")
        return self.records


def check_of(view: WebhookView) -> CheckView | None:
    """The warning about a webhook; None: nobody needs to do anything. Pure."""
    name = f"webhook {view.name}"
    if view.stopped:
        return CheckView(
            name=name,
            level="WARN",
            text=f"sends nothing: {view.stopped}",
            fix="instep keys bus, then start the gateway again",
        )
    if view.dead or view.failing:
        return CheckView(
            name=name,
            level="WARN",
            text=f"{view.failing:,} events are tried again, {view.dead:,} were given up; "
            f"last: {view.error}",
            fix=f"repair its receiver; POST /api/v1/webhooks/{view.name}/retry sends them again",
        )
    return None


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
