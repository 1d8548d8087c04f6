"""The producer, built from adapters: a watch for each folder, a door for submissions."""

import asyncio
import contextlib
from functools import partial

from nats.aio.msg import Msg

from services.host.service import Part
from services.host.wiring import Wiring, utc_now
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
from shared.settings import Source


async def build(wiring: Wiring) -> Part:
    book = await wiring.book()
    watches = {
        name: await _watch(wiring, book, name, source)
        for name, source in wiring.settings.sources.items()
        if source.kind == "folder" and source.path is not None
    }
    wiring.holds = FolderHolds({name: watch for name, (watch, _) in watches.items()})
    wiring.auditor = FolderAudit(watches)
    holds = wiring.holds
    tell = TellFolders(
        {name: (watch, mending.sync.health) for name, (watch, mending) in watches.items()},
        partial(watchers.tell, await wiring.shelf(INSTANCE)),
        utc_now,
    )
    accept = AcceptSubmission(
        generation=wiring.generation.id,
        changes=wiring.changes,
        bodies=await wiring.bodies(),
        batches=book,
        reply=partial(_reply, wiring.session),
        now=utc_now,
        limits={
            name: SourceLimits(source.max_bytes, source.allow_references)
            for name, source in wiring.settings.sources.items()
        },
    )

    async def say_when_listed() -> None:
        await asyncio.gather(*(watch.listed.wait() for watch, _ in watches.values()))
        with contextlib.suppress(BusUnavailable):  # told again within a second
            await tell.look()  # a run with --once may end before that
        wiring.progress.listed = True

    def subscribe(session: BusSession) -> None:
        session.subscribe_raw(ACCEPT, _bytes, accept)

    collect = CollectBodies(
        wiring.changes, await wiring.bodies(), await wiring.shelf(INSTANCE), utc_now
    )

    async def answer() -> None:
        def auditor(source: str) -> FolderAudit:
            return FolderAudit({source: watches[source]})

        await watchers.serve(wiring.session.client, list(watches), holds, auditor)

    watching = (watch.run for watch, _ in watches.values())
    return Part(subscribe, (*watching, say_when_listed, collect.run, tell.run, answer))


async def _watch(
    wiring: Wiring, book: BatchBook, name: str, source: Source
) -> tuple[FolderWatch, Mending]:
    assert source.path is not None
    folder = Folder(
        source.path,
        Rules(source.include, source.exclude),
        max_bytes=source.max_bytes,
        never=[wiring.data],
    )
    sync = Sync(
        folder=folder,
        listing=KeptListing(await wiring.shelf(LISTINGS), name),
        accept=AcceptFile(name, wiring.changes, await wiring.bodies(), utc_now),
        batches=book,
        progress=wiring.progress,
        now=utc_now,
    )
    wiring.progress.sources[name] = sync.health
    mending = Mending(sync, wiring.changes, await wiring.ledger())
    notices = None if source.watch == "poll" else Notices(source.path)
    return FolderWatch(sync, source, notices, mending.at_start), mending


def _bytes(message: Msg) -> bytes:
    return message.data


async def _reply(session: BusSession, inbox: str, receipt: Receipt) -> None:
    await session.client.publish(inbox, receipt.model_dump_json().encode())
