"""`instep sources`: what is shown, and the question before an end."""

import io
from datetime import UTC, datetime

import pytest

from services.cli.commands import sources
from services.cli.commands.sources import forgotten, lines
from services.cli.exits import Stop
from services.cli.main import run
from services.cli.options import common
from services.cli.parser import parse
from services.cli.terminal import Terminal
from services.cli.text.status import past
from services.host.options import Options

NOW = datetime(2026, 11, 30, 12, 4, tzinfo=UTC).timestamp()
WATCHED = {"name": "handbook", "kind": "folder", "documents": 12, "path": "/x/handbook"}
PUSHED = {"name": "inbox", "kind": "push", "documents": 1, "path": None}
PAST = {
    "name": "docs",
    "kind": "folder",
    "documents": 1234,
    "path": "/x/docs",
    "given": False,
    "last_seen": "2026-11-30T12:00:00Z",
    "same_as": "",
}


def test_each_source_has_a_row_and_those_that_are_not_given_their_commands():
    shown = lines({"sources": [PAST, WATCHED, PUSHED]}, Terminal(120), now=NOW)

    assert shown[0].split() == ["SOURCE", "KIND", "DOCUMENTS", "LAST", "SEEN", "PATH"]
    assert shown[1].split() == ["docs", "not", "given", "1,234", "4", "min", "ago", "/x/docs"]
    assert shown[2].split() == ["handbook", "folder", "12", "-", "/x/handbook"]
    assert shown[3].split() == ["inbox", "push", "1", "-", "-"]
    assert shown[4:] == ["", *past(PAST, Terminal(120))]
    assert "instep up PATH --source docs, or: instep sources forget docs" in shown[-1]


def test_a_copy_is_named_and_without_sources_there_is_nothing():
    (shown,) = past(PAST | {"same_as": "handbook"}, Terminal(120))

    assert "handbook has all of its documents: instep sources forget docs" in shown
    assert past(WATCHED, Terminal(120)) == []
    assert lines({"sources": []}, Terminal(80), now=NOW) == ["no source is known"]


class Keyboard(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def asked(monkeypatch):
    """The requests; the gateway knows `docs`."""
    asked = []

    def ask(options, operation, fields, **kwargs):
        asked.append(operation)
        if operation == "status":
            return {"sources": [PAST]}
        return {"source": fields["source"], "done": True, "documents": 1234, "detail": ""}

    monkeypatch.setattr(sources, "ask", ask)
    return asked


def typed(monkeypatch, stdin, *more):
    monkeypatch.setattr("sys.stdin", stdin)
    args = parse(["sources", "forget", "docs", *more])
    return sources.run_forget(args, Options(**common(args)))


def test_an_answer_of_yes_removes(asked, monkeypatch, capsys):
    assert typed(monkeypatch, Keyboard("y\n")) == 0
    said = capsys.readouterr()

    assert "remove 1,234 documents of docs from the index? [y/N]" in said.err
    assert said.out == "docs: 1,234 documents removed\n"
    assert asked == ["status", "forget"]


@pytest.mark.parametrize("answer", ["\n", "n\n", "docs\n"])
def test_any_other_answer_removes_nothing(asked, monkeypatch, answer):
    with pytest.raises(Stop, match="nothing was removed"):
        typed(monkeypatch, Keyboard(answer))

    assert asked == ["status"]


def test_a_script_says_yes_beforehand_or_removes_nothing(asked, monkeypatch):
    with pytest.raises(Stop) as stop:
        typed(monkeypatch, io.StringIO())
    before = list(asked)
    typed(monkeypatch, io.StringIO(), "--yes")

    assert "1,234 documents of docs would leave" in str(stop.value.line)
    assert "instep sources forget docs --yes" in stop.value.fix
    assert (before, asked[1:]) == (["status"], ["forget"])


def test_what_waits_for_the_next_run_is_said():
    answer = {"source": "docs", "done": True, "documents": 1, "detail": "no instance runs: later"}

    assert forgotten(answer) == "docs: 1 document removed; no instance runs: later"


def test_a_source_is_needed(capsys):
    assert run(["sources", "forget"]) == 2
    assert "NAME" in capsys.readouterr().err
