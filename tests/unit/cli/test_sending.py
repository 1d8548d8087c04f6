"""`instep publish` repeats its requests, and tells what became of each document."""

from services.cli.publish.sending import REPEATED_S, Sender
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
