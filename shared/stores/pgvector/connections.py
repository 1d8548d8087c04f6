"""The connections to a Postgres server: made when they are needed, and again after it was away.

A call that finds its connection dead tries once more on a new one: nothing here is unsafe to
repeat. So a server that restarts costs no call that comes afterwards.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shared.domain.errors import ConfigurationError, StoreUnavailable
from shared.stores.pgvector import faults
from shared.stores.pgvector.rows import VectorBytes

if TYPE_CHECKING:
    from psycopg import AsyncConnection

MOST: Final = 8
"""Connections of a process at once."""
CONNECT_S: Final = 5
CALL_S: Final = 60.0
LONG_S: Final = 24 * 3600.0
"""The same for sweeps and for making an index."""
TRIES: Final = 5
"""Of a call that lost a race against other writers."""
EF_SEARCH: Final = 200
"""Rows that a walk through the vector index keeps in sight."""

T = TypeVar("T")

SET_UP: Final = """
SELECT set_config('search_path', current_setting('search_path') || coalesce((
           SELECT ', ' || quote_ident(nspname) FROM pg_catalog.pg_extension AS e
           JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE extname = 'vector'
       ), ''), false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit')
           WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
       set_config('hnsw.iterative_scan', 'strict_order', false),
       set_config('hnsw.ef_search', %(ef_search)s, false),
       set_config('client_min_messages', 'error', false)
"""
"""An acknowledged row must be on the disk, whatever the server's default; a filter must not leave
fewer rows than there are."""


class Connections:
    """
    Args:
        url: of the database, perhaps with a password in it.
        password: in place of one in the address.
    """

    def __init__(self, url: str, password: str | None) -> None:
        self._url, self._password = url, password
        self._idle: list[AsyncConnection[Any]] = []
        self._places = asyncio.Semaphore(MOST)
        self._closed = False

    async def run(
        self,
        work: Callable[["AsyncConnection[Any]"], Awaitable[T]],
        *,
        within_s: float | None = None,
        asks: bool = False,
    ) -> T:
        """The result of `work`, which may be done more than once.

        Args:
            within_s: None for CALL_S.
            asks: a question of a person, whose values may be what the server refuses.

        Raises:
            StoreUnavailable: the outcome is not known.
            QuestionRefused: the server works, and cannot take the question, if `asks`.
            StoreMismatch, ConfigurationError: only a person can put it right.
        """
        import psycopg

        within_s = CALL_S if within_s is None else within_s
        try:
            async with asyncio.timeout(within_s), self._places:
                return await self._tried(work)
        except TimeoutError:
            raise StoreUnavailable(f"Postgres did not answer within {within_s:g} s") from None
        except (psycopg.Error, OSError, UnicodeError) as error:
            raise faults.sorted_error(error, asks=asks) from None

    async def close(self) -> None:
        """Close all; those of calls under way when the calls end."""
        self._closed = True
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _tried(self, work: Callable[["AsyncConnection[Any]"], Awaitable[T]]) -> T:
        """Raises psycopg.Error."""
        import psycopg

        for left in reversed(range(TRIES)):
            was_idle = bool(self._idle)
            connection = self._idle.pop() if was_idle else await self._connect()
            try:
                return await work(connection)
            except psycopg.Error as error:
                lost_a_race = faults.state_of(error) in faults.LOST_RACES
                died_idle = connection.closed and was_idle
                if not left or not (lost_a_race or died_idle):
                    raise
                if died_idle:  # and so have the others
                    await self._drop_idle()
            finally:
                await self._give_back(connection)
        raise AssertionError

    async def _give_back(self, connection: "AsyncConnection[Any]") -> None:
        from psycopg.pq import TransactionStatus

        if connection.info.transaction_status == TransactionStatus.IDLE and not self._closed:
            self._idle.append(connection)
        else:  # dead, or left in the middle of a statement
            await connection.close()

    async def _connect(self) -> "AsyncConnection[Any]":
        """Raises psycopg.Error; ConfigurationError: psycopg is not installed."""
        from psycopg import AsyncConnection
        from psycopg.adapt import Dumper
        from psycopg.pq import Format

        class VectorDumper(Dumper):
            format = Format.BINARY

            def dump(self, obj: bytes) -> bytes:
                return obj

        options: dict[str, Any] = {"connect_timeout": CONNECT_S, "application_name": "instep"}
        if self._password is not None:
            options["password"] = self._password
        # a plan that is kept outlives the table that it was made for
        connection = await AsyncConnection.connect(
            self._url, autocommit=True, prepare_threshold=None, **options
        )
        connection.adapters.register_dumper(VectorBytes, VectorDumper)
        try:
            await connection.execute(SET_UP, {"ef_search": str(EF_SEARCH)})
        except BaseException:
            await connection.close()
            raise
        return connection


def require_client() -> None:
    """Load psycopg. Raises ConfigurationError: it is not installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "pgvector needs the client of Postgres. Fix: pip install 'instep[pgvector]'"
        ) from None
    # it logs what it meets when a call is given up, which is an error here already
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
