"""The validator, built from a process's adapters."""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from services.host.service import Part
from services.host.wiring import Wiring, utc_now
from services.validator.batches.complete import Complete
from services.validator.batches.tracker import Tracker
from services.validator.checks import SampleQuery, parse_queries
from services.validator.checkup import ValidateNow
from services.validator.failures import Failure, RecordFailure
from services.validator.observe import AskSamples, Observe
from services.validator.sampling import Sampling
from services.validator.sweep.sweep import Sweep
from services.validator.sweep.sweeper import Filled, Sweeper
from services.validator.validate import Validate
from shared.bus.access.permissions import streams_of
from shared.bus.admin.provision import ask, provision
from shared.bus.delivery.dead_letters import exhausted_of, letter_of, mover, recorder
from shared.bus.monitor.in_flight import JetRoad
from shared.bus.monitor.watchers import RemoteWatchers
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
from shared.ports import Auditor, DeadLetter


async def build(wiring: Wiring) -> Part:
    generation = wiring.generation.id
    if wiring.settings.validation.queries:
        await wiring.encoder()
    ledger, observe = await wiring.ledger(), await _observe(wiring)
    tracker = await track(wiring)
    validate = Validate(generation, ledger, observe, tracker, utc_now, await _sampling(wiring))
    record = RecordFailure(generation, ledger, wiring.progress)

    async def on_dead(letter: DeadLetter) -> Sequence[Event]:
        if letter.document is None:
            return []  # listed by itself: nobody knows whose it is
        stage = work_of(letter.consumer)
        return await record(
            Failure(letter.document, letter.batch, stage, letter.code, letter.reason)
        )

    def subscribe(session: BusSession) -> None:
        session.subscribe(validate_stage(generation), validate)
        session.subscribe_raw(RECORDER, letter_of, recorder(on_dead))
        session.subscribe_raw(MOVER, exhausted_of, mover(session.js))

    return Part(subscribe, (tracker.run, (await sweeper(wiring)).run))


async def track(wiring: Wiring) -> Tracker:
    """The tracker of this process; one, however often it is asked for."""

    async def make() -> Tracker:
        validation = wiring.settings.validation
        book, ledger = await wiring.book(), await wiring.ledger()
        complete = Complete(
            generation=wiring.generation.id,
            model=wiring.generation.model,
            book=book,
            history=await wiring.history(),
            ledger=ledger,
            check=await _observe(wiring),
            publish=wiring.publish,
            now=utc_now,
            samples=await _samples(wiring),
            sampling=await _sampling(wiring),
        )
        return Tracker(book, ledger, complete, timeout_s=validation.batch_timeout)

    return await wiring.once("tracker", make)


async def sweeper(wiring: Wiring) -> Sweeper:
    """The sweeper of this process; one, however often it is asked for."""
    road = JetRoad(wiring.session.js, wiring.generation.id)
    elsewhere = RemoteWatchers(wiring.session.client, await wiring.shelf(INSTANCE))

    def auditor() -> Auditor | None:
        if wiring.auditor is None and not wiring.progress.listed:
            return elsewhere
        return wiring.auditor

    async def make() -> Sweeper:
        return Sweeper(
            sweep=Sweep(
                generation=wiring.generation.id,
                ledger=await wiring.ledger(),
                store=await wiring.store(),
                changes=wiring.changes,
                road=road,
                now=utc_now,
                listed=lambda: _listed(wiring),
            ),
            shelf=await wiring.shelf(BATCHES),
            now=utc_now,
            every_s=wiring.settings.sweep.every,
            restore=partial(restore, wiring.session, wiring.generation.id),
            backlog=road.waiting,
            consumed=road.consumed,
            auditor=auditor,
            settled_in=lambda: wiring.holds is None or wiring.progress.listed,
            filled=Filled(await wiring.store(), await wiring.shelf(BATCHES), wiring.generation.id),
        )

    return await wiring.once("sweeper", make)


def _listed(wiring: Wiring) -> Collection[str]:
    """Folders that this process has listed as a whole."""
    if wiring.auditor is None or not wiring.progress.listed:
        return ()
    return [name for name, source in wiring.settings.sources.items() if source.kind == "folder"]


async def restore(session: BusSession, generation: str) -> bool:
    """Make every stream and bucket anew that somebody has deleted; whether one was missing.

    With a key of its own the process looks only at those that it uses.

    Raises:
        ConfigurationError: one is missing, and this process may not make it.
        BusUnavailable: nothing is known.
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
    """Names of the streams of everything that has to be on the bus, buckets too."""
    buckets = (*BUCKETS, ledger_bucket(generation))
    return frozenset(
        {
            *(stream.name for stream in STREAMS),
            *(f"KV_{bucket.name}" for bucket in buckets),
            f"OBJ_{BODIES}",
        }
    )


async def validate_now(wiring: Wiring) -> ValidateNow:
    """What `instep validate` runs."""
    return ValidateNow(
        generation=wiring.generation.id,
        ledger=await wiring.ledger(),
        store=await wiring.store(),
        observe=await _observe(wiring),
        history=await wiring.history(),
        now=utc_now,
        ask=await _samples(wiring),
        sample=wiring.settings.validation.sample,
    )


async def _sampling(wiring: Wiring) -> Sampling:
    async def make() -> Sampling:
        return Sampling(wiring.settings.validation.sample)

    return await wiring.once("sampling", make)


async def _observe(wiring: Wiring) -> Observe:
    return Observe(
        fingerprint=wiring.generation.fingerprint,
        store=await wiring.store(),
        cache=await wiring.cache(),
        freshness_warn_s=wiring.settings.validation.freshness_warn,
    )


async def _samples(wiring: Wiring) -> AskSamples:
    path = wiring.settings.validation.queries
    return AskSamples(
        queries=read_queries(path) if path else (),
        encoder=wiring.encoder,
        store=await wiring.store(),
        ledger=await wiring.ledger(),
    )


def read_queries(path: Path) -> list[SampleQuery]:
    """The questions of a JSON Lines file. Raises ConfigurationError with the line's number."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"validation.queries: {path}: {error}") from None
    return parse_queries(text, str(path))
