"""A watched folder over memory ports: what a test edits, and what DOCS holds of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger

from services.producer.accept import AcceptFile
from services.producer.audit import Mending, SourceAudit
from services.producer.sources.folder.fs_events import FolderHints, Notices
from services.producer.sources.folder.source import FolderSource
from services.producer.sources.listing_store import KeptListing
from services.producer.sources.port import DocumentSource, Hints
from services.producer.sources.rules import Rules
from services.producer.sync import Problems, Sync
from services.producer.watch import SourceWatch
from shared.batches.members import BatchBook
from shared.domain.events import Linked, Stored
from shared.domain.ordering import Record, RowRef, Settled
from shared.observe.progress import Activity, Progress
from shared.settings.groups import Settings

SOURCE = "docs"


def settings_of(given: Mapping[str, object]) -> Any:
    return Settings.model_validate({"sources": {SOURCE: given}}).sources[SOURCE]


class Watched:
    """One source in a folder. Every `running` is a new process on the same shelves and log."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.root = root
        self.root.mkdir(exist_ok=True)
        place = {"path": root} if settings.get("kind", "folder") == "folder" else {}
        self.settings = settings_of(place | {"rescan": 3600.0} | settings)
        self.log = MemoryChangeLog()
        self.bodies = MemoryContent()
        self.listings, self.notes = MemoryShelf(), MemoryShelf()
        self.batches = BatchBook(self.notes, "g1")
        self.ledger = MemoryLedger()
        self.news: list[Activity] = []

    def build(self) -> SourceWatch:
        self.progress = Progress(listeners=[self.news.append])
        now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
        sync = Sync(
            source=self.source(),
            listing=KeptListing(self.listings, SOURCE),
            accept=AcceptFile(SOURCE, self.log, self.bodies, now),
            batches=self.batches,
            progress=self.progress,
            now=now,
            problems=Problems(self.progress),
        )
        self.sources = {SOURCE: sync.health}
        mending = Mending(sync, self.log, self.ledger)
        watch = SourceWatch(sync, self.settings, self.hints(sync), mending.at_start)
        self.audit = SourceAudit({SOURCE: (watch, mending)})
        return watch

    def source(self) -> DocumentSource:
        rules = Rules(self.settings.include, self.settings.exclude)
        return FolderSource(
            self.root,
            rules,
            max_bytes=self.settings.max_bytes,
            gitignore=self.settings.gitignore,
        )

    def hints(self, sync: Sync) -> Hints:
        notices = None if self.settings.watch == "poll" else Notices(self.root)
        return FolderHints(self.root, self.settings, notices, sync.problems.note)

    async def settle(self) -> None:
        """The ledger as it is when the flow has worked off everything of DOCS."""
        async for _, key, sequence in self.log.sequences(SOURCE):
            newest = await self.log.newest(SOURCE, key)
            assert newest is not None
            is_there = newest.change.op == "upserted"
            rows = (RowRef("a" * 26, sequence),) if is_there else ()
            settled = Settled(sequence, "indexed" if is_there else "removed", rows, 0.0, 0.0)
            entry = await self.ledger.get(key)
            record = Record(SOURCE, newest.change.document.path, settled)
            await self.ledger.update(key, record, expect=entry.at if entry else 0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SourceWatch]:
        """A process that has listed the folder and watches it."""
        watch = self.build()
        task = asyncio.create_task(watch.run())
        try:
            async with asyncio.timeout(120):
                waiting = asyncio.create_task(watch.listed.wait())
                await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if task.done():
                    task.result()
            yield watch
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def once(self) -> None:
        """Start, list, accept, stop."""
        async with self.running():
            pass

    def held(self) -> dict[str, str]:
        """Path to text of every document that DOCS holds now."""
        newest = {change.document.path: change for change in self.log.appended}
        return {
            path: self.text(change.content)
            for path, change in newest.items()
            if change.op == "upserted"
        }

    def text(self, content: object) -> str:
        if isinstance(content, Linked):
            return f"-> {content.ref.size} bytes"
        if isinstance(content, Stored):
            return self.bodies._bodies[content.hash].decode()
        return content.bytes().decode()  # type: ignore[attr-defined]

    def write(self, path: str, text: str) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)
