"""The processes of a chaos run: a nats-server and the workers, started again whenever they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos_plan import SOURCE, WORKERS, Plan, Tally
from ports import free_port

from services.host.nats_server.local import find_server, server_config

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parent.parent
TOKEN = "chaos"
MODEL = "fake-64-faults"
RESCAN_S = 300.0
"""As by default. A shorter one would find what no event told, before anybody sees that none did."""
STARTS_WITHIN_S = 15.0
"""A producer watches its folder so soon after it was started, at the latest."""
LOG_TAIL = 1500


class Disk:
    """A folder with an end: a small file system of its own, where one can be mounted."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False) if size_mb else None
        self.limited = done is not None and done.returncode == 0

    def fill(self) -> None:
        """Write until nothing more fits."""
        block = b"\0" * 65536
        with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", 0) as file:
            while True:
                file.write(block)

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        if self.limited:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)


@dataclass
class Server:
    """The nats-server, set up as the bundled one, on a port that stays."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    down_at: float = 0.0
    """When it was last seen away."""

    @property
    def url(self) -> str:
        return f"nats://{TOKEN}@127.0.0.1:{self.port}"

    async def start(self) -> None:
        for name in ("ports", "store"):
            (self.folder / name).mkdir(exist_ok=True)
        config = self.folder / "nats.conf"
        settings = {"port": self.port, "token": TOKEN, "max_file_bytes": 32 * 1024**3}
        config.write_text(server_config(self.folder, **settings))
        self.process = await asyncio.create_subprocess_exec(
            str(find_server()), "-c", str(config), stdin=asyncio.subprocess.DEVNULL
        )
        await self._listening()

    async def _listening(self) -> None:
        for _ in range(3000):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise RuntimeError("nats-server does not listen")

    async def kill(self, away_s: float = 0.0) -> None:
        """End it as a crash does, and start it on the same store."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        self.down_at = time.monotonic()
        await asyncio.sleep(away_s)
        await self.start()
        self.down_at = time.monotonic()

    async def stop(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@dataclass
class Worker:
    """A place that a process of a service always has."""

    service: str
    number: int
    process: asyncio.subprocess.Process | None = None
    doomed: set[int] = field(default_factory=set)
    """Processes that the gremlin killed."""
    stopped: bool = False
    started_at: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.service}-{self.number}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def kill(self) -> None:
        assert self.process is not None
        self.doomed.add(self.process.pid)
        self.process.kill()


class Workers:
    """Starts every worker, and starts it again when it ends, until `stop`."""

    def __init__(self, folder: Path, source: Path, server: Server, plan: Plan) -> None:
        self.folder = folder
        self.gateway_port = free_port()
        self.all = [Worker(service, n) for service, many in WORKERS for n in range(many)]
        self.tally = Tally()
        self._server = server
        self._plan = plan
        self._source = source
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    def environ(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        source = f"INSTEP_SOURCES__{SOURCE.upper()}__"
        return clean | {
            "PYTHONPATH": f"{SUPPORT}{os.pathsep}{ROOT}",
            "CHAOS": json.dumps(self._plan.for_workers()),
            "INSTEP_BUS__URL": self._server.url,
            "INSTEP_EMBEDDING__MODEL": MODEL,
            "INSTEP_GATEWAY__PORT": str(self.gateway_port),
            "INSTEP_GATEWAY__AUTH": "none",
            f"{source}KIND": "folder",
            f"{source}PATH": str(self._source),
            f"{source}RESCAN": f"{RESCAN_S:g} s",
        }

    def begin(self, tally: Tally) -> None:
        self.tally = tally
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in self.all]

    async def _keep(self, worker: Worker) -> None:
        while not self._ending:
            log = self.folder / f"{worker.name}.log"
            at = log.stat().st_size if log.exists() else 0
            await self._start(worker, log)
            assert worker.process is not None
            code = await worker.process.wait()
            worker.stopped = False
            if not self._ending and worker.process.pid not in worker.doomed:
                self._note(worker, code, log.read_text(errors="replace")[at:])
                await asyncio.sleep(0.5)

    async def _start(self, worker: Worker, log: Path) -> None:
        command = [sys.executable, "-m", "chaos_main", "run", worker.service]
        command += ["--debug", "--data", str(self.folder / "data")]
        worker.started_at = time.monotonic()
        with log.open("a") as out:
            worker.process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env=self.environ(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def _note(self, worker: Worker, code: int, said: str) -> None:
        """An end that the gremlin did not bring: for want of a bus, or wrong."""
        if "BusUnavailable" in said[-300:] and time.monotonic() - self._server.down_at < 20:
            self.tally.counts["ends for want of a bus"] += 1
        else:
            self.tally.counts["unexpected ends"] += 1
            if self.tally.counts["unexpected ends"] > 3:
                return  # the same again, most likely
            self.tally.wrong.append(f"{worker.name} ended with {code}: {said[-LOG_TAIL:]}")

    def some(self, chooses: Callable[[list[Worker]], Worker], *services: str) -> Worker | None:
        """One that runs and is not stopped, of these services or of any."""
        fit = [w for w in self.all if w.alive and not w.stopped]
        fit = [w for w in fit if not services or w.service in services]
        return chooses(fit) if fit else None

    @property
    def watching_since(self) -> float:
        """Since when the process that watches the folder has been there without a break."""
        started = [worker.started_at for worker in self.all if worker.service == "producer"]
        return max(started) + STARTS_WITHIN_S

    def models_lost(self) -> int:
        """How often the process of a model died with a text, by all logs."""
        logs = self.folder.glob("*.log")
        return sum(log.read_text(errors="replace").count("model_process_lost") for log in logs)

    def show_tasks(self) -> None:
        """Have every worker write into its log what it waits for."""
        for worker in self.all:
            if worker.alive and worker.process:
                worker.process.send_signal(signal.SIGUSR1)

    async def stop(self) -> None:
        self._ending = True
        for number in (signal.SIGCONT, signal.SIGTERM):
            for worker in self.all:
                if worker.alive and worker.process:
                    worker.process.send_signal(number)
        _, slow = await asyncio.wait(self._tasks, timeout=25)
        for worker in self.all:
            if worker.alive and worker.process:
                worker.process.kill()
        await asyncio.gather(*slow)
