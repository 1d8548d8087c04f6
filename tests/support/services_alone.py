"""Services as containers run them: one process each, settings by environment, a server to share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instep_process import wait_until
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def get(url: str, **headers: str) -> Answer:
    """Whatever the status; 0 when nobody answers."""
    try:
        asked = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(asked, timeout=60) as response:
            return Answer(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode())
    except OSError:
        return Answer(0, "")


@dataclass(frozen=True)
class Page:
    """All samples of one scrape: what is compared has to be of one moment."""

    samples: list[Sample]

    def number(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name whose labels fit."""
        fits = (s for s in self.samples if s.name == name and labels.items() <= s.labels.items())
        return sum(sample.value for sample in fits)

    def has(self, name: str) -> bool:
        return any(sample.name.startswith(name) for sample in self.samples)

    @property
    def backlog(self) -> set[str]:
        """The stages whose backlog it tells."""
        return {s.labels["stage"] for s in self.samples if s.name == "instep_backlog_messages"}


@dataclass
class Service:
    """One process of `instep run`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """What it logged, each line JSON; only of one event."""
        whole = self.log.read_text().rpartition("\n")[0].splitlines()
        told = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in told if not event or line["event"] == event]

    def at(self, address: str) -> Answer:
        """The answer of its health port; 0 before it listens and after it ended."""
        listening = self.lines("health_listening")
        return (
            get(f"http://127.0.0.1:{listening[0]['port']}{address}") if listening else Answer(0, "")
        )

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self.at("/readyz").status == 200

    def scrape(self) -> Page:
        """Its metrics at one moment; none before it listens and after it ended."""
        families = text_string_to_metric_families(self.at("/metrics").text)
        return Page([sample for family in families for sample in family.samples])

    def number(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name whose labels fit."""
        return self.scrape().number(name, **labels)


@dataclass
class Services:
    """Starts them in a folder in which nothing can be made by mistake unseen."""

    folder: Path
    environ: Mapping[str, str]
    running: list[Service] = field(default_factory=list)

    def start(self, *names: str, **environ: str) -> Service:
        """`instep run NAMES`, with nothing but the environment to tell what it shall do."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder.parent / f"{'-'.join(names)}-{len(self.running)}.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "services", "run", *names],
                cwd=self.folder,
                env={**clean, "INSTEP_GATEWAY__AUTH": "none", **self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        service = Service(" ".join(names), process, log)
        self.running.append(service)
        return service

    def stop(self) -> None:
        for service in self.running:
            if service.process.poll() is None:
                service.process.terminate()
        for service in self.running:
            try:
                service.process.wait(180)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()
        self.running.clear()


def until(what: Any, within_s: float = 120.0) -> Any:
    return wait_until(what, within_s=within_s)
