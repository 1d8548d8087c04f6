"""A real MariaDB for tests: the server of this machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from ports import free_ports

EXECUTABLE: Final = "INSTEP_TEST_MARIADB_SERVER"
ABSENT: Final = f"no MariaDB: apt-get install mariadb-server-core, or set {EXECUTABLE} to mariadbd"
START_S: Final = 60.0
SHARE: Final = "share/mysql"
SYSTEM: Final = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
FIRST: Final = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
LAST: Final = "CREATE DATABASE tests;\n"


@dataclass
class MariaDbServer:
    """May be killed and started again on its port. Root starts it as nobody."""

    executable: Path
    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/tests"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            if not (self.folder / "data").exists():
                self._make(log.fileno())
            listening = (f"--port={self.port}", "--bind-address=127.0.0.1")
            self._process = subprocess.Popen(
                [*self._command(), *listening, f"--socket={self.folder / 'socket'}"],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"MariaDB did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(60)
            self._process = None

    def _command(self) -> list[str]:
        user = ["--user=nobody"] if os.geteuid() == 0 else []
        tuned = ("--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=0")
        data = f"--datadir={self.folder / 'data'}"
        return [str(self.executable), "--no-defaults", *user, data, *tuned]

    def _make(self, log: int) -> None:
        """The files of the server: its own tables, and a database for the tests."""
        (self.folder / "data").mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder / "data", "nobody")
        share = next(p / SHARE for p in self.executable.parents if (p / SHARE).is_dir())
        statements = [FIRST, *((share / name).read_text() for name in SYSTEM), LAST]
        subprocess.run(
            [*self._command(), "--bootstrap"],
            input="\n".join(statements).encode(),
            stdout=log,
            stderr=log,
            check=True,
        )


def executable() -> Path:
    """The server's; skips without, also in CI, where no pinned package brings it."""
    named = os.environ.get(EXECUTABLE) or shutil.which("mariadbd")
    if not named:
        pytest.skip(ABSENT)
    return Path(named).resolve()


@contextlib.contextmanager
def running() -> Iterator[MariaDbServer]:
    where = Path(tempfile.mkdtemp(prefix="instep-mariadb-"))
    if os.geteuid() == 0:
        shutil.chown(where, "nobody")
    try:
        server = MariaDbServer(executable(), where)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(where)
