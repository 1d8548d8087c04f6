"""`instep up`: everything in one process, with the bundled server and the embedded store."""

import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from services.gateway.build import looks_of
from services.gateway.status.status import EMPTY, is_done, needs_you
from services.host import runtime
from services.host.data_folder import LOG, DataFolder, Instance
from services.host.health.endpoint import listening
from services.host.health.vitals import Vitals
from services.host.startup import Stopped
from services.host.wiring import MODEL, OpenGeneration
from services.validator.app import sweeper, track
from services.validator.sweep.differences import is_failed
from services.validator.sweep.swept import Swept
from shared.bus.monitor import watchers
from shared.bus.monitor.in_flight import JetRoad
from shared.domain.errors import ConfigurationError, TransientError
from shared.domain.ordering import Record, is_unread, served_rows, settled_seq, state
from shared.domain.services import NAMES, SERVICES
from shared.domain.topology import INSTANCE
from shared.encoders.coalesce import CoalescingEncoder
from shared.live import ANEW, Live
from shared.observe import logs
from shared.observe.progress import Activity
from shared.settings import Embedding, FolderSettings, Telemetry

if TYPE_CHECKING:
    from services.host.options import UpOptions

log = structlog.get_logger()

T = TypeVar("T")

LOOK_S = 0.01
RETRY_S = 0.5
AT_START = 1_000
"""Most repairs in flight at a time; no other work goes on yet."""


@dataclass
class Clock:
    """Moments of this run, in seconds since the process began to work."""

    started: float
    serving: float = 0.0


async def up(options: "UpOptions") -> int:
    """Index the folders, then watch them until a signal; with `once` end when in step."""
    settings = options.settings()
    _log(options, settings.telemetry)
    if not settings.sources:
        raise ConfigurationError("nothing to watch: name a folder, as `instep up ./docs`")
    clock = Clock(time.perf_counter())
    stop = runtime.Shutdown(asked=options.view.stopping)
    stop.on_signals(at_once=lambda: os._exit(130))
    vitals = Vitals(NAMES, stop)
    folders = (one for one in settings.sources.values() if isinstance(one, FolderSettings))
    watching = [folder.path.resolve() for folder in folders]
    async with (
        listening(settings.health, vitals, port=None),
        runtime.bus(settings, options.data, stop, watching) as url,
        runtime.leaving_in_time(settings, stop),
        runtime.wired(
            settings,
            options.data,
            runtime.Connection(url, "instep up"),
            progress=options.progress,
            stop=stop,
        ) as (opened, live),
    ):
        opened.host.bus_url = url
        await _say_differences(live, opened)
        updating = asyncio.create_task(options.view.update())
        following = asyncio.create_task(_follow(options, opened, stop, clock, url))
        try:
            loading = asyncio.gather(opened.encoder(), opened.store(), return_exceptions=True)
            await _begin(opened)
            await _say_past(opened)
            await _note_left(opened)
            with suppress(Stopped):
                await runtime.serve(SERVICES, opened, stop, partial(vitals.begin, opened))
        finally:
            for task in (following, updating, loading):
                task.cancel()
            await asyncio.gather(following, updating, loading, return_exceptions=True)
    return runtime.DONE


def _log(options: "UpOptions", telemetry: Telemetry) -> None:
    """Keep log lines out of output that a person reads, unless they were asked for."""
    view = options.view
    if view.is_read and telemetry.log == "auto" and not options.debug:
        logs.configure_file(telemetry, options.data / LOG, view.warn)
    else:
        logs.configure(telemetry)


async def _say_differences(live: Live, opened: OpenGeneration) -> None:
    lines = list(filter(None, [live.upgraded]))
    if live.differences:
        today = await _texts(opened)
        plan = f"the index stays as it was built: undo the change to keep it, or {ANEW}{today}"
        lines = [*(f"{line}; {plan}" for line in live.differences), *lines]
    for line in lines:
        opened.host.progress.say(Activity("notice", "settings", line))


async def _texts(opened: OpenGeneration) -> str:
    """How many texts the index has, in brackets; empty while the bus is away."""
    try:
        return f" ({(await _count(opened)).rows:,} today)"
    except TransientError:
        return ""


async def _follow(
    options: "UpOptions", opened: OpenGeneration, stop: runtime.Shutdown, clock: Clock, url: str
) -> None:
    """Announce the instance, heal the store, report when everything is in step."""
    try:
        gateway_url = await opened.host.gateway_url
        DataFolder(options.data).announce(
            Instance(
                pid=os.getpid(),
                nats_url=url,
                gateway_url=gateway_url,
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
                version=version("instep"),
            )
        )
        embedding = opened.embedding
        options.view.ready(
            url=gateway_url,
            model=embedding.model,
            device=_device(embedding),
            link=opened.host.browser_path,
        )
        await opened.store()
        clock.serving = time.perf_counter() - clock.started
        before = await _patiently(lambda: _count(opened))
        swept = await _patiently(lambda: _compare(opened, before))
        if swept and swept.resubmitted:
            what = f"{len(swept.resubmitted):,} documents differed in the index: written again"
            options.progress.say(Activity("notice", "store", what))
        await _listed(opened, once=options.once)
        await _patiently(lambda: _done(opened, before.pending))
        sweeping = await sweeper(opened)
        if options.once and before.is_older_than(opened.host.settings.sweep.every):
            await _patiently(sweeping.if_due)
        options.view.in_step(await _patiently(lambda: summary(opened, clock, before)))
        if options.once:
            stop.event.set()
        else:
            sweeping.ask()
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost frame of a task
        stop.fail(error)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat while the bus or the store is away; a lasting loss ends the process."""
    while True:
        try:
            return await call()
        except TransientError as error:
            log.warning("in_step_unknown", reason=str(error))
            await asyncio.sleep(RETRY_S)


@dataclass(slots=True)
class Count:
    """The ledger, counted once."""

    documents: int = 0
    pending: int = 0
    searchable: int = 0
    rows: int = 0
    """Promised to be in the store."""
    chunks: int = 0
    """Those of them that search shows."""
    refused: int = 0
    failed: int = 0
    unreadable: int = 0
    """Documents with an unreadable newest change or record."""
    oldest_at: float = math.inf
    """Unix time at which the first document settled."""
    by_source: Counter[str] = field(default_factory=Counter)
    """Documents that were not removed."""

    def is_older_than(self, seconds: float) -> bool:
        """Whether the index is; this process, or the last, has just built a younger one."""
        return time.time() - self.oldest_at > seconds

    def add(self, record: Record | None) -> None:
        """Count a document; None: its record is unreadable."""
        if record is None:
            self.unreadable += 1
            return
        at = state(record)
        word = at.word
        shown = len(served_rows(record))
        self.documents += 1
        self.by_source[record.source] += word != "removed"
        self.pending += record.pending is not None
        self.searchable += shown > 0
        self.rows += len(record.settled.rows) if record.settled else 0
        self.chunks += shown
        if record.settled:
            self.oldest_at = min(self.oldest_at, record.settled.settled_at)
        self.refused += word == "refused"
        self.failed += word == "failed"
        self.unreadable += word == "failed" and is_unread(at)


@dataclass(slots=True)
class Left:
    """Unfinished newest changes. Call `change` for all of DOCS first, then `record`."""

    rows: int = 0
    """Rows of planned revisions that may still be unwritten."""
    _newest: dict[str, int] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        return len(self._newest)

    def change(self, doc_key: str, sequence: int) -> None:
        self._newest[doc_key] = sequence

    def record(self, doc_key: str, record: Record) -> None:
        newest = self._newest.get(doc_key, 0)
        if settled_seq(record) >= newest or is_failed(record, newest):
            self._newest.pop(doc_key, None)
        elif record.pending and record.pending.seq == newest:
            self.rows += len(record.pending.todo)


async def _count(opened: OpenGeneration) -> Count:
    count = Count()
    async for _, record in (await opened.ledger()).entries():
        count.add(record)
    return count


async def _begin(opened: OpenGeneration) -> None:
    """Publish that the folders are not known yet, before a gateway reports them.

    A bundled bus that has just been started has no other process. While the bus is away no gateway
    reports anything, and the producer publishes the same when it begins.
    """
    settings = opened.host.settings
    try:
        shelf = await opened.host.shelf(INSTANCE)
        await watchers.begin(shelf, settings.watched, alone=settings.bus.url is None)
    except TransientError as error:
        log.warning("folders_not_told", reason=str(error))


async def _say_past(opened: OpenGeneration) -> None:
    """Say which folders of earlier runs are not given to this one, and still have documents."""
    try:
        shelf, given = await opened.host.shelf(INSTANCE), opened.host.settings.watched
        past = await watchers.past(shelf, given)
        documents = (await _count(opened)).by_source if past else Counter[str]()
    except TransientError as error:
        log.warning("past_folders_unknown", reason=str(error))
        return
    for one in past:
        if count := documents[one.source]:
            where = f" ({one.path})" if one.path else ""
            text = (
                f"not given this time{where}, and search still finds its documents ({count:,}): "
                f"instep sources forget {one.source} takes them out"
            )
            opened.host.progress.say(Activity("notice", one.source, text))


async def _note_left(opened: OpenGeneration) -> None:
    """Count the work that an earlier process left, before any service goes on with it.

    If no message waits on the bus, as after a run that ended in step, it reads no more. It does
    not wait for a bus that is away: only people read these numbers.
    """
    road, left = JetRoad(opened.host.session.js, opened.generation.id), Left()
    try:
        if not await road.waiting():
            return
        async for _, doc_key, sequence in opened.host.changes.sequences():
            left.change(doc_key, sequence)
        async for doc_key, record in (await opened.ledger()).entries():
            if record:
                left.record(doc_key, record)
    except TransientError as error:
        log.warning("left_unknown", reason=str(error))
        return
    opened.host.progress.left, opened.host.progress.rows_left = left.documents, left.rows


async def _compare(opened: OpenGeneration, count: Count) -> Swept | None:
    """Sweep at once if the mere number of rows is wrong; subtle differences have time.

    No document counts as stuck here: an instance that was stopped for long has old work to do.
    """
    if not count.pending and count.rows == await (await opened.store()).count():
        return None
    return await _sweep(opened, stuck_s=math.inf)


async def _free_stuck(opened: OpenGeneration) -> Swept:
    """Submit documents again that are still pending although no message is in flight.

    After a server lost its last writes, a revision may be pending although its messages are done.
    """
    return await _sweep(opened, stuck_s=0.0)


async def _sweep(opened: OpenGeneration, *, stuck_s: float) -> Swept:
    """Sweep, and add the repairs to the totals that people see."""

    def expect(documents: int) -> None:
        opened.host.progress.left += documents

    sweep = (await sweeper(opened)).sweep
    limits = replace(sweep.limits, stuck_s=stuck_s)
    return await replace(sweep, limits=limits, expect=expect)(batch_size=AT_START)


async def _listed(opened: OpenGeneration, *, once: bool) -> None:
    """Return when every source has been listed.

    Args:
        once: a source that cannot be listed ends the run; else it is tried until it can.

    Raises:
        TransientError: why it cannot.
    """
    progress = opened.host.progress
    while not progress.listed:
        if once and progress.unlisted:
            raise next(iter(progress.unlisted.values()))
        await asyncio.sleep(LOOK_S)


async def _done(opened: OpenGeneration, pending: int) -> None:
    """Return when all changes up to the listing of the folders have an outcome; they are listed.

    The gateway's status decides. This process knows its listings and batches at no cost, and asks
    for the status only when they are done; a batch that has ended has its report.

    Args:
        pending: documents that an earlier process left unfinished. Those without a message on the
            bus are submitted again.
    """
    tracker, looks = await track(opened), await looks_of(opened)
    since = time.time()
    while True:
        while tracker.open_count():
            await asyncio.sleep(LOOK_S)
        look = await looks.fresh()
        if is_done(look.board, look.seen, since) and not tracker.open_count():
            return
        if pending and is_done(EMPTY, look.seen, since):
            pending = 0
            await _free_stuck(opened)
        await asyncio.sleep(10 * LOOK_S)


async def summary(opened: OpenGeneration, clock: Clock, before: Count) -> Mapping[str, Any]:
    """The work of this run, and the ledger's promises now; after `_done`.

    Args:
        before: the ledger at the start; used again if this run changed no document.
    """
    look = await (await looks_of(opened)).fresh()
    progress, now = opened.host.progress, before
    if before.pending or progress.indexed + progress.removed + progress.refused + progress.failed:
        now = await _count(opened)
    elapsed = time.perf_counter() - clock.started
    return {
        "in_step": not needs_you(look.board, look.seen),
        "problem_count": sum(len(s.problems) + s.more for s in look.seen.sources.values()),
        "elapsed_s": round(elapsed, 3),
        "work_s": round(elapsed - clock.serving, 3),
        "encode_s": round(_encode_s(opened), 3),
        "documents": {
            "found": progress.found,
            "searchable": now.searchable,
            "inserted": progress.inserted,
            "updated": progress.updated,
            "removed": progress.removed,
            "unchanged": progress.unchanged,
            "refused": now.refused,
            "failed": now.failed,
            "held": look.seen.held,
        },
        "chunks": {
            "searchable": now.chunks,
            "embedded": progress.encoded,
            "cached": progress.cached,
        },
    }


def _encode_s(opened: OpenGeneration) -> float:
    """Seconds that the model of this process was busy."""
    encoder = opened.once.made(MODEL)
    return encoder.counters.busy_s if isinstance(encoder, CoalescingEncoder) else 0.0


def _device(embedding: Embedding) -> str:
    where = "cpu" if embedding.device == "auto" else embedding.device
    return where if embedding.numeric == "f32" else f"{where}, {embedding.numeric}"
