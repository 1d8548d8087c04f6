"""`instep publish` repeats its requests, and tells what became of each document."""

import json
from argparse import Namespace

import pytest

from services.cli.exits import Stop, unreachable
from services.cli.publish import command
from services.cli.publish.sending import REPEATED_S, Sender, Sent
from services.cli.publish.submissions import Submission
from services.gateway.uploads.models import UploadLine


class FullGateway:
    """Takes one document of a request each time that it is asked."""

    def __init__(self):
        self.taken, self.keys = 0, set()

    def ask(self, _):
        return {"live": True}

    def bulk_receipts(self, _, bodies, *, idempotency_key):
        self.keys.add(idempotency_key)
        self.taken += 1
        return [
            UploadLine(line=n, path=body["path"], status=202, receipt=f"{n}")
            if n <= self.taken
            else UploadLine(line=n, path=body["path"], status=503, code="stream_full")
            for n, body in enumerate(bodies, 1)
        ]


def test_a_request_is_not_repeated_longer_than_its_key_is_known():
    now, gateway = 0.0, FullGateway()

    def sleep(seconds):
        nonlocal now
        now += seconds + 20.0  # a slow gateway that goes on all the time

    items = [Submission(f"f:{n}", {"path": f"{n}.md", "text": "x"}) for n in range(100)]
    sent = list(Sender(lambda: gateway, "inbox", "run", sleep, lambda: now).send(items))

    assert now <= REPEATED_S + 20.0 < 600
    assert len(gateway.keys) == 1
    assert [one.line.code for one in sent] == [None] * gateway.taken + ["stream_full"] * (
        100 - gateway.taken
    )


ITEM = Submission("a.md", {"path": "a.md", "text": "x"})
TAKEN = UploadLine(line=1, path="a.md", status=202, state="queued", receipt="r-1")


@pytest.fixture
def waiting(monkeypatch):
    """Runs `publish --wait 60` for one document that is accepted; `ask` answers for its receipt."""

    def run(ask):
        monkeypatch.setattr(command, "of_args", lambda *_: [ITEM])
        monkeypatch.setattr(command, "_most_bytes", lambda *_: 1_000)
        monkeypatch.setattr(command, "_send", lambda *_: iter([Sent(ITEM, TAKEN)]))
        for name in ("running", "find"):
            monkeypatch.setattr(command, name, lambda _: "http://127.0.0.1:1")
        monkeypatch.setattr(command, "key_of", lambda *_: None)
        monkeypatch.setattr(command.client, "ask", ask)
        args = Namespace(source="inbox", wait=60.0)
        return command.run(args, Namespace(json=True, quiet=False))

    return run


def test_a_wait_goes_on_when_the_gateway_starts_anew(waiting, monkeypatch, capsys):
    monkeypatch.setattr(command, "PAUSE_S", 0.0)
    answers = [unreachable("away"), unreachable("away"), {"final": True, "outcome": "inserted"}]

    def ask(*_, **__):
        answer = answers.pop(0)
        if isinstance(answer, Stop):
            raise answer
        return answer

    assert waiting(ask) == 0
    assert json.loads(capsys.readouterr().out)["receipts"][0]["outcome"] == "inserted"


def test_a_wait_that_is_refused_still_tells_what_was_accepted(waiting, capsys):
    def ask(*_, **__):
        raise Stop("this key may not read")

    with pytest.raises(Stop):
        waiting(ask)
    told = json.loads(capsys.readouterr().out)
    assert [one["receipt"] for one in told["receipts"]] == ["r-1"]
