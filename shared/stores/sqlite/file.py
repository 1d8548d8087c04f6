"""The SQLite file of an index: made, opened, put aside when it is damaged, and its connections.

Another program may delete the file, and another process may make it anew, while this one has it
open. So every call looks first whether the file at its path is the one that is open. A file is
made under another name and gets its own when it is whole; whoever makes or moves one holds a lock
beside it, and takes the log of the file before away: a new file must not meet it.
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import structlog

from shared.domain.errors import ConfigurationError, StoreMismatch, StoreUnavailable
from shared.domain.filters import terms
from shared.domain.text import words
from shared.stores.sqlite import faults
from shared.stores.sqlite import rows as sqlite_rows
from shared.stores.sqlite.codes import require_simsimd
from shared.stores.sqlite.held import HeldRows

log = structlog.get_logger(__name__)

T = TypeVar("T")

READERS: Final = 4
BUSY_S: Final = 10.0
"""How long a writer waits for one in another process."""
PAUSE_S: Final = 0.2
"""How long writes wait for readers until the log begins anew."""
LOG_BYTES: Final = 64 * 1024**2
"""What the log of writes keeps of its size once it is empty."""
SET_UP: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = FAST",
    f"PRAGMA journal_size_limit = {LOG_BYTES}",
)
ASIDE: Final = "broken"

Sight = tuple[int, int]
"""Device and number of a file."""


@dataclass(frozen=True, slots=True)
class Making:
    """One file, as long as it is the one at its path; closed when no call uses it any more."""

    sight: Sight
    incarnation: str
    held: HeldRows
    writer: sqlite3.Connection
    readers: "queue.SimpleQueue[sqlite3.Connection]" = field(default_factory=queue.SimpleQueue)

    def __del__(self) -> None:
        self.writer.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self.readers.get_nowait().close()


class SqliteFile:
    """One file in a folder; made by `open`.

    Attributes:
        created, rebuilt: how it was found when this process opened it, see `SqliteStore`.
    """

    def __init__(self, folder: Path, name: str, dimensions: int) -> None:
        self.path = folder.absolute() / f"{name}.sqlite3"
        self.created = self.rebuilt = False
        self._dimensions = dimensions
        self._now: Making | None = None
        self._damaged: Sight | None = None
        """The file that a call found damaged; another one may be at its path by now."""
        self._is_closed = False
        self._writing = ThreadPoolExecutor(1, f"{name}-writer")
        self._reading = ThreadPoolExecutor(READERS, f"{name}-reader")

    @classmethod
    async def open(cls, folder: Path, name: str, dimensions: int) -> "SqliteFile":
        """Open or create the file.

        Raises:
            StoreMismatch: instep did not make it, or for another number of dimensions.
            ConfigurationError: simsimd, or FTS5 in Python's SQLite, is missing.
            StoreUnavailable: the folder cannot be used at the moment.
        """
        require_fts5()
        require_simsimd()
        made = cls(folder, name, dimensions)
        try:
            await made._run(made._writing, made._make)
        except BaseException:
            await made.close()
            raise
        return made

    async def read(
        self, work: Callable[[sqlite3.Connection, HeldRows], T], *, asks: bool = False
    ) -> T:
        """The result of `work` in a transaction that sees one moment; in a thread.

        Raises:
            StoreUnavailable: the file cannot be read; it may have been deleted.
            QuestionRefused: a value of a question is at fault, if `asks`.
        """

        def run() -> T:
            making = self._seen()
            with (
                self._noting_damage(making),
                self._reader(making) as connection,
                _transaction(connection, "BEGIN"),
            ):
                return work(connection, making.held)

        return await self._run(self._reading, run, asks=asks)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in a transaction that is on the disk then; in the thread of writes.

        Raises StoreUnavailable: nothing is known; repeating is safe.
        """

        def run() -> T:
            making = self._seen()
            with self._noting_damage(making), _transaction(making.writer, "BEGIN IMMEDIATE"):
                return work(making.writer)

        return await self._run(self._writing, run)

    async def shorten_log(self) -> None:
        """Begin the log of writes anew if it is longer than LOG_BYTES.

        SQLite does so itself only in a moment in which nobody reads. Those who begin to read
        meanwhile do not need the log; a look that takes longer than PAUSE_S puts it off. Raises
        StoreUnavailable.
        """

        def run() -> None:
            log_file, _ = _logs(self.path)
            with contextlib.suppress(FileNotFoundError):
                if log_file.stat().st_size > LOG_BYTES:
                    making = self._seen()
                    with self._noting_damage(making), _patience(making.writer, PAUSE_S):
                        making.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        await self._run(self._writing, run)

    async def incarnation(self) -> str:
        """Which making of the file this is; a deleted or damaged one is made anew first."""

        def run() -> str:
            found = self._now
            if found is None or self._damaged or self._sight() != found.sight:
                found = self._make()
            return found.incarnation

        return await self._run(self._writing, run)

    async def close(self) -> None:
        """Wait for the calls under way, then close."""
        self._is_closed = True
        for threads in (self._writing, self._reading):
            await asyncio.to_thread(threads.shutdown)
        self._now = None

    def check_open(self) -> None:
        """Raises StoreUnavailable: it is closed, so a long look ends here."""
        if self._is_closed:
            raise StoreUnavailable("the index is closed")

    async def _run(
        self, threads: ThreadPoolExecutor, work: Callable[[], T], *, asks: bool = False
    ) -> T:
        self.check_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except faults.ERRORS as error:
            raise faults.sorted_error(error, asks=asks) from None

    def _seen(self) -> Making:
        """What is at the path now. Raises StoreUnavailable; sqlite3.Error, OSError."""
        sight = self._sight()
        if sight is None:
            raise StoreUnavailable("the index was deleted; it is made anew within seconds")
        now = self._now
        if now is None or now.sight != sight:
            with self._locked():
                now = self._now  # another thread may have been faster
                if now is None or now.sight != self._sight():
                    now = self._opened()
        return now

    def _sight(self) -> Sight | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def _noting_damage(self, making: Making) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if faults.is_damage(error):
                self._damaged = making.sight
            raise

    @contextmanager
    def _reader(self, making: Making) -> Iterator[sqlite3.Connection]:
        try:
            connection = making.readers.get_nowait()
        except queue.Empty:
            connection = _connect(self.path)
        try:
            yield connection
        finally:
            making.readers.put(connection)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among processes and threads that open, make or move the file."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.path.with_suffix(".lock")
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make(self) -> Making:
        """Open the file; create it where there is none, and put a damaged one aside first."""
        with self._locked():
            sight, damaged, self._damaged = self._sight(), self._damaged, None
            was_there, is_damaged = sight is not None, sight == damaged
            try:
                if was_there and not is_damaged:
                    return self._opened()
            except sqlite3.Error as error:
                if not faults.is_unreadable(error):
                    raise
            if was_there:
                self._put_aside()
            self._create()
            self.created, self.rebuilt = not was_there, was_there
            return self._opened()

    def _opened(self) -> Making:
        """Open what is at the path, and read enough of it to see that it is whole.

        Raises sqlite3.Error; StoreMismatch.
        """
        sight = self._sight()
        if sight is None:
            raise StoreUnavailable("the index was deleted; it is made anew within seconds")
        writer = _connect(self.path)
        try:
            # the number of the file tells a copy that was put in its place
            incarnation = f"{self._about(writer)['incarnation']}-{sight[1]}"
            made = Making(sight, incarnation, HeldRows(self._dimensions), writer)
            writer.execute("SELECT count(id), max(born) FROM rows").fetchone()
            for table in ("worded", "termed"):
                writer.execute(
                    f"SELECT rowid FROM {table} WHERE {table} MATCH 'a' LIMIT 1"
                ).fetchall()
            with _transaction(writer, "BEGIN"):
                made.held.follow(writer)
        except BaseException:
            writer.close()
            raise
        self._now = made
        return made

    def _about(self, connection: sqlite3.Connection) -> dict[str, str]:
        """What the file notes of itself. Raises sqlite3.Error: another version made it, or it is
        damaged; StoreMismatch."""
        if not self.path.stat().st_size:
            raise _damage("it is empty")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != sqlite_rows.APPLICATION:
            raise StoreMismatch(
                f"instep did not make the file {self.path}: move it away, and instep makes its own"
            )
        if version != sqlite_rows.VERSION:
            raise _damage("another version of instep made it")
        about = dict(connection.execute("SELECT name, value FROM about").fetchall())
        if about.get("dimensions") != str(self._dimensions):
            raise StoreMismatch(
                f"the file {self.path} holds vectors of {about.get('dimensions')} dimensions, and "
                f"the model has {self._dimensions}: move it away, and instep fills a new one"
            )
        if not {"incarnation", "worded", "forgotten"} <= about.keys():
            raise _damage("its notes are missing")
        return about

    def _create(self) -> None:
        """Make an empty file; it is whole when it gets its name."""
        fresh = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        try:
            os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            connection = _connect(fresh)
            try:
                _fill(connection, self._dimensions)
            finally:
                connection.close()
            self._forget_log()
            fresh.rename(self.path)
        finally:
            for left in (fresh, *_logs(fresh)):
                left.unlink(missing_ok=True)

    def _forget_log(self) -> None:
        for log_file in _logs(self.path):
            log_file.unlink(missing_ok=True)

    def _put_aside(self) -> None:
        taken = (self.path.with_suffix(f".{ASIDE}-{n}") for n in range(1, 1_000_000))
        aside = next(path for path in taken if not path.exists())
        self._now = None
        for part, place in zip((self.path, *_logs(self.path)), (aside, *_logs(aside)), strict=True):
            with contextlib.suppress(FileNotFoundError):
                part.rename(place)
        log.warning(
            "index_put_aside",
            reason=f"{self.path} is damaged, or another version of instep made it; it stays as "
            f"{aside} until you delete it, and the index is filled anew",
        )


def worded() -> str:
    """The versions of words and terms that all rows of a file are noted to have."""
    return f"{words.VERSION}.{terms.VERSION}"


def require_fts5() -> None:
    """Raises ConfigurationError: Python's SQLite lacks it."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        found = "SELECT count(*) FROM pragma_module_list WHERE name = 'fts5'"
        if not connection.execute(found).fetchone()[0]:
            raise ConfigurationError(
                "the SQLite of this Python has no FTS5, which the store sqlite finds words with: "
                "use another Python, or another store"
            )


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text
    try:
        for statement in SET_UP:
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _patience(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """How long the connection waits for others meanwhile. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA busy_timeout = {round(1000 * seconds)}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_S)}")


def _text(raw: bytes) -> str:
    """A text, also one that a fault of the disk has altered: the sweep sees that it is another."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="surrogateescape")


def _fill(connection: sqlite3.Connection, dimensions: int) -> None:
    """Make the tables of an empty file. Raises sqlite3.Error."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN; {sqlite_rows.MAKE} COMMIT;")
    about = {
        "incarnation": secrets.token_hex(16),
        "dimensions": str(dimensions),
        "worded": worded(),
        "forgotten": "0",
    }
    with _transaction(connection, "BEGIN IMMEDIATE"):
        connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        connection.execute(f"PRAGMA user_version = {sqlite_rows.VERSION}")
        connection.execute(f"PRAGMA application_id = {sqlite_rows.APPLICATION}")


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _logs(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _damage(reason: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorname = "SQLITE_NOTADB"
    return error
