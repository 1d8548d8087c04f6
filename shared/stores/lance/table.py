"""The table as it is open now; and which making of it that is.

Somebody may delete its folder, and another process may make it anew, while this one has it open.
A file in the folder, which goes with it, says which making it is.
"""

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.domain.errors import StoreUnavailable
from shared.stores.lance import upkeep as lance_upkeep
from shared.stores.lance.limits import translated
from shared.stores.lance.open import OpenTable, connect, open_table, place

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
        self._opened: OpenTable
        self.created = self.rebuilt = False

    @classmethod
    async def open(cls, folder: Path, name: str, dimensions: int) -> "LanceTable":
        made = cls(folder, name, dimensions)
        await made._make()
        made.created, made.rebuilt = made._opened.created, made._opened.rebuilt
        return made

    async def now(self) -> "AsyncTable":
        """The table. Raises StoreUnavailable when it was deleted, until `incarnation` is asked."""
        return (await self._seen()).table

    async def connection(self) -> "AsyncConnection":
        """The connection that it is read through. Raises as `now`."""
        await self._seen()
        return self._connection

    def is_as_opened(self) -> bool:
        """Whether nobody deleted it, or made it anew, since this process opened it."""
        return self._sight is not None and self._mark_seen() == self._sight

    async def incarnation(self) -> str | None:
        """Which making this is; None: it was deleted, or made anew, or cannot be read."""
        if not self.is_as_opened() or not await self._holds():
            return None
        return await asyncio.to_thread(self._mark.read_text, errors="replace")

    async def make_anew(self) -> str:
        """Make it anew unless somebody has; which making it is now.

        No write of this process may be under way: it would commit what the old table had.
        """
        async with self._opening:
            found = await self.incarnation()
            if found is None:
                await self._make()
                found = await asyncio.to_thread(self._mark.read_text, errors="replace")
            return found

    async def _holds(self) -> bool:
        """Whether its newest version can be read: a folder may be deleted in part."""
        try:
            await self._opened.table.query().select(["id"]).limit(1).to_arrow()
        except (RuntimeError, OSError, ValueError) as error:
            if lance_upkeep.passing(str(error)):
                raise
            return False
        return True

    async def renew(self) -> None:
        """Open it anew, with empty caches; readers go on with what they have."""
        async with self._opening:
            self._connection = await connect(self._folder)
            table = await self._connection.open_table(self.name)
            self._opened = OpenTable(table, created=False, rebuilt=False)

    def close(self) -> None:
        self._opened.table.close()  # type: ignore[no-untyped-call]  # lancedb leaves it untyped
        self._connection.close()  # type: ignore[no-untyped-call]  # the same

    @property
    def _mark(self) -> Path:
        return place(self._folder, self.name) / MARK

    async def _seen(self) -> OpenTable:
        if self._mark_seen() is None:
            raise StoreUnavailable("the index was deleted; it is made anew within seconds")
        if not self.is_as_opened():
            with translated():
                await self._reopen()
        return self._opened

    def _mark_seen(self) -> Sight | None:
        try:
            found = self._mark.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    async def _reopen(self) -> None:
        """Open what another process has made; what cannot be opened stays as it is."""
        async with self._opening:
            if self.is_as_opened():
                return
            sight = self._mark_seen()  # first: it may be made anew once more meanwhile
            connection = await connect(self._folder)
            table = await connection.open_table(self.name)
            self._connection, self._sight = connection, sight
            self._opened = OpenTable(table, created=False, rebuilt=False)

    async def _make(self) -> None:
        """Open or create the table, put one aside that cannot be read, and mark a new one."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        self._sight = None
        self._connection = await connect(self._folder)
        self._opened = await open_table(self._connection, self._folder, self.name, self._dimensions)
        await asyncio.to_thread(self._put_mark)
        self._sight = self._mark_seen()

    def _put_mark(self) -> None:
        """Mark it unless it is marked; of two that do it at once the later counts.

        Its folder is made private, for version 0.1.0 left that to the umask.

        Raises OSError.
        """
        with contextlib.suppress(PermissionError):  # another user's
            place(self._folder, self.name).chmod(0o700)
        if self._mark.exists():
            return
        fresh = self._mark.with_name(f"{MARK}.{secrets.token_hex(8)}")
        fresh.write_text(secrets.token_hex(16))
        fresh.rename(self._mark)
