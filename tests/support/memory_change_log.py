"""The change log in memory: for tests, and as the plainest statement of its contract."""

from collections.abc import AsyncIterator, Set

from shared.domain.codecs.change_codec import from_bytes
from shared.domain.errors import ChangeLogConflict
from shared.domain.events import DocumentChanged, Stored
from shared.ports import Newest


class MemoryChangeLog:
    """Implements `shared.ports.ChangeLog`.

    As the server does, it recognises a message id before it compares sequences.

    Args:
        first: sequence of the first change.
    """

    def __init__(self, first: int = 1) -> None:
        self.appended: list[DocumentChanged] = []
        """Every change that was stored, with its revision, oldest first."""
        self._next = first
        self._newest: dict[str, Newest] = {}
        self._window: dict[str, int] = {}

    def end_duplicate_window(self) -> None:
        """Forget the message ids, as the server does after ten minutes."""
        self._window.clear()

    async def sequences(self, source: str | None = None) -> AsyncIterator[tuple[str, str, int]]:
        for name, newest in sorted(self._newest.items(), key=lambda item: item[1].sequence):
            of, _, key = name.partition(".")
            if source in (None, of):
                yield of, key, newest.sequence

    async def newest(self, source: str, doc_key: str) -> Newest | None:
        return self._newest.get(f"{source}.{doc_key}")

    async def bodies(self) -> Set[str]:
        changes = (newest.readable for newest in self._newest.values())
        contents = (change.content for change in changes if change)
        return {content.hash for content in contents if isinstance(content, Stored)}

    def write(self, source: str, doc_key: str, data: bytes) -> int:
        """Any bytes under the subject of a document, as whoever may write to DOCS may send them."""
        sequence, self._next = self._next, self._next + 1
        found = from_bytes(data, source=source, key=doc_key, sequence=sequence)
        self._newest[f"{source}.{doc_key}"] = Newest(sequence, found)
        return sequence

    async def append(self, change: DocumentChanged, *, expect: int, message_id: str) -> int:
        if message_id in self._window:
            return self._window[message_id]
        key = f"{change.document.source}.{change.document.doc_key}"
        newest = self._newest.get(key)
        if expect != (newest.sequence if newest else 0):
            raise ChangeLogConflict(f"{key} is not at {expect}")
        sequence, self._next = self._next, self._next + 1
        document = change.document.model_copy(update={"revision": sequence})
        stored = change.model_copy(update={"document": document})
        self._newest[key] = Newest(sequence, stored)
        self._window[message_id] = sequence
        self.appended.append(stored)
        return sequence
