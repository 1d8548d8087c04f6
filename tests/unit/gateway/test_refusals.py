"""Every parameter of every operation, asked with wrong values: refused in instep's own words."""

import json
import re
from urllib.parse import quote, quote_from_bytes

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from services.gateway.app import build_app
from services.gateway.operations import OPERATIONS, resolve

FOREIGN = re.compile(
    r"pydantic|Input should|String should|Field required|Extra inputs|Value error|unable to|"
    r"valid (string|integer|number|boolean|tuple|list|dictionary)|_type\b|_parsing\b"
)
"""Words of the library that checks requests."""
POSTED = (None, True, -1, 0, 1.5, 10**30, 1e308, "", "x" * 5000, "\ud800", "\0", "nan", [], {})
POSTED_INSIDE = (
    [None],
    ["x" * 5000],
    [1.5],
    ["\ud800"],
    [[]],
    [{}],
    {"vector": "x"},
    {"nope": 1},
    [{"q": 1}],
)
GOT = ("", "x" * 5000, "\0", "\ufffd", "nan", "inf", "1.5", "-1", "9" * 30, "yes", '{"a":1}', "[]")
RIGHT = {
    "q": "zebra",
    "name": "docs/a.md",
    "id": "docs/a.md",
    "receipt": f"{'a' * 26}-1",
    "batch": "last",
    "source": "docs",
    "scopes": ["read"],
}


def fields_of(operation):
    return (*resolve(OPERATIONS[operation].request).model_fields, "nope")


def needed(operation):
    """The least that the operation has to be given."""
    fields = resolve(OPERATIONS[operation].request).model_fields
    return {n: RIGHT[n] for n, field in fields.items() if field.is_required() or n == "q"}


CASES = [
    (place, operation, field)
    for operation, row in OPERATIONS.items()
    if row.run
    for place in (*row.places, *row.aliases)
    for field in fields_of(operation)
]


@pytest.fixture
async def client(index):
    await index.put("a.md", ["zebra"])
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        yield client


async def put(client, place, operation, fields):
    """The answer to an operation, its fields in the address or, for POST, as JSON."""
    held = {name: str(fields[name]) for name in place.parameters}
    rest = {name: value for name, value in fields.items() if name not in held}
    address = place.filled(held)
    if OPERATIONS[operation].fields_in_json(place):
        headers = {"Content-Type": "application/json"}
        address = URL(address, encoded=True)
        return await client.post(address, data=json.dumps(rest), headers=headers)
    query = "&".join(f"{quote(name)}={quote(str(value), safe='')}" for name, value in rest.items())
    return await client.request(place.method, URL(f"{address}?{query}", encoded=True))


async def is_plain(response, field, value):
    """Whether it was answered, or refused with a sentence that names what is wrong."""
    shown = f"{field}={value!r:.60}"
    body = await response.json()
    here = response.status in (200, 202, 400, 404, 409, 422)
    assert here or body["code"] == "unavailable", shown  # this gateway has no validator
    if response.status >= 400:
        assert not FOREIGN.search(json.dumps(body)), (shown, body)
        assert body["detail"], shown
        assert len(body["detail"]) < 400, (shown, body["detail"])
    return response.status < 400


@pytest.mark.parametrize(
    ("place", "operation", "field"),
    [pytest.param(*case, id=f"{case[0].method} {case[0].address} {case[2]}") for case in CASES],
)
async def test_a_wrong_value_is_refused_in_plain_words(client, place, operation, field):
    in_json = OPERATIONS[operation].fields_in_json(place) and field not in place.parameters
    values = (*POSTED, *POSTED_INSIDE) if in_json else GOT
    answered = []
    for value in values:
        fields = {**needed(operation), field: value}
        response = await put(client, place, operation, fields)
        answered.append(await is_plain(response, field, value))

    if in_json or field == "nope":  # in an address all is text, and many take any
        assert not all(answered)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "the question is empty; write at least one word"),
        ({"q": ""}, "the question is empty; write at least one word"),
        ({"q": " \n"}, "the question is empty; write at least one word"),
        ({"q": "x" * 2001}, "the question has 2,001 characters; it may have 2,000: shorten it"),
        ({"q": 3}, "q: must be text, not a number"),
        ({"q": "x", "limit": "many"}, "limit: must be a whole number, not text"),
        ({"q": "x", "limit": 1.5}, "limit: must be a whole number, not a fraction"),
        ({"q": "x", "limit": [1]}, "limit: must be a whole number, not a list"),
        ({"q": "x", "limit": 900}, "limit: must be at most 200"),
        ({"q": "x", "wait": -1}, "wait: must be at least 0"),
        ({"q": "x", "mode": "vectr"}, "mode: must be 'vector', 'keyword' or 'hybrid'"),
        ({"q": "x", "explain": "perhaps"}, "explain: must be true or false, not text"),
        ({"q": "x", "explain": 1}, "explain: must be true or false, not a number"),
        ({"q": "x", "wait": True}, "wait: must be a number, not true or false"),
        ({"q": "x", "limit": False}, "limit: must be a number, not true or false"),
        ({"q": "x", "source": "docs"}, "source: must be a list, not text"),
        ({"q": "x", "source": [1]}, "source.0: must be text, not a number"),
        ({"q": "x", "weights": 1}, "weights: must be an object, not a number"),
        ({"q": "x", "weights": {"vector": {}}}, "weights.vector: must be a number, not an object"),
        ({"q": "x", "filter": "y" * 2001}, "filter: must have at most 2,000 characters, not 2,001"),
        ({"q": "x", "limit": 0, "mode": 1}, "mode: must be 'vector', 'keyword' or 'hybrid'; limit"),
    ],
)
async def test_a_refusal_says_field_rule_and_what_was_given(client, fields, said):
    response = await put(client, OPERATIONS["search"].place, "search", fields)
    body = await response.json()

    assert (response.status, body["code"]) == (422, "invalid_request")
    assert body["detail"].startswith(said)


async def test_what_is_no_unicode_in_an_address_is_no_failure(client):
    address = f"/api/v1/documents?source={quote_from_bytes(bytes([0xED, 0xA0, 0x80]))}"
    response = await client.get(URL(address, encoded=True))

    assert response.status in (200, 400, 422)
