"""The validator, built from a process's adapters."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.host.service import Part
from services.host.wiring import OpenGeneration, utc_now
from services.validator.batches.complete import Complete
from services.validator.batches.tracker import Tracker
from services.validator.checks import SampleQuery, parse_queries
from services.validator.checkup import ValidateNow
from services.validator.failures import Failure, RecordFailure
from services.validator.observe import AskSamples, Observe
from services.validator.sweep.sweep import Sweep
from services.validator.sweep.sweeper import Filled, Sweeper
from services.validator.validate import Validate
from shared.bus.access.permissions import streams_of
from shared.bus.admin.provision import ask, provision
from shared.bus.delivery.dead_letters import exhausted_of, letter_of, mover, recorder
from shared.bus.monitor import watchers
from shared.bus.monitor.in_flight import JetRoad
from shared.bus.monitor.watched import all_listed
from shared.bus.monitor.watchers import Watchers
from shared.bus.session import BusSession
from shared.domain.errors import ConfigurationError
from shared.domain.events import Event
from shared.domain.services import work_of
from shared.domain.topology import (
    BATCHES,
    BODIES,
    BUCKETS,
    INSTANCE,
    MOVER,
    RECORDER,
    STREAMS,
    ledger_bucket,
    validate_stage,
)
from shared.ports import Audit, DeadLetter


async def build(opened: OpenGeneration) -> Part:
    generation = opened.generation.id
    if opened.host.settings.validation.queries:
        await opened.encoder()
    ledger, observe = await opened.ledger(), await _observe(opened)
    tracker = await track(opened)
    sample = opened.host.settings.validation.sample
    validate = Validate(generation, ledger, observe, tracker, utc_now, sample)
    record = RecordFailure(generation, ledger, opened.host.progress)

    async def on_dead(letter: DeadLetter) -> Sequence[Event]:
        if letter.document is None:
            return []  # listed by itself: its document is unknown
        stage = work_of(letter.consumer)
        return await record(
            Failure(letter.document, letter.batch, stage, letter.code, letter.reason)
        )

    def subscribe(session: BusSession) -> None:
        session.subscribe(validate_stage(generation), validate)
        session.subscribe_raw(RECORDER, letter_of, recorder(on_dead))
        session.subscribe_raw(MOVER, exhausted_of, mover(session.js))

    return Part(subscribe, (tracker.run, (await sweeper(opened)).run))


async def track(opened: OpenGeneration) -> Tracker:
    """The tracker of this process; every call returns the same one."""

    async def make() -> Tracker:
        validation = opened.host.settings.validation
        book, ledger = await opened.book(), await opened.ledger()
        complete = Complete(
            generation=opened.generation.id,
            model=opened.generation.model,
            book=book,
            history=await opened.host.history(),
            ledger=ledger,
            check=await _observe(opened),
            publish=opened.host.publish,
            now=utc_now,
            samples=await _samples(opened),
            sample=validation.sample,
        )
        return Tracker(book, ledger, complete, timeout_s=validation.batch_timeout)

    return await opened.once("tracker", make)


@dataclass(slots=True)
class Audits:
    """Implements `Auditor`; `listed`: the sources that the last audit could list as a whole."""

    watchers: Watchers
    listed: frozenset[str] = frozenset()

    async def __call__(self, *, dry_run: bool = False) -> Sequence[Audit]:
        found = await self.watchers(dry_run=dry_run)
        self.listed = frozenset(audit.source for audit in found if not audit.error)
        return found


async def sweeper(opened: OpenGeneration, *, asks: bool = True) -> Sweeper:
    """The sweeper of this process; every call returns the same one.

    Args:
        asks: whether the processes that watch folders are asked to audit; False: none runs.
    """
    road = JetRoad(opened.host.session.js, opened.generation.id)
    instance, folders = await opened.host.shelf(INSTANCE), opened.host.settings.watched
    audits = Audits(Watchers(opened.host.session.client, instance, folders))

    async def settled_in() -> bool:
        return all_listed(await watchers.told(instance), utc_now().timestamp())

    async def make() -> Sweeper:
        return Sweeper(
            sweep=Sweep(
                generation=opened.generation.id,
                ledger=await opened.ledger(),
                store=await opened.store(),
                changes=opened.host.changes,
                road=road,
                now=utc_now,
                listed=lambda: audits.listed,
            ),
            shelf=await opened.host.shelf(BATCHES),
            now=utc_now,
            every_s=opened.host.settings.sweep.every,
            restore=partial(restore, opened.host.session, opened.generation.id),
            backlog=road.waiting,
            consumed=road.consumed,
            auditor=audits if asks else None,
            settled_in=settled_in,
            filled=Filled(
                await opened.store(), await opened.host.shelf(BATCHES), opened.generation.id
            ),
        )

    return await opened.once("sweeper", make)


async def restore(session: BusSession, generation: str) -> bool:
    """Make deleted streams and buckets anew. Returns whether one was missing.

    A process with a key of its own looks only at those that it uses.

    Raises:
        ConfigurationError: one is missing, and this process may not make it.
        BusUnavailable: the bus did not answer.
    """
    access = session.access
    names = all_streams(generation)
    if not access.provisions:
        names &= streams_of(access.identity, generation)
    asked = [ask(session.js, f"STREAM.INFO.{name}", None) for name in sorted(names)]
    found = await asyncio.gather(*asked)
    if all(info is not None for info in found):
        return False
    if not access.provisions:
        raise ConfigurationError(
            "a stream or bucket is gone from the bus: run `instep provision` as the admin"
        )
    await provision(session.js, generation=generation)
    return True


def all_streams(generation: str) -> frozenset[str]:
    """Names of all streams that the bus must have, those of buckets too."""
    buckets = (*BUCKETS, ledger_bucket(generation))
    return frozenset(
        {
            *(stream.name for stream in STREAMS),
            *(f"KV_{bucket.name}" for bucket in buckets),
            f"OBJ_{BODIES}",
        }
    )


async def validate_now(opened: OpenGeneration) -> ValidateNow:
    """The check that `instep validate` runs."""
    return ValidateNow(
        generation=opened.generation.id,
        ledger=await opened.ledger(),
        store=await opened.store(),
        observe=await _observe(opened),
        history=await opened.host.history(),
        now=utc_now,
        ask=await _samples(opened),
        sample=opened.host.settings.validation.sample,
    )


async def _observe(opened: OpenGeneration) -> Observe:
    return Observe(
        fingerprint=opened.generation.fingerprint,
        store=await opened.store(),
        cache=await opened.host.cache(),
        freshness_warn_s=opened.host.settings.validation.freshness_warn,
    )


async def _samples(opened: OpenGeneration) -> AskSamples:
    path = opened.host.settings.validation.queries
    return AskSamples(
        queries=read_queries(path) if path else (),
        encoder=opened.encoder,
        store=await opened.store(),
        ledger=await opened.ledger(),
    )


def read_queries(path: Path) -> list[SampleQuery]:
    """The questions of a JSON Lines file. Raises ConfigurationError with the line's number."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"validation.queries: {path}: {error}") from None
    return parse_queries(text, str(path))
