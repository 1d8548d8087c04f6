"""Services as processes of their own over one nats-server, for the benchmarks of many replicas."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import wait_until

SERVER = """
listen: "127.0.0.1:-1"
ports_file_dir: "{folder}/ports"
jetstream {{ store_dir: "{folder}/js", max_file: 64GB, sync_interval: always }}
feature_flags {{ js_ack_fc_v2: false }}
"""


@dataclass
class Service:
    """One process of `instep run`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it logged of an event."""
        whole = self.log.read_text().rpartition("\n")[0].splitlines()
        told = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in told if line["event"] == event]

    def field(self, event: str, name: str) -> str:
        """A field of the first line that it logged of an event; empty before that."""
        lines = self.lines(event)
        return str(lines[0][name]) if lines else ""

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(self.log.read_text()[-3000:])
        port = self.field("health_listening", "port")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except (urllib.error.URLError, ValueError, OSError):
            return False
        return True

    def cpu_s(self) -> float:
        """Seconds of processor time since its start; 0 after its end."""
        return cpu_s(self.process.pid) if self.process.poll() is None else 0.0

    def stop(self, by: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(by)
        self.process.wait(60)


@dataclass
class Fleet:
    """A server, a folder for the store, and whatever runs."""

    root: Path
    env: dict[str, str]
    url: str = ""
    services: list[Service] = field(default_factory=list)
    server: subprocess.Popen[bytes] | None = None

    def kill_server(self) -> None:
        """End the server with SIGKILL, and start it again at the same address."""
        assert self.server is not None
        self.server.kill()
        self.server.wait(10)
        self.server = _serve(self.root / "nats", "-p", self.url.rpartition(":")[2])

    def run(self, *names: str) -> Service:
        """Start services in one process; returns at once."""
        log = self.root / f"{'-'.join(names)}-{len(self.services)}.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        own = {
            "INSTEP_BUS__URL": self.url,
            "INSTEP_STORE__PATH": str(self.root / "store"),
            "INSTEP_GATEWAY__AUTH": "none",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "services", "run", *names],
                env={**clean, **own, **self.env, "INSTEP_TELEMETRY__LOG": "json"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        service = Service(" ".join(names), process, log)
        self.services.append(service)
        return service

    def ready(self, *services: Service) -> None:
        wait_until(lambda: all(s.is_ready() for s in services or self.services), 120, 0.1)


@contextmanager
def fleet(root: Path, **env: str) -> Iterator[Fleet]:
    """A running server; everything is stopped at the end, the files are removed."""
    folder = root / "nats"
    (folder / "ports").mkdir(parents=True)
    (folder / "nats.conf").write_text(SERVER.format(folder=folder))
    made = Fleet(root, dict(env), server=_serve(folder))
    try:
        made.url = _address(folder / "ports")
        yield made
    finally:
        for service in made.services:
            if service.process.poll() is None:
                service.process.terminate()
        for service in made.services:
            service.stop()
        if made.server is not None:
            made.server.terminate()
            made.server.wait(10)
        shutil.rmtree(root, ignore_errors=True)


def _serve(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    binary = Path(sys.executable).parent / "nats-server"
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([binary, "-c", folder / "nats.conf", *args], stdout=log, stderr=log)


def _address(ports: Path) -> str:
    for _ in range(400):
        for found in ports.glob("*.ports"):
            try:
                return str(json.loads(found.read_text())["nats"][0])
            except ValueError:
                continue
        time.sleep(0.025)
    raise SystemExit("nats-server did not start")


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def load() -> str:
    """The machine's load over the last minute, to be said beside every figure."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
