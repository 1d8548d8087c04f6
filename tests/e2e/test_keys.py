"""`instep keys`, and processes that have the wrong ones."""

import asyncio

import pytest
from bus_publisher import send
from instep_process import Instep, wait_until
from keyed_bus import MODEL, KeyedServer
from services_alone import Services

from services.cli.publish.submissions import Submission
from shared.bus.access.connect import access_of
from shared.bus.access.permissions import PUBLISHER
from shared.domain.errors import ConfigurationError


@pytest.fixture
def instep(tmp_path):
    made = Instep(tmp_path / "data", tmp_path)
    yield made
    made.stop()


@pytest.fixture
def bus(tmp_path):
    server = KeyedServer(tmp_path / "bus")
    server.make_keys()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def services(bus, tmp_path):
    settings = {"INSTEP_BUS__URL": bus.url, "INSTEP_EMBEDDING__MODEL": MODEL}
    made = Services(tmp_path / "cwd", settings)
    yield made
    made.stop()


def test_keys_are_made_once_and_never_shown(instep, tmp_path):
    first = instep("keys", tmp_path / "keys", "--source", "wiki")
    seeds = {file: file.read_text() for file in (tmp_path / "keys").glob("*.nk")}
    second = instep.json("keys", tmp_path / "keys")

    assert first.returncode == 0, first.stderr
    assert "publisher-wiki.nk" in {file.name for file in seeds}
    assert second["made"] == []
    assert {file: file.read_text() for file in seeds} == seeds
    said = first.stdout + first.stderr + str(second)
    assert not [seed for seed in seeds.values() if seed.strip() in said]


@pytest.mark.parametrize("key", ["stranger", "none"])
def test_a_service_with_a_wrong_key_ends_at_once_with_status_2(instep, bus, tmp_path, key):
    stranger = KeyedServer(tmp_path / "other")
    stranger.make_keys()
    instep.env |= {"INSTEP_BUS__URL": bus.url}
    if key == "stranger":
        instep.env |= {"INSTEP_BUS__NKEY": str(stranger.keys / "embedder.nk")}
    done = instep("run", "embedder")

    assert done.returncode == 2, done.stderr
    assert "refuses the key" in done.stderr


def test_a_service_that_starts_before_the_admin_has_prepared_the_bus_waits_for_it(
    instep, bus, services
):
    service = services.start("embedder", INSTEP_BUS__NKEY=str(bus.keys / "embedder.nk"))
    wanted = "run `instep provision`"
    wait_until(lambda: any(wanted in line["reason"] for line in service.lines("waiting")))
    unready = wait_until(lambda: wanted in (at := service.at("/readyz")).text and at)
    instep.env |= {"INSTEP_BUS__URL": bus.url, "INSTEP_EMBEDDING__MODEL": MODEL}
    instep.env["INSTEP_BUS__NKEY"] = str(bus.keys / "admin.nk")
    made = instep("provision")
    wait_until(service.is_ready)

    assert (unready.status, service.process.poll()) == (503, None)
    assert made.returncode == 0, made.stderr
    assert {line["what"] for line in service.lines("waited")} == {"bus"}


def published(bus, identity, source, *items):
    """What a program with the key of a publisher is answered."""
    access = access_of(bus.settings(identity).bus, PUBLISHER)
    return asyncio.run(send(bus.url, access, source, items, "run"))


def test_publishing_for_a_source_of_others_names_the_subject(bus):
    bus.sources = ["wiki"]
    bus.make_keys()
    bus.reload()
    wait_until(lambda: "Reloaded server configuration" in bus.log)
    item = Submission("a.md", {"path": "a.md", "text": "# A"})
    with pytest.raises(ConfigurationError, match=r"may not publish to documents\.submitted\.docs"):
        published(bus, "publisher-wiki", "docs", item)


@pytest.mark.parametrize("key", ["publisher", "embedder"])
def test_the_command_line_asks_the_gateway_of_a_bus_with_keys_and_nothing_else(instep, bus, key):
    instep.data.mkdir(exist_ok=True)
    instep.env |= {"INSTEP_BUS__URL": bus.url, "INSTEP_BUS__NKEY": str(bus.keys / f"{key}.nk")}
    for args in (("search", "bees"), ("publish", "-", "--source", "inbox", "--path", "a.md")):
        done = instep(*args, stdin="x")
        assert done.returncode == 3, done.stderr
        assert "INSTEP_URL" in done.stderr
    assert bus.violations() == []


def test_a_program_publishes_with_the_key_of_a_publisher(instep, bus, services):
    instep.env |= {"INSTEP_BUS__URL": bus.url, "INSTEP_EMBEDDING__MODEL": MODEL}
    instep.env["INSTEP_BUS__NKEY"] = str(bus.keys / "admin.nk")
    assert instep("provision").returncode == 0
    producer = services.start("producer", INSTEP_BUS__NKEY=str(bus.keys / "producer.nk"))
    wait_until(producer.is_ready)
    small = Submission("a.md", {"path": "a.md", "text": "# A"})
    large = Submission("large.md", {"path": "large.md"}, b"# A\n" * 700_000)
    sent = published(bus, "publisher", "inbox", small, large)

    assert [one.receipt["state"] for one in sent] == ["queued"] * 2
    assert bus.violations() == []
