"""What `instep publish` makes of a gateway that goes away, and of one that comes back."""

import json

import pytest

from instep.client import Refused, Unreachable
from services.cli.exits import NEEDS_YOU, NOT_REACHABLE, Stop
from services.cli.main import run
from services.cli.publish import command, sending
from services.cli.publish.sending import Sender
from services.cli.publish.submissions import Submission
from services.cli.publish.waiting import Waiter
from services.gateway.uploads.models import UploadLine

ITEMS = [Submission(f"f:{n}", {"path": f"{n}.md", "text": "x"}) for n in range(3)]
AWAY = Unreachable("no gateway answers")
FULL = Refused("producer_unavailable", "no producer runs", status=503)
NO = Refused("forbidden", "the key may not", status=403)


class Clock:
    """Time passes by sleeping only."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Gateway:
    """Gives its answers one after the other, the last one for ever; an error is raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def _next(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, operation, fields=None):
        if operation == "livez":
            return {}
        self.asked.append(fields)
        return self._next()

    def bulk_receipts(self, source, bodies, *, idempotency_key):
        self.asked.append(idempotency_key)
        return self._next()


def taken():
    return [UploadLine(line=1, path="x", status=202, state="queued", receipt="k-1")]


@pytest.fixture
def one_each(monkeypatch):
    """Each document has a request of its own."""
    monkeypatch.setattr(sending, "PORTION_BYTES", 1)


def fates(*answers):
    clock = Clock()
    gateway = Gateway(*answers)
    sender = Sender(lambda: gateway, "inbox", "run", clock.sleep, clock)
    return [one.fate for one in sender.send(ITEMS)]


@pytest.mark.usefixtures("one_each")
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((taken(), AWAY), ["answered", "unknown", "unsent"]),
        ((taken(), AWAY, taken()), ["answered"] * 3),
        ((taken(), FULL), ["answered", "unsent", "unsent"]),
        ((taken(), AWAY, FULL), ["answered", "unknown", "unsent"]),
        ((taken(), NO), ["answered", "refused", "refused"]),
        ((AWAY,), ["unknown", "unsent", "unsent"]),
        ((AWAY, NO), ["unknown", "refused", "refused"]),
        (([], taken()), ["unknown", "answered", "answered"]),
    ],
)
def test_what_has_no_answer_is_told_from_what_was_not_sent(answers, expected):
    assert fates(*answers) == expected


@pytest.mark.parametrize("error", [FULL, NO])
def test_a_gateway_that_takes_nothing_ends_the_command(error):
    with pytest.raises(Stop):
        fates(error)


def waited(wait_s, *answers):
    clock, gateway = Clock(), Gateway(*answers)
    waiter = Waiter(lambda: gateway, wait_s, clock.sleep, clock)
    return waiter, gateway


OPEN = {"final": False, "state": "queued"}
DONE = {"final": True, "outcome": "inserted"}


@pytest.mark.parametrize("hiccup", [AWAY, FULL])
def test_a_wait_goes_on_when_the_gateway_is_back(hiccup):
    waiter, gateway = waited(60, hiccup, OPEN, hiccup, hiccup, DONE)

    assert waiter.outcome("k-1") == DONE
    assert len(gateway.asked) == 5


def test_a_wait_ends_with_its_time_and_asks_a_gateway_that_is_away_for_nothing_more():
    waiter, gateway = waited(2.5, AWAY)

    assert waiter.outcome("k-1") == {}
    tries = len(gateway.asked)
    assert waiter.outcome("k-2") == {}
    assert [round(one["wait"], 1) for one in gateway.asked] == [2.5, 1.5, 0.5, 0.0]
    assert len(gateway.asked) == tries


def test_a_key_that_may_read_no_receipt_ends_the_wait():
    waiter, _ = waited(60, NO)

    with pytest.raises(Stop, match="accepted, but its outcome is not told") as stop:
        waiter.outcome("k-1")
    assert stop.value.status == NEEDS_YOU


@pytest.fixture
def published(tmp_path, monkeypatch, capsys, one_each):
    """Publishes three documents to a gateway that gives these answers."""
    lines = tmp_path / "l.jsonl"
    lines.write_text("".join(json.dumps(item.body) + "\n" for item in ITEMS))
    monkeypatch.setattr(sending, "PATIENCE_S", 0.0)
    monkeypatch.setattr(command, "running", lambda options: "http://127.0.0.1:1")

    def publish(gateway, *flags):
        monkeypatch.setattr(command, "_reach", lambda url, options: lambda: gateway)
        args = ["publish", str(lines), "--jsonl", "--source", "inbox", *flags]
        status = run([*args, "--data", str(tmp_path / "data")])
        return status, capsys.readouterr()

    return publish


def test_a_gateway_that_is_killed_between_two_requests_leaves_nothing_untold(published):
    status, said = published(Gateway(taken(), AWAY))
    status_of_json, as_json = published(Gateway(taken(), AWAY), "--json")

    told = json.loads(as_json.out)
    assert status == status_of_json == NOT_REACHABLE
    assert [line.split()[0] for line in said.out.splitlines()] == ["queued", "unknown", "unsent"]
    assert said.err == "1 document accepted, 1 without an answer, 1 not sent\n"
    assert [told[name] for name in ("accepted", "refused", "unknown", "unsent")] == [1, 0, 1, 1]
    assert [error["path"] for error in told["errors"]] == ["1.md", "2.md"]


def test_a_wait_that_may_not_be_tells_what_was_accepted_all_the_same(published):
    status, said = published(Gateway(taken(), taken(), taken(), NO), "--wait", "60", "--json")

    assert (status, json.loads(said.out)["accepted"]) == (NEEDS_YOU, 3)
    assert "its outcome is not told: the key may not" in said.err


def test_an_interrupted_publish_tells_what_was_accepted(published):
    class Interrupted(Gateway):
        def bulk_receipts(self, *args, **options):
            if self.asked:
                raise KeyboardInterrupt
            return super().bulk_receipts(*args, **options)

    status, said = published(Interrupted(taken()), "--json")

    assert (status, json.loads(said.out)["accepted"]) == (130, 1)


def test_an_instance_that_is_starting_anew_is_one_that_is_away(monkeypatch):
    def starting(options):
        raise Stop("the instance has no gateway", fix="instep run gateway")

    monkeypatch.setattr(command, "find", starting)

    with pytest.raises(Unreachable, match="no gateway"):
        command._reach("http://127.0.0.1:1", None)()
