"""The index of an instance on one machine, opened behind its back."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from shared.ports import Hit
from shared.stores.sqlite import rows as sqlite_rows


@contextlib.contextmanager
def opened(data: Path, generation: str = "*") -> Iterator[sqlite3.Connection]:
    """The file of the running, or stopped, instance; what is done to it is committed at once."""
    (path,) = (data / "store").glob(f"chunks_{generation}.sqlite3")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        yield connection


def rows(data: Path, generation: str = "*") -> list[Hit]:
    """Every row; the scores say nothing."""
    with opened(data, generation) as connection:
        found = connection.execute(f"SELECT {sqlite_rows.SHOWN} FROM rows ORDER BY n").fetchall()
    return [sqlite_rows.to_hit(row, 0.0) for row in found]
