"""Sends outcomes to one webhook, while no other gateway does.

The record of a webhook is changed by compare-and-set, and names the process that sends. That one
writes while it has work at hand. A gateway that sees work at hand and no write for TAKE_OVER_S
takes over, so a killed process is replaced, and no clocks of two machines are compared. An idle
webhook writes nothing.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import structlog

from services.gateway.events.views import EventView, type_of, view_of
from services.gateway.webhooks.record import WebhookRecord, packed, unpacked
from services.gateway.webhooks.sender import WebhookSender
from services.gateway.webhooks.signature import body_of, headers_of, id_of
from shared.domain.errors import BusUnavailable, ConfigurationError, Conflict, TransientError
from shared.ports import Results

FOLDER: Final = "webhooks"
AT_ONCE: Final = 8
RETRIES_AT_ONCE: Final = 4
"""Of these: a receiver that hangs at some events does not keep the others waiting."""
PAGE: Final = 100
"""Events that are read at once."""
LOOK_S: Final = 0.5
"""Interval at which RESULTS is asked for new events."""
READ_S: Final = 1.0
"""Interval at which the record is read: another process may have changed it."""
SAVE_S: Final = 1.0
"""After which a change is written; a process that is killed sends again what came since."""
BEAT_S: Final = 3.0
"""Between two writes while there is work at hand."""
TAKE_OVER_S: Final = 10.0
BOUNDS_S: Final = 10.0
"""Interval at which is asked what the stream has dropped."""
AGAIN_S: Final = 1.0

log = structlog.get_logger(__name__)


class Kept(Protocol):
    """A value of a bucket, and its revision."""

    @property
    def data(self) -> bytes: ...
    @property
    def at(self) -> int: ...


class WebhookRecords(Protocol):
    """A bucket that is changed by compare-and-set. Every method raises BusUnavailable."""

    async def get(self, key: str) -> Kept | None: ...
    async def put(self, key: str, data: bytes, *, expect: int | None = None) -> int:
        """Returns the new revision. Raises Conflict: it is not at `expect`, 0 for no key."""
        ...


class EventSelection(NamedTuple):
    """Which events a webhook gets."""

    generation: str
    types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def wants(self, view: EventView | None) -> bool:
        """None is an event that this version cannot read."""
        return (
            view is not None
            and view.generation == self.generation
            and (not self.types or type_of(view) in self.types)
            and (not self.sources or view.source in self.sources)
        )


@dataclass(slots=True)
class TryCounts:
    """Tries that ended in this process."""

    done: int = 0
    retried: int = 0
    buried: int = 0
    """The last tries of events that were given up."""


@dataclass
class Runner:
    """Implements the sending of one webhook.

    `results` has the events of all generations: those that failed are sent after a switch, too.
    """

    name: str
    choice: EventSelection
    key: bytes
    send: WebhookSender
    results: Results
    records: WebhookRecords
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    denied: str = ""
    """Why this process may not write the record; it then sends nothing."""
    counts: TryCounts = field(default_factory=TryCounts)
    _me: str = field(default_factory=lambda: secrets.token_hex(8))
    _record: WebhookRecord | None = None
    """As this process has it; None: another one sends, or nothing was read yet."""
    _at: int = 0
    _seen_at: int = -1
    _seen_since: float = 0.0
    """The revision of another process's record, and since when it is that."""
    _saved: WebhookRecord | None = None
    _saved_s: float = 0.0
    _read_s: float = 0.0
    _bounds_s: float = -BOUNDS_S
    _fresh: dict[int, EventView] = field(default_factory=dict)
    _sending: "dict[int, asyncio.Task[None]]" = field(default_factory=dict)
    _retrying: set[int] = field(default_factory=set)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send until it is cancelled, then let another process go on at once."""
        try:
            while not self.denied:
                self.denied = await self._turned()
            log.error("webhook_stopped", webhook=self.name, reason=self.denied)
        finally:
            await self._end()

    @property
    def events(self) -> Mapping[str, int]:
        """Events that are not delivered, by state; empty while another process sends."""
        record = self._record
        if record is None:
            return {}
        failing = record.failing
        waiting = len(record.open) - failing
        return {"waiting": waiting, "failing": failing, "dead": len(record.dead)}

    async def _turned(self) -> str:
        """A turn; why no other one can help, else empty."""
        try:
            await self.turn()
        except Conflict:
            self._forget()
        except TransientError as error:
            log.debug("webhook_waits", webhook=self.name, reason=str(error))
            await asyncio.sleep(AGAIN_S)
        except ConfigurationError as error:
            return str(error)
        return ""

    async def turn(self) -> None:
        """One look at record, stream and tries; returns when there may be more to do."""
        if self._record is None or self.monotonic() - self._read_s >= READ_S:
            await self._read()
        if self._record is None:
            await asyncio.sleep(READ_S)
            return
        await self._drop_lost()
        more = await self._take()
        self._ended.clear()
        self._start()
        await self._save()
        if not more:
            await self._wait()

    async def _read(self) -> None:
        """Adopt the record if it is this process's to change."""
        self._read_s = self.monotonic()
        kept = await self.records.get(self._name_of_record)
        if kept is None:
            _, newest = await self.results.bounds()
            await self._own(WebhookRecord(position=newest), 0)
            return
        record = unpacked(kept.data)
        if record is None:
            log.warning("webhook_record_unreadable", webhook=self.name)
            oldest, _ = await self.results.bounds()
            await self._own(WebhookRecord(position=max(0, oldest - 1)), kept.at)
        elif record.owner == self._me:
            if self._record is None or kept.at != self._at:
                self._adopt(record, kept.at)
        elif not record.owner or await self._is_left(record, kept.at):
            await self._own(record, kept.at)
        else:
            self._forget()

    async def _is_left(self, record: WebhookRecord, at: int) -> bool:
        """Whether its owner has had work at hand and has written nothing for TAKE_OVER_S."""
        now = self.monotonic()
        if at != self._seen_at or not (record.due(self.clock()) or await self._has_new(record)):
            self._seen_at, self._seen_since = at, now
        return now - self._seen_since >= TAKE_OVER_S

    async def _has_new(self, record: WebhookRecord) -> bool:
        return bool(record.room) and await self.results.next(record.position) is not None

    async def _own(self, record: WebhookRecord, at: int) -> None:
        mine = record.owned_by(self._me)
        self._adopt(mine, await self.records.put(self._name_of_record, packed(mine), expect=at))

    def _adopt(self, record: WebhookRecord, at: int) -> None:
        self._record = self._saved = record
        self._at, self._saved_s = at, self.monotonic()

    def _forget(self) -> None:
        self._record = self._saved = None
        self._fresh.clear()

    async def _drop_lost(self) -> None:
        if self.monotonic() - self._bounds_s < BOUNDS_S:
            return
        self._bounds_s = self.monotonic()
        bounds = await self.results.bounds()
        record = self._mine()
        self._record = record.within(*bounds)
        if self._record.lost > record.lost:
            log.warning("webhook_events_lost", webhook=self.name, total=self._record.lost)

    async def _take(self) -> bool:
        """Read new events; whether there may be more."""
        for _ in range(min(PAGE, self._mine().room)):
            record = self._mine()
            stored = await self.results.next(record.position)
            if stored is None:
                return False
            view = view_of(stored)
            wanted = self.choice.wants(view)
            if wanted and view is not None:
                self._fresh[stored.sequence] = view
            self._record = self._mine().passed(stored.sequence, wanted=wanted)
        return bool(self._mine().room) and len(self._sending) < AT_ONCE

    def _start(self) -> None:
        record = self._mine()
        for sequence in record.due(self.clock()):
            if len(self._sending) >= AT_ONCE:
                return
            tried = record.open[sequence].tries > 0
            if sequence in self._sending or (tried and len(self._retrying) >= RETRIES_AT_ONCE):
                continue
            if tried:
                self._retrying.add(sequence)
            name = f"webhook {self.name}"
            self._sending[sequence] = asyncio.create_task(self._try(sequence), name=name)

    async def _try(self, sequence: int) -> None:
        """Send one event, and note the end of it."""
        try:
            view = self._fresh.pop(sequence, None) or await self._read_again(sequence)
            if view is None:
                self._note(lambda record: record.gone(sequence))
                return
            body = body_of(view, sequence)
            headers = headers_of(self.key, id_of(view, sequence), int(self.clock()), body)
            error = await self.send(body, headers)
            if error:
                now, jitter = self.clock(), random.random()
                self._note(lambda record: record.failed(sequence, error, now, jitter))
                is_dead = self._record is not None and sequence in self._record.dead
                self.counts.buried += is_dead
                self.counts.retried += not is_dead
            else:
                self._note(lambda record: record.delivered_to(sequence))
                self.counts.done += 1
        except BusUnavailable as away:  # the event stays due
            log.debug("webhook_waits", webhook=self.name, reason=str(away))
            await asyncio.sleep(AGAIN_S)
        finally:
            self._sending.pop(sequence, None)
            self._retrying.discard(sequence)
            self._ended.set()

    async def _read_again(self, sequence: int) -> EventView | None:
        stored = await self.results.next(sequence - 1)
        return view_of(stored) if stored and stored.sequence == sequence else None

    def _note(self, change: Callable[[WebhookRecord], WebhookRecord]) -> None:
        if self._record is not None:
            self._record = change(self._record)

    async def _save(self) -> None:
        """Write what has changed, and that this process is at work."""
        record, passed_s = self._mine(), self.monotonic() - self._saved_s
        is_new = record is not self._saved
        if not (is_new and passed_s >= SAVE_S) and passed_s < BEAT_S:
            return
        if not is_new and not record.due(self.clock()):
            return
        at = await self.records.put(self._name_of_record, packed(record), expect=self._at)
        self._at, self._saved, self._saved_s = at, record, self.monotonic()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._ended.wait()

    async def _end(self) -> None:
        """Stop sending; what is not delivered is in the record, and nobody's now."""
        for task in (tasks := list(self._sending.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.send.close()
        if self._record is None:
            return
        with contextlib.suppress(TransientError, ConfigurationError, TimeoutError):
            async with asyncio.timeout(AGAIN_S):
                data = packed(self._record.owned_by(""))
                await self.records.put(self._name_of_record, data, expect=self._at)

    def _mine(self) -> WebhookRecord:
        assert self._record is not None, "only the owner of the record works"
        return self._record

    @property
    def _name_of_record(self) -> str:
        return f"{FOLDER}.{self.name}"
