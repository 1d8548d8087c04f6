"""The ports of the stores for bodies and for the services' own notes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol


class ContentStore(Protocol):
    """Bodies that are too large for an event, by their sha256."""

    async def put(self, data: bytes) -> str:
        """Store the bytes unless they are there; returns their hash."""
        ...

    async def get(self, content_hash: str) -> bytes:
        """The bytes. Raises KeyError when they are not there."""
        ...

    async def stored(self) -> Mapping[str, datetime]:
        """Hash of every body and when it was last put, at most ten minutes too early."""
        ...

    async def forget(self, content_hash: str, *, put_before: datetime) -> bool:
        """Delete the bytes unless they were put at `put_before` (aware) or later; whether it did.

        A body that is put again meanwhile stays, if `put_before` lies ten minutes back or more.
        """
        ...


class Shelf(Protocol):
    """A small key-value bucket for a service's own notes (listings, batches, instance)."""

    async def get(self, key: str) -> bytes | None: ...
    async def put(self, key: str, value: bytes) -> None: ...
    async def delete(self, key: str) -> None: ...
    async def get_many(self, keys: Collection[str]) -> Mapping[str, bytes]: ...
    async def keys(self, prefix: str = "") -> Sequence[str]: ...
    async def few(self, prefix: str) -> Mapping[str, bytes]:
        """Every key that starts with `prefix`, with its value: quick where they are few."""
        ...

    async def clear(self, folder: str) -> None:
        """Take out every key below `folder`, with all that is below those; none is no error.

        Args:
            folder: whole parts of keys, as `a.b`, which takes out `a.b.c` and leaves `a.b` and
                `a.bc`.

        Raises:
            ValueError: it is no key.
        """
        ...
