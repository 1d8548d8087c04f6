"""A data folder of the last release, started by this one.

`tests/support/upgrade_folder.py` made the archives with the code of that release. A kill -9 ended
it while a large document was being embedded, removals waited for a person, and a batch of two
sources with the same id was complete in one of them only.
"""

import asyncio
import contextlib
import json
import tarfile
from pathlib import Path

import nats
import pytest
from instep_process import Instep, wait_until
from upgrade_folder import on
from weaviate_server import WeaviateServer, own_executable

from services.host.data_folder import DataFolder, mark_original
from shared.bus.jetstream.kv import KvShelf
from shared.domain.topology import BATCHES

RELEASES = sorted((Path(__file__).parent / "releases").glob("*.tar.gz"))
"""`RELEASE.tar.gz` with the embedded store, `RELEASE-weaviate.tar.gz` with a Weaviate server."""
SECTIONS = 150
"""Chunks of the document that was being embedded."""

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.nats]


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def release(request, tmp_path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def instep(release):
    with contextlib.ExitStack() as stack:
        settings = {}
        if (release / "weaviate").exists():
            server = WeaviateServer(own_executable(), release / "weaviate")
            stack.callback(server.stop)
            server.start()
            settings = on(server)
        made = Instep(release / "data", release, env=settings)
        stack.callback(made.stop)
        yield made


def said_before(release):
    return json.loads((release / "said.json").read_text())


def start(release, instep, *, original=True):
    """`up` on the folder, until the document that was being embedded is searchable."""
    if original:
        mark_original(release / "data" / "server")
    instep.up("docs", "notes", "--port", 0)

    def large_is_searchable():
        return instep.json("show", "docs/large.md")["state"] == "searchable"

    wait_until(large_is_searchable, within_s=300)


@pytest.mark.parametrize("place", ["in place", "on another machine"])
def test_documents_of_the_last_release_stay_as_they_were(release, instep, place):
    start(release, instep, original=place == "in place")
    before = said_before(release)
    for path, then in before["show"].items():
        now = after_reading(instep, path, then)
        assert (path, now["state"], now["stale"]) == (path, then["state"], then["stale"])
        if not then["served"]:
            continue
        assert now["served"]["chunks"] == then["served"]["chunks"], path
        # and no text is paid for twice
        assert now["served"]["encoded"] == 0, path
        assert ("language" in now["metadata"]) == (now["state"] == "searchable"), path
    large = instep.json("show", "docs/large.md")
    assert large["chunk_count"] == SECTIONS
    status = instep.json("status")["documents"]
    assert status["held"] == before["status"]["documents"]["held"]


def after_reading(instep, path, then):
    """The document once this version has read it again."""

    def read():
        now = instep.json("show", path)
        is_read = now["newest"]["sequence"] > then["newest"]["sequence"]
        is_over = is_read or then["state"] == "removed"
        return now if is_over and now["state"] == then["state"] else None

    return wait_until(read)


def test_the_index_of_the_last_release_gets_its_words_from_its_own_rows(release, instep):
    start(release, instep)

    def by_words(question):
        hits = instep.json("search", question, "--mode", "keyword")["hits"]
        return [hit["document"]["path"] for hit in hits]

    # the store of that release knew the sentence as one word
    wait_until(lambda: by_words("東京") == ["日本.md"])
    assert instep.said("0 of ")
    assert instep.said("have the words of this version")
    assert by_words("rotation")[0] == "keys.md"
    assert set(by_words('"last good version"')) == {"stale.md"}
    swept = instep.json("sweep", "--dry-run", status=(0, 1))
    assert (swept["damaged"], swept["beyond_repair"]) == (0, 0), swept


def test_what_the_last_release_knew_is_found_and_goes_on(release, instep):
    start(release, instep)

    for words, path in {
        "how often is the signing key rotated": "keys.md",
        "paragraph 149 of the large document": "large.md",
        "a page about lighthouses": "new/moved.md",
        "marmalade": "stale.md",
        "東京の桜": "日本.md",
    }.items():
        assert path in instep.found(words), words
    assert not {"deleted.md", "old/moved.md"} & set(instep.found("a page about zeppelins"))
    (hold,), (then,) = instep.json("removals")["holds"], said_before(release)["holds"]["holds"]
    assert [hold[k] for k in ("source", "vanished", "of")] == [
        then[k] for k in ("source", "vanished", "of")
    ]

    report = instep.json("report", "monthly", "--source", "inbox")
    assert (report["complete"], report["documents"]["inserted"]) == (True, 2)
    publish(instep, "wiki", 1)  # the missing one of the batch that was open
    ended = wait_until(lambda: completed(instep, "wiki"))
    assert (ended["batch"]["source"], sum(ended["documents"].values())) == ("wiki", 2)
    assert completed(instep, "inbox")["batch"]["source"] == "inbox"

    generation = instep.json("status")["generation"]
    listed = instep.json("report", "--list")["batches"]
    monthly = [line for line in listed if line["batch"]["id"] == "monthly"]
    assert sorted(line["batch"]["source"] for line in monthly) == ["inbox", "wiki"]
    assert {line["generation"] for line in monthly} == {generation}
    keys = asyncio.run(notes_of_batches(instep))
    still_open = [key for key in keys if key.startswith("open.")]
    assert [key for key in still_open if not key.startswith(f"open.{generation}.")] == []
    assert [key for key in still_open if ".wiki." in key] == []
    done = {key.split(".")[-3]: key for key in keys if key.startswith("done.")}
    assert done["wiki"].startswith(f"done.{generation}.wiki.")
    assert done["inbox"].startswith("done.inbox.")  # it is read where the last release put it


async def notes_of_batches(instep):
    """Keys of all that is noted of batches."""
    client = await nats.connect(DataFolder(instep.data).read_instance().nats_url)
    try:
        shelf = KvShelf(client.jetstream(), BATCHES.name)
        return await shelf.keys()
    finally:
        await client.close()


def publish(instep, source, number):
    line = {
        "path": f"{number}.md",
        "text": f"# Pushed {number}\n\nPushed text {number} about clockwork.",
        "batch": {
            "id": "monthly",
            "count": 2,
            "source": source,
            "format": "md",
            "started_at": "2026-11-21T02:00:00Z",
        },
    }
    asked = ("publish", "-", "--jsonl", "--source", source, "--wait", 60)
    sent = instep(*asked, stdin=json.dumps(line) + "\n")
    assert sent.returncode == 0, sent.stderr


def completed(instep, source):
    """The report of the source's batch, once it is complete."""
    asked = instep("report", "monthly", "--source", source, "--json")
    report = json.loads(asked.stdout) if asked.returncode == 0 else None
    return report if report and report["complete"] else None
