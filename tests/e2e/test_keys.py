"""`instep keys`, and processes that have the wrong ones."""

import pytest
from instep_process import Instep
from keyed_bus import KeyedServer


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


@pytest.mark.parametrize(
    ("key", "said"),
    [("stranger", "refuses the key"), ("embedder", "instep provision"), ("none", "refuses")],
)
def test_a_service_with_a_wrong_key_or_a_bare_bus_ends_at_once_with_status_2(
    instep, bus, tmp_path, key, said
):
    stranger = KeyedServer(tmp_path / "other")
    stranger.make_keys()
    folder = {"stranger": stranger.keys, "embedder": bus.keys}.get(key)
    instep.env |= {"INSTEP_BUS__URL": bus.url}
    if folder:
        instep.env |= {"INSTEP_BUS__NKEY": str(folder / "embedder.nk")}
    done = instep("run", "embedder", timeout=60)

    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_publishing_for_a_source_of_others_names_the_subject(instep, bus, tmp_path):
    (tmp_path / "a.md").write_text("# A")
    bus.sources = ["wiki"]
    bus.make_keys()
    bus.reload()
    key = bus.keys / "publisher-wiki.nk"
    instep.env |= {"INSTEP_BUS__URL": bus.url, "INSTEP_BUS__NKEY": str(key)}
    done = instep("publish", "a.md", "--source", "docs")

    assert done.returncode == 2, done.stderr
    assert "may not publish to documents.submitted.docs" in done.stderr
