"""Several processes of each service share the work, come and go, and are killed."""

import asyncio
import json
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest
from instep_process import wait_until
from services_alone import Page, Service, Services, get

from shared.bus.delivery.pull import LATELY_S, LEAST

pytestmark = pytest.mark.nats
DEVICE_MS = 200
IN_HAND = "stage_in_hand_messages"
AT_ONCE = 2
"""Texts of a call."""
MOST_IN_HAND = 2 * LEAST + int(LATELY_S * 1000) // DEVICE_MS * AT_ONCE
"""Of both lanes, with as many as a device can do lately."""


@dataclass(frozen=True)
class Seen:
    """What a work queue has had since it was made."""

    stored: int
    again: int
    """Deliveries beyond the first of a message."""


@dataclass
class World:
    """Two enrichers and two indexers; embedders with a simulated device as a test needs them."""

    folder: Path
    url: str
    services: Services
    first: Service
    """Everything but embedders."""
    second: Service
    """Another enricher and indexer."""

    def write(self, names: list[str], about: str) -> None:
        for name in names:
            file = self.folder / name
            file.write_text(f"# Note {name}\n\nAbout {about} {name}.\n")
            file.rename(self.folder / "docs" / name)  # one change, never two

    def embedders(self, many: int) -> list[Service]:
        started = [self.services.start("embedder") for _ in range(many)]
        wait_until(lambda: all(service.is_ready() for service in started))
        return started

    @property
    def api(self) -> str:
        return f"{self.first.lines('gateway_listening')[0]['url']}/api/v1"

    def in_step(self, documents: int) -> bool:
        answer = get(f"{self.api}/status")
        if answer.status != 200:
            return False
        status = answer.json()
        return bool(status["in_step"] and status["documents"].get("searchable") == documents)

    def validated(self) -> Any:
        """Index, ledger and files against each other."""
        asked = urllib.request.Request(f"{self.api}/validate", data=b"{}", method="POST")
        asked.add_header("content-type", "application/json")
        with urllib.request.urlopen(asked, timeout=300) as answer:
            return json.loads(answer.read())

    def seen(self, stream: str) -> Seen:
        return asyncio.run(_seen(self.url, stream))


async def _seen(url: str, stream: str) -> Seen:
    client = await nats.connect(url, connect_timeout=60)
    try:
        js = client.jetstream(timeout=60)
        stored = (await js.stream_info(stream)).state.last_seq
        consumers = await js.consumers_info(stream)
        deliveries = sum(c.delivered.consumer_seq for c in consumers if c.delivered)
        return Seen(stored, deliveries - stored)
    finally:
        await client.close()


@pytest.fixture(scope="module")
def world(nats_server, tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "docs").mkdir()
    server = type(nats_server)(folder / "nats")
    server.start()
    environ = {
        "INSTEP_BUS__URL": server.url,
        "INSTEP_STORE__PATH": str(folder / "store"),
        "INSTEP_SOURCES__DOCS__PATH": str(folder / "docs"),
        "INSTEP_EMBEDDING__MODEL": f"fake-16-{DEVICE_MS}ms",
        "INSTEP_EMBEDDING__MAX_BATCH": str(AT_ONCE),
        "INSTEP_GATEWAY__PORT": "0",
    }
    services = Services(folder / "cwd", environ)
    try:
        first = services.start("producer", "enricher", "indexer", "validator", "gateway")
        wait_until(first.is_ready)
        second = services.start("enricher", "indexer")
        wait_until(second.is_ready)
        yield World(folder, server.url, services, first, second)
    finally:
        services.stop()
        server.stop()


def test_replicas_share_the_work_and_one_that_is_killed_repeats_nothing_in_the_index(world):
    names = [f"a{n:02}.md" for n in range(100)]
    world.write(names, "kestrels")
    wait_until(lambda: world.seen("CHUNKS").stored >= len(names))  # so that both have enough to do
    stays, dies = (world.services.start("embedder") for _ in range(2))
    wait_until(lambda: is_amid(dies.scrape()), every_s=0.01)
    dies.process.send_signal(signal.SIGSTOP)  # mid-batch: whatever it has in hand stays with it
    dies.process.kill()
    dies.process.wait()
    wait_until(lambda: world.in_step(len(names)), within_s=180)
    validated, chunks, vectors = world.validated(), world.seen("CHUNKS"), world.seen("VECTORS")

    assert (validated["passed"], validated["documents"]) == (True, len(names))
    assert validated["rows"] == validated["expected_rows"]
    assert chunks.stored == len(names)
    assert 0 < chunks.again <= MOST_IN_HAND  # one `ack_wait` each, and only what it had in hand
    assert len(names) <= vectors.stored <= len(names) + chunks.again
    for stage in ("enricher", "indexer"):
        assert (
            min(
                one.number("instep_stage_deliveries_total", stage=f"{stage}_bulk")
                + one.number("instep_stage_deliveries_total", stage=stage)
                for one in (world.first, world.second)
            )
            > 0
        )
    assert stays.number("instep_texts_total", how="encoded") > len(names) / 2


def is_amid(page: Page) -> bool:
    """Whether an embedder has done something, and has more in hand than its next call will end."""
    done, in_hand = (page.number(f"instep_{name}") for name in ("encode_texts_total", IN_HAND))
    return bool(done >= 2 * AT_ONCE and in_hand > 2 * AT_ONCE)


def test_replicas_come_and_go_under_load_and_nothing_is_lost_or_encoded_twice(world):
    before = world.seen("CHUNKS"), world.seen("VECTORS")
    searchable = world.validated()["documents"]
    names = [f"b{n:02}.md" for n in range(80)]
    more = world.embedders(2)
    world.write(names, "plovers")
    wait_until(lambda: all(one.number("instep_encode_texts_total") >= 2 for one in more))
    for one in more:
        one.process.terminate()
    ended = [one.process.wait(300) for one in more]
    wait_until(lambda: world.in_step(searchable + len(names)), within_s=180)
    validated, chunks, vectors = world.validated(), world.seen("CHUNKS"), world.seen("VECTORS")

    assert ended == [0, 0]
    assert (validated["passed"], validated["documents"]) == (True, searchable + len(names))
    assert validated["rows"] == validated["expected_rows"]
    assert chunks.stored - before[0].stored == len(names)
    assert vectors.stored - before[1].stored == len(names)
