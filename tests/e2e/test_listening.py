"""A program that listens to outcomes, while the instance is killed and started again."""

import json
import os
import signal
from urllib.request import Request, urlopen

import pytest

from services.host.data_folder import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.stores]


def heard(instep, *, after, path):
    """The outcome of `path`, and its id: the first after the event `after`."""
    url = DataFolder(instep.data).read_instance().gateway_url
    asked = Request(
        f"{url}/api/v1/events?types=document&source=docs", headers={"Last-Event-ID": str(after)}
    )
    with urlopen(asked, timeout=120) as response:
        event = {}
        for line in response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            event[name] = value
            if not name and "data" in event:
                told = json.loads(event["data"])
                if told["path"] == path:
                    return told, int(event["id"])
                event = {}
    raise AssertionError(f"the stream ended without {path}")


def test_a_listener_hears_what_happened_while_everything_was_down(instep):
    folder = instep.cwd / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\nThe harbour.\n")
    running = instep.up("docs", "--port", 0)
    first, at = heard(instep, after=0, path="a.md")

    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    (folder / "b.md").write_text("# B\n\nThe lantern.\n")
    (folder / "a.md").unlink()
    instep.up("docs", "--port", 0)
    second, later = heard(instep, after=at, path="b.md")
    gone, _ = heard(instep, after=at, path="a.md")

    assert (first["state"], second["state"], gone["state"]) == (
        "searchable",
        "searchable",
        "removed",
    )
    assert later > at
    assert instep.found("lantern") == ["b.md"]
    assert instep.json("show", "docs/b.md")["served"]["sequence"] == int(
        second["receipt"].rpartition("-")[2]
    )
