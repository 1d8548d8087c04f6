"""Which making of the index the last sweep has filled."""

from dataclasses import dataclass
from typing import Final

from shared.domain.errors import StoreUnavailable
from shared.ports import Shelf, VectorStore

PREFIX: Final = "index."
SWEPT: Final = "sweep."
"""What the names of the notes about sweeps begin with."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What is noted of the index, so that one that was lost and made anew is filled at once.

    Whoever made it anew, and whenever: the note outlives processes.
    """

    store: VectorStore
    shelf: Shelf
    generation: str

    async def now(self) -> str | None:
        """Which making of the index there is now; None: nothing is known of it."""
        try:
            return await self.store.incarnation()
        except StoreUnavailable:
            return None

    async def is_another(self, incarnation: str | None) -> bool:
        """Whether it is not the one that was filled. Raises BusUnavailable."""
        if incarnation is None:
            return False
        noted = await self.shelf.get(PREFIX + self.generation)
        if noted is None:
            if await self.shelf.keys(SWEPT):  # by a version that did not note this, or long ago
                return True
            await self.note(incarnation)  # a new installation: the first sweep comes by itself
            return False
        return noted != incarnation.encode()

    async def note(self, incarnation: str | None) -> None:
        """It is filled. Raises BusUnavailable."""
        if incarnation is not None:
            await self.shelf.put(PREFIX + self.generation, incarnation.encode())
