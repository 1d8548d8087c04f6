"""A program that listens to outcomes, while the instance is killed and started again."""

import os
import signal

import pytest

from instep.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.stores]


def heard(instep, *, after, path):
    """The outcome of `path`, and its id: the first after the event `after`."""
    told = Client(data=instep.data).events(types="document", source="docs", after=after)
    return next((event.data, event.id) for event in told if event.data["path"] == path)


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

    client = Client(data=instep.data)
    pushed = client.put_document("inbox", "c.md", "# C\n\nThe saffron.\n", wait=60)
    assert (pushed.state, pushed.final) == ("searchable", True)
    assert client.search("saffron", after=pushed.receipt).hits[0].document.path == "c.md"
    assert client.delete_document("inbox", "c.md", wait=60).state == "removed"
