"""A real Debezium Server and a Postgres that it reads, for tests of change capture."""

import contextlib
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

DISTRIBUTION: Final = "INSTEP_TEST_DEBEZIUM"
"""Folder of the unpacked distribution of Debezium Server."""
START_S: Final = 120.0
STREAM: Final = "CAPTURE"
OLDEST_JAVA: Final = 21

PROPERTIES: Final = """
debezium.sink.type=nats-jetstream
debezium.sink.nats-jetstream.url={nats}
debezium.sink.nats-jetstream.create-stream=false
debezium.sink.nats-jetstream.stream-name={stream}
debezium.sink.nats-jetstream.subjects={subject}
debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector
debezium.source.plugin.name=pgoutput
debezium.source.database.hostname=127.0.0.1
debezium.source.database.port={port}
debezium.source.database.user=postgres
debezium.source.database.password=unused
debezium.source.database.dbname=postgres
debezium.source.table.include.list=public.articles
debezium.source.topic.prefix=debezium
debezium.source.snapshot.mode=no_data
debezium.source.skipped.operations=none
debezium.source.heartbeat.interval.ms=10000
debezium.source.offset.storage.file.filename=data/offsets.dat
debezium.source.offset.flush.interval.ms=0
debezium.source.poll.interval.ms=50
debezium.transforms=route
debezium.transforms.route.type=org.apache.kafka.connect.transforms.RegexRouter
debezium.transforms.route.regex=.*
debezium.transforms.route.replacement={subject}
quarkus.http.port=0
quarkus.log.console.json.enabled=false
"""


@dataclass
class Postgres:
    """With logical decoding; `psql` is its only client here."""

    folder: Path
    programs: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def start(self) -> None:
        options = (
            f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 "
            "-c wal_level=logical -c fsync=off"
        )
        self._run("initdb", "-D", self.folder / "data", "-A", "trust", "-U", "postgres", "-N")
        self._run("pg_ctl", "start", "-w", "-l", self.folder / "log", "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate")

    def __call__(self, statement: str) -> str:
        """Run statements, each in a transaction of its own; returns what they answer."""
        done = subprocess.run(
            [
                *(self.programs / "psql", "-h", "127.0.0.1", "-p", str(self.port)),
                *("-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            ],
            input=statement,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _run(self, program: str, *args: object) -> None:
        # Postgres refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        given = [*as_user, self.programs / program, *args]
        with (self.folder / "programs.log").open("ab") as said:
            subprocess.run(
                [*map(str, given)],
                check=True,
                timeout=120,
                stdout=said,
                stderr=said,
                env=os.environ | {"PGDATA": str(self.folder / "data")},
                cwd=self.folder,
            )


@dataclass
class Debezium:
    """May be killed and started again; it goes on where it was."""

    folder: Path
    distribution: Path
    java: Path
    properties: str
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        (self.folder / "config").mkdir(parents=True, exist_ok=True)
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "config" / "application.properties").write_text(self.properties)
        runner = next(self.distribution.glob("debezium-server-dist-*-runner.jar"))
        path = os.pathsep.join([str(runner), "config", str(self.distribution / "lib" / "*")])
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self.java), "-Xmx512m", "--add-opens=java.base/java.lang=ALL-UNNAMED"),
                    *("-cp", path, "io.debezium.server.Main"),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.runs:
            if b"Processing messages" in self.log.read_bytes()[seen:]:
                return
            time.sleep(0.05)
        self.stop()
        pytest.fail(f"Debezium did not start:\n{self.log.read_text()[-3000:]}")

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(60)
            self._process = None


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    # pytest's folders belong to this user alone
    folder = Path(tempfile.mkdtemp(prefix="instep-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = Postgres(folder, _programs())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def debezium(folder: Path, port: int, nats: str, subject: str, **more: str) -> Debezium:
    """
    Args:
        port: of Postgres.
        more: properties of the connector, with "_" for ".".
    """
    given = os.environ.get(DISTRIBUTION)
    if not given:
        pytest.skip(f"no Debezium: make cdc, or set {DISTRIBUTION}")
    added = [f"debezium.{name.replace('_', '.')}={value}\n" for name, value in more.items()]
    properties = PROPERTIES.format(nats=nats, stream=STREAM, subject=subject, port=port)
    return Debezium(folder, Path(given).resolve(), _java(), properties + "".join(added))


def _java() -> Path:
    """The first Java that is new enough."""
    homes = [os.environ.get("JAVA_HOME", ""), *sorted(map(str, Path("/usr/lib/jvm").glob("*")))]
    found = [Path(home, "bin", "java") for home in homes if home]
    on_path = shutil.which("java")
    for java in [*found, *([Path(on_path)] if on_path else [])]:
        if java.exists() and _major(java) >= OLDEST_JAVA:
            return java
    pytest.fail(f"no Java {OLDEST_JAVA} or newer: set JAVA_HOME")


def _major(java: Path) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    return int(said.split('"')[1].split(".")[0])


def _programs() -> Path:
    """Folder of the server's programs: Debian's, or those on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not debian and not on_path:
        pytest.fail("no Postgres: apt-get install postgresql")
    return (debian[-1] if debian else Path(str(on_path))).parent
