"""11. What the manual says of HTTP and of the Python client is what they do."""

import inspect
import re
import typing
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from gateway_world import Index

from instep import client as library
from services.gateway.app import build_app
from services.gateway.operations import OPERATIONS, resolve

REFERENCE = Path(__file__).parents[2] / "examples/docs/reference"
HTTP = (REFERENCE / "http.md").read_text()
PYTHON = (REFERENCE / "python.md").read_text()
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
EXAMPLES = re.findall(r"```python\n(.*?)```", PYTHON, re.DOTALL)


def test_every_operation_is_in_the_manual_as_the_table_has_it():
    told = [
        (tuple(re.findall(r"`([^`]+)`", requests)), scope, summary)
        for requests, scope, summary in ROW.findall(HTTP)
    ]

    assert told == [
        (tuple(f"{p.method} {p.address}" for p in row.places), row.scope, row.summary)
        for row in OPERATIONS.values()
    ]


def test_old_names_in_the_manual_are_the_aliases_of_the_table():
    old = {place.address for row in OPERATIONS.values() for place in row.aliases}
    section = HTTP.partition("Old names still answer")[2].partition("\n\n")[0]

    for address in re.findall(r"(/api/[\w/]+)", section):
        assert any(one == address or one.startswith(f"{address}/") for one in old), address


def test_every_method_of_the_client_is_in_the_manual_and_answers_what_it_says():
    told = {}
    for method, answer, summary in ROW.findall(PYTHON):
        name, _, fields = method.strip("`").partition("(")
        told[name] = (fields.rstrip(")"), answer.strip("`"), summary)

    assert told == {
        row.name: (", ".join(required(row.name)), resolve(row.answer).__name__, row.summary)
        for row in OPERATIONS.values()
        if row.answer and hasattr(library.Client, row.name)
    }


def required(name):
    """Names of the parameters that a method needs."""
    found = inspect.signature(getattr(library.Client, name)).parameters.values()
    return [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]


def test_times_in_the_manual_are_those_of_the_table():
    times = {row.name: row.timeout_s for row in OPERATIONS.values()}

    assert "An answer may take 30 s" in PYTHON
    assert times["status"] == 30
    assert "a check of the whole index 10 minutes" in PYTHON
    assert times["validate"] == 600
    assert re.search(r"a sweep\s6 hours", PYTHON)
    assert times["sweep"] == 6 * 3600


@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_of_the_manual_runs(example, monkeypatch, tmp_path):
    """Each example is run as it stands, against the gateway of a small index."""
    import asyncio

    index = Index()
    await index.put("guide/install.md", ["how do I rotate a key"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSTEP_DATA", raising=False)
    async with TestServer(build_app(index.queries, index.commands)) as server:
        monkeypatch.setenv("INSTEP_URL", str(server.make_url("")))
        names: dict[str, typing.Any] = {}
        await asyncio.to_thread(exec, example, names)

        if "first" in names:
            assert await names["first"]("rotate a key") == "guide/install.md"
        elif "answer" in names:
            assert names["answer"].hits[0].document.path == "guide/install.md"
        else:
            assert names["document"].state == "searchable"
