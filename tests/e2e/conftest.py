"""The command line as processes: alone, and before a gateway over a small index in memory."""

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from gateway_world import Index
from instep_process import Instep

from services.cli.main import run
from services.cli.publish import sending
from services.gateway.app import build_app
from services.host.data_folder import DataFolder, Instance


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """Runs commands in a folder, with a data folder of its own."""

    cwd: Path
    data: Path

    async def __call__(self, *args: str, stdin: str = "", **environ: str) -> Done:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services", *args, "--data", str(self.data)),
            cwd=self.cwd,
            env={**clean, **environ},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 300)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())


@pytest.fixture
def instep(tmp_path: Path) -> Iterator[Instep]:
    """An installation with a data folder of its own; what it has running ends with the test."""
    made = Instep(tmp_path / "data", tmp_path)
    yield made
    made.stop()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path, tmp_path / "data")


@pytest.fixture
def impatient(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Awaitable[Done]]:
    """`cli` in this process, where a gateway that takes nothing is not asked again for 30 s."""
    monkeypatch.setattr(sending, "PATIENCE_S", 0.0)

    async def command(*args: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = await asyncio.to_thread(run, [*args, "--data", str(cli.data)])
        return Done(status, *capsys.readouterr())

    return command


@pytest.fixture
async def served(cli: Cli) -> AsyncIterator[Index]:
    """An index whose gateway runs here, announced in the data folder of `cli`."""
    index = Index()
    folder = DataFolder(cli.data)
    async with TestServer(build_app(index.queries, index.commands)) as server:
        with folder.lock():
            folder.announce(
                Instance(
                    pid=os.getpid(),
                    nats_url="nats://127.0.0.1:1",
                    gateway_url=str(server.make_url("")).rstrip("/"),
                    started_at=datetime.now(UTC).isoformat(),
                    version="0.1.0",
                )
            )
            yield index
