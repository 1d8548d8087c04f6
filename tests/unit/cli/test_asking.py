"""A command and the gateway that it asks: how the errors of the client end a command."""

import pytest
from aiohttp.test_utils import unused_port

from instep import client as library
from instep.http import Received
from services.cli.api.client import ask
from services.cli.exits import Stop

URL = "http://127.0.0.1:1"


@pytest.fixture
def gateway(monkeypatch):
    """A gateway that gives these answers, one after another, and the pauses that were made."""
    pauses, answers = [], []
    monkeypatch.setattr(library.Client, "_received", lambda *_: answers.pop(0))
    monkeypatch.setattr(library.time, "sleep", pauses.append)
    return answers, pauses


LOADING = Received(
    503, b'{"code": "loading", "detail": "the model is loading", "fix": "ask again"}', "1"
)
AWAY = Received(503, b'{"code": "store_unavailable", "detail": "no answer", "fix": ""}', "1")


@pytest.mark.parametrize(
    ("status", "exit_status"), [(404, 2), (422, 2), (403, 2), (500, 3), (503, 3)]
)
def test_a_problem_becomes_one_line_with_its_fix(gateway, status, exit_status):
    body = b'{"code": "x", "detail": "no such document", "fix": "look again"}'
    gateway[0].append(Received(status, body))
    with pytest.raises(Stop) as stop:
        ask(URL, "status", {})

    assert stop.value.status == exit_status
    assert stop.value.text == "no such document. Fix: look again"


def test_what_is_not_instep_is_said_so(gateway):
    gateway[0].append(Received(200, b"<html>"))
    with pytest.raises(Stop, match="not instep") as stop:
        ask(URL, "status", {})

    assert stop.value.status == 3


@pytest.mark.parametrize(
    ("url", "fields", "said"),
    [
        (URL, {"name": ""}, "name: must not be empty"),
        (URL, {"name": "a\udcff"}, "name: must be valid Unicode text"),
        ("127.0.0.1", {"name": "a"}, "'127.0.0.1' is not the address of a gateway"),
    ],
)
def test_what_cannot_be_asked_is_a_fault_of_the_arguments(url, fields, said):
    with pytest.raises(Stop) as stop:
        ask(url, "document", fields)

    assert (stop.value.line, stop.value.status) == (said, 2)


def test_where_nothing_listens_the_command_says_how_to_start():
    with pytest.raises(Stop) as stop:
        ask(f"http://127.0.0.1:{unused_port()}", "status", {})

    assert (stop.value.status, stop.value.fix) == (3, "instep up PATH")


def test_a_gateway_that_still_loads_is_asked_again(gateway):
    answers, pauses = gateway
    answers += [LOADING, LOADING, Received(200, b'{"hits": []}')]

    assert ask(URL, "search", {"q": "x"}) == {"hits": []}
    assert len(pauses) == 2


def test_a_gateway_that_loads_for_longer_than_one_waits_says_so(gateway):
    answers, pauses = gateway
    answers.append(LOADING)

    with pytest.raises(Stop, match="the model is loading"):
        ask(URL, "search", {"q": "x"}, timeout_s=0)
    assert pauses == []


def test_a_gateway_whose_store_is_away_is_asked_once(gateway):
    answers, pauses = gateway
    answers.append(AWAY)

    with pytest.raises(Stop, match="no answer"):
        ask(URL, "search", {"q": "x"})
    assert pauses == []
