"""compose.yaml runs every service of the table, each by its own key."""

from pathlib import Path

import pytest
import yaml

from shared.domain.services import NAMES

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


class Override(yaml.SafeLoader):
    """Reads the tag by which Compose replaces a value instead of merging it."""


Override.add_constructor(
    "!override", lambda loader, node: loader.construct_mapping(node, deep=True)
)


def test_it_runs_every_service_of_the_table_and_no_other():
    commands = [service.get("command") for service in COMPOSE.values()]
    runs = {command[1] for command in commands if command and command[0] == "run"}

    assert runs == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_under_its_own_name(name):
    assert COMPOSE[name]["command"] == ["run", name]


def test_postgres_takes_the_place_of_weaviate_for_every_service_that_waits_for_it():
    text = (ROOT / "deploy" / "compose.pgvector.yaml").read_text()
    changed = yaml.load(text, Override)["services"]
    waiting = {name for name, one in COMPOSE.items() if "weaviate" in one.get("depends_on", ())}

    assert waiting == changed.keys() - {"postgres", "weaviate"}
    for name in waiting:
        assert changed[name]["environment"]["INSTEP_STORE__KIND"] == "pgvector"
        assert changed[name]["depends_on"].keys() == (
            COMPOSE[name]["depends_on"].keys() - {"weaviate"} | {"postgres"}
        )
    assert changed["weaviate"]["profiles"]
