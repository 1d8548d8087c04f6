"""Weaviate on a small disk: at its limit the server takes no more writes, until there is room."""

import http.client
import json
import os
import shutil
import subprocess

import pytest
import weaviate_server
from instep_process import FAKE, Instep, wait_until
from services_alone import get

from services.host.data_folder import DataFolder

EDITED = [{"new.md"}, {"n0.md"}, set(), set()]
SIZE = 256 * 1024**2
LIMIT = 50
"""Per cent of the disk that may be used."""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, with hardly anything on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or not mount or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def server(small_disk):
    made = weaviate_server.WeaviateServer(weaviate_server.own_executable(), small_disk)
    made.environment = {"DISK_USE_READONLY_PERCENTAGE": str(LIMIT)}
    made.start()
    yield made
    made.stop()


@pytest.fixture
def instep(tmp_path, server):
    reached = server.reached
    settings = {
        "INSTEP_GATEWAY__AUTH": "none",
        "INSTEP_STORE__KIND": "weaviate",
        "INSTEP_STORE__WEAVIATE__URL": reached.url,
        "INSTEP_STORE__WEAVIATE__GRPC": reached.grpc,
        "INSTEP_TELEMETRY__LEVEL": "info",
    }
    made = Instep(tmp_path / "data", tmp_path, env=FAKE | settings)
    yield made
    made.stop()


def statuses(server):
    """Of every shard, as the server tells it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("GET", "/v1/schema")
    (one,) = json.loads(connection.getresponse().read())["classes"]
    connection.request("GET", f"/v1/schema/{one['class']}/shards")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return {shard["status"] for shard in found}


def test_a_server_whose_disk_is_full_loses_nothing_and_goes_on_when_there_is_room(
    instep, server, small_disk, tmp_path
):
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(5):
        (notes / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    instep.up(notes)
    gateway = DataFolder(instep.data).read_instance().gateway_url

    def found(word):
        answer = get(f"{gateway}/api/v1/search?q={word}&mode=keyword&limit=20")
        if answer.status != 200:
            return False
        hits = answer.json()["hits"]  # those with a part of the name `unique4` are among them
        return {hit["document"]["path"] for hit in hits if word in hit["chunk"]["text"]}

    def after_the_edits():
        return [found(word) for word in ("pangolins", "zeppelins", "unique0", "unique1")]

    def in_step():
        return get(f"{gateway}/api/v1/status").json()["in_step"]

    def refused():
        return "takes no writes" in (tmp_path / "up-0.log").read_text()

    wait_until(lambda: in_step() and found("unique4") == {"n4.md"})
    (small_disk / "filler").write_bytes(bytes(SIZE * LIMIT // 100))
    wait_until(lambda: statuses(server) == {"READONLY"})
    (notes / "n0.md").write_text("# Note 0\n\nA text about zeppelins.\n")
    (notes / "n1.md").unlink()
    (notes / "new.md").write_text("# New\n\nA text about pangolins.\n")
    wait_until(refused)
    wait_until(lambda: not in_step())
    meanwhile = found("unique0"), found("unique3"), in_step()
    (small_disk / "filler").unlink()
    wait_until(lambda: statuses(server) == {"READY"})
    wait_until(lambda: in_step() and after_the_edits() == EDITED, within_s=300)

    assert meanwhile == ({"n0.md"}, {"n3.md"}, False)
    assert instep.json("validate")["passed"] is True
    assert instep.json("failures")["failures"] == []
