"""The table of operations: every row holds together, and old addresses still answer."""

import inspect
import subprocess
import sys

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel

from services.gateway.app import build_app
from services.gateway.models import Request
from services.gateway.operations import JSON, OPERATIONS, resolve
from services.gateway.problems import KINDS

ROWS = OPERATIONS.values()


@pytest.fixture
async def client(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        yield client


def test_every_address_stands_once_in_the_table():
    places = [(p.method, p.address) for row in ROWS for p in (*row.places, *row.aliases)]

    assert len(set(places)) == len(places)


@pytest.mark.parametrize("row", ROWS, ids=OPERATIONS)
def test_a_row_holds_together(row):
    request = resolve(row.request)

    assert issubclass(request, Request)
    assert (row.run or row.handler) is not None
    assert row.summary.endswith(".")
    for place in (*row.places, *row.aliases):
        assert set(place.parameters) <= request.model_fields.keys()
    if row.handler:
        assert inspect.iscoroutinefunction(resolve(row.handler))
    assert set(row.refusals) <= KINDS.keys()
    if row.answer:
        assert JSON in row.produces
        assert issubclass(resolve(row.answer), BaseModel)


def test_the_table_is_read_without_models_and_servers():
    heavy = ("pydantic", "aiohttp", "asyncio", "numpy", "services.gateway.models")
    code = (
        f"import services.gateway.operations, sys; print([m for m in {heavy} if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("method", "address", "body", "status"),
    [
        ("GET", "/api/v1/holds", None, 200),
        ("POST", "/api/v1/holds/release", {"source": "docs"}, 404),
        ("POST", "/api/v1/holds/keep", {"source": "docs"}, 404),
        ("POST", "/api/v1/failures/drop", {"all": True}, 200),
        ("POST", "/api/v1/sources/forget", {"source": "nope"}, 404),
    ],
)
async def test_an_address_of_an_older_version_answers_as_before(
    client, method, address, body, status
):
    response = await client.request(method, address, json=body)
    answer = await response.json()

    assert response.status == status
    assert answer.get("code") != "not_found"


async def test_a_field_of_the_address_is_not_given_again(client):
    for method, address, fields in (
        ("GET", "/api/v1/documents/docs/a.md?name=b.md", None),
        ("POST", "/api/v1/removals/docs/approve", {"source": "wiki"}),
    ):
        response = await client.request(method, address, json=fields)
        body = await response.json()

        assert (response.status, body["code"]) == (422, "unknown_field")
        assert "the address holds it already" in body["detail"]
