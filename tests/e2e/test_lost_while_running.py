"""The index, or all that an instance keeps, is deleted while it runs."""

import http.client
import json
import shutil
from urllib.parse import urlsplit

from instep_process import wait_until
from ports import free_port

from services.host.data_folder import DataFolder

NAMES = {f"n{n}.md" for n in range(6)}


def get(instep, address):
    """The answer of the running gateway; None unless it is 200."""
    where = urlsplit(DataFolder(instep.data).read_instance().gateway_url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.request("GET", f"/api/v1/{address}", headers=instep.shown)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return json.loads(body) if answer.status == 200 else None


def found(instep, word):
    answer = get(instep, f"search?q={word}&mode=keyword&limit=50")
    return answer and {hit["document"]["path"] for hit in answer["hits"]}


def encoded(instep):
    return {get(instep, f"documents/notes/{name}")["served"]["encoded"] for name in NAMES}


def gone(folder):
    """Delete a folder that somebody may write into meanwhile; whether it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def test_a_store_that_is_deleted_under_a_running_instance_is_filled_again(instep, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in NAMES:
        (notes / name).write_text(f"# Note {name}\n\nThe lantern of {name}.\n")
    instep.up(notes)
    wait_until(lambda: found(instep, "lantern") == NAMES)
    for n in range(2):
        (instep.data / "store").rename(tmp_path / f"gone-{n}")
        wait_until(lambda: found(instep, "lantern") == NAMES)
    wait_until(lambda: encoded(instep) == {0})
    (notes / "n1.md").write_text("# New\n\nAbout marmalade.\n")
    wait_until(lambda: found(instep, "marmalade") == {"n1.md"})

    assert instep.json("validate")["passed"] is True
    assert instep.json("failures")["failures"] == []


def test_a_data_folder_that_is_deleted_ends_the_instance_and_no_answer_pretends(instep, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("# A note\n\nThe lantern.\n")
    instep.env["INSTEP_GATEWAY__PORT"] = str(free_port())  # no other instance takes it later
    process = instep.up(notes)
    wait_until(lambda: found(instep, "lantern") == {"a.md"})
    url = DataFolder(instep.data).read_instance().gateway_url
    wait_until(lambda: gone(instep.data))

    asked = ("search", "lantern"), ("status",), ("show", "a.md"), ("failures",)
    at_once = [instep(*words) for words in asked]
    ended = process.wait(120)
    later = [instep(*words) for words in asked]
    by_address = instep("search", "lantern", "--url", url)
    instep.data.mkdir(exist_ok=True)
    beside_nothing = instep("search", "lantern")

    for answer in (*at_once, *later, beside_nothing):
        assert (answer.returncode, answer.stdout) == (3, "")
        assert "nothing is indexed here" in answer.stderr
        assert "Fix: instep up PATH" in answer.stderr
    assert by_address.returncode == 3
    assert ended == 2
    assert instep.said("was deleted, moved or replaced while instep ran; start instep again")
    instep.up(notes)
    wait_until(lambda: found(instep, "lantern") == {"a.md"})
