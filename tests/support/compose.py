"""The containers of compose.yaml, under a project name of their own."""

import functools
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instep_process import Shortcut, wait_until
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
METRICS = """import urllib.request as u
print(u.urlopen("http://127.0.0.1:9464/metrics").read().decode())"""


def missing() -> str:
    """Why containers cannot be run here; empty when they can."""
    for command in (("docker", "version"), ("docker", "compose", "version")):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{' '.join(command)}: {error}"
        if done.returncode:
            return f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}"
    return ""


@dataclass(frozen=True)
class Compose:
    """Runs `docker compose` from the root of the repository."""

    project: str
    docs: Path
    drop: Path
    """The folder that is a bucket."""
    port: int
    s3_port: int
    profiles: str = "single,cpu"

    def __call__(self, *args: object, check: bool = True, timeout: float = 1500.0) -> str:
        """Standard output of a command."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("INSTEP_", "COMPOSE_"))}
        done = subprocess.run(
            ["docker", "compose", "--progress", "quiet", *map(str, args)],
            cwd=ROOT,
            env=clean
            | {
                "COMPOSE_PROJECT_NAME": self.project,
                "COMPOSE_PROFILES": self.profiles,
                "INSTEP_DOCS": str(self.docs),
                "INSTEP_DROP": str(self.drop),
                "INSTEP_PORT": str(self.port),
                "INSTEP_S3_PORT": str(self.s3_port),
            },
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            raise AssertionError(f"docker compose {args}: {done.returncode}\n{said}")
        return done.stdout

    def cli(self, *args: object, check: bool = True) -> str:
        """A command of instep in the container `cli`."""
        return self("run", "--rm", "--no-deps", "-T", "cli", *args, check=check)

    def json(self, *args: object) -> Any:
        if (answer := Shortcut.ask(args, self._gateway)) is not None:
            return answer
        said = self.cli(*args, "--json", check=False)
        return json.loads(said) if said.strip() else None

    def found(self, q: str) -> list[str]:
        """Paths of the documents that a keyword search finds."""
        answer = self.json("search", q, "-n", 200, "--mode", "keyword")
        return sorted(hit["document"]["path"] for hit in answer["hits"]) if answer else []

    def containers(self, service: str) -> list[str]:
        return self("ps", "--quiet", service).split()

    def docker(self, *args: str) -> str:
        done = subprocess.run(
            ["docker", *args], capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout

    def encoded(self) -> int:
        """Texts that the embedders which run now have encoded."""
        pages = [
            self.docker("exec", container, "python", "-c", METRICS)
            for container in self.containers("embedder")
        ]
        families = [f for page in pages for f in text_string_to_metric_families(page)]
        samples = [s for f in families for s in f.samples if s.name == "instep_texts_total"]
        assert samples, pages
        return int(sum(s.value for s in samples if s.labels["how"] == "encoded"))

    def inspect(self) -> dict[str, Any]:
        """What Docker says of each running service."""
        found = json.loads(self.docker("inspect", *self("ps", "--quiet").split()))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def until(self, what: Callable[[], object], within_s: float = 900.0) -> Any:
        """The first true answer. It fails loudly with the logs of all containers."""
        try:
            return wait_until(what, within_s=within_s, every_s=0.5)
        except TimeoutError:
            raise AssertionError(self("logs", "--no-color", "--tail", 40)) from None

    def _gateway(self) -> tuple[str, str]:
        return f"http://127.0.0.1:{self.port}", _key(replace(self, profiles="single,cpu"))


@functools.cache
def _key(compose: Compose) -> str:
    """The key of the gateway, which stays for the life of its volume."""
    return compose("exec", "-T", "gateway", "cat", "/keys/gateway.key").strip()
