"""Who waits for a listing of a folder, and what it showed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Prepare = Callable[[], Awaitable[None]]
"""Something to be done in the loop of the watch, right before it lists; may be repeated."""


@dataclass(frozen=True, slots=True)
class ListingResult:
    """What a whole listing has shown, and what was done about it."""

    files: int
    submitted: int
    """New and otherwise: accepted."""
    removed: int
    held: int
    """Removals that wait for a person."""


@dataclass(slots=True)
class Asked:
    """Those who want a listing that begins after they asked."""

    _waiting: list[tuple["asyncio.Future[ListingResult]", Prepare | None]] = field(
        default_factory=list
    )

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, prepare: Prepare | None = None) -> "asyncio.Future[ListingResult]":
        asked: asyncio.Future[ListingResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, prepare))
        return asked

    def take(self) -> "Asked":
        """Everybody who waits now; who asks later waits for the listing after."""
        taken, self._waiting = Asked(self._waiting), []
        return taken

    def put_back(self, taken: "Asked") -> None:
        """The listing did not come about; it is tried again for them."""
        self._waiting = taken._waiting + self._waiting

    async def prepare(self) -> None:
        """Raises what the preparations raise."""
        for asked, prepare in self._waiting:
            if prepare is not None and not asked.done():
                await prepare()

    def answer(self, listed: ListingResult) -> None:
        for asked, _ in self._waiting:
            if not asked.done():
                asked.set_result(listed)

    def refuse(self, error: Exception) -> None:
        """Tell everybody who waits that there is no listing."""
        waiting, self._waiting = self._waiting, []
        for asked, _ in waiting:
            if not asked.done():
                asked.set_exception(error)
