"""All documents of a source that is not watched any more leave the index, as a person decided."""

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from services.producer.accept import AcceptFile
from services.producer.reconcile import Gathering
from services.producer.sync import format_of
from shared.batches.members import BatchBook, new_batch_id
from shared.domain.errors import TransientError
from shared.domain.events import Batch
from shared.domain.ids import doc_key
from shared.ports import ChangeLog, ContentStore, Ledger, Now, Shelf

AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class ForgetSource:
    """Call it again after any error: it goes on with the documents that are left.

    Args:
        listings: the bucket of the listings of all sources.
        watched: sources that this process watches; their folders would bring the documents back.
    """

    changes: ChangeLog
    ledger: Ledger
    bodies: ContentStore
    batches: BatchBook
    listings: Shelf
    now: Now
    watched: Collection[str] = ()

    async def __call__(self, source: str) -> int:
        """Returns the number of documents whose end was accepted into DOCS.

        Raises:
            TransientError: the source is watched here; nothing was done.
            BusUnavailable: some documents may be removed, and some not.
        """
        if source in self.watched:
            raise TransientError(f"{source} is watched: its files would bring its documents back")
        # a listing that lists removed documents would keep their files from being read again
        for key in await self.listings.keys(f"{source}."):
            await self.listings.delete(key)
        return await self._remove(source, await self._paths(source))

    async def _paths(self, source: str) -> list[str]:
        """The paths of all documents that DOCS or the ledger has, and that have not ended."""
        found = Gathering(source, ())
        async for _, key, sequence in self.changes.sequences(source):
            found.change(key, sequence)
        async for key, record in self.ledger.entries():
            if record:
                found.record(key, record)
        paths = list[str]()
        for key, noted in found.doubts().unlisted.items():
            path = noted or await self._path(source, key)
            if path and doc_key(source, path) == key:
                paths.append(path)
        return sorted(paths)

    async def _path(self, source: str, key: str) -> str:
        """The path of a document that the ledger does not have yet; empty where it has ended."""
        newest = await self.changes.newest(source, key)
        change = newest.readable if newest else None
        return change.document.path if change and change.op != "deleted" else ""

    async def _remove(self, source: str, paths: Collection[str]) -> int:
        started_at, members = self.now(), dict[str, int]()
        batch = Batch(
            id=new_batch_id(started_at, secrets.token_bytes(4)),
            count=len(paths),
            source=source,
            format=format_of(paths),
            started_at=started_at,
        )
        accept, rest = AcceptFile(source, self.changes, self.bodies, self.now), iter(paths)

        async def some() -> None:
            for path in rest:
                outcome = await accept(path, _gone, batch, known=True, accepted=True)
                if outcome.word == "accepted":
                    members[doc_key(source, path)] = outcome.revision

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(AT_ONCE, len(paths))):
                    tasks.create_task(some())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        if members and batch.count > 1:
            await self.batches.announce(batch, members, len(paths) - len(members))
        return len(members)


async def _gone() -> None:
    """As a look at a file that is not there."""
