"""The validator, built from a process's adapters."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from services.part import Part
from services.validator.checks import SampleQuery, parse_queries
from services.validator.checkup import ValidateNow
from services.validator.complete import Complete
from services.validator.failures import Failure, RecordFailure
from services.validator.observe import AskSamples, Observe
from services.validator.sweep import Sweep
from services.validator.sweeper import Sweeper
from services.validator.tracker import Tracker
from services.validator.validate import Validate
from shared.bus.deadletters import (
    MOVER,
    RECORDER,
    DeadLetter,
    exhausted_of,
    letter_of,
    mover,
    recorder,
)
from shared.bus.provision import provision
from shared.bus.road import JetRoad
from shared.bus.session import BusSession
from shared.errors import ConfigurationError
from shared.events import Event
from shared.ledgers.kv import KvLedger
from shared.topology import BATCHES, validate_stage
from shared.wiring import Wiring, utc_now

STAGES = {"enricher": "enrich", "embedder": "embed", "indexer": "index", "validator": "validate"}


async def build(wiring: Wiring) -> Part:
    generation, validation = wiring.generation.id, wiring.settings.validation
    ledger, observe = await wiring.ledger(), await _observe(wiring)
    tracker = await track(wiring)
    validate = Validate(generation, ledger, observe, tracker, utc_now, sample=validation.sample)
    record = RecordFailure(generation, ledger, wiring.progress)

    async def on_dead(letter: DeadLetter) -> Sequence[Event]:
        if letter.document is None or letter.batch is None:
            return []  # listed by itself: nobody knows whose it is
        stage = STAGES.get(letter.consumer.partition("_")[0], letter.consumer)
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
            sample=validation.sample,
        )
        return Tracker(book, ledger, complete, timeout_s=validation.batch_timeout)

    return await wiring.once("tracker", make)


async def sweeper(wiring: Wiring) -> Sweeper:
    """The sweeper of this process; one, however often it is asked for."""
    road = JetRoad(wiring.session.js, wiring.generation.id)

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
            restore=partial(_restore, wiring),
            backlog=road.waiting,
            consumed=road.consumed,
            auditor=lambda: wiring.auditor,
            settled_in=lambda: wiring.holds is None or wiring.progress.listed,
        )

    return await wiring.once("sweeper", make)


def _listed(wiring: Wiring) -> Collection[str]:
    """Folders that this process has listed as a whole."""
    if wiring.auditor is None or not wiring.progress.listed:
        return ()
    return [name for name, source in wiring.settings.sources.items() if source.kind == "folder"]


async def _restore(wiring: Wiring) -> bool:
    """Make the ledger anew when somebody has deleted it; whether that was so."""
    js, generation = wiring.session.js, wiring.generation.id
    try:
        await KvLedger(js, generation).open()
    except ConfigurationError:
        await provision(js, generation=generation, patience_s=wiring.settings.validation.timeout)
        return True
    return False


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
        encoder=await wiring.encoder(),
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
