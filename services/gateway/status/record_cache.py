"""Ledger records that were read, until they change. Pure.

A search needs the records of a hundred documents, and the next one mostly of the same.
"""

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from shared.domain.ordering import Record

KEPT_ROWS: Final = 100_000
"""Rows that all kept records list together, about 150 bytes each."""


class RecordCache:
    """The newest records of documents that somebody asked for; those asked for longest ago go."""

    def __init__(self, most_rows: int = KEPT_ROWS) -> None:
        self._kept: OrderedDict[str, Record] = OrderedDict()
        self._most, self._rows = most_rows, 0

    def put(self, key: str, record: Record | None, unreadable: bool = False) -> None:
        """Note the newest record under a key, if that of the key is kept."""
        if key in self._kept:
            self._drop(key)
            if record is not None and not unreadable:
                self.keep(key, record)

    def keep(self, key: str, record: Record) -> None:
        """Keep the newest record under a key."""
        self._drop(key)
        self._kept[key] = record
        self._rows += _rows(record)
        while self._rows > self._most:
            self._drop(next(iter(self._kept)))

    def of(self, keys: Collection[str]) -> dict[str, Record]:
        """The kept records of these keys."""
        found = {key: self._kept[key] for key in keys if key in self._kept}
        for key in found:
            self._kept.move_to_end(key)
        return found

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._rows -= _rows(dropped)


def _rows(record: Record) -> int:
    """Rows of a record, and one for the record itself."""
    versions = (record.settled, record.pending)
    return 1 + sum(len(version.rows) for version in versions if version is not None)
