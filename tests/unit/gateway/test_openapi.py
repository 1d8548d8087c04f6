"""The OpenAPI document: valid, complete, and served as it is checked in."""

import json
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.gateway import openapi
from services.gateway.access.bearer import Credentials
from services.gateway.app import build_app
from services.gateway.operations import OPERATIONS
from services.gateway.pages.table import AT as PAGES_AT
from services.gateway.problems import KINDS

CHECKED_IN = Path(__file__).parents[3] / "docs/contracts/openapi.json"
METHODS = {"get", "post", "put", "delete"}


@pytest.fixture(scope="module")
def document():
    return openapi.document()


def described(document):
    return {(m.upper(), path) for path, item in document["paths"].items() for m in item}


def test_the_document_is_valid_openapi(document):
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())

    assert errors == []


def test_every_route_is_described_and_every_description_is_served(document, index):
    hidden = {(p.method, p.address) for row in OPERATIONS.values() for p in row.aliases}
    hidden |= PAGES_AT.keys()  # for people
    served = {
        (route.method, route.resource.canonical)
        for route in build_app(index.queries, index.commands).router.routes()
        if route.method != "HEAD"  # comes with every GET
    }

    assert described(document) == served - hidden
    assert hidden <= served


async def test_it_is_served_as_it_is_checked_in(index):
    app = build_app(index.queries, index.commands, known=Credentials("k" * 20))
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/api/v1/openapi.json")

        assert response.content_type == "application/json"
        assert await response.json() == json.loads(CHECKED_IN.read_text(encoding="utf-8"))


def test_every_code_is_a_response_of_an_operation(document):
    told = json.dumps(document["paths"]) + json.dumps(document["components"]["responses"])
    known = {code for code in KINDS if f'"{code}"' in told}

    assert KINDS.keys() - known == {"method_not_allowed"}


def test_fields_of_an_address_are_parameters_and_no_part_of_the_body(document):
    approve = document["paths"]["/api/v1/removals/{source}/approve"]["post"]

    assert [(p["name"], p["in"]) for p in approve["parameters"]] == [("source", "path")]
    assert "requestBody" not in approve


def test_a_query_describes_what_an_address_can_hold(document):
    asked = document["paths"]["/api/v1/search"]["get"]["parameters"]
    by_name = {one["name"]: one for one in asked}

    assert by_name["source"]["explode"] is False  # separated by commas
    assert by_name["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 200}
    assert "weights" not in by_name  # an object


def test_answers_describe_every_field_as_sent(document):
    answer = document["components"]["schemas"]["ReceiptAnswer"]

    assert set(answer["required"]) == answer["properties"].keys()


def test_an_operation_says_what_a_key_must_allow(document):
    assert document["paths"]["/api/v1/sweep"]["post"]["security"][0] == {"bearer": ["operate"]}
    assert document["paths"]["/livez"]["get"]["security"] == [{}]
