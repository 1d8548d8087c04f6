"""The keys of an instance, in a bucket that every gateway reads."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.gateway.access.access import Principal
from services.gateway.access.keys import StoredKey, id_of, new_key, opens, packed, unpacked
from services.gateway.problems import Problem
from shared.ports import Shelf

FOLDER: Final = "keys"
KNOWN_S: Final = 1.0
"""How long a gateway uses what it has read of a key: a revoked one is refused that soon."""
MOST_KNOWN: Final = 1_000
LOOKUPS: Final = 16
"""At once, of ids that no key was found under lately; further ones are told to come again."""

NO_KEY: Final = "this instance answers only requests with its key"
"""The same words whatever is wrong with a key."""


@dataclass
class Keyring:
    """Keys by their ids. Every method raises BusUnavailable."""

    shelf: Shelf
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, tuple[float, StoredKey]] = field(
        default_factory=OrderedDict, repr=False
    )
    """Keys that exist: those that somebody made up push none of them out."""
    _looking: int = field(default=0, repr=False)

    async def access(self, text: str) -> Principal:
        """What the holder of a key may do.

        Raises:
            Problem: `no_key`; it does not say what is wrong. `unavailable`: too many unknown keys
                are being looked up.
        """
        id = id_of(text)
        stored = await self._find(id) if id else None
        if not opens(text, stored, self.clock()) or stored is None:
            raise Problem("no_key", NO_KEY)
        return stored.access

    async def is_open(self, id: str) -> bool:
        """Whether a key opens anything now."""
        stored = await self._find(id)
        return stored is not None and stored.is_good(self.clock())

    async def create(
        self,
        name: str,
        scopes: tuple[str, ...],
        sources: tuple[str, ...] | None,
        expires_in_s: float | None,
    ) -> tuple[str, StoredKey]:
        """Make a key; returns its text, which is told once, and what is stored of it."""
        now = self.clock()
        until = None if expires_in_s is None else now + expires_in_s
        text, key = new_key(name, scopes, sources, now=now, expires_at=until)
        await self._store(key)
        return text, key

    async def all(self) -> Sequence[StoredKey]:
        """Every key, the newest first; also those that expired or were revoked."""
        values = (await self.shelf.few(f"{FOLDER}.")).values()
        found = [key for value in values if (key := unpacked(value))]
        return sorted(found, key=lambda key: (-key.created_at, key.id))

    async def revoke(self, id: str) -> StoredKey:
        """Let a key open nothing any more. Raises Problem `key_not_found`."""
        value = await self.shelf.get(f"{FOLDER}.{id}")
        key = unpacked(value) if value else None
        if key is None:
            raise Problem("key_not_found", f"{id!r} is not the id of a key")
        if key.revoked_at is None:
            key = replace(key, revoked_at=self.clock())
            await self._store(key)
        return key

    async def _store(self, key: StoredKey) -> None:
        await self.shelf.put(f"{FOLDER}.{key.id}", packed(key))
        self._known.pop(key.id, None)

    async def _find(self, id: str) -> StoredKey | None:
        known = self._known.get(id)
        if known is not None and self.monotonic() < known[0]:
            return known[1]
        until = self.monotonic() + KNOWN_S
        found = await (self._read(id) if known is not None else self._look_up(id))
        if found is None:
            self._known.pop(id, None)
            return None
        self._known[id] = until, found
        self._known.move_to_end(id)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    async def _look_up(self, id: str) -> StoredKey | None:
        if self._looking >= LOOKUPS:
            raise Problem("unavailable", f"{LOOKUPS} unknown keys are being looked up")
        self._looking += 1
        try:
            return await self._read(id)
        finally:
            self._looking -= 1

    async def _read(self, id: str) -> StoredKey | None:
        value = await self.shelf.get(f"{FOLDER}.{id}")
        found = unpacked(value) if value else None
        # a record that was copied opens nothing
        return found if found is not None and found.id == id else None
