"""10. The page about security says of every key what the code gives it."""

import re
from pathlib import Path

import pytest

from services.cli.keys.bus import GATEWAY_KEY, ROUTE_KEY, WEAVIATE_ENV, WEAVIATE_KEY
from shared.bus.access.permissions import IDENTITIES, PUBLISHER, permissions
from shared.bus.admin.server import AUTH_FILE, CLUSTER_FILE, SERVER_FILE
from shared.domain.services import served, service_of
from shared.domain.topology import TROUBLES

PAGE = (Path(__file__).parents[2] / "examples/docs/operate/security.md").read_text()
GENERATION = "g1"


def row(identity):
    """What the cells of the table say in code: handles, publishes, writes to."""
    [found] = re.findall(rf"^\| `{identity}` \|(.*)\|$", PAGE, re.MULTILINE)
    return [set(re.findall(r"`([^`]+)`", cell)) for cell in found.split("|")[:3]]


def told(identity):
    """The same, of the code."""
    subjects = permissions(identity, [GENERATION]).publish
    events = [s for s in subjects if re.match(r"documents|embeddings|batches", s)]
    kept = [s.split(".")[1] for s in subjects if s.startswith(("$KV.", "$O."))]
    stages = () if identity == PUBLISHER else served(service_of(identity), GENERATION)
    return [
        {stage.name.removesuffix(f"_{GENERATION}").removesuffix("_bulk") for stage in stages},
        {".".join(subject.split(".")[:2]) for subject in events},
        {name.removesuffix(f"_{GENERATION}") for name in kept} - {TROUBLES.name},
    ]


@pytest.mark.parametrize("identity", [name for name in IDENTITIES if name != "admin"])
def test_the_table_says_what_a_key_may_do(identity):
    assert row(identity) == told(identity)


def test_every_file_that_is_made_is_explained():
    made = [AUTH_FILE, SERVER_FILE, CLUSTER_FILE, ROUTE_KEY, GATEWAY_KEY]
    for name in (*made, WEAVIATE_KEY, WEAVIATE_ENV, "admin.nk", "publisher.nk"):
        assert f"`{name}`" in PAGE
