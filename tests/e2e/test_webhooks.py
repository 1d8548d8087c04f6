"""Outcomes are sent to a receiver, while it fails and the instance is killed."""

import os
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from instep_process import wait_until
from ports import free_port
from services_alone import get

from instep.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.stores]

PAGE = (Path(__file__).parents[2] / "examples/docs/guide/listening.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver(BaseHTTPRequestHandler):
    """Takes what `fails` lets pass, and keeps headers and body."""

    taken, fails = [], False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500 if Receiver.fails else 204)
        self.end_headers()
        if not Receiver.fails:
            Receiver.taken.append((dict(self.headers), body))

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()


@pytest.fixture
def verified():
    """The example of the manual, as a receiver would use it."""
    names = {}
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(example, names)
    return names["event_of"]


def test_a_receiver_gets_every_outcome_and_can_tell_that_it_is_genuine(instep, receiver, verified):
    port = free_port()
    instep.env |= {
        "INSTEP_HEALTH__PORT": str(port),
        "INSTEP_WEBHOOKS__CRM__URL": receiver,
        "INSTEP_WEBHOOKS__CRM__SECRET": SECRET,
        "INSTEP_WEBHOOKS__CRM__TYPES": "document",
    }
    folder = instep.cwd / "docs"
    folder.mkdir()
    running = instep.up("docs", "--port", 0)
    wait_until(lambda: Client(data=instep.data).webhooks().webhooks[0].position is not None)

    def told(path, state):
        events = [verified(headers, body, SECRET) for headers, body in Receiver.taken]
        return any((one["path"], one["state"]) == (path, state) for one in events)

    (folder / "a.md").write_text("# A\n\nThe harbour.\n")
    wait_until(lambda: told("a.md", "searchable"))
    Receiver.fails = True
    (folder / "b.md").write_text("# B\n\nThe lantern.\n")
    wait_until(lambda: Client(data=instep.data).webhooks().webhooks[0].failing)
    scraped = get(f"http://127.0.0.1:{port}/metrics").text
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    (folder / "a.md").unlink()
    Receiver.fails = False
    instep.up("docs", "--port", 0)

    wait_until(lambda: told("b.md", "searchable") and told("a.md", "removed"))
    tries = re.findall(
        r'instep_webhook_deliveries_total\{outcome="(\w+)",webhook="crm"\} (\S+)', scraped
    )
    assert {outcome for outcome, many in tries if float(many)} == {"done", "retried"}
    assert 'instep_webhook_events{state="failing",webhook="crm"} 1.0' in scraped
    client = Client(data=instep.data)
    wait_until(lambda: not client.webhooks().webhooks[0].failing)
    (one,) = client.webhooks().webhooks
    assert (one.name, one.dead, one.lost, one.error) == ("crm", 0, 0, "status 500")
    assert client.retry_webhook("crm").events == 0
    headers, body = Receiver.taken[0]
    assert verified(headers, body + b" ", SECRET) is None
