"""Each service in a process of its own, as containers run them."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nats
import pytest
from instep_process import wait_until
from ports import free_port
from services_alone import Page, Service, Services, get

ALL = ("gateway", "validator", "indexer", "embedder", "enricher", "producer")
"""The sinks first: nobody finds there what it needs."""
IN_HAND = "instep_stage_in_hand_messages"
SLOW = 32
"""Documents that take the device half a second each: a stop meets some of them undone."""

pytestmark = pytest.mark.nats


def settings(folder: Path, url: str) -> dict[str, str]:
    """All that a container gets."""
    return {
        "INSTEP_BUS__URL": url,
        "INSTEP_STORE__PATH": str(folder / "store"),
        "INSTEP_SOURCES__DOCS__PATH": str(folder / "docs"),
        "INSTEP_EMBEDDING__MODEL": "fake-64-faults",
        "INSTEP_EMBEDDING__MAX_BATCH": "1",
        "INSTEP_GATEWAY__PORT": "0",
        "INSTEP_BUS__DRAIN": "60 s",
    }


@dataclass
class World:
    """Six services, which were started before the server was."""

    folder: Path
    server: Any
    services: Services
    by_name: dict[str, Service]
    before: dict[str, tuple[int, int, str]]
    """Of each service before there was a server: /livez, /readyz, and what that said of the bus."""

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).rename(self.folder / "docs" / name)  # one change, never two

    @property
    def gateway(self) -> str:
        return str(self.by_name["gateway"].lines("gateway_listening")[0]["url"])

    def found(self, query: str) -> list[str]:
        answer = get(f"{self.gateway}/api/v1/search?q={query}&limit=50")
        hits = answer.json()["hits"] if answer.status == 200 else []
        return [hit["document"]["path"] for hit in hits]

    def in_step(self) -> bool:
        answer = get(f"{self.gateway}/api/v1/status")
        return answer.status == 200 and bool(answer.json()["in_step"])

    def all_ready(self) -> bool:
        return all(service.is_ready() for service in self.by_name.values())


@pytest.fixture(scope="module")
def world(nats_server, tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "docs").mkdir()
    server = type(nats_server)(folder / "nats")
    server.port = free_port()
    services = Services(folder / "cwd", settings(folder, server.url))
    by_name = {name: services.start(name) for name in ALL}
    before = {}
    try:
        for name, service in by_name.items():
            wait_until(lambda s=service: s.lines("waiting"))
            ready = wait_until(lambda s=service: (at := s.at("/readyz")).status and at)
            said = next(c["text"] for c in ready.json()["checks"] if c["name"] == "bus")
            before[name] = (service.at("/livez").status, ready.status, said)
        server.start()
        yield World(folder, server, services, by_name, before)
    finally:
        services.stop()
        server.stop()


def test_every_service_waits_for_a_server_that_starts_last(world):
    wait_until(world.all_ready)

    why = f"no NATS server answers at {world.server.url.removeprefix('nats://')}"
    assert world.before == dict.fromkeys(ALL, (200, 503, f"waits: {why}"))
    for service in world.by_name.values():
        reasons = [line["reason"] for line in service.lines("waiting") if line["what"] == "bus"]
        assert reasons[0] == why
        assert all(one != before for before, one in pairwise(reasons))  # not one for each try
        assert "bus" in {line["what"] for line in service.lines("waited")}


def test_a_file_that_is_dropped_is_found_and_nothing_is_left_in_the_folder_of_a_service(world):
    world.write("a.md", "# Rotating keys\n\nAbout armadillos.\n")
    wait_until(lambda: world.found("armadillos") == ["a.md"])
    wait_until(world.in_step)

    assert list(world.services.folder.iterdir()) == []


def test_what_was_done_can_be_scraped(world):
    world.write("b.md", "# Backups\n\nAbout porcupines.\n")
    wait_until(lambda: "b.md" in world.found("porcupines"))
    pages = wait_until(lambda: at_rest(world))

    for name in ("enricher", "embedder", "indexer"):
        ended = pages[name].number("instep_stage_deliveries_total")
        assert ended >= pages[name].number("instep_stage_deliveries_total", outcome="done") >= 2
        assert ended == pages[name].number("instep_stage_duration_seconds_count")
        assert ended >= pages[name].number("instep_stage_wait_seconds_count") >= 2
    assert pages["embedder"].number("instep_texts_total", how="encoded") >= 2
    assert pages["embedder"].number("instep_encode_texts_total") >= 2
    assert pages["indexer"].number("instep_freshness_seconds_count") >= 2
    assert pages["indexer"].number("instep_rows_total", operation="written") >= 2
    assert pages["indexer"].number("instep_document_outcomes_total", outcome="indexed") >= 2
    assert pages["gateway"].number("instep_build_info", services="gateway") == 1
    stages = {"accept", "enricher", "embedder", "indexer", "validator"}
    assert pages["gateway"].backlog >= stages
    assert "embedder" in pages["embedder"].backlog
    assert not {"enricher", "indexer"} & pages["embedder"].backlog
    assert not pages["validator"].has("instep_encode")  # it loads no model


def at_rest(world: World) -> dict[str, Page] | None:
    """A scrape of each while nobody has anything in hand and the bus tells every backlog."""
    if not world.in_step():
        return None
    pages = {name: service.scrape() for name, service in world.by_name.items()}
    calm = all(p.number("instep_ready") and not p.number(IN_HAND) for p in pages.values())
    return pages if calm and pages["gateway"].backlog and pages["embedder"].backlog else None


def test_a_server_that_is_killed_makes_all_unready_until_it_is_back(world):
    world.server.kill()
    wait_until(lambda: not any(s.is_ready() for s in world.by_name.values()))
    alive = {name: service.at("/livez").status for name, service in world.by_name.items()}
    world.server.start()
    wait_until(world.all_ready)
    world.write("c.md", "# Later\n\nAbout pangolins.\n")
    wait_until(lambda: "c.md" in world.found("pangolins"))

    assert alive == dict.fromkeys(ALL, 200)
    assert all(s.number("instep_bus_reconnects_total") >= 1 for s in world.by_name.values())


def test_a_stop_finishes_or_hands_back_what_it_holds_and_nothing_is_encoded_twice(world):
    first = world.by_name["embedder"]
    before = first.number("instep_texts_total", how="encoded")
    paths = {f"slow{n}.md" for n in range(SLOW)}
    for path in paths:
        world.write(path, f"# Slow\n\nfaultslow wombat {path}\n")
    wait_until(lambda: first.number("instep_texts_total", how="encoded") > before)
    first.process.send_signal(signal.SIGTERM)
    draining = wait_until(lambda: '"stopping"' in (at := first.at("/readyz")).text and at)
    status = first.process.wait(300)
    second = world.by_name["embedder"] = world.services.start("embedder")
    wait_until(lambda: paths <= set(world.found("wombat")))

    finished = first.lines("served")[0]["texts_encoded"] - before
    assert (draining.status, draining.json()["checks"][0]["name"]) == (503, "stopping")
    assert status == 0
    assert 0 < finished < SLOW
    assert second.number("instep_texts_total", how="encoded") == SLOW - finished


def test_a_part_that_fails_ends_its_process(world):
    async def delete() -> None:
        client = await nats.connect(world.server.url)
        js = client.jetstream()
        consumer = (await js.consumers_info("VECTORS"))[0]
        await js.delete_consumer("VECTORS", consumer.name)
        await client.close()

    indexer = world.by_name["indexer"]
    wait_until(indexer.is_ready)
    asyncio.run(delete())

    assert indexer.process.wait(300) == 2
    assert "is gone from the bus" in indexer.log.read_text()


# -- one process, alone ----------------------------------------------------------------------------


@pytest.fixture
def services(tmp_path) -> Iterator[Services]:
    made = Services(tmp_path / "cwd", settings(tmp_path, "nats://127.0.0.1:1"))
    yield made
    made.stop()


def test_a_stop_while_it_waits_is_at_once_and_no_failure(services):
    embedder = services.start("embedder")
    wait_until(lambda: embedder.lines("waiting"))
    embedder.process.send_signal(signal.SIGTERM)

    assert embedder.process.wait(300) == 0
    assert embedder.lines()[-1]["event"] == "stopped_before_it_served"


def test_a_wrong_key_ends_it_at_once_with_one_line(services, own_nats_server):
    own_nats_server.stop()
    own_nats_server.extra += "\nauthorization { token: right }\n"
    own_nats_server.start()
    url = own_nats_server.url.replace("nats://", "nats://wrong@")
    embedder = services.start("embedder", INSTEP_BUS__URL=url)
    status = embedder.process.wait(300)

    assert status == 2
    (line,) = [x for x in embedder.log.read_text().splitlines() if not x.startswith("{")]
    assert "refuses the key" in line
    assert "wrong" not in line


def test_a_taken_health_port_is_told(services):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        embedder = services.start("embedder", INSTEP_HEALTH__PORT=str(port))

        assert embedder.process.wait(300) == 2
    assert f"health.port {port}" in embedder.log.read_text()
