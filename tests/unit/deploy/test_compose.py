"""compose.yaml runs every service of the table, each by its own key."""

from pathlib import Path

import pytest
import yaml

from shared.domain.services import NAMES

COMPOSE = yaml.safe_load((Path(__file__).parents[3] / "compose.yaml").read_text())["services"]


def test_it_runs_every_service_of_the_table_and_no_other():
    commands = [service.get("command") for service in COMPOSE.values()]
    runs = {command[1] for command in commands if command and command[0] == "run"}

    assert runs == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_under_its_own_name(name):
    assert COMPOSE[name]["command"] == ["run", name]
