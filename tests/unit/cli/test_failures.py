"""`retry` and `dismiss` of many failures: in parts, with progress, honest about what is over."""

from argparse import Namespace
from pathlib import Path

import pytest

from services.cli import exits
from services.cli.commands import failures
from services.cli.exits import Stop
from services.host.options import Options


class Instance:
    """Answers `retry` for so many failures; some are over by the time of the second request."""

    def __init__(self, count, over=()):
        self.names = [f"docs/{n}.md" for n in range(count)]
        self.over = set(over)
        self.requests = []

    def __call__(self, options, operation, fields):
        self.requests.append(fields)
        ids = fields.get("ids") or self.names
        if not fields.get("dry_run"):
            ids = [name for name in ids if name not in self.over]
        items = [{"id": "f", "document": n, "done": True, "detail": ""} for n in ids]
        done = {"done": len(items), "skipped": 0, "items": items}
        return done | {"dry_run": bool(fields.get("dry_run"))}


@pytest.fixture
def ask(monkeypatch):
    def answer_with(instance):
        monkeypatch.setattr(failures, "ask", instance)
        monkeypatch.setattr(failures, "find", lambda options: "http://127.0.0.1:1")
        return instance

    return answer_with


def args(**given):
    nothing = {"ids": [], "code": "", "source": "", "stage": "", "path": "", "all": False}
    return Namespace(**{**nothing, "dry_run": False, "yes": True, **given})


OPTIONS = Options(data=Path("data"))


def test_ten_thousand_failures_are_retried_in_parts_with_progress(ask, capsys):
    instance = ask(Instance(10_000))

    status = failures.run_retry(args(all=True), OPTIONS)
    said = capsys.readouterr()

    assert status == exits.DONE
    assert len(instance.requests) == 1 + 50
    assert max(len(request.get("ids", ())) for request in instance.requests) == 200
    assert "retried 200 of 10,000" in said.err
    assert said.out.splitlines() == ["10,000 failures retried"]


def test_what_is_over_by_then_is_left_out(ask, capsys):
    instance = ask(Instance(300, over=["docs/7.md"]))

    failures.run_retry(args(code="exhausted"), OPTIONS)

    assert all(request["lenient"] for request in instance.requests[1:])
    assert "299 failures retried" in capsys.readouterr().out


def test_few_named_failures_need_one_request(ask):
    instance = ask(Instance(0))

    failures.run_dismiss(args(ids=["d_1", "d_2"]), OPTIONS)

    assert len(instance.requests) == 1


def test_a_dry_run_asks_once_and_changes_nothing(ask, capsys):
    instance = ask(Instance(3))

    failures.run_dismiss(args(all=True, dry_run=True), OPTIONS)

    assert [request["dry_run"] for request in instance.requests] == [True]
    assert "nothing was done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("picks", "said"),
    [
        ({}, "no document is refused or failed\n"),
        ({"code": "typo"}, "no failure matches; instep failures shows all\n"),
        ({"state": "failed"}, "no failure matches; instep failures shows all\n"),
    ],
)
def test_a_list_without_what_was_asked_for_is_not_called_a_clean_one(
    picks, said, monkeypatch, capsys
):
    empty = {"failures": [], "groups": [], "total": 0}
    monkeypatch.setattr(failures, "ask", lambda *_: empty)

    status = failures.run_list(args(**{"state": "", **picks}), OPTIONS)

    assert (status, capsys.readouterr().out) == (0, said)


def test_nothing_chosen_is_said(ask):
    ask(Instance(3))

    with pytest.raises(Stop, match="nothing is chosen"):
        failures.run_retry(args(), OPTIONS)
