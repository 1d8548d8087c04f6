"""instep as a person runs it: processes of the command line, a folder, questions."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from services.cli.api import client
from services.cli.exits import Stop
from services.host.data_folder import DataFolder
from services.host.owner_key import owner_key

Gateway = Callable[[], "tuple[str, str | None] | None"]
FAKE = {"INSTEP_EMBEDDING__MODEL": "fake-64"}


def is_there(pid: int) -> bool:
    """Whether a process has not ended, or was not waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(
    what: Callable[[], object], *, within_s: float = 120.0, every_s: float = 0.05
) -> Any:
    """The first true answer, or an error that names the question.

    A process for each question would take most of a core from what the test waits for. So
    `status` and `search` are asked of the gateway while the answer is not true, and once more by
    processes of the command line when it is; their answer counts.
    """
    deadline = time.monotonic() + within_s
    while True:
        asked = len(Shortcut.taken)
        with Shortcut.allowed():
            answer = what()
        if answer and len(Shortcut.taken) > asked:
            answer = what()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {what.__name__}")
        time.sleep(every_s)


class Shortcut:
    """Whether questions may go to a gateway without a process of the command line."""

    open = False
    taken: ClassVar[list[str]] = []
    """The commands that went this way."""

    @classmethod
    @contextlib.contextmanager
    def allowed(cls) -> Iterator[None]:
        cls.open = True
        try:
            yield
        finally:
            cls.open = False

    @classmethod
    def ask(
        cls, args: Sequence[object], gateway: Callable[[], tuple[str, str | None] | None]
    ) -> Any:
        """What the command would print, or None where only the command itself can say it.

        Args:
            gateway: tells its address and the key that it is shown; None while there is none.
        """
        match args if cls.open else ():
            case ("status",):
                operation, fields = "status", {}
            case ("search", str() as words, "-n", int() as limit, *rest) if not rest or (
                len(rest) == 2 and rest[0] == "--mode"
            ):
                mode = rest[1] if rest else None
                fields = {"q": words, "limit": limit, "mode": mode, "highlight": True}
                operation = "search"
            case _:
                return None
        found = gateway()
        if found is None:
            return None
        url, key = found
        try:
            answer = client.ask(url, operation, fields, key=key)
        except Stop:
            return None
        cls.taken.append(operation)
        return answer


@dataclass
class Instep:
    """The command line with one data folder."""

    data: Path
    cwd: Path
    env: dict[str, str] = field(default_factory=lambda: dict(FAKE))
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    umask: int = -1
    """Of the processes; -1: as here."""

    @property
    def environ(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        return clean | {"NO_COLOR": "1"} | self.env

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-m", "services", *map(str, args), "--data", str(self.data)]

    def __call__(
        self, *args: object, stdin: str | None = None, timeout: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*args),
            cwd=self.cwd,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            umask=self.umask,
        )

    def json(self, *args: object, status: Sequence[int] = (0,), **kwargs: Any) -> Any:
        """The object that a command prints with --json."""
        if not kwargs and (answer := Shortcut.ask(args, self._gateway)) is not None:
            return answer
        done = self(*args, "--json", **kwargs)
        assert done.returncode in status, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def _gateway(self) -> tuple[str, str | None] | None:
        """Address and key of the running gateway."""
        instance = DataFolder(self.data).read_instance()
        if instance is None or not instance.gateway_url:
            return None
        return instance.gateway_url, owner_key(self.data)

    def start(self, *args: object) -> subprocess.Popen[str]:
        """Start a command in a process group of its own and leave it running."""
        name = self.cwd / f"{args[0]}-{len(self.running)}.log"
        with name.open("w") as log:
            process = subprocess.Popen(
                self.command(*args),
                cwd=self.cwd,
                env=self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                umask=self.umask,
            )
        self.running.append(process)
        return process

    def up(self, *args: object) -> subprocess.Popen[str]:
        """`instep up`, until it answers."""
        process = self.start("up", *args)

        def answers() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"up ended with {process.returncode}\n{self.logs()}")
            return DataFolder(self.data).read_instance() is not None

        wait_until(answers, within_s=180)
        return process

    def said(self, words: str) -> bool:
        """Whether anything that it runs, or ran, has said so."""
        return any(words in path.read_text(errors="replace") for path in self.cwd.glob("*.log"))

    def logs(self) -> str:
        """The end of each log, to be read by people."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in self.cwd.glob("*.log")
        )

    @property
    def shown(self) -> dict[str, str]:
        """The header that shows the owner's key to the running gateway."""
        return {"Authorization": f"Bearer {owner_key(self.data)}"}

    def found(self, query: str, **kwargs: Any) -> list[str]:
        """Paths of the documents that a search finds, best first."""
        answer = self.json("search", query, "-n", 50, **kwargs)
        return [hit["document"]["path"] for hit in answer["hits"]]

    def stop(self, *, by: int = signal.SIGTERM, within_s: float = 300.0) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, by)
        for process in self.running:
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        self.running.clear()
