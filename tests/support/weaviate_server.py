"""A real Weaviate for tests, three ways: an address, a container, an executable of this machine."""

import contextlib
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from ports import free_ports

ADDRESS: Final = "INSTEP_TEST_WEAVIATE"
"""`host:port`, or `host:port:grpc-port`."""
KEY: Final = "INSTEP_TEST_WEAVIATE_KEY"
EXECUTABLE: Final = "INSTEP_TEST_WEAVIATE_SERVER"
IMAGE: Final = "semitechnologies/weaviate:1.39.0"
START_S: Final = 180.0
AS_SHIPPED: Final = {
    "ASYNC_INDEXING": "true",
    "QUEUE_SCHEDULER_INTERVAL": "5ms",
    "ASYNC_INDEXING_STALE_TIMEOUT": "1ms",
    "AUTOSCHEMA_ENABLED": "false",
    "DISABLE_TELEMETRY": "true",
    "API_BASED_MODULES_DISABLED": "true",
    "DISK_USE_WARNING_PERCENTAGE": "100",
    "DISK_USE_READONLY_PERCENTAGE": "100",
}
"""As the manual ships it (examples/docs/operate/weaviate.md), whatever the disk of this machine."""
ABSENT: Final = (
    f"no Weaviate: set {ADDRESS}=host:port, run Docker with the image {IMAGE}, "
    f"or set {EXECUTABLE} to a weaviate-server"
)


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that can be used. grpc: host and port."""

    url: str
    grpc: str
    key: str | None = None


class WeaviateServer:
    """A local executable in a folder; may be killed, frozen and started again on its ports."""

    def __init__(
        self, executable: str, folder: Path, *, name: str = "node1", **environment: str
    ) -> None:
        self.folder, self.name = folder, name
        self.environment = dict(environment)
        """More settings of the server, from the next start on."""
        self.certificate: Path | None = None
        """File with a certificate and its key: the server encrypts, from the next start on."""
        self._executable = executable
        self._ports = free_ports(6)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def reached(self) -> Reached:
        http, grpc = self._ports[:2]
        return Reached(f"{self._scheme}://127.0.0.1:{http}", f"127.0.0.1:{grpc}")

    @property
    def port(self) -> int:
        return self._ports[0]

    @property
    def grpc_port(self) -> int:
        return self._ports[1]

    @property
    def gossip_port(self) -> int:
        return self._ports[2]

    @property
    def raft_port(self) -> int:
        return self._ports[4]

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        listen = {
            "http": ["--host", "127.0.0.1", "--port", str(self.port)],
            "https": ["--tls-host", "127.0.0.1", "--tls-port", str(self.port)],
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._executable, "--scheme", self._scheme, *listen[self._scheme]],
                env={**_kept(os.environ), **self._settings(), **self.environment},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if ready(self.port, encrypted=self.certificate is not None):
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"Weaviate did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signum)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Return when it has stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def _scheme(self) -> str:
        return "http" if self.certificate is None else "https"

    def _settings(self) -> dict[str, str]:
        _, grpc, gossip, data, raft, internal = map(str, self._ports)
        names = ("TLS_CERTIFICATE", "TLS_PRIVATE_KEY", "GRPC_CERT_FILE", "GRPC_KEY_FILE")
        return {
            **AS_SHIPPED,
            **(dict.fromkeys(names, str(self.certificate)) if self.certificate else {}),
            "PERSISTENCE_DATA_PATH": str(self.folder / "data"),
            "GRPC_PORT": grpc,
            "CLUSTER_HOSTNAME": self.name,
            "CLUSTER_IN_LOCALHOST": "true",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": gossip,
            "CLUSTER_DATA_BIND_PORT": data,
            "RAFT_PORT": raft,
            "RAFT_INTERNAL_RPC_PORT": internal,
            "RAFT_JOIN": f"{self.name}:{raft}",
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "GO_PROFILING_DISABLE": "true",
            "LOG_LEVEL": "warning",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
        }


def executable() -> str | None:
    return os.environ.get(EXECUTABLE) or shutil.which("weaviate-server")


def own_executable() -> str:
    """The executable, for tests that kill and freeze it; skips here and fails in CI without."""
    found = executable()
    return found or absent(f"no weaviate-server to kill: set {EXECUTABLE}")


@contextlib.contextmanager
def reach(folder: Path) -> Iterator[Reached]:
    """The server for a whole run: the address of the environment, a container, an executable."""
    if address := os.environ.get(ADDRESS):
        host, port, *grpc = address.split(":")
        key = os.environ.get(KEY)
        yield Reached(f"http://{host}:{port}", f"{host}:{grpc[0] if grpc else 50051}", key)
        return
    with contextlib.ExitStack() as stack:
        reached = _container(stack)
        if reached is None:
            server = WeaviateServer(executable() or absent(ABSENT), folder)
            stack.callback(server.stop)
            server.start()
            reached = server.reached
        yield reached


def absent(why: str) -> str:
    if os.environ.get("CI"):
        pytest.fail(f"{why} (CI is set, so this is no reason to skip)")
    pytest.skip(why)


def container_runs() -> bool:
    """Whether Docker answers and has the image; nothing is pulled for a test."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run(
            [docker, "image", "inspect", IMAGE], capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _container(stack: contextlib.ExitStack) -> Reached | None:
    """A container that ends with the stack; None where there is no Docker, or it cannot start one.

    `WeaviateContainer` takes a fixed network, so a second run beside the first finds it taken.
    """
    if not container_runs():
        return None
    from docker.errors import APIError
    from testcontainers.community.weaviate import WeaviateContainer

    try:
        container = WeaviateContainer(image=IMAGE, env_vars=AS_SHIPPED)
        stack.enter_context(container)
    except APIError:
        if executable() is None:
            raise
        return None
    host = container.get_container_host_ip()
    http, grpc = container.get_exposed_port(8080), container.get_exposed_port(50051)
    return Reached(f"http://{host}:{http}", f"{host}:{grpc}")


def ready(port: int, *, encrypted: bool = False) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        if encrypted:
            anybody = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=1, context=anybody)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/.well-known/ready")
            return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def _kept(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in environ}
