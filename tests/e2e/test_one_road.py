"""Services ask each other the same way in one process and in separate ones."""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest
from instep_process import FAKE, Instep, wait_until
from ports import free_port
from services_alone import Services, get

from services.host.data_folder import DataFolder

OTHERS = ("gateway", "validator", "indexer", "embedder", "enricher")

pytestmark = pytest.mark.nats


@dataclass
class Instance:
    """Thirty documents, 25 of them below `guide`, and a gateway over them."""

    docs: Path
    bus: str
    gateway: str
    begin: Callable[[], None]
    """Start what watches the folder, where it does not yet."""
    kill: Callable[[], None]
    """Kill what was started last."""

    def ask(self, address: str) -> Any:
        answer = get(f"{self.gateway}/api/v1/{address}")
        return answer.json() if answer.status == 200 else {}

    def do(self, address: str, **fields: Any) -> Any:
        request = urllib.request.Request(
            f"{self.gateway}/api/v1/{address}",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)

    def searchable(self) -> int:
        documents: dict[str, int] = self.ask("status").get("documents", {})
        return documents.get("searchable", 0)

    def is_in_step(self) -> bool:
        return bool(self.ask("status").get("in_step"))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "guide").mkdir(parents=True)
    for n in range(30):
        name = f"guide/n{n}.md" if n < 25 else f"n{n}.md"
        (folder / name).write_text(f"# Note {n}\n\nlantern unique{n}\n")
    return folder


@pytest.fixture
def apart(docs: Path, tmp_path: Path, nats_server: Any) -> Iterator[Instance]:
    """Every service in a process of its own; that of the producer does not run yet."""
    server = type(nats_server)(tmp_path / "nats")
    server.port = free_port()
    environ = {
        **FAKE,
        "INSTEP_BUS__URL": server.url,
        "INSTEP_STORE__PATH": str(tmp_path / "store"),
        "INSTEP_SOURCES__DOCS__PATH": str(docs),
        "INSTEP_GATEWAY__PORT": "0",
    }
    server.start()
    services = Services(tmp_path / "cwd", environ)
    try:
        by_name = {name: services.start(name) for name in OTHERS}
        wait_until(lambda: all(service.is_ready() for service in by_name.values()))
        (listening, *_) = by_name["gateway"].lines("gateway_listening")
        yield Instance(
            docs, server.url, listening["url"], lambda: start(services), lambda: kill(services)
        )
    finally:
        services.stop()
        server.stop()


def start(services: Services) -> None:
    services.start("producer")


def kill(services: Services) -> None:
    killed = services.running[-1].process
    killed.kill()
    killed.wait()


@pytest.fixture(params=["in one process", "in separate ones"])
def instance(request: pytest.FixtureRequest, docs: Path, tmp_path: Path) -> Iterator[Instance]:
    if request.param == "in separate ones":
        made: Instance = request.getfixturevalue("apart")
        made.begin()
        yield made
        return
    instep = Instep(tmp_path / "data", tmp_path)
    instep.env["INSTEP_GATEWAY__AUTH"] = "none"
    instep.up(docs)
    found = DataFolder(instep.data).read_instance()
    assert found
    assert found.gateway_url
    yield Instance(docs, found.nats_url, found.gateway_url, lambda: None, lambda: None)
    instep.stop()


async def questions(bus: str, ask: Callable[[], object]) -> list[str]:
    """Subjects of what is asked of the processes that watch folders while `ask` runs."""
    client = await nats.connect(bus)
    asked = []

    async def heard(message: Any) -> None:
        asked.append(message.subject)

    await client.subscribe("instep.sources.>", cb=heard)
    await client.flush()
    await asyncio.to_thread(ask)
    await client.flush()
    await client.close()
    return asked


def test_a_removal_is_approved_over_the_bus_and_the_next_question_sees_it_done(instance, tmp_path):
    wait_until(lambda: instance.searchable() == 30)
    (instance.docs / "guide").rename(tmp_path / "gone")
    wait_until(lambda: instance.ask("status")["documents"]["held"] == 25)
    answers = []

    def approve() -> None:
        answers.append(instance.do("holds/release", source="docs"))
        answers.append(instance.ask("holds"))
        answers.append(instance.ask("status")["documents"]["held"])

    asked = asyncio.run(questions(instance.bus, approve))
    released, holds, held = answers

    # a sweep of the start may ask meanwhile, and every status asks whether somebody watches
    others = ("instep.sources.audit.docs", "instep.sources.here.docs")
    assert [subject for subject in asked if subject not in others] == [
        "instep.sources.release.docs"
    ]
    assert (released["done"], released["documents"]) == (True, 25)
    assert (holds["holds"], held) == ([], 0)
    wait_until(lambda: instance.is_in_step() and instance.searchable() == 5)


def test_a_sweep_asks_for_the_files_over_the_bus(instance):
    wait_until(lambda: instance.searchable() == 30 and instance.is_in_step())
    answers = []
    asked = asyncio.run(
        questions(instance.bus, lambda: answers.append(instance.do("sweep", dry_run=True)))
    )
    ((audit,),) = (answer["audits"] for answer in answers)

    assert "instep.sources.audit.docs" in asked
    assert (audit["source"], audit["files"], audit["error"]) == ("docs", 30, "")


def faults(instance: Instance) -> list[str]:
    """Of the sources that have one."""
    return [one["error"] for one in instance.ask("status")["sources"] if one["error"]]


def test_while_no_process_watches_the_folder_nothing_is_in_step_and_a_sweep_says_so(apart):
    status = wait_until(lambda: apart.ask("status"))
    swept = apart.do("sweep")
    (audit,) = swept["audits"]
    apart.begin()
    wait_until(lambda: apart.is_in_step() and apart.searchable() == 30)
    apart.kill()
    (killed,) = wait_until(lambda: faults(apart))

    assert (status["in_step"], status["watermark"]) == (False, None)
    assert [source["error"] for source in status["sources"]] == ["no process watches it"]
    assert killed == "no process watches it"
    assert (audit["source"], audit["error"]) == ("docs", "no process watches docs now")
    assert (swept["needs_you"], swept["resubmitted"]) == (True, 0)
