"""The producer, built from adapters: a watch for each source, the intake of submissions."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from nats.aio.msg import Msg

from services.host.service import Part
from services.host.wiring import OpenGeneration, utc_now
from services.producer.accept import AcceptFile
from services.producer.audit import Mending, SourceAudit
from services.producer.collect import CollectBodies
from services.producer.publish_status import TellFolders
from services.producer.removals.forget import ForgetSource
from services.producer.removals.holds import WatchedHolds
from services.producer.sources.bucket.bucket import open_bucket
from services.producer.sources.bucket.events import BucketHints
from services.producer.sources.containers import CONFIRMED_S, ContainerSource
from services.producer.sources.folder.fs_events import FolderHints, Notices
from services.producer.sources.folder.source import FolderSource
from services.producer.sources.listing import has_all
from services.producer.sources.listing_store import KeptListing
from services.producer.sources.port import DocumentSource, Hints
from services.producer.sources.rules import Rules
from services.producer.sources.sql.debezium import DebeziumHints
from services.producer.sources.sql.hints import SqlHints
from services.producer.sources.sql.table import open_table
from services.producer.sources.web.web import WebHints, open_web
from services.producer.submissions.intake import AcceptSubmission
from services.producer.submissions.references import WebReferences
from services.producer.submissions.submission import SourceLimits
from services.producer.sync import AT_ONCE, Problems, Sync
from services.producer.watch import SourceWatch
from shared.batches.members import BatchBook
from shared.bus.monitor import watchers
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.events import Receipt
from shared.domain.topology import ACCEPT, INSTANCE, LISTINGS
from shared.formats.containers import Fields, Parts
from shared.observe.progress import Activity
from shared.ports import Selection, Shelf
from shared.reading.parts_protocol import SplitQuestion
from shared.settings import (
    BucketSettings,
    FolderSettings,
    PushSettings,
    SourceSettings,
    SqlSettings,
    WatchedSettings,
    WebSettings,
)


async def build(opened: OpenGeneration) -> Part:
    book = await opened.book()
    watches = {
        name: await _watch(opened, book, name, source)
        for name, source in opened.host.settings.watched.items()
    }
    instance = await opened.host.shelf(INSTANCE)
    began = await watchers.begin(instance, watches)
    tell = TellFolders(
        {name: (watch, mending.sync.health) for name, (watch, mending) in watches.items()},
        partial(watchers.tell, instance),
        utc_now,
        began,
    )
    opened.host.progress.listeners.append(tell.hear)
    limits = {name: _limits(one) for name, one in opened.host.settings.sources.items()}
    references = WebReferences(limits)
    accept = AcceptSubmission(
        generation=opened.generation.id,
        changes=opened.host.changes,
        bodies=await opened.host.bodies(),
        batches=book,
        reply=partial(_reply, opened.host.session),
        now=utc_now,
        fetch=references,
        limits=limits,
        watched=frozenset(watches),
    )

    async def say_when_listed() -> None:
        await asyncio.gather(*(watch.listed.wait() for watch, _ in watches.values()))
        await tell_now()
        opened.host.progress.listed = True
        with contextlib.suppress(BusUnavailable):  # the next start compares them again
            await tell_copies(opened, instance, [mending.sync for _, mending in watches.values()])

    async def tell_now() -> None:
        with contextlib.suppress(BusUnavailable):  # published within a second
            await tell.look()

    def subscribe(session: BusSession) -> None:
        session.subscribe_raw(ACCEPT, _bytes, accept)

    collect = CollectBodies(opened.host.changes, await opened.host.bodies(), instance, utc_now)

    async def answer() -> None:
        forget = await forget_source(opened, watches)
        holds = WatchedHolds({name: watch for name, (watch, _) in watches.items()}, forget)

        def auditor(source: str) -> SourceAudit:
            return SourceAudit({source: watches[source]})

        async def explain(source: str, path: str) -> Selection:
            watch, _ = watches[source]
            return await watch.explain(path)

        async def tell_that_it_hears() -> None:
            tell.heard = True
            await tell_now()

        client = opened.host.session.client
        await watchers.serve(client, list(watches), holds, auditor, tell_that_it_hears, explain)

    watching = (watch.run for watch, _ in watches.values())
    loops = (say_when_listed, collect.run, tell.run, answer, references.run)
    return Part(subscribe, (*watching, *loops))


def _limits(source: SourceSettings) -> SourceLimits:
    private = source.allow_private if isinstance(source, PushSettings) else ()
    return SourceLimits(source.max_bytes, source.allow_references, private)


async def forget_source(opened: OpenGeneration, watched: Collection[str] = ()) -> ForgetSource:
    return ForgetSource(
        opened.host.changes,
        await opened.ledger(),
        await opened.host.bodies(),
        await opened.book(),
        await opened.host.shelf(LISTINGS),
        utc_now,
        watched,
    )


async def tell_copies(opened: OpenGeneration, instance: Shelf, syncs: Sequence[Sync]) -> None:
    """Tell which folders of earlier processes have all of their files in a watched one now.

    Raises:
        BusUnavailable: repeating is safe.
    """
    listings = await opened.host.shelf(LISTINGS)
    for past in await watchers.past(instance, opened.host.settings.watched):
        listing = KeptListing(listings, past.source)
        await listing.load()
        copies = (s.accept.source for s in syncs if has_all(s.listing.entries, listing.entries))
        same_as = next(copies, "")
        if same_as != past.same_as:
            await watchers.tell(instance, replace(past, same_as=same_as))
        if same_as:
            text = (
                f"its documents are in {same_as} now, with the same paths and contents: "
                f"instep sources forget {past.source}"
            )
            opened.host.progress.say(Activity("notice", past.source, text))


async def _watch(
    opened: OpenGeneration, book: BatchBook, name: str, settings: WatchedSettings
) -> tuple[SourceWatch, Mending]:
    problems = Problems(opened.host.progress)
    source, hints = _opened(opened, name, settings, problems)
    sync = Sync(
        source=_with_contents(opened, source, settings),
        listing=KeptListing(await opened.host.shelf(LISTINGS), name),
        accept=AcceptFile(name, opened.host.changes, await opened.host.bodies(), utc_now),
        batches=book,
        progress=opened.host.progress,
        now=utc_now,
        problems=problems,
        at_once=1 if isinstance(settings, WebSettings) else AT_ONCE,
    )
    mending = Mending(sync, opened.host.changes, await opened.ledger())
    return SourceWatch(sync, settings, hints, mending.at_start), mending


def _with_contents(
    opened: OpenGeneration, source: DocumentSource, settings: WatchedSettings
) -> DocumentSource:
    """The source, and the documents inside its files; a file is split in a process apart."""
    loop, records = asyncio.get_running_loop(), settings.records
    if isinstance(settings, SqlSettings):
        return source  # the key of a row may look like a name in a file

    def split(question: SplitQuestion, data: bytes) -> Parts:
        asked = opened.host.reading.split(question, data)
        return asyncio.run_coroutine_threadsafe(asked, loop).result()

    fields = None if records is None else Fields(**records.model_dump())
    is_web = isinstance(settings, WebSettings)
    return ContainerSource(source, split, fields, settings.rescan if is_web else CONFIRMED_S)


def _opened(
    opened: OpenGeneration, name: str, settings: WatchedSettings, problems: Problems
) -> tuple[DocumentSource, Hints]:
    """
    Raises:
        ConfigurationError: the library for the source is not installed, or its address is none.
    """
    rules = Rules(settings.include, settings.exclude)
    polled = settings.watch == "poll"
    match settings:
        case FolderSettings(path=path):
            never = [opened.host.data]  # instep's own data are no documents
            folder = FolderSource(
                path,
                rules,
                max_bytes=settings.max_bytes,
                never=never,
                gitignore=settings.gitignore,
            )
            notices = None if polled else Notices(path)
            return folder, FolderHints(path, settings, notices, problems.note)
        case BucketSettings(url=url):
            bucket = open_bucket(
                url,
                rules,
                max_bytes=settings.max_bytes,
                endpoint=settings.endpoint,
                region=settings.region,
            )
            subscribe = partial(watchers.hear_changes, opened.host.session.client, name)
            return bucket, BucketHints(url, settings, None if polled else subscribe)
        case SqlSettings():
            table, changes = open_table(settings), settings.changes
            if changes is None:
                return table, SqlHints(table, settings, settings.watermark)
            hear = partial(watchers.hear_changes, opened.host.session.client, name, subject=changes)
            heard = None if polled else hear
            return table, DebeziumHints(settings.key, settings, heard, problems.note)
        case WebSettings():
            web = open_web(settings, rules)
            return web, WebHints(web, settings)
    raise ConfigurationError(f"sources.{name}: there is no source of this kind")


def _bytes(message: Msg) -> bytes:
    return message.data


async def _reply(session: BusSession, inbox: str, receipt: Receipt) -> None:
    await session.client.publish(inbox, receipt.model_dump_json().encode())
