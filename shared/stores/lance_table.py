"""The table as it is open now; and which making of it that is.

Somebody may delete its folder, and another process may make it anew, while this one has it open.
A file in the folder, which goes with it, says which making it is.
"""

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.errors import StoreUnavailable
from shared.stores.lance_limits import translated
from shared.stores.lance_open import Opened, connect, open_table, place

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.table import AsyncTable

MARK: Final = "_made"

Sight = tuple[int, int, int]
"""Device, number and time of the mark: enough to see that it is another, and cheap."""


class LanceTable:
    """One table in a folder; made by `open`, which raises as `lance_open.open_table` does.

    Attributes:
        created, rebuilt: how it was found when this process opened it, see `Opened`.
    """

    def __init__(self, folder: Path, name: str, dimensions: int) -> None:
        self.name = name
        self._folder, self._dimensions = folder, dimensions
        self._opening = asyncio.Lock()
        self._sight: Sight | None = None
        self._connection: AsyncConnection
        self._opened: Opened
        self.created = self.rebuilt = False

    @classmethod
    async def open(cls, folder: Path, name: str, dimensions: int) -> "LanceTable":
        made = cls(folder, name, dimensions)
        await made._open()
        made.created, made.rebuilt = made._opened.created, made._opened.rebuilt
        return made

    async def now(self) -> "AsyncTable":
        """The table. Raises StoreUnavailable when it was deleted, until `incarnation` is asked."""
        return (await self._seen()).table

    async def connection(self) -> "AsyncConnection":
        """The connection that it is read through. Raises as `now`."""
        await self._seen()
        return self._connection

    async def incarnation(self) -> str:
        """Which making this is; one that was deleted is made anew first, so no write may be
        under way: it would bring back what the old table had.
        """
        async with self._opening:
            sight = self._mark_seen()
            if sight is None or sight != self._sight:
                await self._open()
        return await asyncio.to_thread(self._mark.read_text)

    async def renew(self) -> None:
        """Open it anew, with empty caches; readers go on with what they have."""
        async with self._opening:
            self._connection = await connect(self._folder)
            table = await self._connection.open_table(self.name)
            self._opened = Opened(table, created=False, rebuilt=False)

    def close(self) -> None:
        self._opened.table.close()  # type: ignore[no-untyped-call]  # lancedb leaves it untyped
        self._connection.close()  # type: ignore[no-untyped-call]  # the same

    @property
    def _mark(self) -> Path:
        return place(self._folder, self.name) / MARK

    async def _seen(self) -> Opened:
        sight = self._mark_seen()
        if sight is None:
            raise StoreUnavailable("the index was deleted; it is made anew within seconds")
        if sight != self._sight:
            async with self._opening:
                if self._mark_seen() != self._sight:
                    with translated():
                        await self._open()
        return self._opened

    def _mark_seen(self) -> Sight | None:
        try:
            found = self._mark.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    async def _open(self) -> None:
        """Open or create the table, and mark a new one; of two that mark it, the first counts."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        self._connection = await connect(self._folder)
        self._opened = await open_table(self._connection, self._folder, self.name, self._dimensions)
        await asyncio.to_thread(self._put_mark)
        self._sight = self._mark_seen()

    def _put_mark(self) -> None:
        """Raises OSError."""
        with contextlib.suppress(FileExistsError), self._mark.open("x") as file:
            file.write(secrets.token_hex(16))
