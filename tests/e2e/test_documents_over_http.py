"""Documents come in over HTTP, before a running instance; the examples of the manual are run."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from instep_process import Instep, wait_until

from services.host.data_folder import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.stores]

PAGE = Path(__file__).parents[2] / "examples" / "docs" / "guide" / "publishing.md"
INBOX = "/api/v1/sources/inbox"


class Client:
    """A client of the gateway, as plain as curl."""

    def __init__(self, instep: Instep) -> None:
        self.instep = instep

    @property
    def url(self) -> str:
        return DataFolder(self.instep.data).read_instance().gateway_url

    def __call__(self, method: str, address: str, body: bytes | None = None, **headers: str):
        at = urlsplit(self.url)
        connection = http.client.HTTPConnection(at.hostname, at.port, timeout=120)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= self.instep.shown
        connection.request(method, address, body, named)
        response = connection.getresponse()
        told = json.loads(response.read())
        connection.close()
        return response, told


@pytest.fixture
def running(instep):
    (instep.cwd / "docs").mkdir()
    instep.up("docs", "--port", 0)
    return instep


def test_documents_come_in_change_and_go_over_http(running):
    ask = Client(running)
    large = b"The harbour lantern.\n" + b"\n" * 2_000_000

    put, first = ask("PUT", f"{INBOX}/documents/g/a.md?wait=60", b"# Keys\n\nthe harbour lantern")
    _, big = ask("PUT", f"{INBOX}/documents/big.txt?wait=60", large)
    lines = [
        {"path": "b.md", "text": "the harbour gull"},
        {"path": "c.md", "titel": "x", "text": "y"},
        {"path": "d.md", "ref": {"url": "file:///etc/passwd"}},
    ]
    said = "\n".join(map(json.dumps, lines)).encode()
    bulk, outcome = ask("POST", f"{INBOX}/bulk", said, Content_Type="application/x-ndjson")

    assert (put.status, first["final"], first["outcome"]) == (200, True, "inserted")
    assert big["state"] == "searchable"
    assert (bulk.status, outcome["accepted"], outcome["refused"]) == (207, 1, 2)
    assert [(e["line"], e["code"]) for e in outcome["errors"]] == [
        (2, "invalid_request"),
        (3, "reference_not_allowed"),
    ]
    wait_until(lambda: set(running.found("harbour")) == {"g/a.md", "big.txt", "b.md"})
    late, changed = ask("PUT", f"{INBOX}/documents/g/a.md", b"x", If_Match='"1"')
    assert (late.status, changed["code"]) == (412, "revision_changed")
    assert late.headers["ETag"] == put.headers["ETag"]
    refused, watched = ask("PUT", "/api/v1/sources/docs/documents/a.md", b"x")
    assert (refused.status, watched["code"]) == (409, "source_watched")

    _, gone = ask("DELETE", f"{INBOX}/documents/g/a.md?wait=60")
    deleted, many = ask("POST", f"{INBOX}/delete", json.dumps({"prefix": "b"}).encode())

    assert gone["outcome"] == "removed"
    assert (deleted.status, many["accepted"], many["remaining"]) == (202, 2, 0)
    wait_until(lambda: running.found("harbour") == [])


def test_what_was_accepted_survives_the_kill_of_everything(running):
    ask = Client(running)
    receipts = []
    for n in range(8):
        body = f"The word of this one is unique{n}.".encode()
        response, told = ask("PUT", f"{INBOX}/documents/n{n}.md", body)
        assert response.status == 202, told
        receipts.append(told["receipt"])
    (up,) = running.running
    os.killpg(up.pid, signal.SIGKILL)
    up.wait()
    running.running.clear()

    running.up("docs", "--port", 0)

    for receipt in receipts:
        _, told = ask("GET", f"/api/v1/receipts/{receipt}?wait=60")
        assert (told["state"], told["final"]) == ("searchable", True), told
    assert running.found("unique3")[0] == "n3.md"


def examples():
    """The section of the manual: each block with its language."""
    section = PAGE.read_text().split("## Push documents over HTTP")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


def test_the_examples_of_the_manual_do_what_it_says(running):
    ask, said = Client(running), []
    for language, block in examples():
        code = block.replace("http://127.0.0.1:8765", ask.url)
        code = code.replace(".instep/", f"{running.data}/")
        command = {"sh": ["sh", "-ec", code], "python": [sys.executable, "-c", code]}.get(language)
        if command is None:
            assert said[-1] == block
            continue
        done = subprocess.run(
            command, cwd=running.cwd, capture_output=True, text=True, check=True, timeout=120
        )
        said.append(done.stdout)

    first, hose, form, _, table, tide, dry = said
    stored = first[: first.index("}{") + 1] if "}{" in first else first
    assert json.loads(stored)["state"] == "searchable"
    assert json.loads(hose)["document"]["path"] == "product/4711"
    assert json.loads(form)["accepted"] == 2
    assert json.loads(table)["accepted"] == 1
    assert json.loads(tide)["document"]["path"] == "tide.md"
    assert json.loads(dry)["dry_run"] is True
    wait_until(lambda: running.found("pilot boards")[:1] == ["harbour/pilot.txt"])
    wait_until(lambda: running.found("garden hose")[:1] == ["product/4711"])
    assert "guide/install.md" not in running.found("Keys")
