"""The producer, built from adapters: a watch for each folder, the intake of submissions."""

import asyncio
import contextlib
from functools import partial

from nats.aio.msg import Msg

from services.host.service import Part
from services.host.wiring import OpenGeneration, utc_now
from services.producer.accept import AcceptFile
from services.producer.audit import FolderAudit, Mending
from services.producer.collect import CollectBodies
from services.producer.publish_status import TellFolders
from services.producer.removals.holds import FolderHolds
from services.producer.sources.folder.folder import Folder
from services.producer.sources.folder.fs_events import Notices
from services.producer.sources.folder.listing_store import KeptListing
from services.producer.sources.folder.rules import Rules
from services.producer.submissions.intake import AcceptSubmission
from services.producer.submissions.submission import SourceLimits
from services.producer.sync import Sync
from services.producer.watch import FolderWatch
from shared.batches.members import BatchBook
from shared.bus.monitor import watchers
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable
from shared.domain.events import Receipt
from shared.domain.topology import ACCEPT, INSTANCE, LISTINGS
from shared.ports import Selection
from shared.settings import Source


async def build(opened: OpenGeneration) -> Part:
    book = await opened.book()
    watches = {
        name: await _watch(opened, book, name, source)
        for name, source in opened.host.settings.folders.items()
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
    accept = AcceptSubmission(
        generation=opened.generation.id,
        changes=opened.host.changes,
        bodies=await opened.host.bodies(),
        batches=book,
        reply=partial(_reply, opened.host.session),
        now=utc_now,
        limits={
            name: SourceLimits(source.max_bytes, source.allow_references)
            for name, source in opened.host.settings.sources.items()
        },
    )

    async def say_when_listed() -> None:
        await asyncio.gather(*(watch.listed.wait() for watch, _ in watches.values()))
        await tell_now()
        opened.host.progress.listed = True

    async def tell_now() -> None:
        with contextlib.suppress(BusUnavailable):  # published within a second
            await tell.look()

    def subscribe(session: BusSession) -> None:
        session.subscribe_raw(ACCEPT, _bytes, accept)

    collect = CollectBodies(opened.host.changes, await opened.host.bodies(), instance, utc_now)

    async def answer() -> None:
        holds = FolderHolds({name: watch for name, (watch, _) in watches.items()})

        def auditor(source: str) -> FolderAudit:
            return FolderAudit({source: watches[source]})

        async def explain(source: str, path: str) -> Selection:
            watch, _ = watches[source]
            return await watch.explain(path)

        client = opened.host.session.client
        await watchers.serve(client, list(watches), holds, auditor, tell_now, explain)

    watching = (watch.run for watch, _ in watches.values())
    return Part(subscribe, (*watching, say_when_listed, collect.run, tell.run, answer))


async def _watch(
    opened: OpenGeneration, book: BatchBook, name: str, source: Source
) -> tuple[FolderWatch, Mending]:
    assert source.path is not None
    folder = Folder(
        source.path,
        Rules(source.include, source.exclude),
        max_bytes=source.max_bytes,
        never=[opened.host.data],
        gitignore=source.gitignore,
    )
    sync = Sync(
        folder=folder,
        listing=KeptListing(await opened.host.shelf(LISTINGS), name),
        accept=AcceptFile(name, opened.host.changes, await opened.host.bodies(), utc_now),
        batches=book,
        progress=opened.host.progress,
        now=utc_now,
    )
    mending = Mending(sync, opened.host.changes, await opened.ledger())
    notices = None if source.watch == "poll" else Notices(source.path)
    return FolderWatch(sync, source, notices, mending.at_start), mending


def _bytes(message: Msg) -> bytes:
    return message.data


async def _reply(session: BusSession, inbox: str, receipt: Receipt) -> None:
    await session.client.publish(inbox, receipt.model_dump_json().encode())
