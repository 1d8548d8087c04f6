"""Every argument of every command that asks a gateway, with wrong values: one plain line."""

import asyncio
import re

import pytest
from aiohttp.test_utils import TestServer
from gateway_world import Index

from services.cli.command_table import COMMANDS
from services.cli.main import run
from services.gateway.app import build_app

ASKING = {
    "search": ["x"],
    "status": [],
    "show": ["a.md"],
    "failures": [],
    "failures dismiss": ["--all", "--yes"],
    "retry": ["--all"],
    "removals": [],
    "removals approve": [],
    "removals reject": [],
    "validate": [],
    "report": [],
    "sweep": [],
}
"""The commands, and the least that each has to be given."""
WRONG = (
    "",
    " ",
    "x" * 2001,
    "x" * 5000,
    "-1",
    "0",
    "9" * 30,
    "1.5",
    "nan",
    "many",
    "--replicas",
    "a\udcff",
    "\\",
    '"',
    "sorce:docs",
    "[1]",
)
FOREIGN = re.compile(r"pydantic|[Ss]hould|Value error|unable to|invalid (int|float)|a fault of")
"""Words of the libraries that check values, and of bugs."""
NAMED = {c.name: c for c in COMMANDS} | {
    f"{c.name} {a.name}": a for c in COMMANDS for a in c.actions
}
CASES = [
    (name, argument)
    for name in ASKING
    for argument in NAMED[name].args
    if argument.options.get("action") != "store_true"
]


@pytest.fixture
async def url():
    index = Index()
    await index.put("a.md", ["zebra"])
    async with TestServer(build_app(index.queries, index.commands)) as server:
        yield str(server.make_url("")).rstrip("/")


def with_value(command, argument, value):
    flag = argument.flags[0]
    least = ASKING[command] if flag.startswith("-") else []
    given = [f"{argument.flags[-1]}={value}"] if flag.startswith("-") else ["--", value]
    return [*command.split(), *least, *given]


@pytest.mark.parametrize(
    ("command", "argument"), CASES, ids=[f"{name} {arg.flags[-1]}" for name, arg in CASES]
)
async def test_a_wrong_argument_is_one_plain_line_and_status_2(
    url, capsys, tmp_path, monkeypatch, command, argument
):
    monkeypatch.chdir(tmp_path)
    for value in WRONG:
        line = with_value(command, argument, value)
        status = await asyncio.to_thread(run, ["--url", url, *line])
        told = capsys.readouterr().err

        assert status in (0, 1, 2) or "no validator behind it" in told, (line, told)
        assert not FOREIGN.search(told), (line, told)
        if status == 2:
            assert told.startswith("instep: "), line
            assert len(told.splitlines()) == 1, (line, told)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("", "the question is empty; write at least one word"),
        ("  ", "the question is empty; write at least one word"),
        ("x" * 2001, "the question has 2,001 characters; it may have 2,000: shorten it"),
        (
            "a\udcff",
            "the request has text that is not valid Unicode. Fix: send UTF-8, and no lone "
            "surrogates in JSON",
        ),
    ],
)
async def test_a_question_that_cannot_be_asked_says_why(url, capsys, question, said):
    status = await asyncio.to_thread(run, ["search", question, "--url", url])

    assert (status, capsys.readouterr().err) == (2, f"instep: {said}\n")


async def test_a_question_that_begins_with_dashes_is_asked_after_two_dashes(url, capsys):
    status = await asyncio.to_thread(run, ["search", "--url", url, "--", "--zebra"])

    assert status == 0
    assert "docs/a.md" in capsys.readouterr().out
